package gpu

import "testing"

// TestEnergy adds up counters, and knows nothing once one of them was begun anew or
// where one is missing.
func TestEnergy(t *testing.T) {
	type step struct {
		id string
		mj Reading
	}
	for _, tt := range []struct {
		name    string
		devices []string
		steps   []step
		want    uint64
		known   bool
	}{
		{"none", nil, nil, 0, false},
		{"not read", []string{"a"}, nil, 0, false},
		{"one", []string{"a"}, []step{{"a", Known(100)}, {"a", Known(100)}, {"a", Known(175)}}, 75, true},
		{"a reading that failed", []string{"a"}, []step{{"a", Known(100)}, {"a", Reading{}}, {"a", Known(175)}}, 75, true},
		{"two", []string{"a", "b"}, []step{{"a", Known(100)}, {"b", Known(5)}, {"a", Known(101)}, {"b", Known(9)}}, 5, true},
		{"no counter", []string{"a", "b"}, []step{{"a", Known(100)}, {"b", Reading{}}, {"a", Known(200)}, {"b", Reading{}}}, 0, false},
		{"begun anew", []string{"a"}, []step{{"a", Known(100)}, {"a", Known(150)}, {"a", Known(3)}, {"a", Known(500)}}, 0, false},
		{"another's", []string{"a"}, []step{{"a", Known(1)}, {"b", Known(7)}, {"a", Known(2)}}, 1, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := NewEnergy(tt.devices)
			for _, s := range tt.steps {
				e.Add(s.id, Sample{EnergyMillijoules: s.mj})
			}
			if got, known := e.Used(); got != tt.want || known != tt.known {
				t.Errorf("Used() = %d, %v; want %d, %v", got, known, tt.want, tt.known)
			}
		})
	}
}
