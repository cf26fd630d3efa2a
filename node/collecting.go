package node

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/souk-market/souk/node/money"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/payment/ledger"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"github.com/souk-market/souk/storage/badger"
)

// collect serves the outputs to the client and waits for the last voucher.
func (h *hosting) collect(ctx context.Context) *ending {
	rec := h.record()
	if rec.Output != "" {
		defer h.p.cfg.Files.Withdraw(rec.Output, h.client)
	}
	deadline := time.NewTimer(h.p.cfg.Waits.Collect)
	defer deadline.Stop()
	dropped := false
	for {
		_, owed, _ := h.look()
		if len(owed) == 0 || dropped {
			return &ending{rec.Reason, rec.Detail}
		}
		select {
		case <-ctx.Done():
			return ended(runv1.EndReason_END_REASON_PROVIDER_STOPPED, "the provider is stopping")
		case <-deadline.C:
			return ended(runv1.EndReason_END_REASON_CLIENT_OUTPUTS, "the client did not settle the final receipt in time")
		case c := <-h.countersigns:
			h.countersigned(ctx, c)
		case dropped = <-h.releases: // true: the client wants nothing more of this lease, and signs nothing more
		}
	}
}

// close ends the lease: its part of the channel is released. On a full disk
// nothing has changed.
func (h *hosting) close(e *ending) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second) // also when the daemon is stopping
	defer cancel()
	rec := h.record()
	// The first reason stays: a client that does not settle a run the provider
	// lost is not to blame for it. One that lets a good result lie is.
	if rec.Reason == runv1.EndReason_END_REASON_UNSPECIFIED ||
		rec.Reason == runv1.EndReason_END_REASON_COMPLETED && e.reason == runv1.EndReason_END_REASON_CLIENT_OUTPUTS {
		rec.Reason, rec.Detail = e.reason, network.Clip(e.detail, 200)
	}
	rec.Phase, rec.Ended = runv1.Phase_PHASE_ENDED, time.Now()
	err := h.p.cfg.Channels.Update(ctx, h.terms.Channel, func(c *money.Channel) (ledger.Batch, error) {
		c.Close(h.id)
		return ledger.Batch{Records: []ledger.Record{rec.ledgerRecord(h.id)}}, nil
	})
	if err != nil {
		h.p.cfg.Log.Error("end lease", "lease", h.id.Short(), "err", err)
	}
	if errors.Is(err, badger.ErrLowDisk) {
		return err
	}
	h.show(func() { h.rec = rec })
	return err
}

// cleanUp removes the job's files; its logs stay with the client.
func (h *hosting) cleanUp() {
	h.stdout.Close()
	h.stderr.Close()
	if err := os.RemoveAll(h.dir); err != nil {
		h.p.cfg.Log.Warn("remove lease folder", "lease", h.id.Short(), "err", err)
	}
}
