package node

import (
	"context"
	"errors"
	"time"

	"github.com/souk-market/souk/payment/chain"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
)

// fundLook is how often a lease without a deposit of its own looks whether that
// of another, which it counts on, has come.
const fundLook = 100 * time.Millisecond

// fund submits the client's deposit and waits until the chain has it, and all
// that the lease counts on. A channel that is funded already costs no call.
func (h *hosting) fund(ctx context.Context) *ending {
	ctx, cancel := context.WithTimeout(ctx, h.p.cfg.Waits.Fund)
	defer cancel()
	rec := h.record()
	if rec.Deposit != nil {
		tx, err := h.p.cfg.Keeper.deposit(ctx, h.channel, *rec.Deposit, h.id, rec.DepositTx, func(tx string) error {
			return h.save(ctx, func(r *leaseRecord) { r.DepositTx = tx })
		})
		if refused := (*chain.RevertError)(nil); errors.As(err, &refused) || errors.Is(err, chain.ErrDeposit) {
			return ended(runv1.EndReason_END_REASON_CLIENT_UNFUNDED, "deposit: %v", err)
		}
		if err != nil { // no gas, no chain: ours to mend
			return ended(runv1.EndReason_END_REASON_PROVIDER_FAILED, "deposit %s: %v", tx, err)
		}
	}
	for {
		known, ok := h.p.cfg.Channels.get(h.terms.Channel)
		switch {
		case ok && known.covered() >= 0:
			return nil
		case !ok || known.coming() == 0:
			return ended(runv1.EndReason_END_REASON_CLIENT_UNFUNDED, "the channel holds less than was promised on it")
		case !sleep(ctx, fundLook):
			return ended(runv1.EndReason_END_REASON_CLIENT_UNFUNDED, "the deposit that the lease counts on did not come")
		}
	}
}
