package payment

import (
	"fmt"
	"time"

	"github.com/souk-market/souk"
)

// Slack is by how much a provider's count of time may run ahead of the client's
// own clock. It is granted once per lease, not once per receipt.
const Slack = 2 * time.Second

// Skew is by how much a receipt may end later than the client's clock shows.
const Skew = 30 * time.Second

// Reason says which check a receipt did not pass.
type Reason string

// The reasons. All but [BadSequence] mean that the provider signed, or passed
// on, what the lease does not allow.
const (
	BadSequence  Reason = "sequence"  // not the next receipt: an old one, or one was lost on the way
	BadParties   Reason = "parties"   // another lease, job, channel, key, tariff, version or input
	BadChain     Reason = "chain"     // does not continue the receipt before
	BadForm      Reason = "form"      // kind, or an output digest where none belongs
	BadTime      Reason = "time"      // overlaps the receipt before, lies ahead, or spans more than has passed
	BadUsage     Reason = "usage"     // more time than devices and time allow, a quantity that shrinks, or an interval cut short
	BadAmount    Reason = "amount"    // not the price of the usage, in a line or in all, or past the reserve
	BadTelemetry Reason = "telemetry" // its root is not that of the samples which the provider sent
	BadSignature Reason = "signature" // not the provider's
)

// ReceiptError is returned for a receipt that must not be countersigned.
type ReceiptError struct {
	Seq    uint64
	Reason Reason
	Detail string
}

func (e *ReceiptError) Error() string {
	return fmt.Sprintf("receipt %d: %s: %s", e.Seq, e.Reason, e.Detail)
}

// Payer is the client's side of a lease: it says whether a receipt is right and
// what to pay on it. A Payer has one owner.
type Payer struct {
	terms Terms

	began      time.Time // on the client's clock, before the run can have started
	firstStart int64     // of the first receipt, Unix milliseconds
	seq        uint64    // of the last receipt accepted
	digest     souk.Digest
	end        int64
	lines      []measure
	first      souk.Atoms // what the first voucher is worth
	quantities []uint64   // of each line, by the last receipt accepted
	due        souk.Atoms
	paid       souk.Atoms
	asked      souk.Atoms // what Check answered for the last receipt
	final      bool
	samples    samples // that no receipt covers
	resumed    bool    // no sample came since a restart that no receipt covers
}

// NewPayer checks receipts by terms that are valid. What the first voucher is
// worth counts as paid.
func NewPayer(t Terms) *Payer {
	first := t.First()
	return &Payer{terms: t, first: first, paid: first, lines: t.measures(), quantities: make([]uint64, len(t.Tariff))}
}

// RestorePayer continues after a restart: receipts are all that the client
// countersigned for this lease, in order. The errors are [ErrSequence], and
// [ErrMalformed] for a receipt of another tariff.
func RestorePayer(t Terms, receipts []Receipt) (*Payer, error) {
	p := NewPayer(t)
	for _, r := range receipts {
		if r.Lease != t.Lease || r.Seq != p.seq+1 || r.PrevReceipt != p.digest || p.final {
			return nil, fmt.Errorf("restore lease %s at receipt %d: %w", t.Lease.Short(), r.Seq, ErrSequence)
		}
		if _, ok := t.after(p.quantities, r); !ok {
			return nil, fmt.Errorf("restore lease %s at receipt %d: another tariff: %w", t.Lease.Short(), r.Seq, ErrMalformed)
		}
		p.Accept(r)
	}
	p.resumed = len(receipts) > 0
	return p, nil
}

// Start tells the payer a time at which the run had not started yet, such as
// that of the lease. Without it, the first receipt is believed about its own
// length.
func (p *Payer) Start(now time.Time) { p.began = now }

// Check tells whether r may be countersigned, and what the vouchers for this
// lease must then be worth in all. The last receipt accepted is answered as
// before. The error is a [*ReceiptError]; Check changes nothing that matters,
// and may be repeated.
func (p *Payer) Check(now time.Time, r Receipt) (leasePaid souk.Atoms, err error) {
	leasePaid, known, err := p.judge(now, r)
	if err != nil || known {
		return leasePaid, err
	}
	if err := r.VerifyProvider(p.terms.Domain); err != nil {
		return 0, &ReceiptError{r.Seq, BadSignature, err.Error()}
	}
	return leasePaid, nil
}

// judge is Check but for the signature; known tells that r is the last receipt
// accepted.
func (p *Payer) judge(now time.Time, r Receipt) (leasePaid souk.Atoms, known bool, err error) {
	digest := r.Digest(p.terms.Domain)
	if p.seq > 0 && r.Seq == p.seq && digest == p.digest {
		return p.asked, true, nil
	}
	if p.began.IsZero() {
		p.began = now.Add(-time.Duration(min(max(r.EndMs-r.StartMs, 0), maxTerm.Milliseconds())) * time.Millisecond)
	}
	quantities, sameTariff := p.terms.after(p.quantities, r)
	e := p.checkPlace(r, sameTariff)
	if e == nil {
		e = p.checkTime(now, r)
	}
	if e == nil {
		e = p.checkUsage(r, quantities)
	}
	if e == nil {
		e = p.checkAmount(r, quantities)
	}
	if e == nil {
		e = p.checkTelemetry(r)
	}
	if e != nil {
		e.Seq = r.Seq
		return 0, false, e
	}
	return p.need(r, quantities), false, nil
}

// Accept tells the payer that r, which passed Check, is countersigned and
// durable together with its voucher. Any other receipt than the next changes
// nothing.
func (p *Payer) Accept(r Receipt) {
	quantities, ok := p.terms.after(p.quantities, r)
	if r.Seq != p.seq+1 || p.final || !ok {
		return
	}
	if p.seq == 0 {
		p.firstStart = r.StartMs
	}
	p.asked = p.need(r, quantities)
	p.paid = max(p.paid, p.asked)
	p.seq, p.digest, p.end = r.Seq, r.Digest(p.terms.Domain), r.EndMs
	p.quantities, p.due = quantities, r.CumulativeDue
	p.final = r.Kind == KindFinal
	p.samples.cover(r.EndMs)
}

// Paid is what the lease's vouchers have reached, the first one included.
func (p *Payer) Paid() souk.Atoms { return p.paid }

// Due is what the last receipt accepted says is due.
func (p *Payer) Due() souk.Atoms { return p.due }

// Receipts is how many receipts were accepted.
func (p *Payer) Receipts() int { return int(p.seq) }

// Done tells whether the final receipt was accepted.
func (p *Payer) Done() bool { return p.final }

// need is what vouchers must be worth with r, by which so much was used.
func (p *Payer) need(r Receipt, quantities []uint64) souk.Atoms {
	if r.Kind == KindFinal {
		return r.CumulativeDue
	}
	return p.terms.need(p.lines, p.first, quantities)
}

// checkPlace checks what r is part of, and its place there.
func (p *Payer) checkPlace(r Receipt, sameTariff bool) *ReceiptError {
	t := &p.terms
	switch {
	case r.Lease != t.Lease, r.Job != t.Job, r.Channel != t.Channel,
		r.ProviderKey != t.ProviderKey, r.ClientKey != t.ClientKey,
		!sameTariff, r.InputDigest != t.InputDigest:
		return &ReceiptError{Reason: BadParties, Detail: "not what the lease says"}
	case p.final || r.Seq != p.seq+1:
		return &ReceiptError{Reason: BadSequence, Detail: fmt.Sprintf("after receipt %d", p.seq)}
	case r.PrevReceipt != p.digest:
		return &ReceiptError{Reason: BadChain, Detail: fmt.Sprintf("previous is %s, want %s", r.PrevReceipt.Short(), p.digest.Short())}
	case r.Kind != KindInterval && r.Kind != KindFinal:
		return &ReceiptError{Reason: BadForm, Detail: fmt.Sprintf("kind %d", r.Kind)}
	case r.Kind == KindInterval && !r.OutputDigest.IsZero():
		return &ReceiptError{Reason: BadForm, Detail: "output digest in an interval receipt"}
	}
	return nil
}

// checkTime checks r's time against the receipt before and the client's clock.
func (p *Payer) checkTime(now time.Time, r Receipt) *ReceiptError {
	first := p.firstStart
	if p.seq == 0 {
		first = r.StartMs
	}
	passed := now.Sub(p.began).Milliseconds() + Slack.Milliseconds()
	switch {
	case r.StartMs < p.end || r.StartMs < 0 || r.EndMs < r.StartMs:
		return &ReceiptError{Reason: BadTime, Detail: fmt.Sprintf("from %d to %d after %d", r.StartMs, r.EndMs, p.end)}
	case r.EndMs > now.Add(Skew).UnixMilli():
		return &ReceiptError{Reason: BadTime, Detail: "ends in the future"}
	case r.EndMs-first > passed:
		return &ReceiptError{Reason: BadTime, Detail: fmt.Sprintf("%d ms since the first start, at most %d passed", r.EndMs-first, passed)}
	}
	return nil
}

// checkUsage checks what was used of each line since the receipt before, and up
// to r in all.
func (p *Payer) checkUsage(r Receipt, quantities []uint64) *ReceiptError {
	span, interval := uint64(r.EndMs-r.StartMs), uint64(p.terms.Interval.Milliseconds())
	if r.Kind == KindInterval && span < interval {
		return &ReceiptError{Reason: BadUsage, Detail: fmt.Sprintf("%d ms are less than an interval", span)}
	}
	for i, l := range p.lines {
		total, before := quantities[i], p.quantities[i]
		if r.isOne() && r.DeviceMilliseconds > l.speed*span { // before a sum can overflow
			return &ReceiptError{Reason: BadUsage, Detail: fmt.Sprintf("%d device ms within %d ms", r.DeviceMilliseconds, span)}
		}
		if total < before {
			return &ReceiptError{Reason: BadUsage, Detail: fmt.Sprintf("%s: %d after %d", l.Unit, total, before)}
		}
		if l.kind == counter {
			continue
		}
		used := total - before
		switch {
		case used > l.speed*span:
			return &ReceiptError{Reason: BadUsage, Detail: fmt.Sprintf("%s: %d more on %d devices within %d ms", l.Unit, used, l.speed, span)}
		case used%l.speed != 0:
			return &ReceiptError{Reason: BadUsage, Detail: fmt.Sprintf("%s: %d more, not alike on %d devices", l.Unit, used, l.speed)}
		case l.kind == reservedTime: // held time has no longest, and is paid within the reserve
		case total > l.speed*uint64(p.terms.MaxDuration.Milliseconds()):
			return &ReceiptError{Reason: BadUsage, Detail: fmt.Sprintf("%s: %d in all, at most %s on %d devices", l.Unit, total, p.terms.MaxDuration, l.speed)}
		case r.Kind == KindInterval && used < l.speed*interval:
			return &ReceiptError{Reason: BadUsage, Detail: fmt.Sprintf("%s: %d more are less than an interval", l.Unit, used)}
		}
	}
	return nil
}

// checkAmount checks the price of what was used, line by line and in all.
func (p *Payer) checkAmount(r Receipt, quantities []uint64) *ReceiptError {
	for _, l := range r.Usage {
		if due, err := l.Line.Due(l.Quantity); err != nil || l.Due != due {
			return &ReceiptError{Reason: BadAmount, Detail: fmt.Sprintf("%s: due %s for %d, want %s", l.Unit, l.Due, l.Quantity, due)}
		}
	}
	due, err := p.terms.Tariff.Due(quantities)
	if err != nil || r.CumulativeDue != due || due > p.terms.Reserve {
		return &ReceiptError{Reason: BadAmount, Detail: fmt.Sprintf("due %s, want %s, reserve %s", r.CumulativeDue, due, p.terms.Reserve)}
	}
	return nil
}
