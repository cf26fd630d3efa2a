package node

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/node/money"
	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/ledger"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
)

// sign makes a receipt durable under our signature, then shows it to the client.
func (h *hosting) sign(ctx context.Context, r payment.Receipt) error {
	r.SignProvider(h.terms.Domain, h.p.cfg.Key)
	msg := r.Proto()
	if err := h.p.cfg.Ledger.Commit(ctx, ledger.Batch{Records: []ledger.Record{money.ReceiptRecord(h.id, r.Seq, msg)}}); err != nil {
		return fmt.Errorf("receipt %d: %w", r.Seq, err)
	}
	h.show(func() { h.receipts = append(slices.Clone(h.receipts), msg) })
	return nil
}

// signFinal does the same for the last receipt. With it the lease is collecting,
// and needs no more of the channel than it says: one transaction holds it all.
func (h *hosting) signFinal(ctx context.Context, r payment.Receipt, change func(*leaseRecord)) error {
	r.SignProvider(h.terms.Domain, h.p.cfg.Key)
	msg, rec := r.Proto(), h.record()
	change(&rec)
	rec.Phase = runv1.Phase_PHASE_COLLECTING
	err := h.p.cfg.Channels.Update(ctx, h.terms.Channel, func(c *money.Channel) (ledger.Batch, error) {
		c.Cap(h.id, r.CumulativeDue)
		return ledger.Batch{Records: []ledger.Record{money.ReceiptRecord(h.id, r.Seq, msg), rec.ledgerRecord(h.id)}}, nil
	})
	if err != nil {
		return err
	}
	h.show(func() { h.rec, h.receipts = rec, append(slices.Clone(h.receipts), msg) })
	return nil
}

// countersigned checks what the client answered to the outstanding receipt, posts
// it to ledger and log, and tells the meter. A wrong answer changes nothing.
func (h *hosting) countersigned(ctx context.Context, c *runv1.Countersign) payment.Action {
	_, owed, _ := h.look()
	if len(owed) == 0 {
		return payment.Action{} // a repeated answer to a receipt that is done
	}
	r, v, err := h.checkCountersign(owed[0], c)
	if err == nil {
		err = h.post(ctx, r, v, souk.Atoms(c.LeasePaidAtoms))
	}
	if err != nil {
		h.p.cfg.Log.Warn("countersignature refused", "lease", h.id.Short(), "peer", h.client, "err", err)
		return payment.Action{}
	}
	act, err := h.meter.Countersigned(time.Now(), r.Seq, souk.Atoms(c.LeasePaidAtoms))
	if err != nil {
		h.p.cfg.Log.Debug("meter", "lease", h.id.Short(), "err", err) // a restored lease has a fresh meter
	}
	if known, ok := h.p.cfg.Channels.Get(h.terms.Channel); ok && known.Overdrawn() {
		// What is due was taken; more would be paid from what the client withdraws.
		return payment.Action{Do: payment.Stop, Reason: runv1.EndReason_END_REASON_CLIENT_UNPAID}
	}
	return act
}

func (h *hosting) checkCountersign(msg *runv1.Receipt, c *runv1.Countersign) (payment.Receipt, payment.Voucher, error) {
	r, err := payment.ReceiptFromProto(msg)
	if err != nil {
		return r, payment.Voucher{}, err
	}
	if d := r.Digest(h.terms.Domain); !bytes.Equal(d[:], c.Receipt) {
		return r, payment.Voucher{}, fmt.Errorf("answers another receipt than %d", r.Seq)
	}
	r.ClientSig = c.Signature
	if err := r.VerifyClient(h.terms.Domain); err != nil {
		return r, payment.Voucher{}, err
	}
	v, err := payment.VoucherFromProto(c.Voucher)
	if err != nil {
		return r, v, err
	}
	if v.Channel != h.terms.Channel {
		return r, v, fmt.Errorf("the voucher is for channel %s", v.Channel.Short())
	}
	if c.LeasePaidAtoms < uint64(r.CumulativeDue) || c.LeasePaidAtoms > uint64(h.terms.Reserve) {
		return r, v, fmt.Errorf("paid %d of %d due", c.LeasePaidAtoms, r.CumulativeDue)
	}
	return r, v, v.Verify(h.terms.Domain, h.channel.PayerAuthorizer)
}

// post makes a countersigned receipt and its voucher durable with the usage
// they stand for, in one transaction; then the receipt goes into the log.
func (h *hosting) post(ctx context.Context, r payment.Receipt, v payment.Voucher, paid souk.Atoms) error {
	err := h.p.cfg.Channels.Update(ctx, h.terms.Channel, func(c *money.Channel) (ledger.Batch, error) {
		return c.Enter(r, paid, v, time.Now())
	})
	if err != nil {
		return err
	}
	if err := h.p.cfg.Receipts.Log(ctx, r); err != nil {
		h.p.cfg.Log.Error("receipts log", "lease", h.id.Short(), "err", err) // the ledger has it: the next start logs it
	}
	h.show(func() { h.receipts = slices.Clone(h.receipts[1:]) })
	return nil
}
