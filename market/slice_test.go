package market

import (
	"slices"
	"testing"

	"github.com/souk-market/souk/gpu"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
)

// TestSliceOf reads the profile back from what a probe makes of a driver's name, and
// makes the same class of card and profile.
func TestSliceOf(t *testing.T) {
	for _, card := range []string{"NVIDIA A100-SXM4-40GB", "NVIDIA H100 80GB HBM3", "NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition"} {
		if got := SliceOf(gpu.Class(card)); got != "" {
			t.Errorf("%s is whole, and its slice %q", card, got)
		}
		for _, profile := range []string{"1g.5gb", "7g.80gb", "1c.3g.20gb", "1g.10gb+me", "1g.24gb-me", "1g.24gb+me.all", "1g.24gb+gfx", "1g.141gb"} {
			if !IsSlice(profile) {
				t.Errorf("%s is not a profile", profile)
			}
			class := gpu.Class(card + " MIG " + profile)
			if got := SliceOf(class); got != profile {
				t.Errorf("SliceOf(%s) = %q, want %s", class, got, profile)
			}
			if got := ClassOfSlice(gpu.Class(card), profile); got != class || !isClass(got) {
				t.Errorf("ClassOfSlice(%s, %s) = %s, want %s", gpu.Class(card), profile, got, class)
			}
		}
	}
	for _, s := range []string{"", "whole", "1g", "0g.5gb", "1g.0gb", "1G.5GB", "1g.5gb+", "1g.5gb me", "0.5", "1g.50000gb"} {
		if IsSlice(s) {
			t.Errorf("%q is a profile", s)
		}
	}
	if got := SliceOf("A100_MIG_HALF"); got == "" {
		t.Error("a slice by a name of another kind is taken for a whole device")
	}
}

// TestSliceRequests asks for whole devices and slices of a book with both: neither is
// ever met by the other, by the book's query, nor when a bid comes or is made.
func TestSliceRequests(t *testing.T) {
	book := NewBook(Config{})
	for i, class := range []string{"A100", "A100_MIG_1G_5GB", "A100_MIG_3G_20GB", "H100_MIG_1G_10GB", "CPU"} {
		o := offerOf(t, byte(i+2), func(m *marketv1.Offer) {
			m.Class, m.Slice, m.Extensions, m.PriceAtomsPerHour = class, SliceOf(class), []string{ExtensionSlice}, uint64(1000-i)
		})
		if _, err := book.Put(start, o); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name string
		r    *marketv1.Resources
		want []string
	}{
		{"any GPU", &marketv1.Resources{GpuCount: 1}, []string{"A100"}},
		{"any slice of a profile", &marketv1.Resources{GpuCount: 1, Slice: "1g.5gb"}, []string{"A100_MIG_1G_5GB"}},
		{"a profile that nobody has", &marketv1.Resources{GpuCount: 1, Slice: "2g.10gb"}, nil},
		{"a slice of some cards", &marketv1.Resources{GpuCount: 1, Slice: "1g.10gb", Models: []string{"A100", "H100"}}, []string{"H100_MIG_1G_10GB"}},
		{"a whole card by its class", &marketv1.Resources{GpuCount: 1, Models: []string{"A100"}}, []string{"A100"}},
		{"slices by their class", &marketv1.Resources{GpuCount: 1, Models: []string{"A100_MIG_3G_20GB"}}, []string{"A100_MIG_3G_20GB"}},
		{"another slice than the class", &marketv1.Resources{GpuCount: 1, Slice: "1g.5gb", Models: []string{"A100_MIG_3G_20GB"}}, nil},
		{"the processor", &marketv1.Resources{}, []string{"CPU"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, o := range book.Match(start, RequestQuery(tt.r, MaxPrice, 0)) {
				got = append(got, o.Class)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("the book has %q, want %q", got, tt.want)
			}
			for _, o := range book.Offers(start) {
				if AcceptsClass(tt.r, o.Class) != slices.Contains(tt.want, o.Class) {
					t.Errorf("a bid of %s is judged otherwise", o.Class)
				}
			}
		})
	}
	for query, want := range map[string]int{"slice=whole": 2, "slice!=whole": 3, "slice=1G.5gb,1g.10gb": 2} {
		q, err := ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		removed := book.Explain(start, q)[0].Removed
		if got := len(book.Match(start, q)); got != want || removed != 5-want {
			t.Errorf("%s finds %d and removes %d", query, got, removed)
		}
	}
}
