package node

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestKeeperTurnEnds has one caller stuck on a slow chain: another waits for its
// own deadline and no longer.
func TestKeeperTurnEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKeeper(keeperConfig{})
		if err := k.take(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), txWithin)
		defer cancel()
		start := time.Now()
		if err := k.reconcile(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != txWithin {
			t.Errorf("%v after %v; want %v after %v", err, time.Since(start), context.DeadlineExceeded, txWithin)
		}
		k.pass()
		if err := k.take(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
