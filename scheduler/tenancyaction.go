package scheduler

import (
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
)

// TenancyAction is something a [Tenancy] wants done: what [Tenancy.Step] returns.
// The driver does them in order. Where it cannot do one it drops those behind it
// and says so by [ProviderFailed], or [StoreFailed]; [FreeDevices] and
// [WithdrawOutputs] cannot fail.
type TenancyAction interface{ tenancyAction() }

// StoreTenancy makes the tenancy's state durable, with receipts that the driver
// signs, in one transaction; with a final receipt, the lease keeps of its channel
// only what that says is due. What the client sees of the run is what was stored.
// No later action is done before it is durable.
type StoreTenancy struct {
	State    TenancyState
	Receipts []payment.Receipt // unsigned, oldest first
}

// SubmitDeposit sends the client's deposit authorization, unless the chain has it,
// and waits for its depth until By. [DepositSent] tells of the transaction;
// [DepositCounted] or [FundingFailed] answers.
type SubmitDeposit struct {
	Known string // the transaction that the provider sent before a restart; empty for none
	By    time.Time
}

// CheckBacking asks whether the chain holds what the lease counts on; [BackingIs]
// answers.
type CheckBacking struct{}

// StageInputs checks the client's job and fetches what it names until By;
// [InputsStaged] or [StagingFailed] answers.
type StageInputs struct{ By time.Time }

// StartRun starts the job; [RunStarted] or [ProviderFailed] answers. From then on
// [RunOver] tells when its process is gone, whoever ends it.
type StartRun struct{}

// PauseRun stops the job's clock and the job.
type PauseRun struct{}

// ResumeRun lets a paused job go on.
type ResumeRun struct{}

// SignalRun tells the job that it has some time to save its state. A runner that
// cannot do that does nothing.
type SignalRun struct{}

// StopRun ends the job; [RunOver] follows.
type StopRun struct{}

// FreeDevices gives the lease's devices back: nothing runs on them any more.
type FreeDevices struct{}

// StoreOutputs puts the run's outputs into the store, for the client alone;
// [OutputsStored] or [OutputsNotStored] answers.
type StoreOutputs struct{}

// GrantOutputs lets the client fetch outputs that the provider stored before a
// restart.
type GrantOutputs struct{ Output string }

// WithdrawOutputs takes that back.
type WithdrawOutputs struct{ Output string }

// PostCountersign makes a countersigned receipt and its voucher durable with the
// usage they stand for, once the voucher is checked; [CountersignPosted] or
// [CountersignRefused] answers.
type PostCountersign struct {
	Receipt payment.Receipt // with the client's signature, which is verified
	Voucher payment.Voucher // not verified
	Paid    souk.Atoms      // of the voucher, for this lease, in all: at least what is due, at most the reserve
}

// RejectCountersign tells of an answer that is wrong; it changed nothing. One to a
// receipt that is done, as a repeated one is, has [payment.ErrSequence].
type RejectCountersign struct{ Err error }

// SuspendTenancy is the last action before the daemon ends: what ran is receipted
// and stored, and the next start goes on from there.
type SuspendTenancy struct{}

// EndTenancy is the last action: remove the job's files, then make the end
// durable, with which the lease has no part of its channel any more. On a full
// disk it is done again when there is space.
type EndTenancy struct{ State TenancyState }

func (StoreTenancy) tenancyAction()      {}
func (SubmitDeposit) tenancyAction()     {}
func (CheckBacking) tenancyAction()      {}
func (StageInputs) tenancyAction()       {}
func (StartRun) tenancyAction()          {}
func (PauseRun) tenancyAction()          {}
func (ResumeRun) tenancyAction()         {}
func (SignalRun) tenancyAction()         {}
func (StopRun) tenancyAction()           {}
func (FreeDevices) tenancyAction()       {}
func (StoreOutputs) tenancyAction()      {}
func (GrantOutputs) tenancyAction()      {}
func (WithdrawOutputs) tenancyAction()   {}
func (PostCountersign) tenancyAction()   {}
func (RejectCountersign) tenancyAction() {}
func (SuspendTenancy) tenancyAction()    {}
func (EndTenancy) tenancyAction()        {}
