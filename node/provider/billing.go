package provider

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/souk-market/souk/node/money"
	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/ledger"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"github.com/souk-market/souk/scheduler"
	"github.com/souk-market/souk/storage/badger"
)

// store makes the state durable, with receipts under our signature, then shows both
// to the client. With a final receipt the lease needs no more of its channel than
// that says: one transaction holds it all.
func (t *tenancy) store(ctx context.Context, a scheduler.StoreTenancy) error {
	ctx = context.WithoutCancel(ctx) // what ran is receipted also when the daemon is stopping
	rec := t.record()
	was, changed := rec.Phase, rec.TenancyState != a.State
	rec.TenancyState = a.State
	var batch ledger.Batch
	if changed {
		batch.Records = append(batch.Records, rec.ledgerRecord(t.id))
	}
	var messages []*runv1.Receipt
	var final *payment.Receipt
	for _, r := range a.Receipts {
		r.SignProvider(t.terms.Domain, t.with.Key)
		messages = append(messages, r.Proto())
		batch.Records = append(batch.Records, money.ReceiptRecord(t.id, r.Seq, r.Proto()))
		if r.Kind == payment.KindFinal {
			final = &r
		}
	}
	if len(messages) > 0 {
		if err := t.samples.Sync(); err != nil { // the receipts stand for them
			return fmt.Errorf("lease %s: %w", t.id.Short(), err)
		}
	}
	if err := t.commit(ctx, batch, final); err != nil {
		return err
	}
	if rec.Phase != was {
		t.with.Log.Info("run", "lease", t.id.Short(), "phase", strings.ToLower(strings.TrimPrefix(rec.Phase.String(), "PHASE_")))
	}
	t.show(func() { t.rec, t.receipts = rec, append(slices.Clone(t.receipts), messages...) })
	return nil
}

func (t *tenancy) commit(ctx context.Context, batch ledger.Batch, final *payment.Receipt) error {
	if final == nil {
		if err := t.with.Ledger.Commit(ctx, batch); err != nil {
			return fmt.Errorf("lease %s: %w", t.id.Short(), err)
		}
		return nil
	}
	return t.with.Channels.Update(ctx, t.terms.Channel, func(c *money.Channel) (ledger.Batch, error) {
		c.Cap(t.id, final.CumulativeDue)
		return batch, nil
	})
}

// countersigned hands the machine what the client answered to a receipt.
func (t *tenancy) countersigned(ctx, work context.Context, c *runv1.Countersign) {
	v, err := payment.VoucherFromProto(c.Voucher)
	if err != nil {
		t.with.Log.Warn("countersignature refused", "lease", t.id.Short(), "peer", t.client, "err", err)
		return
	}
	t.step(ctx, work, scheduler.CountersignReceived{Receipt: c.Receipt, Signature: c.Signature, Paid: c.LeasePaidAtoms, Voucher: v})
}

// checkVoucher tells whether v is the channel's payer's promise.
func (t *tenancy) checkVoucher(v payment.Voucher) error {
	if v.Channel != t.terms.Channel {
		return fmt.Errorf("the voucher is for channel %s", v.Channel.Short())
	}
	return v.Verify(t.terms.Domain, t.channel.PayerAuthorizer)
}

// post makes a countersigned receipt and its voucher durable with the usage they
// stand for, in one transaction; then the receipt goes into the log. A wrong voucher
// changes nothing.
func (t *tenancy) post(ctx context.Context, a scheduler.PostCountersign) scheduler.TenancyEvent {
	_, owed, _ := t.watch()
	r, err := payment.ReceiptFromProto(owed[0]) // with our signature, which the machine does without
	if err == nil {
		r.ClientSig = a.Receipt.ClientSig
		err = t.checkVoucher(a.Voucher)
	}
	if err == nil {
		err = t.with.Channels.Update(ctx, t.terms.Channel, func(c *money.Channel) (ledger.Batch, error) {
			return c.Enter(r, a.Paid, a.Voucher, time.Now())
		})
	}
	if err != nil {
		t.with.Log.Warn("countersignature refused", "lease", t.id.Short(), "peer", t.client, "err", err)
		return scheduler.CountersignRefused{Seq: a.Receipt.Seq}
	}
	if err := t.with.Receipts.Log(ctx, r); err != nil {
		t.with.Log.Error("receipts log", "lease", t.id.Short(), "err", err) // the ledger has it: the next start logs it
	}
	t.show(func() { t.receipts = slices.Clone(t.receipts[1:]) })
	known, ok := t.with.Channels.Get(t.terms.Channel)
	return scheduler.CountersignPosted{Seq: r.Seq, Overdrawn: ok && known.Overdrawn()}
}

// end makes the end of the lease durable, with which it has no part of its channel
// any more. What ends while the disk is full is written down when there is space.
func (t *tenancy) end(ctx context.Context, state scheduler.TenancyState) {
	t.cleanUp(ctx)
	for errors.Is(t.close(state), badger.ErrLowDisk) && t.with.Space.Wait(ctx) {
	}
	t.with.Log.Info("run ended", "lease", t.id.Short(), "reason", string(scheduler.ReasonOf(state.Reason)), "detail", state.Detail)
	t.with.Keeper.Wake()
}

// close does it once. On a full disk nothing has changed.
func (t *tenancy) close(state scheduler.TenancyState) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second) // also when the daemon is stopping
	defer cancel()
	rec := t.record()
	rec.TenancyState = state
	err := t.with.Channels.Update(ctx, t.terms.Channel, func(c *money.Channel) (ledger.Batch, error) {
		c.Close(t.id)
		return ledger.Batch{Records: []ledger.Record{rec.ledgerRecord(t.id)}}, nil
	})
	if err != nil {
		t.with.Log.Error("end lease", "lease", t.id.Short(), "err", err)
	}
	if errors.Is(err, badger.ErrLowDisk) {
		return err
	}
	t.show(func() { t.rec = rec })
	return err
}

// history is what the ledger has of the lease, for the machine to go on from.
func (t *tenancy) history(devices bool) (scheduler.TenancyHistory, error) {
	h := scheduler.TenancyHistory{State: t.rec.TenancyState, Devices: devices}
	had, err := t.with.Receipts.Of(t.id)
	if err != nil {
		return h, err
	}
	for _, msg := range had {
		r, err := payment.ReceiptFromProto(msg)
		if err != nil {
			return h, err
		}
		h.Receipts = append(h.Receipts, r)
		if len(msg.ClientSignature) == 0 {
			t.receipts = append(t.receipts, msg)
		}
	}
	if rec, ok := t.with.Channels.Get(t.terms.Channel); ok {
		h.Paid = rec.Leases[t.id].Paid
	}
	return h, nil
}
