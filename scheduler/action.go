package scheduler

import (
	"time"

	"github.com/souk-market/souk"
)

// Action is something a [Job] wants done: what [Job.Step] returns. The
// driver does them in order and reports what came of each as an [Event].
type Action interface{ action() }

// FindCandidates asks for the providers whose offers fit; [Candidates] answers.
type FindCandidates struct{}

// Dial asks for connections to peers; each is answered by [Dialed] or [DialFailed].
type Dial struct{ Peers []souk.NodeKey }

// Ask asks a connected provider for a bid; [BidArrived], [Declined] or
// [DialFailed] answers. An answer after Deadline is not waited for.
type Ask struct {
	Peer     souk.NodeKey
	Deadline time.Time
}

// SignLease takes a bid: sign and store the lease with its first voucher, then
// send it. [LeaseSigned], [LeaseDeclined] or [LeaseFailed] answers.
type SignLease struct {
	Peer souk.NodeKey
	Bid  int
}

// Attach opens the run's stream and keeps it open, dialling again when it
// breaks, until [Release] or [Finish]. What is heard comes as [RunState], a
// broken stream as [LinkLost] and [LinkBack]. Receipts that come are for the
// driver to countersign.
type Attach struct {
	Peer  souk.NodeKey
	Lease souk.LeaseID
}

// FetchOutputs asks for the outputs; [OutputsVerified] or [OutputsFailed]
// answers, [OutputsMoving] tells of progress.
type FetchOutputs struct {
	Lease  souk.LeaseID
	Output string // the CID of /out
}

// SettleUp allows the last voucher of a lease: countersign its final receipt,
// which may come later, and answer [Settled]. Before it the driver does not send
// the last voucher.
type SettleUp struct{ Lease souk.LeaseID }

// Release ends a lease. Its id is zero where the provider did not countersign
// in time: then the lease last signed for Peer is meant, should it be in force.
type Release struct {
	Peer    souk.NodeKey
	Lease   souk.LeaseID
	Discard bool // the outputs are not wanted
	Drop    bool // nothing more of this lease matters: close its stream once it is told
}

// Finish is the last action of a job, given once. After it, only a
// [Release] of a lease that was signed too late can follow.
type Finish struct{ End End }

func (FindCandidates) action() {}
func (Dial) action()           {}
func (Ask) action()            {}
func (SignLease) action()      {}
func (Attach) action()         {}
func (FetchOutputs) action()   {}
func (SettleUp) action()       {}
func (Release) action()        {}
func (Finish) action()         {}
