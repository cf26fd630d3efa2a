package challenge_test

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	mathrand "math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/gpu/challenge"
	"github.com/souk-market/souk/gpu/challenge/reference"
)

// small is the least challenge.
func small(name string, devices ...string) challenge.Challenge {
	return challenge.Challenge{Digest: souk.Digest(sha256.Sum256([]byte(name))), Devices: devices,
		Arithmetic: challenge.Int8, Size: challenge.MinSize, Rounds: 2}
}

// chance is randomness that a test can play again.
func chance(seed byte) *mathrand.ChaCha8 { return mathrand.NewChaCha8([32]byte{seed}) }

func TestValidate(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*challenge.Challenge)
		want   string // part of the error; empty: none
	}{
		{"as it is", func(*challenge.Challenge) {}, ""},
		{"the largest", func(c *challenge.Challenge) { c.Size, c.Rounds = challenge.MaxSize, challenge.MaxRounds }, ""},
		{"floats", func(c *challenge.Challenge) { c.Arithmetic = challenge.Half }, ""},
		{"no arithmetic", func(c *challenge.Challenge) { c.Arithmetic = 0 }, "arithmetic"},
		{"another arithmetic", func(c *challenge.Challenge) { c.Arithmetic = 3 }, "arithmetic"},
		{"too small", func(c *challenge.Challenge) { c.Size = 128 }, "size"},
		{"too large", func(c *challenge.Challenge) { c.Size = 65536 }, "size"},
		{"no power of two", func(c *challenge.Challenge) { c.Size = 640 }, "size"},
		{"no rounds", func(c *challenge.Challenge) { c.Rounds = 0 }, "rounds"},
		{"too many rounds", func(c *challenge.Challenge) { c.Rounds = 1025 }, "rounds"},
		{"no devices", func(c *challenge.Challenge) { c.Devices = nil }, "devices"},
		{"too many devices", func(c *challenge.Challenge) { c.Devices = make([]string, 129) }, "devices"},
		{"one device twice", func(c *challenge.Challenge) { c.Devices = []string{"a", "b", "a"} }, "twice"},
		{"a device without an id", func(c *challenge.Challenge) { c.Devices = []string{""} }, "named badly"},
		{"a long id", func(c *challenge.Challenge) { c.Devices = []string{strings.Repeat("x", 97)} }, "named badly"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := small("validate", "a")
			tt.change(&c)
			err := c.Validate()
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestFittingRounds(t *testing.T) {
	const gib = 1 << 30
	for _, tt := range []struct {
		memory uint64
		size   uint32
		want   uint32
	}{
		{0, 512, 0}, {1 << 20, 512, 0}, {24 * gib, 16384, 20}, {80 * gib, 16384, 71}, {80 * gib, 32768, 17}, {4 * gib, 32768, 0}, {1 << 50, 512, challenge.MaxRounds},
	} {
		got := challenge.FittingRounds(tt.memory, tt.size)
		if got != tt.want {
			t.Errorf("%d bytes hold %d rounds of %d, want %d", tt.memory, got, tt.size, tt.want)
		}
		if c := (challenge.Challenge{Size: tt.size, Rounds: got}); c.MemoryBytes() > tt.memory {
			t.Errorf("%d rounds of %d fill %d of %d bytes", got, tt.size, c.MemoryBytes(), tt.memory)
		}
	}
}

// TestTile fixes the bytes of one tile: devices of every kind must give them.
func TestTile(t *testing.T) {
	for _, tt := range []struct {
		arithmetic challenge.Arithmetic
		want       string
	}{{challenge.Int8, wantInt8}, {challenge.Half, wantHalf}} {
		c := small("tile", "GPU-1")
		c.Size, c.Arithmetic = 512, tt.arithmetic
		leaf := challenge.LeafHash(challenge.Multiply(c, c.Seed("GPU-1", 0, challenge.Hash{}), 7))
		if got := hex.EncodeToString(leaf[:]); got != tt.want {
			t.Errorf("arithmetic %d: leaf %s, want %s", tt.arithmetic, got, tt.want)
		}
	}
}

// TestCheck changes one element of a tile in many ways.
func TestCheck(t *testing.T) {
	random := chance(1)
	for _, a := range []challenge.Arithmetic{challenge.Int8, challenge.Half} {
		c := small("check", "GPU-1")
		c.Size, c.Arithmetic = 512, a
		seed := c.Seed("GPU-1", 0, challenge.Hash{})
		tile := challenge.Multiply(c, seed, 5)
		if ok, err := challenge.Check(c, seed, 5, tile, random); !ok || err != nil {
			t.Fatalf("arithmetic %d: the right tile is refused: %v", a, err)
		}
		for _, index := range []uint32{0, 4, 6, 15} {
			if ok, _ := challenge.Check(c, seed, index, tile, random); ok {
				t.Errorf("tile 5 passes as tile %d", index)
			}
		}
		for i := range 40 {
			wrong := slices.Clone(tile)
			at := mathrand.New(random).IntN(len(wrong))
			wrong[at] ^= 1 << (i % 8)
			if ok, _ := challenge.Check(c, seed, 5, wrong, random); ok {
				t.Fatalf("a tile passes whose byte %d is wrong", at)
			}
		}
	}
	c := small("check", "GPU-1")
	for _, tile := range [][]byte{nil, make([]byte, challenge.TileBytes-1), make([]byte, challenge.TileBytes+1), make([]byte, challenge.TileBytes)} {
		if ok, err := challenge.Check(c, challenge.Hash{}, 0, tile, random); ok || err != nil {
			t.Errorf("%d bytes of nothing: %t, %v", len(tile), ok, err)
		}
	}
}

// answers are all that a provider says.
type answers struct {
	roots    [][]challenge.Hash
	recalled [][]challenge.Hash
	openings []challenge.Opening
}

// play has a prover answer one challenge and a verifier judge another (or the same),
// at one second a message, with a change to what is said.
func play(t *testing.T, asked, answered challenge.Challenge, band challenge.Band, change func(*answers)) (challenge.Verdict, error) {
	t.Helper()
	now, random := time.Unix(0, 0), chance(2)
	v, err := challenge.NewVerifier(asked, band, now)
	if err != nil {
		t.Fatal(err)
	}
	devices := make([]challenge.Device, len(answered.Devices))
	for i := range devices {
		devices[i] = reference.New(answered)
	}
	p, err := challenge.NewProver(answered, devices)
	if err != nil {
		t.Fatal(err)
	}
	var said answers
	if said.roots, err = p.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	change(&said)
	now = now.Add(time.Second)
	if err := v.Committed(now, said.roots); err != nil {
		return challenge.Verdict{}, err
	}
	nonce := challenge.Hash{9}
	if err := v.Recall(now, nonce); err != nil {
		t.Fatal(err)
	}
	if said.recalled, err = p.Recall(t.Context(), nonce); err != nil {
		t.Fatal(err)
	}
	change(&said)
	now = now.Add(time.Second)
	if err := v.Recalled(now, said.recalled); err != nil {
		return challenge.Verdict{}, err
	}
	places, err := v.Draw(6, random)
	if err != nil {
		t.Fatal(err)
	}
	if said.openings, err = p.Open(t.Context(), places); err != nil {
		t.Fatal(err)
	}
	change(&said)
	return v.Opened(said.openings, random)
}

func TestHonest(t *testing.T) {
	for _, a := range []challenge.Arithmetic{challenge.Int8, challenge.Half} {
		c := small("honest", "GPU-1", "GPU-2", "GPU-3")
		c.Arithmetic = a
		band := challenge.Band{CommitLeast: time.Second, CommitMost: time.Second, RecallMost: time.Second}
		for _, band := range []challenge.Band{{}, band} {
			got, err := play(t, c, c, band, func(*answers) {})
			want := challenge.Verdict{Commit: time.Second, Recall: time.Second, Tiles: 6, Judged: band != challenge.Band{}}
			if err != nil || got != want {
				t.Errorf("arithmetic %d: %+v, %v; want %+v", a, got, err, want)
			}
		}
	}
}

func TestFaults(t *testing.T) {
	c := small("faults", "GPU-1", "GPU-2")
	other := func(change func(*challenge.Challenge)) challenge.Challenge {
		o := c
		o.Devices = slices.Clone(c.Devices)
		change(&o)
		return o
	}
	honest := func(*answers) {}
	for _, tt := range []struct {
		name     string
		answered challenge.Challenge
		band     challenge.Band
		change   func(*answers)
		want     challenge.Fault
		device   string
	}{
		{"replayed from another challenge", other(func(c *challenge.Challenge) { c.Digest[0]++ }), challenge.Band{}, honest, challenge.Wrong, "GPU-1"},
		{"another size", other(func(c *challenge.Challenge) { c.Size *= 2 }), challenge.Band{}, honest, challenge.Wrong, "GPU-1"},
		{"the easier arithmetic", other(func(c *challenge.Challenge) { c.Arithmetic = challenge.Half }), challenge.Band{}, honest, challenge.Wrong, "GPU-1"},
		{"devices swapped", other(func(c *challenge.Challenge) { slices.Reverse(c.Devices) }), challenge.Band{}, honest, challenge.Wrong, "GPU-1"},
		{"one device for two", other(func(c *challenge.Challenge) { c.Devices[1] = "GPU-3" }), challenge.Band{}, honest, challenge.Wrong, "GPU-2"},
		{"one device's roots twice", c, challenge.Band{}, func(a *answers) { a.roots[1] = a.roots[0] }, challenge.Wrong, "GPU-2"},
		{"a device is missing", c, challenge.Band{}, func(a *answers) { a.roots = a.roots[:1] }, challenge.Partial, ""},
		{"a device too many", c, challenge.Band{}, func(a *answers) { a.roots = append(a.roots, a.roots[0]) }, challenge.Partial, ""},
		{"a round is missing", c, challenge.Band{}, func(a *answers) { a.roots[1] = a.roots[1][:1] }, challenge.Partial, "GPU-2"},
		{"a recall is missing", c, challenge.Band{}, func(a *answers) { a.recalled = a.recalled[:min(1, len(a.recalled))] }, challenge.Partial, ""},
		{"a tile is missing", c, challenge.Band{}, func(a *answers) { a.openings = a.openings[:max(0, len(a.openings)-1)] }, challenge.Partial, ""},
		{"another root", c, challenge.Band{}, func(a *answers) { a.roots[0][0][0] ^= 1; a.roots[0][1][0] ^= 1 }, challenge.Wrong, "GPU-1"},
		{"nothing kept", c, challenge.Band{}, func(a *answers) { forget(a.recalled) }, challenge.Wrong, "GPU-1"},
		{"a flipped bit", c, challenge.Band{}, func(a *answers) { flip(a.openings) }, challenge.Wrong, "GPU-1"},
		{"an empty tile", c, challenge.Band{}, func(a *answers) { emptied(a.openings) }, challenge.Wrong, "GPU-1"},
		{"no path", c, challenge.Band{}, func(a *answers) { cut(a.openings) }, challenge.Wrong, "GPU-1"},
		{"late", c, challenge.Band{CommitMost: time.Second - 1}, honest, challenge.TooSlow, ""},
		{"late to recall", c, challenge.Band{CommitMost: time.Hour, RecallMost: time.Second - 1}, honest, challenge.TooSlow, ""},
		{"too fast to be true", c, challenge.Band{CommitLeast: time.Second + 1}, honest, challenge.TooFast, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := play(t, c, tt.answered, tt.band, tt.change)
			fault, ok := errors.AsType[*challenge.FaultError](err)
			if !ok || fault.Fault != tt.want || fault.Device != tt.device || fault.Detail == "" {
				t.Errorf("got %v; want %s of %q", err, tt.want, tt.device)
			}
		})
	}
}

func forget(recalled [][]challenge.Hash) {
	for _, roots := range recalled {
		clear(roots)
	}
}

func flip(o []challenge.Opening) {
	if len(o) > 0 {
		o[0].Tile = slices.Clone(o[0].Tile)
		o[0].Tile[100] ^= 4
	}
}

func emptied(o []challenge.Opening) {
	if len(o) > 0 {
		o[0].Tile = nil
	}
}

func cut(o []challenge.Opening) {
	if len(o) > 0 {
		o[0].Path = o[0].Path[1:]
	}
}

// TestOrder gives a verifier each message at each step where it does not belong.
func TestOrder(t *testing.T) {
	c := small("order", "GPU-1")
	deeds := map[string]func(*challenge.Verifier) error{
		"commitment": func(v *challenge.Verifier) error {
			return v.Committed(time.Unix(1, 0), [][]challenge.Hash{make([]challenge.Hash, c.Rounds)})
		},
		"recall": func(v *challenge.Verifier) error { return v.Recall(time.Unix(1, 0), challenge.Hash{}) },
		"recalled": func(v *challenge.Verifier) error {
			return v.Recalled(time.Unix(2, 0), [][]challenge.Hash{make([]challenge.Hash, c.Rounds)})
		},
		"draw":    func(v *challenge.Verifier) error { _, err := v.Draw(1, chance(3)); return err },
		"opening": func(v *challenge.Verifier) error { _, err := v.Opened(nil, chance(3)); return err },
	}
	right := []string{"commitment", "recall", "recalled", "draw", "opening"}
	for step, belongs := range right {
		for name := range deeds {
			if name == belongs {
				continue
			}
			v, err := challenge.NewVerifier(c, challenge.Band{}, time.Unix(0, 0))
			if err != nil {
				t.Fatal(err)
			}
			for _, before := range right[:step] {
				if err := deeds[before](v); err != nil {
					t.Fatal(err)
				}
			}
			for _, again := range []string{name, belongs} { // a fault ends it
				fault, ok := errors.AsType[*challenge.FaultError](deeds[again](v))
				if !ok || fault.Fault != challenge.OutOfOrder {
					t.Errorf("%s instead of %s: no fault", again, belongs)
				}
			}
		}
	}
}

// BenchmarkVerify checks eight tiles of a product of order 16,384, as a challenger's
// laptop does.
func BenchmarkVerify(b *testing.B) {
	c := small("bench", "GPU-1")
	c.Size = 16384
	seed := c.Seed("GPU-1", 0, challenge.Hash{})
	tile := challenge.Multiply(c, seed, 77)
	for b.Loop() {
		for range 8 {
			if ok, err := challenge.Check(c, seed, 77, tile, rand.Reader); !ok || err != nil {
				b.Fatal(ok, err)
			}
		}
	}
}

const (
	wantInt8 = "7ddafb427874fff09ad0c4b7e6533ad2492d0fe468ec425b6d293feeac1a4fb1"
	wantHalf = "4c659a3710091b29e92abc5ea98b9333611344e58298d2169705d1ee7554bb48"
)
