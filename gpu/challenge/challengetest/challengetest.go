// Package challengetest holds every kind of device to the bytes of the reference.
package challengetest

import (
	"crypto/sha256"
	"testing"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/gpu/challenge"
	"github.com/souk-market/souk/gpu/challenge/reference"
)

// DeviceID is the device of the challenges, and of the stand-in of CUDA's library.
const DeviceID = "GPU-00010203-0405-0607-0809-0a0b0c0d0e0f"

// Run computes challenges on a new device each and on the reference: every root,
// tile and path is the same.
func Run(t *testing.T, newDevice func(*testing.T, challenge.Challenge) challenge.Device) {
	for _, tt := range []struct {
		name       string
		arithmetic challenge.Arithmetic
		size       uint32
		rounds     uint32
	}{{"integers", challenge.Int8, 512, 2}, {"floats", challenge.Half, 512, 2}, {"the least", challenge.Int8, challenge.MinSize, 3}} {
		t.Run(tt.name, func(t *testing.T) {
			c := challenge.Challenge{Digest: souk.Digest(sha256.Sum256([]byte(tt.name))), Devices: []string{DeviceID},
				Arithmetic: tt.arithmetic, Size: tt.size, Rounds: tt.rounds}
			same(t, c, newDevice(t, c), reference.New(c))
		})
	}
}

// same has two devices answer one challenge.
func same(t *testing.T, c challenge.Challenge, a, b challenge.Device) {
	t.Helper()
	var before challenge.Hash
	for round := range c.Rounds {
		seed := c.Seed(c.Devices[0], round, before)
		got, err := a.Multiply(t.Context(), seed)
		if err != nil {
			t.Fatal(err)
		}
		want, err := b.Multiply(t.Context(), seed)
		if err != nil {
			t.Fatal(err)
		}
		if before = want; got != want {
			t.Errorf("round %d: root %x, want %x", round, got, want)
		}
	}
	nonce := challenge.Hash{1, 2, 3}
	got, err := a.Recall(t.Context(), nonce)
	if err != nil {
		t.Fatal(err)
	}
	want, err := b.Recall(t.Context(), nonce)
	if err != nil {
		t.Fatal(err)
	}
	for round := range c.Rounds {
		if got[round] != want[round] {
			t.Errorf("round %d: recalled %x, want %x", round, got[round], want[round])
		}
		for tile := range c.Tiles() {
			sameOpening(t, round, tile, a, b)
		}
	}
}

func sameOpening(t *testing.T, round, tile uint32, a, b challenge.Device) {
	t.Helper()
	got, err := a.Open(t.Context(), round, tile)
	if err != nil {
		t.Fatal(err)
	}
	want, err := b.Open(t.Context(), round, tile)
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case string(got.Tile) != string(want.Tile):
		t.Errorf("round %d, tile %d: the tiles differ", round, tile)
	case len(got.Path) != len(want.Path) || len(got.Recall) != len(want.Recall):
		t.Errorf("round %d, tile %d: paths of %d and %d, want %d and %d", round, tile, len(got.Path), len(got.Recall), len(want.Path), len(want.Recall))
	}
	for i := range min(len(got.Path), len(want.Path)) {
		if got.Path[i] != want.Path[i] || got.Recall[i] != want.Recall[i] {
			t.Errorf("round %d, tile %d: the paths differ at %d", round, tile, i)
		}
	}
}
