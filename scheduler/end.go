package scheduler

import (
	"fmt"

	"github.com/souk-market/souk"
	jobv1 "github.com/souk-market/souk/proto/souk/job/v1"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
)

// State is where a job stands, as its owner sees it: String gives the states of
// souk.api.v1.JobSummary.
type State uint8

// The states of a job. From [Done] on it has ended.
const (
	Matching State = iota
	Leasing
	Funding
	Staging
	Running
	Paused
	Collecting
	Done
	Failed
	NoMatch
	Unpaid
	Stopped
)

var stateNames = [...]string{"matching", "leasing", "funding", "staging", "running", "paused", "collecting",
	"done", "failed", "no-match", "unpaid", "stopped"}

// String is the state in the words of the local API.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("state-%d", uint8(s))
}

// Ended tells whether s is one of the states in which nothing follows.
func (s State) Ended() bool { return s >= Done }

// Reason says why a job or one attempt at it ended, and by its first word who
// ended it. The set is closed; it is what JobSummary.reason holds.
type Reason string

// The reasons that the client's side finds by itself.
const (
	ReasonNoOffer        Reason = "no-offer"           // no offer fits
	ReasonDeclined       Reason = "declined"           // every provider asked declined, or lost the race for its devices
	ReasonNoAnswer       Reason = "no-answer"          // no provider asked could be reached
	ReasonPaymentRefused Reason = "payment-refused"    // no provider took our payment, or the wallet is short
	ReasonStartTimeout   Reason = "start-timeout"      // not running within limits.start_within
	ReasonFundingTimeout Reason = "funding-timeout"    // the deposit was not confirmed in time
	ReasonExitCode       Reason = "job-exit-code"      // the job ended with a code other than 0
	ReasonNoOutputs      Reason = "outputs-failed"     // the outputs could not be fetched or verified
	ReasonJobIdle        Reason = "job-idle"           // it used its GPUs less than limits.min_gpu_util
	ReasonStopped        Reason = "stopped-by-owner"   // the owner asked
	ReasonUnknown        Reason = "provider-ended-run" // a reason of a later version
)

// The reasons that come with a run's end; see souk.run.v1.EndReason.
const (
	ReasonCompleted         Reason = "completed"
	ReasonJobMemory         Reason = "job-memory"
	ReasonJobTime           Reason = "job-time"
	ReasonJobDisk           Reason = "job-disk"
	ReasonJobInvalid        Reason = "job-invalid"
	ReasonClientReleased    Reason = "client-released"
	ReasonClientUnpaid      Reason = "client-unpaid"
	ReasonClientUnfunded    Reason = "client-unfunded"
	ReasonClientInputs      Reason = "client-inputs"
	ReasonClientOutputs     Reason = "client-outputs"
	ReasonProviderStopped   Reason = "provider-stopped"
	ReasonProviderRestarted Reason = "provider-restarted"
	ReasonProviderFailed    Reason = "provider-failed"
	ReasonDeviceFailed      Reason = "device-failed"    // the lease's device, and neither its provider's deed nor the job's
	ReasonDevicesUnproved   Reason = "devices-unproved" // the job was not started: what it would run in did not prove to have exactly the leased devices
	ReasonProviderLost      Reason = "provider-lost"
	ReasonProviderCheated   Reason = "provider-cheated"
	ReasonReserveSpent      Reason = "reserve-spent"
	ReasonReclaimed         Reason = "reclaimed"
	ReasonUnsupported       Reason = "unsupported" // the lease or the job needs what the provider does not understand
)

// ending is what a run's end means for its job.
type ending struct {
	reason Reason
	state  State            // when it is not tried again
	retry  jobv1.RetryCause // the cause under which it may be; zero for none
	result bool             // the job itself ended: outputs are fetched and the rest is paid
}

const (
	noRetry   = jobv1.RetryCause_RETRY_CAUSE_UNSPECIFIED
	lost      = jobv1.RetryCause_RETRY_CAUSE_PROVIDER_LOST
	reclaimed = jobv1.RetryCause_RETRY_CAUSE_RECLAIMED
)

var endings = map[runv1.EndReason]ending{
	runv1.EndReason_END_REASON_COMPLETED:          {ReasonCompleted, Done, noRetry, true},
	runv1.EndReason_END_REASON_JOB_MEMORY:         {ReasonJobMemory, Failed, noRetry, true},
	runv1.EndReason_END_REASON_JOB_TIME:           {ReasonJobTime, Failed, noRetry, true},
	runv1.EndReason_END_REASON_JOB_DISK:           {ReasonJobDisk, Failed, noRetry, true},
	runv1.EndReason_END_REASON_JOB_INVALID:        {ReasonJobInvalid, Failed, noRetry, true},
	runv1.EndReason_END_REASON_RESERVE_SPENT:      {ReasonReserveSpent, Failed, noRetry, true},
	runv1.EndReason_END_REASON_CLIENT_RELEASED:    {ReasonClientReleased, Stopped, noRetry, true},
	runv1.EndReason_END_REASON_CLIENT_UNPAID:      {ReasonClientUnpaid, Unpaid, noRetry, false},
	runv1.EndReason_END_REASON_CLIENT_UNFUNDED:    {ReasonClientUnfunded, Unpaid, noRetry, false},
	runv1.EndReason_END_REASON_CLIENT_INPUTS:      {ReasonClientInputs, Failed, noRetry, false},
	runv1.EndReason_END_REASON_CLIENT_OUTPUTS:     {ReasonClientOutputs, Failed, noRetry, false},
	runv1.EndReason_END_REASON_PROVIDER_STOPPED:   {ReasonProviderStopped, Failed, lost, false},
	runv1.EndReason_END_REASON_PROVIDER_RESTARTED: {ReasonProviderRestarted, Failed, lost, false},
	runv1.EndReason_END_REASON_PROVIDER_FAILED:    {ReasonProviderFailed, Failed, lost, false},
	runv1.EndReason_END_REASON_DEVICE_FAILED:      {ReasonDeviceFailed, Failed, lost, false},
	runv1.EndReason_END_REASON_DEVICES_UNPROVED:   {ReasonDevicesUnproved, Failed, lost, false},
	runv1.EndReason_END_REASON_PROVIDER_LOST:      {ReasonProviderLost, Failed, lost, false},
	runv1.EndReason_END_REASON_PROVIDER_CHEATED:   {ReasonProviderCheated, Failed, lost, false},
	runv1.EndReason_END_REASON_RECLAIMED:          {ReasonReclaimed, Failed, reclaimed, false},
	runv1.EndReason_END_REASON_UNSUPPORTED:        {ReasonUnsupported, Failed, noRetry, false},
}

// endingOf is what a run's end means. A reason of a later version is taken as
// the provider's doing.
func endingOf(r runv1.EndReason) ending {
	if e, ok := endings[r]; ok {
		return e
	}
	return ending{ReasonUnknown, Failed, lost, false}
}

// ReasonOf is the text of a run's end, for the provider's side too.
func ReasonOf(r runv1.EndReason) Reason { return endingOf(r).reason }

// End is how a job ended.
type End struct {
	State  State  // [Done] or one after it
	Reason Reason // why
	Exit   int32  // the job's exit code; meaningful when the job ended by itself
	Output string // the CID of /out; empty where there is none or it was not fetched
	Detail string // one line for people; may be empty
}

// Attempt is a lease at one provider that is over and was followed by another.
type Attempt struct {
	Peer   souk.NodeKey
	Lease  souk.LeaseID
	Reason Reason
	Detail string
	Misses []Miss // who was asked before and did not take the job
}

// Miss is one provider that did not take the job.
type Miss struct {
	Peer      souk.NodeKey
	Reason    string // a decline's name, or "unreachable", "no-answer", "lease-failed"
	Shortfall uint64 // in the decline's unit
	Detail    string // one line for people
}
