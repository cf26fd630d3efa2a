package money

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestExclusiveEnds has one caller stuck on a slow chain: another with the same
// key waits for its own deadline and no longer, one with another key not at all.
func TestExclusiveEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var e exclusive[string]
		leave, err := e.enter(t.Context(), "a deposit")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), txWithin)
		defer cancel()
		start := time.Now()
		other, err := e.enter(ctx, "another")
		if err != nil || time.Since(start) != 0 {
			t.Fatalf("another key: %v after %v", err, time.Since(start))
		}
		other()
		if _, err := e.enter(ctx, "a deposit"); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != txWithin {
			t.Errorf("%v after %v; want %v after %v", err, time.Since(start), context.DeadlineExceeded, txWithin)
		}
		if _, busy := e.try("a deposit"); busy == nil {
			t.Error("two are in at once")
		}
		time.AfterFunc(time.Minute, leave)
		start = time.Now()
		if leave, err = e.enter(t.Context(), "a deposit"); err != nil || time.Since(start) != time.Minute {
			t.Errorf("%v after %v; want to be let in after a minute", err, time.Since(start))
		}
		leave()
		if len(e.busy) != 0 {
			t.Errorf("%d keys are kept", len(e.busy))
		}
	})
}
