package node

import (
	"strings"

	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"github.com/souk-market/souk/scheduler"
)

// reasonName is an end reason for people and logs.
func reasonName(r runv1.EndReason) string { return string(scheduler.ReasonOf(r)) }

// phaseName is a phase for logs.
func phaseName(p runv1.Phase) string {
	return strings.ToLower(strings.TrimPrefix(p.String(), "PHASE_"))
}
