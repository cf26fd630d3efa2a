package souk

import (
	"errors"
	"math"
	"testing"
)

func TestAtomsAdd(t *testing.T) {
	for _, tt := range []struct {
		name       string
		a, b, want Atoms
		wantErr    error
	}{
		{"refund", 5, -7, -2, nil},
		{"past the top", math.MaxInt64, 1, 0, ErrOverflow},
		{"past the bottom", math.MinInt64, -1, 0, ErrOverflow},
		{"to the top", math.MaxInt64 - 1, 1, math.MaxInt64, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := tt.a.Add(tt.b); got != tt.want || !errors.Is(err, tt.wantErr) {
				t.Errorf("%d.Add(%d) = %d, %v; want %d, %v", tt.a, tt.b, got, err, tt.want, tt.wantErr)
			}
		})
	}
	if _, err := Atoms(0).Sub(math.MinInt64); !errors.Is(err, ErrOverflow) {
		t.Errorf("0 - min = %v; want %v", err, ErrOverflow)
	}
}

func TestAtomsText(t *testing.T) {
	for _, tt := range []struct {
		text string
		want Atoms
		show string
	}{
		{"0.5", 500_000, "0.5"},
		{"12", 12_000_000, "12"},
		{"0.000001", 1, "0.000001"},
		{"1.250000", 1_250_000, "1.25"},
		{"9223372036854.775807", math.MaxInt64, "9223372036854.775807"},
	} {
		got, err := ParseAtoms(tt.text)
		if err != nil || got != tt.want || got.String() != tt.show {
			t.Errorf("ParseAtoms(%q) = %d (%s), %v; want %d (%s)", tt.text, got, got, err, tt.want, tt.show)
		}
	}
	for _, bad := range []string{"", ".", ".5", "1.", "-1", "+1", "1e3", "0.0000001", "1,5", "9223372036854.775808"} {
		if got, err := ParseAtoms(bad); err == nil {
			t.Errorf("ParseAtoms(%q) = %d; want an error", bad, got)
		}
	}
	if got := Atoms(math.MinInt64).String(); got != "-9223372036854.775808" {
		t.Errorf("smallest amount shows as %s", got)
	}
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]uint64{"24GB": 24e9, "16GiB": 16 << 30, "512MB": 512e6, "1B": 1, "4 GB": 4e9} {
		if got, err := ParseSize(text); err != nil || got != want {
			t.Errorf("ParseSize(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
	for _, bad := range []string{"", "GB", "24", "24gb", "-1GB", "1.5GB", "99999999999TB"} {
		if got, err := ParseSize(bad); !errors.Is(err, ErrSize) {
			t.Errorf("ParseSize(%q) = %d, %v; want %v", bad, got, err, ErrSize)
		}
	}
	for n, want := range map[uint64]string{24e9: "24GB", 1_500_000: "1.5MB", 999: "999B", 0: "0B"} {
		if got := FormatSize(n); got != want {
			t.Errorf("FormatSize(%d) = %s; want %s", n, got, want)
		}
	}
}

func TestDigestText(t *testing.T) {
	want := Digest{1, 2, 0xff}
	got, err := ParseDigest(want.String())
	if err != nil || got != want {
		t.Errorf("ParseDigest(%s) = %s, %v", want, got, err)
	}
	if _, err := ParseDigest("abcd"); !errors.Is(err, ErrDigest) {
		t.Errorf("short digest: %v", err)
	}
}
