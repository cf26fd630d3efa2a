package payment

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/souk-market/souk"
)

// amount is one of several, near which a check may be wrong.
func (w *channelOfLies) amount(near ...souk.Atoms) souk.Atoms {
	a := near[w.rng.IntN(len(near))]
	return max(0, a+souk.Atoms(w.rng.IntN(3)-1))
}

// lease signs the deal at both sides; false where the first voucher is refused.
func (w *channelOfLies) lease(i int) error {
	d := w.deals[i]
	first := d.terms.First()
	d.payer, d.began = NewPayer(d.terms), w.now
	d.payer.Start(w.now)
	if err := w.ours.Open(d.terms.Lease, d.terms.Reserve, 0); err != nil {
		return err
	}
	shown, err := w.promise(d, first)
	if err != nil {
		return err
	}
	if w.liar == theClient && w.rng.IntN(2) == 0 {
		w.worst.lies++
		shown.MaxClaimable = w.amount(0, first, w.theirs.Voucher.MaxClaimable, shown.MaxClaimable) // one voucher at many leases
	}
	theirs := w.theirs.Clone()
	err = theirs.Open(d.terms.Lease, d.terms.Reserve, 0)
	if err == nil {
		err = theirs.Show(d.terms.Lease, first, shown)
	}
	if err != nil {
		if w.liar != theClient {
			return fmt.Errorf("an honest first voucher: %w", err)
		}
		return nil // no lease
	}
	w.theirs = theirs
	d.meter, d.base = NewMeter(d.terms), w.now
	d.meter.Start(w.now)
	d.running = true
	w.worst.deals++
	return nil
}

// promise is the client's durable part of a payment: the voucher it signs.
func (w *channelOfLies) promise(d *deal, paid souk.Atoms) (Voucher, error) {
	total, err := w.ours.Promise(d.terms.Lease, paid)
	v := Voucher{Channel: d.terms.Channel, MaxClaimable: total}
	if err == nil {
		w.ours.Take(v)
	}
	return v, err
}

// clock is the provider's; a liar's is fast.
func (w *channelOfLies) clock(d *deal) time.Time {
	if w.liar != theProvider {
		return w.now
	}
	return d.base.Add(w.now.Sub(d.base) * time.Duration(d.fast) / 100)
}

// pass lets time go on, to the next tick at most.
func (w *channelOfLies) pass() {
	dt := time.Duration(1+w.rng.IntN(1500)) * time.Millisecond
	for _, d := range w.deals {
		if d.meter == nil || w.liar == theProvider {
			continue
		}
		if next, ok := d.meter.Next(); ok {
			dt = min(dt, max(0, next.Sub(w.now)))
		}
	}
	w.now = w.now.Add(dt)
	for i, d := range w.deals {
		if d.meter == nil {
			continue
		}
		if d.running {
			d.ran += dt.Milliseconds()
		}
		r, a := d.meter.Tick(w.clock(d), Usage{})
		if r != nil {
			w.cut(i, *r)
		}
		w.act(i, a)
	}
}

func (w *channelOfLies) act(i int, a Action) {
	d := w.deals[i]
	switch a.Do {
	case Pause:
		d.running = false
	case Resume:
		d.running = true
	case Stop:
		w.finish(i)
	}
}

func (w *channelOfLies) finish(i int) {
	if d := w.deals[i]; d.meter != nil && d.meter.final == nil && d.meter.phase != waiting {
		d.running = false
		w.cut(i, d.meter.Finish(w.clock(d), souk.Digest{5}, Usage{}))
	}
}

// cut makes a receipt durable and sends it.
func (w *channelOfLies) cut(i int, r Receipt) {
	d := w.deals[i]
	if w.real {
		r.SignProvider(domain, providerKey)
	}
	d.signed, d.digests = append(d.signed, r), append(d.digests, d.meter.prev)
	w.worst.receipts++
	w.send(word{deal: i, receipt: &r})
}

// send puts a word on its way: lost, once, or twice.
func (w *channelOfLies) send(m word) {
	for range []int{1, 1, 1, 1, 2, 0}[w.rng.IntN(6)] {
		w.words = append(w.words, m)
	}
}

// deliver takes any word from the way: order means nothing.
func (w *channelOfLies) deliver() error {
	if len(w.words) == 0 {
		return nil
	}
	k := w.rng.IntN(len(w.words))
	m := w.words[k]
	w.words[k] = w.words[len(w.words)-1]
	w.words = w.words[:len(w.words)-1]
	if m.receipt != nil {
		return w.hear(m)
	}
	return w.take(m)
}

// hear is the client with a receipt.
func (w *channelOfLies) hear(m word) error {
	d, r := w.deals[m.deal], *m.receipt
	if w.liar == theClient {
		w.lieAbout(m.deal)
		return nil
	}
	if d.refused {
		return nil
	}
	paid, known, err := d.payer.judge(w.now, r)
	if err == nil && w.real && !known {
		_, err = d.payer.Check(w.now, r)
	}
	var no *ReceiptError
	switch {
	case errors.As(err, &no) && no.Reason == BadSequence:
		return nil
	case err != nil && w.liar == theProvider:
		d.refused = true
		return nil
	case err != nil:
		return fmt.Errorf("an honest receipt is refused: %w", err)
	}
	v, err := w.promise(d, paid)
	if err != nil {
		return err
	}
	if !known {
		if _, err := w.ours.Post(r, paid, v); err != nil {
			return err
		}
		d.payer.Accept(r)
		d.accepted = append(d.accepted, r)
	}
	w.send(word{deal: m.deal, seq: r.Seq, digest: d.payer.digest, paid: paid, voucher: v.MaxClaimable})
	return nil
}

// lieAbout has a lying client answer anything, or nothing.
func (w *channelOfLies) lieAbout(i int) {
	d := w.deals[i]
	if w.rng.IntN(4) == 0 || len(d.signed) == 0 {
		return
	}
	w.worst.lies++
	k := w.rng.IntN(len(d.signed))
	due, need := d.signed[k].CumulativeDue, d.terms.need(d.terms.measures(), d.terms.First(), []uint64{uint64(d.terms.DeviceCount()) * uint64(d.ran)})
	m := word{deal: i, seq: d.signed[k].Seq, digest: d.digests[k], paid: w.amount(0, due, need, d.terms.Reserve, 1<<62)}
	m.voucher = w.amount(0, due, m.paid, w.theirs.Voucher.MaxClaimable, w.theirs.Vouched(), w.theirs.Vouched()-w.theirs.Leases[d.terms.Lease].Paid+m.paid)
	if w.rng.IntN(8) == 0 {
		m.digest[0] ^= 1
	}
	w.send(m)
}

// take is the provider with an answer, as node's hosting does it.
func (w *channelOfLies) take(m word) error {
	d := w.deals[m.deal]
	if d.meter == nil {
		return nil
	}
	k := 0
	for k < len(d.signed) && d.signed[k].ClientSig != nil {
		k++
	}
	if k == len(d.signed) {
		return nil
	}
	r := d.signed[k]
	if m.digest != d.digests[k] || m.paid < r.CumulativeDue || m.paid > d.terms.Reserve {
		return nil
	}
	if _, err := w.theirs.Post(r, m.paid, Voucher{Channel: d.terms.Channel, MaxClaimable: m.voucher}); err != nil {
		if w.liar == nobody && !errors.Is(err, ErrShort) { // of two vouchers the later may come first
			return err
		}
		return nil
	}
	d.signed[k].ClientSig = []byte{1}
	a, err := d.meter.Countersigned(w.clock(d), r.Seq, m.paid)
	if err != nil && w.liar == nobody {
		return fmt.Errorf("an honest answer is refused: %w", err)
	}
	w.act(m.deal, a)
	return nil
}

// lieInReceipt has a lying provider send a receipt that is not what was cut.
func (w *channelOfLies) lieInReceipt() {
	i := w.rng.IntN(len(w.deals))
	d := w.deals[i]
	if len(d.signed) == 0 {
		return
	}
	w.worst.lies++
	r := d.signed[w.rng.IntN(len(d.signed))]
	if w.rng.IntN(2) == 0 { // a new one, on what the client has
		r.Seq, r.PrevReceipt, r.StartMs = d.payer.seq+1, d.payer.digest, d.payer.end
		r.EndMs = w.now.Add(time.Duration(w.rng.IntN(40_000)) * time.Millisecond).UnixMilli()
		more := uint64(d.terms.DeviceCount()) * uint64(w.rng.Int64N(max(1, r.EndMs-max(r.StartMs, epoch.UnixMilli()))))
		usage := UsageLine{Line: d.terms.Tariff[0], Quantity: d.payer.quantities[0] + more}
		if due, err := usage.Line.Due(usage.Quantity); err == nil {
			usage.Due, r.CumulativeDue = due, due
		}
		r.Usage = []UsageLine{usage}
		if r.StartMs == 0 {
			r.StartMs = w.now.Add(-time.Duration(w.rng.IntN(40_000)) * time.Millisecond).UnixMilli()
		}
	}
	r.Usage = slices.Clone(r.Usage)
	switch w.rng.IntN(8) {
	case 0:
		r.CumulativeDue = w.amount(0, d.terms.Reserve, 1<<62)
	case 1:
		r.Usage[0].Quantity *= 1 + w.rng.Uint64N(4)
	case 2:
		r.Seq += w.rng.Uint64N(3)
	case 3:
		r.Kind = uint8(w.rng.IntN(4))
	case 4:
		r.Lease = w.deals[w.rng.IntN(len(w.deals))].terms.Lease
	case 5:
		r.Usage[0].Price *= 2
	}
	if w.real {
		r.SignProvider(domain, providerKey)
	}
	w.send(word{deal: i, receipt: &r})
}
