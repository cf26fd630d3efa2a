package market

import (
	"slices"
	"testing"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
	"pgregory.net/rapid"
)

func reserved(price uint64) payment.Tariff {
	return payment.Tariff{{Unit: payment.UnitReservedMs, Price: price, Per: souk.MillisPerHour}}
}

func TestQuote(t *testing.T) {
	a, b, plain := Part{"A", 2, 100, reserved(5)}, Part{"B", 1, 300, reserved(7)}, Part{"C", 1, 50, nil}
	hour := func(unit string, price uint64) payment.Line {
		return payment.Line{Unit: unit, Price: price, Per: souk.MillisPerHour}
	}
	for _, tt := range []struct {
		name  string
		parts []Part
		want  payment.Tariff
	}{
		{"device time alone", []Part{plain}, payment.Tariff{hour("device-ms", 50)}},
		{"one class", []Part{a}, payment.Tariff{hour("device-ms", 100), hour("reserved-ms", 5)}},
		{"several", []Part{a, b, plain}, payment.Tariff{hour("device-ms/A", 100), hour("device-ms/B", 300), hour("device-ms/C", 50), hour("reserved-ms", 7)}},
		{"nothing", nil, nil},
	} {
		got := Quote(tt.parts...)
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v; want %v", tt.name, got, tt.want)
		}
		if err := got.Validate(); (err == nil) != (len(tt.parts) > 0) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// TestCheapest has classes that are cheap by the hour and dear to reserve: a choice of
// devices is not always the cheapest of each.
func TestCheapest(t *testing.T) {
	const hour = souk.MillisPerHour
	for _, tt := range []struct {
		name  string
		parts []Part
		need  int
		want  []Part // nil: there is no choice
	}{
		{"the cheapest first", []Part{{"B", 3, 300, nil}, {"A", 2, 100, nil}}, 3, []Part{{"A", 2, 100, nil}, {"B", 1, 300, nil}}},
		{"one class is enough", []Part{{"B", 3, 300, nil}, {"A", 3, 100, nil}}, 3, []Part{{"A", 3, 100, nil}}},
		{"none free of a class", []Part{{"A", 0, 100, nil}, {"B", 1, 300, nil}}, 1, []Part{{"B", 1, 300, nil}}},
		{"too few", []Part{{"A", 1, 100, nil}, {"B", 1, 300, nil}}, 3, nil},
		{"a line that makes all dearer", []Part{{"A", 2, 100, reserved(300)}, {"B", 3, 500, nil}}, 3, []Part{{"B", 3, 500, nil}}},
		{"a line that is worth it", []Part{{"A", 2, 100, reserved(200)}, {"B", 3, 500, nil}}, 3, []Part{{"A", 2, 100, reserved(200)}, {"B", 1, 500, nil}}},
		{"of equal ones the first", []Part{{"B", 2, 100, nil}, {"A", 2, 100, nil}}, 3, []Part{{"B", 2, 100, nil}, {"A", 1, 100, nil}}},
		{"of equal ones the fewest classes", []Part{{"A", 1, 100, reserved(100)}, {"B", 2, 200, nil}}, 1, []Part{{"A", 1, 100, reserved(100)}}},
	} {
		got, ok := Cheapest(tt.parts, tt.need, hour)
		if ok != (tt.want != nil) || !slices.EqualFunc(got, tt.want, equalParts) {
			t.Errorf("%s: takes %v, %t; want %v", tt.name, got, ok, tt.want)
		}
	}
	var many []Part
	for i := range 2 * MaxClasses {
		many = append(many, Part{string(rune('A' + i)), 1 + i, uint64(i), nil})
	}
	if got, ok := Cheapest(many, 3*MaxClasses, hour); !ok || len(got) > MaxClasses || got[0].Class != string(rune('A'+MaxClasses)) {
		t.Errorf("of %d classes it takes %v, %t", len(many), got, ok)
	}
}

func equalParts(a, b Part) bool {
	return a.Class == b.Class && a.Count == b.Count && a.Price == b.Price && slices.Equal(a.Lines, b.Lines)
}

// TestCheapestIsCheapest tries every choice of devices: none costs less.
func TestCheapestIsCheapest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var parts []Part
		for i := range rapid.IntRange(1, 4).Draw(t, "classes") {
			p := Part{Class: string(rune('A' + i)), Count: rapid.IntRange(0, 3).Draw(t, "free"), Price: rapid.Uint64Range(0, 900).Draw(t, "price")}
			if r := rapid.Uint64Range(0, 900).Draw(t, "reserved"); r > 300 {
				p.Lines = reserved(r - 300)
			}
			parts = append(parts, p)
		}
		need := rapid.IntRange(1, 6).Draw(t, "need")
		ms := rapid.Uint64Range(1, 5*souk.MillisPerHour).Draw(t, "ms")
		cost := func(taken []Part) souk.Atoms { return UsageOn(classesOf(taken), ms).Cost(Quote(taken...)) }
		var least souk.Atoms
		found := false
		var try func(at, left int, taken []Part)
		try = func(at, left int, taken []Part) {
			if at == len(parts) {
				if c := cost(taken); left == 0 && (!found || c < least) {
					least, found = c, true
				}
				return
			}
			for n := 0; n <= min(left, parts[at].Count); n++ {
				p, more := parts[at], slices.Clone(taken)
				if p.Count = n; n > 0 {
					more = append(more, p)
				}
				try(at+1, left-n, more)
			}
		}
		try(0, need, nil)
		got, ok := Cheapest(parts, need, ms)
		if ok != found {
			t.Fatalf("of %v it takes %v, %t", parts, got, ok)
		}
		// What is due of each line is rounded down, which a choice cannot foresee.
		if ok && cost(got) > least+souk.Atoms(len(parts)) {
			t.Fatalf("of %v it takes %v for %d; the least is %d", parts, got, cost(got), least)
		}
		if again, _ := Cheapest(parts, need, ms); !slices.EqualFunc(got, again, equalParts) {
			t.Fatalf("it takes %v, and then %v", got, again)
		}
	})
}
