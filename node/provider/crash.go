//go:build crashpoints

package provider

import (
	"encoding/json"
	"strings"

	"github.com/souk-market/souk/scheduler"
)

// CrashPoints names the moments at which integration/crash ends a daemon: what a
// record of this role, of a kind that the first word of its key tells, says that it
// did not say before. Of records of others it names none. It is in no other build.
func CrashPoints(kind string, had, value []byte) (points []string) {
	if kind != "lease" {
		return nil
	}
	if had == nil {
		return []string{"lease"}
	}
	var before, after scheduler.TenancyState
	if json.Unmarshal(had, &before) != nil || json.Unmarshal(value, &after) != nil {
		return nil
	}
	if after.Phase != before.Phase {
		points = append(points, "lease-"+strings.ToLower(strings.TrimPrefix(after.Phase.String(), "PHASE_")))
	}
	if after.DepositTx != before.DepositTx {
		points = append(points, "lease-deposit")
	}
	return points
}
