package payment

import (
	"fmt"
	"math"
	"math/bits"
	"time"

	"github.com/souk-market/souk"
)

// Terms are what a lease says about money, as both sides meter it. Durations
// count whole milliseconds.
type Terms struct {
	Lease             souk.LeaseID
	Job               souk.JobID
	Channel           souk.ChannelID
	Domain            EIP712Domain
	ProviderKey       souk.NodeKey
	ClientKey         souk.NodeKey
	PriceAtomsPerHour uint64        // of one device
	Devices           int           // how many are leased, at least 1
	Interval          time.Duration // running time between receipts
	Grace             time.Duration // how long a receipt may wait for its countersignature
	HoldPaused        time.Duration // how long an unpaid run is kept paused before it ends
	MaxDuration       time.Duration // the longest running time
	PayAhead          time.Duration // running time by which vouchers run ahead of receipts
	Reserve           souk.Atoms    // the most the lease may cost
	InputDigest       souk.Digest   // zero where there are no inputs
}

// maxTerm bounds each duration of a lease, so that no sum of them overflows.
const maxTerm = 366 * 24 * time.Hour

// Validate tells whether a meter can work by these terms. The error is
// [ErrMalformed].
func (t Terms) Validate() error {
	switch {
	case t.Devices < 1 || t.Devices > 1<<16:
		return fmt.Errorf("terms: %d devices: %w", t.Devices, ErrMalformed)
	case t.Interval < 100*time.Millisecond:
		return fmt.Errorf("terms: interval %s, at least 100ms: %w", t.Interval, ErrMalformed)
	case t.Reserve < 0:
		return fmt.Errorf("terms: reserve of %d atoms: %w", t.Reserve, ErrMalformed)
	}
	for _, d := range []time.Duration{t.Interval, t.Grace, t.HoldPaused, t.MaxDuration, t.PayAhead} {
		if d < 0 || d > maxTerm {
			return fmt.Errorf("terms: duration %s, at most %s: %w", d, maxTerm, ErrMalformed)
		}
	}
	return nil
}

// First is what the first voucher must be worth: one interval and what is paid
// ahead, or the reserve where that is less.
func (t Terms) First() souk.Atoms {
	return t.due(t.Interval.Milliseconds() + t.PayAhead.Milliseconds())
}

// need is what vouchers must be worth for this lease once a receipt says that
// runMs milliseconds have run: what is paid ahead included, but never below the
// first voucher nor above the reserve.
func (t Terms) need(runMs int64) souk.Atoms {
	return max(t.First(), t.due(runMs+t.PayAhead.Milliseconds()))
}

// due is the price of runMs milliseconds on all devices, at most the reserve.
func (t Terms) due(runMs int64) souk.Atoms {
	due, err := Due(t.PriceAtomsPerHour, uint64(t.Devices)*uint64(runMs))
	if err != nil { // past the range of atoms is past the reserve too
		return t.Reserve
	}
	return min(due, t.Reserve)
}

// affordable is how many milliseconds may run before the price of all devices
// would pass the reserve.
func (t Terms) affordable() int64 {
	over, rate := bits.Mul64(t.PriceAtomsPerHour, uint64(t.Devices))
	hi, lo := bits.Mul64(uint64(t.Reserve), souk.MillisPerHour)
	if over > 0 {
		return 0
	}
	if hi >= rate {
		return math.MaxInt64
	}
	ms, _ := bits.Div64(hi, lo, rate)
	return int64(min(ms, math.MaxInt64))
}
