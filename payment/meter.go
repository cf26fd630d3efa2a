package payment

import (
	"fmt"
	"time"

	"github.com/souk-market/souk"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
)

// Verb is what a provider must do with a run.
type Verb uint8

// The verbs. The zero Verb is to leave the run as it is.
const (
	Continue Verb = iota
	Pause         // stop the clock and the job, keep its state
	Resume        // the job may run again
	Stop          // end the job, then call [Meter.Finish]
)

// Action is a [Meter]'s decision. Reason says why a run is paused or ended.
type Action struct {
	Do     Verb
	Reason runv1.EndReason
}

// Usage is what was measured of a run since it began. Energy and counters only
// grow; a value below one that the meter was told before changes nothing.
type Usage struct {
	EnergyMillijoules uint64            // 0 where it is not measured
	Counters          map[string]uint64 // by unit; units that the tariff does not price are free
}

// phase is where a meter stands.
type phase uint8

const (
	waiting  phase = iota // Start was not called
	running               // the clock runs
	paused                // for want of a countersignature
	stopped               // Stop was said, or the job is over
	finished              // the final receipt was cut
)

// pending is a receipt that the client has not countersigned.
type pending struct {
	seq  uint64
	need souk.Atoms // what the lease's vouchers must reach with it
	run  int64      // running milliseconds up to its end
	held int64      // held milliseconds up to its end
}

// mark is where the clocks stood at a moment. From one mark to the next each clock
// first goes with the time, and then stands.
type mark struct{ at, run, held int64 }

// Meter is the provider's side of a lease: it says when a receipt is due and
// when an unpaid run must pause or end. Whoever drives it calls [Meter.Tick] no
// later than [Meter.Next] says; running time that passes the limits because a
// Tick came late is not billed, so that unpaid work never passes one interval
// and grace.
//
// A Meter has one owner. Times may carry a monotonic reading, and then a step
// of the wall clock does not change what is billed.
type Meter struct {
	terms Terms
	phase phase
	base  time.Time // when Start was called; the zero of the milliseconds below

	last     int64 // the latest time the meter was told
	issued   int64 // when the oldest pending receipt was cut, or first could be signed
	pausedAt int64

	run      int64 // running milliseconds so far
	billed   int64 // of them, covered by receipts
	accepted int64 // of them, covered by countersigned receipts

	lines        []measure
	first        souk.Atoms // what the first voucher is worth
	held         int64      // milliseconds for which devices were held so far, as far as they are billed
	heldAccepted int64      // of them, covered by countersigned receipts
	counts       []uint64   // of each line that is a counter; replaced, never written to
	marks        []mark     // since the last receipt, oldest first: what [Meter.Forgo] goes back to

	seq     uint64 // of the last receipt
	prev    souk.Digest
	end     int64 // of the last receipt, Unix milliseconds
	energy  uint64
	samples samples   // that no receipt covers
	pending []pending // oldest first: at most one interval receipt and the final one
	final   *Receipt
	paid    souk.Atoms
}

// NewMeter meters a lease by terms that are valid. What the first voucher is
// worth counts as paid: without it there is no lease.
func NewMeter(t Terms) *Meter {
	first := t.First()
	return &Meter{terms: t, first: first, paid: first, lines: t.measures(), counts: make([]uint64, len(t.Tariff))}
}

// RestoreMeter continues after a restart: receipts are all that the provider
// signed for this lease, in order, and paid is what the lease's vouchers have
// reached. The run itself is taken to be over unless Start is called. The errors
// are [ErrSequence], and [ErrMalformed] for a receipt of another tariff.
func RestoreMeter(t Terms, receipts []Receipt, paid souk.Atoms) (*Meter, error) {
	m := NewMeter(t)
	m.paid = max(m.paid, paid)
	for _, r := range receipts {
		if r.Lease != t.Lease || r.Seq != m.seq+1 || r.PrevReceipt != m.prev || m.final != nil {
			return nil, fmt.Errorf("restore lease %s at receipt %d: %w", t.Lease.Short(), r.Seq, ErrSequence)
		}
		if err := m.restore(r); err != nil {
			return nil, fmt.Errorf("restore lease %s at receipt %d: %w", t.Lease.Short(), r.Seq, err)
		}
		m.keep(r, m.quantities())
		if len(r.ClientSig) > 0 && len(m.pending) == 1 {
			m.accepted, m.heldAccepted, m.pending = m.run, m.held, nil
		}
	}
	return m, nil
}

// restore sets the clocks and counters to what r says of them.
func (m *Meter) restore(r Receipt) error {
	quantities, ok := m.terms.after(m.quantities(), r)
	if !ok {
		return fmt.Errorf("another tariff: %w", ErrMalformed)
	}
	counts := make([]uint64, len(m.lines))
	for i, l := range m.lines {
		switch l.kind {
		case deviceTime, classTime:
			m.run = int64(quantities[i] / l.speed)
		case reservedTime:
			m.held = int64(quantities[i] / l.speed)
		default:
			counts[i] = quantities[i]
		}
	}
	m.counts = counts
	return nil
}

// Start begins to bill. A second call changes nothing.
func (m *Meter) Start(now time.Time) {
	if m.phase == waiting {
		m.phase, m.base = running, now
	}
}

// Next is when Tick must be called at the latest; false means that no time will
// change anything. It may lie in the past: then a Tick is due at once.
func (m *Meter) Next() (time.Time, bool) {
	var at int64
	switch m.phase {
	case running:
		at = m.last + m.terms.MaxDuration.Milliseconds() - m.run
		if len(m.pending) > 0 {
			at = min(at, m.deadline())
		} else {
			at = min(at, m.last+m.billed+m.terms.Interval.Milliseconds()-m.run)
		}
		at = m.last + m.spare(at-m.last)
	case paused:
		at = m.pausedAt + m.terms.HoldPaused.Milliseconds()
	default:
		return time.Time{}, false
	}
	return m.base.Add(time.Duration(at) * time.Millisecond), true
}

// Tick tells the meter the time. It returns the interval receipt that is now
// due, unsigned, or nil, and what to do with the run.
func (m *Meter) Tick(now time.Time, u Usage) (*Receipt, Action) {
	m.advance(now)
	spent := m.count(u)
	switch {
	case m.phase == paused && m.last-m.pausedAt >= m.terms.HoldPaused.Milliseconds():
		m.phase = stopped
		return nil, Action{Stop, runv1.EndReason_END_REASON_CLIENT_UNPAID}
	case m.phase != running:
		return nil, Action{}
	case m.run >= m.terms.MaxDuration.Milliseconds():
		m.phase = stopped
		return nil, Action{Stop, runv1.EndReason_END_REASON_JOB_TIME}
	case spent || m.spare(1) == 0:
		m.phase = stopped
		return nil, Action{Stop, runv1.EndReason_END_REASON_RESERVE_SPENT}
	}
	var due *Receipt
	if len(m.pending) == 0 && m.run-m.billed >= m.terms.Interval.Milliseconds() {
		r := m.cut(KindInterval, souk.Digest{}, u)
		due = &r
	}
	if len(m.pending) > 0 && m.last >= m.deadline() {
		m.phase, m.pausedAt = paused, m.last
		return due, Action{Pause, runv1.EndReason_END_REASON_CLIENT_UNPAID}
	}
	return due, Action{}
}

// Countersigned tells the meter that the client countersigned receipt seq, and
// that vouchers worth leasePaid in all for this lease are in hand, both verified
// and durable. Duplicates change nothing. The errors are [ErrSequence], and
// [ErrShort] where the receipt goes on waiting for a higher voucher.
func (m *Meter) Countersigned(now time.Time, seq uint64, leasePaid souk.Atoms) (Action, error) {
	m.advance(now)
	m.paid = max(m.paid, leasePaid)
	first := m.seq + 1 // the oldest receipt not countersigned
	if len(m.pending) > 0 {
		first = m.pending[0].seq
	}
	switch {
	case seq < first:
		return Action{}, nil
	case seq > first || len(m.pending) == 0:
		return Action{}, fmt.Errorf("countersign receipt %d, next is %d: %w", seq, first, ErrSequence)
	case m.paid < m.pending[0].need:
		return Action{}, fmt.Errorf("countersign receipt %d: paid %s of %s: %w", seq, m.paid, m.pending[0].need, ErrShort)
	}
	m.accepted, m.heldAccepted, m.issued = m.pending[0].run, m.pending[0].held, m.last
	m.pending = m.pending[1:]
	if m.phase == paused {
		m.phase = running
		return Action{Do: Resume}, nil
	}
	return Action{}, nil
}

// Finish ends the run, if it has not ended, and cuts the final receipt, over
// what no receipt covers yet. It waits for nothing: an interval receipt may
// still be out, and is then countersigned first. A second call returns the same
// receipt, whatever its arguments.
func (m *Meter) Finish(now time.Time, output souk.Digest, u Usage) Receipt {
	if m.final != nil {
		return *m.final
	}
	if m.phase == waiting {
		m.base = now
	}
	m.advance(now)
	m.count(u)
	return m.cut(KindFinal, output, u)
}

// Forgo ends the run, if it has not ended, and takes back what was billed from a
// moment on: it was not what the lease promised. What a receipt has stays due: there
// is no receipt that is worth less than the one before. [Meter.Finish] follows, with
// the same moment.
func (m *Meter) Forgo(from time.Time) {
	if m.phase == waiting || m.phase == finished {
		return
	}
	m.advance(from)
	m.phase = stopped
	for at := from.Sub(m.base).Milliseconds(); at < m.last && len(m.marks) > 0; {
		k := m.marks[len(m.marks)-1]
		span := max(0, at-k.at)
		m.run, m.held = k.run+min(m.run-k.run, span), k.held+min(m.held-k.held, span)
		m.last = k.at + span
		m.marks = m.marks[:len(m.marks)-1]
	}
}

// Due is the price of all that was used up to the last time the meter was told,
// in receipts or not.
func (m *Meter) Due() souk.Atoms { return m.terms.due(m.quantities()) }

// Paid is what the lease's vouchers have reached, the first one included.
func (m *Meter) Paid() souk.Atoms { return m.paid }

// Settled tells whether the final receipt is countersigned and paid.
func (m *Meter) Settled() bool { return m.final != nil && len(m.pending) == 0 }

// bound is the running time that unpaid work may not pass. It holds without a
// pending receipt too: then it bounds a Tick that comes late.
func (m *Meter) bound() int64 {
	return min(m.terms.MaxDuration.Milliseconds(), m.accepted+m.terms.Interval.Milliseconds()+m.terms.Grace.Milliseconds())
}

// deadline is when a run with a pending receipt must pause: grace after it was
// cut, or earlier where a receipt had to wait for the one before, and the work
// since the last countersignature reaches an interval and grace.
func (m *Meter) deadline() int64 {
	return min(m.issued+m.terms.Grace.Milliseconds(), m.last+m.bound()-m.run)
}

// advance moves the clock to now, and the running and the held time with it as
// far as they are billed. A now before the last one changes nothing.
func (m *Meter) advance(now time.Time) {
	at := now.Sub(m.base).Milliseconds()
	if m.phase == waiting || at <= m.last {
		return
	}
	m.marks = append(m.marks, mark{m.last, m.run, m.held})
	switch m.phase {
	case running:
		until := min(at, m.last+m.bound()-m.run)
		if len(m.pending) > 0 {
			until = min(until, m.deadline())
		}
		if ms := m.spare(until - m.last); ms > 0 {
			m.run += ms
			m.hold(ms)
		}
	case paused:
		m.hold(at - m.last)
	}
	m.last = at
}

// cut makes the next receipt, over all that no receipt covers.
func (m *Meter) cut(kind uint8, output souk.Digest, u Usage) Receipt {
	start := m.end
	if m.seq == 0 {
		start = m.base.UnixMilli()
	}
	quantities := m.quantities()
	r := Receipt{
		Version:           m.terms.Version,
		Lease:             m.terms.Lease,
		Job:               m.terms.Job,
		Channel:           m.terms.Channel,
		ProviderKey:       m.terms.ProviderKey,
		ClientKey:         m.terms.ClientKey,
		Seq:               m.seq + 1,
		Kind:              kind,
		StartMs:           start,
		EndMs:             max(m.end, m.base.UnixMilli()+m.last),
		EnergyMillijoules: max(u.EnergyMillijoules, m.energy) - m.energy,
		CumulativeDue:     m.terms.due(quantities),
		InputDigest:       m.terms.InputDigest,
		OutputDigest:      output,
		PrevReceipt:       m.prev,
	}
	r.TelemetryRoot = m.samples.root(r.EndMs)
	m.samples.cover(r.EndMs)
	if r.isOne() {
		r.DeviceMilliseconds = uint64(m.run-m.billed) * m.lines[0].speed
		r.PriceAtomsPerHour = m.lines[0].Price
	} else {
		r.Usage = usageOf(m.terms.Tariff, quantities)
	}
	m.energy = max(u.EnergyMillijoules, m.energy)
	m.keep(r, quantities)
	return r
}

// keep makes r the last receipt, waiting for its countersignature. By it, such
// quantities were used.
func (m *Meter) keep(r Receipt, quantities []uint64) {
	p := pending{r.Seq, m.terms.need(m.lines, m.first, quantities), m.run, m.held}
	if r.Kind == KindFinal {
		p.need = r.CumulativeDue
		m.final, m.phase = &r, finished
	}
	if len(m.pending) == 0 {
		m.issued = m.last
	}
	m.pending, m.marks = append(m.pending, p), nil
	m.seq, m.prev, m.end, m.billed = r.Seq, r.Digest(m.terms.Domain), r.EndMs, m.run
}
