package challenge

import (
	"testing"
	"time"
)

// TestBandIn judges by what was measured so, and by nothing like it.
func TestBandIn(t *testing.T) {
	band := Band{CommitLeast: time.Second, CommitMost: 3 * time.Second, RecallMost: time.Second}
	all := []measured{{class: "L4", arithmetic: Int8, size: 8192, rounds: 10, band: band, source: "a test"}}
	for _, tt := range []struct {
		name       string
		class      string
		arithmetic Arithmetic
		size       uint32
		rounds     uint32
		want       Band
	}{
		{"as measured", "L4", Int8, 8192, 10, band},
		{"another class", "L40S", Int8, 8192, 10, Band{}},
		{"another arithmetic", "L4", Half, 8192, 10, Band{}},
		{"another size", "L4", Int8, 4096, 10, Band{}},
		{"other rounds", "L4", Int8, 8192, 11, Band{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := bandIn(all, tt.class, tt.arithmetic, tt.size, tt.rounds); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

// TestBands holds the table to what it says of itself.
func TestBands(t *testing.T) {
	for _, m := range bands() {
		c := Challenge{Devices: []string{m.class}, Arithmetic: m.arithmetic, Size: m.size, Rounds: m.rounds}
		if c.Validate() != nil || m.source == "" || m.band.CommitLeast >= m.band.CommitMost || m.band.RecallMost >= m.band.CommitMost {
			t.Errorf("%+v", m)
		}
	}
}
