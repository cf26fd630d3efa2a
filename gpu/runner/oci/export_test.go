package oci

import (
	"time"

	"github.com/souk-market/souk/gpu/runner"
)

// LookedAfter tells whether a run's devices were found to be usable later than at a time.
func LookedAfter(r runner.Run, at time.Time) bool {
	u := r.(*run)
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.good.After(at)
}
