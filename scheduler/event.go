package scheduler

import (
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/market"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
)

// Event is something that happened to a [Job]: what [Job.Step] takes.
// One that comes twice, late, or from a peer or lease that no longer matters
// changes nothing.
type Event interface{ event() }

// Tick is the passing of time: due when [Job.Next] says so, harmless before.
type Tick struct{}

// Candidates answers [FindCandidates]: providers whose offers fit, best first.
type Candidates struct{ Peers []souk.NodeKey }

// Proving tells that devices are challenged before [Candidates] can be told: that may
// take as long as the job may take to start.
type Proving struct{}

// Dialed answers [Dial]: the peer is connected, and a round trip to it takes RTT.
type Dialed struct {
	Peer souk.NodeKey
	RTT  time.Duration
}

// DialFailed answers [Dial] or [Ask]: the peer could not be reached, or sent no
// answer that could be used.
type DialFailed struct {
	Peer souk.NodeKey
	Err  string // one line for people
}

// BidArrived answers [Ask] with a bid that was checked against the order.
type BidArrived struct {
	Peer  souk.NodeKey
	Bid   int        // the driver's own name for the bid; [SignLease] repeats it
	Price uint64     // atoms for one device and hour
	Cost  souk.Atoms // what the job is expected to cost by the bid
}

// Declined answers [Ask] with a signed refusal.
type Declined struct {
	Peer souk.NodeKey
	Why  market.Refusal
}

// LeaseSigned answers [SignLease]: the provider countersigned.
type LeaseSigned struct {
	Peer  souk.NodeKey
	Lease souk.LeaseID
}

// LeaseDeclined answers [SignLease] with a refusal: the provider's, or our own
// where the wallet cannot pay it (reason PAYMENT).
type LeaseDeclined struct {
	Peer souk.NodeKey
	Why  market.Refusal
}

// LeaseFailed answers [SignLease]: no answer came. The provider may have
// countersigned all the same.
type LeaseFailed struct {
	Peer souk.NodeKey
	Err  string
}

// RunState is what the provider reports of a run.
type RunState struct {
	Lease  souk.LeaseID
	Phase  runv1.Phase
	Reason runv1.EndReason // from PHASE_PAUSED on
	Exit   int32           // from PHASE_COLLECTING on
	Output string          // the CID of /out, from PHASE_COLLECTING on; empty where there is none
	Detail string          // one line for people
}

// LinkLost tells that the run's stream broke; the driver is already trying to
// open it again.
type LinkLost struct{ Lease souk.LeaseID }

// LinkBack tells that the run's stream is open (again).
type LinkBack struct{ Lease souk.LeaseID }

// OutputsMoving tells that outputs are arriving: it gives [FetchOutputs] more time.
type OutputsMoving struct{ Lease souk.LeaseID }

// OutputsVerified answers [FetchOutputs]: every block is here and matches the CID.
type OutputsVerified struct{ Lease souk.LeaseID }

// OutputsFailed answers [FetchOutputs]: they cannot be had.
type OutputsFailed struct {
	Lease souk.LeaseID
	Err   string
}

// Settled answers [SettleUp]: the final receipt is countersigned and its
// voucher was sent.
type Settled struct{ Lease souk.LeaseID }

// JobIdle tells that the job used its GPUs less than its owner wants.
type JobIdle struct {
	Lease  souk.LeaseID
	Detail string // how much, over which time
}

// StopAsked tells that the job's owner wants it to end.
type StopAsked struct{}

func (Tick) event()            {}
func (Candidates) event()      {}
func (Proving) event()         {}
func (Dialed) event()          {}
func (DialFailed) event()      {}
func (BidArrived) event()      {}
func (Declined) event()        {}
func (LeaseSigned) event()     {}
func (LeaseDeclined) event()   {}
func (LeaseFailed) event()     {}
func (RunState) event()        {}
func (LinkLost) event()        {}
func (LinkBack) event()        {}
func (OutputsMoving) event()   {}
func (OutputsVerified) event() {}
func (OutputsFailed) event()   {}
func (Settled) event()         {}
func (JobIdle) event()         {}
func (StopAsked) event()       {}
