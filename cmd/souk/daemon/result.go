package daemon

import (
	"fmt"
	"strings"

	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
)

// Result is the object that `souk run --json` ends with.
type Result struct {
	Job       string            `json:"job"`
	State     string            `json:"state"`
	ExitCode  int32             `json:"exit_code"`
	Provider  string            `json:"provider"`
	Lease     string            `json:"lease"`
	Attempts  uint32            `json:"attempts"`
	PaidAtoms uint64            `json:"paid_atoms"`
	Receipts  uint32            `json:"receipts"`
	Outputs   map[string]string `json:"outputs"`
	Started   string            `json:"started"`
	Ended     string            `json:"ended"`
	Reason    string            `json:"reason"`
}

// ResultOf is what a summary says of a job.
func ResultOf(s *apiv1.JobSummary) Result {
	outputs := s.GetOutputs()
	if outputs == nil {
		outputs = map[string]string{}
	}
	return Result{
		Job: s.GetJob(), State: s.GetState(), ExitCode: s.GetExitCode(), Provider: s.GetProvider(), Lease: s.GetLease(),
		Attempts: s.GetAttempts(), PaidAtoms: s.GetPaidAtoms(), Receipts: s.GetReceipts(), Outputs: outputs,
		Started: s.GetStarted(), Ended: s.GetEnded(), Reason: s.GetReason(),
	}
}

// Ended tells whether a job in this state will not change any more.
func Ended(s *apiv1.JobSummary) bool {
	switch s.GetState() {
	case "done", "failed", "no-match", "unpaid", "stopped":
		return true
	}
	return false
}

// Fault is how a job ended otherwise than well.
type Fault struct {
	State  string // no-match, unpaid, stopped or failed
	Job    bool   // whether the job itself failed, rather than the market around it
	Reason string // for people
}

// Error is the reason.
func (f *Fault) Error() string { return f.Reason }

// FaultOf tells how an ended job failed; nil for one that did not.
func FaultOf(s *apiv1.JobSummary) error {
	why := strings.TrimSuffix(s.GetReason()+": "+s.GetDetail(), ": ")
	switch s.GetState() {
	case "done":
		if s.GetExitCode() == 0 {
			return nil
		}
		return &Fault{"failed", true, fmt.Sprintf("the job exited with %d", s.GetExitCode())}
	case "failed":
		if s.GetReason() == "completed" {
			return &Fault{"failed", true, fmt.Sprintf("the job exited with %d", s.GetExitCode())}
		}
		return &Fault{"failed", strings.HasPrefix(s.GetReason(), "job-"), "the job failed: " + why}
	}
	return &Fault{s.GetState(), false, fmt.Sprintf("the job is %s: %s", s.GetState(), why)}
}
