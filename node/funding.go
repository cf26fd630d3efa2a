package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/payment/chain"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
)

// fundLook is how often a lease without a deposit of its own looks whether that
// of another, which it counts on, has come.
const fundLook = 100 * time.Millisecond

// gasRetry is until a chain that did not answer is asked for the wallet's gas again.
const gasRetry = 2 * time.Second

// mendGas tells an owner what to do about a wallet without gas.
const mendGas = "give the wallet coin for gas (on a devnet: souk wallet faucet)"

// watchGas tells an owner once whose wallet cannot send a client's deposit.
func (n *Node) watchGas(ctx context.Context) error {
	for {
		wei, err := n.chain.GasBalance(ctx, n.chain.Address())
		if err == nil && wei.Sign() == 0 {
			n.cfg.Log.Warn("deposits of clients cannot be sent: "+mendGas, "wallet", n.chain.Address())
		}
		if err == nil || !network.Sleep(ctx, gasRetry) {
			return nil
		}
	}
}

// fund submits the client's deposit and waits until the chain has it, and all
// that the lease counts on. A channel that is funded already costs no call.
func (h *hosting) fund(ctx context.Context) *ending {
	ctx, cancel := context.WithTimeout(ctx, h.p.cfg.Waits.Fund)
	defer cancel()
	rec := h.record()
	if rec.Deposit != nil {
		tx, err := h.p.cfg.Keeper.Deposit(ctx, h.channel, *rec.Deposit, h.id, rec.DepositTx, func(tx string) error {
			return h.save(ctx, func(r *leaseRecord) { r.DepositTx = tx })
		})
		if refused := (*chain.RevertError)(nil); errors.As(err, &refused) || errors.Is(err, chain.ErrDeposit) {
			return ended(runv1.EndReason_END_REASON_CLIENT_UNFUNDED, "deposit: %v", err)
		}
		if errors.Is(err, chain.ErrGas) {
			h.p.cfg.Log.Error("a client's deposit cannot be sent: "+mendGas, "lease", h.id.Short(), "err", err)
			return ended(runv1.EndReason_END_REASON_PROVIDER_FAILED, "the provider cannot send the deposit: its wallet has too little gas")
		}
		if err != nil && tx != "" {
			err = fmt.Errorf("deposit %s: %w", tx, err)
		}
		if err != nil { // no chain: ours to mend
			return ended(runv1.EndReason_END_REASON_PROVIDER_FAILED, "%v", err)
		}
	}
	for {
		known, ok := h.p.cfg.Channels.Get(h.terms.Channel)
		switch {
		case ok && known.Backing() >= 0:
			return nil
		case !ok || known.Unconfirmed() == 0:
			return ended(runv1.EndReason_END_REASON_CLIENT_UNFUNDED, "the channel holds less than was promised on it")
		case !network.Sleep(ctx, fundLook):
			return ended(runv1.EndReason_END_REASON_CLIENT_UNFUNDED, "the deposit that the lease counts on did not come")
		}
	}
}
