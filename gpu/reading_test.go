package gpu_test

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/souk-market/souk/gpu"
)

func TestReading(t *testing.T) {
	for _, tt := range []struct {
		name  string
		r     gpu.Reading
		known bool
		value uint64
		json  string
	}{
		{"unknown", gpu.Reading{}, false, 0, "null"},
		{"nothing is something", gpu.Known(0), true, 0, "0"},
		{"a number", gpu.Known(450000), true, 450000, "450000"},
		{"the largest", gpu.Known(math.MaxUint64), true, math.MaxUint64 - 1, "18446744073709551614"},
		{"in bounds", gpu.Known(100).AtMost(100), true, 100, "100"},
		{"out of bounds", gpu.Known(101).AtMost(100), false, 0, "null"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if v, ok := tt.r.Value(); ok != tt.known || v != tt.value {
				t.Errorf("value %d, %v", v, ok)
			}
			text, err := json.Marshal(tt.r)
			if err != nil || string(text) != tt.json {
				t.Errorf("JSON %s, %v", text, err)
			}
			var again gpu.Reading
			if err := json.Unmarshal(text, &again); err != nil || again != tt.r {
				t.Errorf("read back as %+v, %v", again, err)
			}
		})
	}
	var r struct{ R gpu.Reading }
	for _, text := range []string{`-1`, `1.5`, `1e3`, `"7"`, `18446744073709551616`, `true`, `[]`} {
		if err := json.Unmarshal([]byte(`{"R":`+text+`}`), &r); err == nil {
			t.Errorf("%s is read as %+v", text, r.R)
		}
	}
}

func TestHistory(t *testing.T) {
	h := gpu.NewHistory(3)
	if _, ok := h.Last(); ok || len(h.After(time.Time{})) != 0 {
		t.Error("a new history has samples")
	}
	at := func(s int64) time.Time { return time.Unix(s, 0) }
	for s := int64(1); s <= 5; s++ {
		h.Add(gpu.Sample{At: at(s), Celsius: gpu.Known(uint64(s))})
		h.Add(gpu.Sample{At: at(s)})     // the same moment again
		h.Add(gpu.Sample{At: at(s - 1)}) // a clock that was set back
		if last, _ := h.Last(); last.At != at(s) || last.Celsius != gpu.Known(uint64(s)) {
			t.Fatalf("after %d: last %+v", s, last)
		}
	}
	for _, tt := range []struct {
		after int64
		want  []uint64
	}{{0, []uint64{3, 4, 5}}, {3, []uint64{4, 5}}, {5, nil}} {
		var got []uint64
		for _, s := range h.After(at(tt.after)) {
			got = append(got, s.Celsius.Or(0))
		}
		if len(got) != len(tt.want) || len(got) > 0 && got[0] != tt.want[0] {
			t.Errorf("after %d: %v, want %v", tt.after, got, tt.want)
		}
		if n := h.Newest(len(tt.want)); len(n) != len(tt.want) || len(n) > 0 && n[0].Celsius.Or(0) != tt.want[0] {
			t.Errorf("the newest %d: %v", len(tt.want), n)
		}
	}
}
