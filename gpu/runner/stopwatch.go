package runner

import "time"

// Stopwatch adds up running time and leaves out what was spent paused. The zero
// value is stopped at zero. It reads no clock, and is for one goroutine.
type Stopwatch struct {
	total   time.Duration
	since   time.Time
	running bool
}

// Start goes on counting from now.
func (w *Stopwatch) Start(now time.Time) {
	if !w.running {
		w.since, w.running = now, true
	}
}

// Stop ends counting at now.
func (w *Stopwatch) Stop(now time.Time) {
	w.total, w.running = w.Elapsed(now), false
}

// Elapsed is the time counted up to now.
func (w *Stopwatch) Elapsed(now time.Time) time.Duration {
	if !w.running {
		return w.total
	}
	return w.total + max(0, now.Sub(w.since))
}
