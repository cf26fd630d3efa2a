package scheduler

import (
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
)

// TenancyEvent is something that happened to a [Tenancy]: what [Tenancy.Step]
// takes. One that comes twice, late or where it does not belong changes nothing.
// A [Tick] is one too.
type TenancyEvent interface{ tenancyEvent() }

// DepositSent tells, while [SubmitDeposit] is out, in which transaction the
// deposit is. The driver goes on only once the [StoreTenancy] that follows is
// done: a provider that restarts must know the transaction.
type DepositSent struct{ Tx string }

// DepositCounted answers [SubmitDeposit]: the chain has the deposit, as deep as
// its amount asks.
type DepositCounted struct{}

// FundingFailed answers [SubmitDeposit]: there will be no deposit.
type FundingFailed struct {
	Reason runv1.EndReason // CLIENT_UNFUNDED or PROVIDER_FAILED
	Detail string          // one line for people
}

// BackingIs answers [CheckBacking].
type BackingIs struct {
	Enough  bool // the chain holds what every lease may cost that does not wait for its own deposit
	Pending bool // a deposit of another lease is on its way and may yet bring the rest
}

// JobReceived tells that the client's job message is here; it is not checked yet.
type JobReceived struct{}

// InputsStaged answers [StageInputs]: the job is the leased one, and all that it
// names is here.
type InputsStaged struct{}

// StagingFailed answers [StageInputs].
type StagingFailed struct {
	Reason runv1.EndReason // CLIENT_INPUTS, JOB_INVALID, UNSUPPORTED or PROVIDER_FAILED
	Detail string
}

// RunStarted answers [StartRun]: the job runs.
type RunStarted struct{}

// RunMeasured tells what the run has used so far, and the time, as a [Tick] does.
type RunMeasured struct{ Usage payment.Usage }

// RunOver tells that the job's process is gone and all its output written.
type RunOver struct {
	Until  time.Time       // nothing later is billed; zero: it is billed to its end
	Reason runv1.EndReason // the runner's; that of whoever stopped the run counts before it
	Exit   int32
	Detail string
	Usage  payment.Usage
}

// OutputsStored answers [StoreOutputs]: the outputs are in the store, and the
// client may fetch them.
type OutputsStored struct {
	Output string      // the CID of /out; empty where there is nothing to fetch
	Digest souk.Digest // the digest in that CID
}

// OutputsNotStored answers [StoreOutputs].
type OutputsNotStored struct{ Detail string }

// CountersignReceived is the client's answer to the oldest receipt that it owes
// one to. Nothing in it is checked yet.
type CountersignReceived struct {
	Receipt   []byte // digest
	Signature []byte
	Paid      uint64 // atoms of the voucher that are for this lease, in all
	Voucher   payment.Voucher
}

// CountersignPosted answers [PostCountersign]: the receipt and its voucher are
// durable.
type CountersignPosted struct {
	Seq       uint64
	Overdrawn bool // a withdrawal takes what was promised: no more work is done on the channel
}

// CountersignRefused answers [PostCountersign]: the voucher does not hold.
type CountersignRefused struct{ Seq uint64 }

// ReleaseAsked is the client's wish to end the lease.
type ReleaseAsked struct{ Discard bool } // the outputs are not wanted

// ReclaimAsked is the owner taking a device back: the run may go on for the
// notice, and ends then. Of several, the earliest end counts.
type ReclaimAsked struct {
	Notice time.Duration
	Broken bool // the lease does not provide for it: its end is the provider's doing
}

// DiskLow tells that the disk's floor is passed. The driver says it again, as
// long as that is so, when a run has started.
type DiskLow struct{}

// DeviceFailed tells that a device of the lease, or the host around it, has failed:
// what runs on it is lost.
type DeviceFailed struct {
	Reason runv1.EndReason // DEVICE_FAILED; PROVIDER_FAILED where it is the host's doing
	Detail string          // one line for people
	Until  time.Time       // when all was seen to be well for the last time: nothing later is billed; zero: it is billed to its end
}

// ProviderStopping tells that the daemon is stopping.
type ProviderStopping struct{}

// ProviderFailed tells that the driver could not do an action, and did none of
// those behind it.
type ProviderFailed struct {
	Detail string          // one line for people
	Reason runv1.EndReason // DEVICES_UNPROVED of a start; zero: PROVIDER_FAILED
}

// StoreFailed tells that [StoreTenancy] could not be done: nothing of it is
// durable, and no action behind it was done. It is the next event after the
// [Tenancy.Step] that gave the action.
type StoreFailed struct{ Detail string }

func (Tick) tenancyEvent()                {}
func (DepositSent) tenancyEvent()         {}
func (DepositCounted) tenancyEvent()      {}
func (FundingFailed) tenancyEvent()       {}
func (BackingIs) tenancyEvent()           {}
func (JobReceived) tenancyEvent()         {}
func (InputsStaged) tenancyEvent()        {}
func (StagingFailed) tenancyEvent()       {}
func (RunStarted) tenancyEvent()          {}
func (RunMeasured) tenancyEvent()         {}
func (RunOver) tenancyEvent()             {}
func (OutputsStored) tenancyEvent()       {}
func (OutputsNotStored) tenancyEvent()    {}
func (CountersignReceived) tenancyEvent() {}
func (CountersignPosted) tenancyEvent()   {}
func (CountersignRefused) tenancyEvent()  {}
func (ReleaseAsked) tenancyEvent()        {}
func (ReclaimAsked) tenancyEvent()        {}
func (DiskLow) tenancyEvent()             {}
func (DeviceFailed) tenancyEvent()        {}
func (ProviderStopping) tenancyEvent()    {}
func (ProviderFailed) tenancyEvent()      {}
func (StoreFailed) tenancyEvent()         {}
