//go:build crashpoints

package client

import "encoding/json"

// CrashPoints names the moments at which integration/crash ends a daemon: what a
// record of this role, of a kind that the first word of its key tells, says that it
// did not say before. Of records of others it names none. It is in no other build.
func CrashPoints(kind string, had, value []byte) []string {
	switch kind {
	case "signed":
		return []string{"signed"}
	case "job":
		return jobPoints(had, value)
	}
	return nil
}

func jobPoints(had, value []byte) (points []string) {
	if had == nil {
		return []string{"job"}
	}
	var before, after Record
	if json.Unmarshal(had, &before) != nil || json.Unmarshal(value, &after) != nil {
		return nil
	}
	if !after.Ended.IsZero() {
		if before.Ended.IsZero() {
			points = append(points, "job-ended")
		}
	} else if after.State != before.State {
		points = append(points, "job-"+after.State)
	}
	leasesBefore, depositsBefore := before.signedAndDeposited()
	leases, deposits := after.signedAndDeposited()
	if leases > leasesBefore {
		points = append(points, "job-lease")
	}
	if deposits > depositsBefore {
		points = append(points, "job-deposit")
	}
	return points
}

// signedAndDeposited counts the attempts with a lease and those with a deposit.
func (r *Record) signedAndDeposited() (leases, deposits int) {
	for _, a := range r.Attempts {
		if a.Lease != "" {
			leases++
		}
		if a.DepositTx != "" {
			deposits++
		}
	}
	return leases, deposits
}
