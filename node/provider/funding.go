package provider

import (
	"context"
	"errors"
	"fmt"

	"github.com/souk-market/souk/payment/chain"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"github.com/souk-market/souk/scheduler"
)

// MendGas tells an owner what to do about a wallet without gas.
const MendGas = "give the wallet coin for gas (on a devnet: souk wallet faucet)"

// submitDeposit sends the client's deposit, tells in which transaction it is, and
// waits until the chain has it.
func (t *tenancy) submitDeposit(ctx context.Context, a scheduler.SubmitDeposit) scheduler.TenancyEvent {
	ctx, cancel := context.WithDeadline(ctx, a.By)
	defer cancel()
	tx, err := t.with.Keeper.Deposit(ctx, t.channel, *t.record().Deposit, t.id, a.Known, func(tx string) error {
		done := make(chan error)
		t.findings <- finding{scheduler.DepositSent{Tx: tx}, done}
		return <-done
	})
	switch {
	case err == nil:
		return scheduler.DepositCounted{}
	case errors.As(err, new(*chain.RevertError)), errors.Is(err, chain.ErrDeposit):
		return scheduler.FundingFailed{Reason: runv1.EndReason_END_REASON_CLIENT_UNFUNDED, Detail: fmt.Sprintf("deposit: %v", err)}
	case errors.Is(err, chain.ErrGas):
		t.with.Log.Error("a client's deposit cannot be sent: "+MendGas, "lease", t.id.Short(), "err", err)
		return scheduler.FundingFailed{Reason: runv1.EndReason_END_REASON_PROVIDER_FAILED,
			Detail: "the provider cannot send the deposit: its wallet has too little gas"}
	case tx != "":
		err = fmt.Errorf("deposit %s: %w", tx, err)
	}
	return scheduler.FundingFailed{Reason: runv1.EndReason_END_REASON_PROVIDER_FAILED, Detail: err.Error()} // no chain: ours to mend
}

// backing tells whether the chain holds what the lease counts on, by what was last
// read: it costs no call.
func (t *tenancy) backing() scheduler.TenancyEvent {
	known, ok := t.with.Channels.Get(t.terms.Channel)
	if !ok {
		return scheduler.BackingIs{}
	}
	return scheduler.BackingIs{Enough: known.Backing() >= 0, Pending: known.Unconfirmed() > 0}
}
