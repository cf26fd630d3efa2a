package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math/big"
	"slices"
	"strings"

	"github.com/souk-market/souk"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
	"github.com/spf13/cobra"
)

func newWallet(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "wallet",
		Short: "Balances, channels and the ledger",
		Long: `Shows what the wallet holds: tokens on chain, tokens in channels that pay
providers, what is earned and not claimed, coin for gas, and the ledger's accounts.`,
		Example: "  souk wallet\n  souk wallet --json",
		Args:    words,
		RunE:    body(a.balance),
	}
	cmd.AddCommand(newDeposit(a), newHistory(a),
		&cobra.Command{
			Use:     "faucet",
			Short:   "Take test tokens and gas (devnet only)",
			Long:    `Asks the devnet for test tokens and coin for gas. They are worth nothing.`,
			Example: "  souk wallet faucet",
			Args:    exactly(),
			RunE:    body(a.faucet),
		},
		&cobra.Command{
			Use:   "refund PEER",
			Short: "Ask a provider for what is left in the channel",
			Long: `Asks a provider to claim what it is owed and to give back the rest of the channel.
It works while no lease is live there. If the provider does not answer, withdraw
needs nobody's consent.`,
			Example: "  souk wallet refund 12D3KooW…",
			Args:    exactly("PEER"),
			RunE:    onPeer(a.refund),
		},
		&cobra.Command{
			Use:   "withdraw PEER",
			Short: "Take back what is left in a channel, after its delay",
			Long: `Starts a timed withdrawal from the channel with a provider, or ends one whose time
has come. The delay is the channel's, a day or more: the provider may claim meanwhile.`,
			Example: "  souk wallet withdraw 12D3KooW…",
			Args:    exactly("PEER"),
			RunE:    onPeer(a.withdraw),
		},
		&cobra.Command{
			Use:     "channels",
			Short:   "List channels",
			Long:    `Lists the channels of this node: those that pay others, and those that pay it.`,
			Example: "  souk wallet channels",
			Args:    exactly(),
			RunE:    body(a.channels),
		},
	)
	return cmd
}

// isPeerID tells whether s can be a peer's id or the beginning of one: base58,
// which leaves out what is easily mistaken.
func isPeerID(s string) bool {
	const base58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
	return s != "" && len(s) <= 64 && strings.Trim(s, base58) == ""
}

func notPeer(s string) error {
	return fmt.Errorf("%q is not a peer's id or the beginning of one, such as 12D3KooW…", s)
}

// onPeer is a body whose argument is a peer's id.
func onPeer(f asker) func(*cobra.Command, []string) error {
	return body(func(ctx context.Context, args []string) error {
		if !isPeerID(args[0]) {
			return &souk.Error{Code: souk.CodeInvalid, Err: notPeer(args[0])}
		}
		return f(ctx, args)
	})
}

func newDeposit(a *app) *cobra.Command {
	var to string
	cmd := &cobra.Command{
		Use:   "deposit AMOUNT --to PEER",
		Short: "Fund the channel with a provider ahead of a job",
		Long: `Puts AMOUNT tokens into the channel with a provider. A job does this by itself when
it needs to; ahead of it, it saves the job the wait. What is not spent comes back by
refund or withdraw.`,
		Example: "  souk wallet deposit 5 --to 12D3KooW…",
		Args:    exactly("AMOUNT"),
		RunE: body(func(ctx context.Context, args []string) error {
			return a.deposit(ctx, args[0], to)
		}),
	}
	cmd.Flags().StringVar(&to, "to", "", "the provider's peer id, or a unique beginning of one in the book")
	return cmd
}

func newHistory(a *app) *cobra.Command {
	var after uint64
	var limit uint32
	cmd := &cobra.Command{
		Use:   "history",
		Short: "Every ledger entry, oldest first",
		Long: `Lists the ledger: every transfer with the two accounts it moves between and their
balances after it. The sum of all debits is the sum of all credits.`,
		Example: "  souk wallet history\n  souk wallet history --after 100 --limit 50",
		Args:    exactly(),
		RunE: body(func(ctx context.Context, _ []string) error {
			return a.history(ctx, after, limit)
		}),
	}
	cmd.Flags().Uint64Var(&after, "after", 0, "entries after this number")
	cmd.Flags().Uint32Var(&limit, "limit", 0, "at most this many entries (0 is 1000)")
	return cmd
}

func (a *app) balance(ctx context.Context, _ []string) error {
	res, err := a.daemon.Wallet.Balance(ctx, &apiv1.BalanceRequest{})
	if err != nil {
		return err
	}
	return a.show(res, func(w io.Writer) error {
		balanced := "balanced"
		if !res.Balanced {
			balanced = "NOT BALANCED"
		}
		if err := pairs(w,
			"address", res.Address,
			"wallet", money(res.WalletAtoms),
			"in channels", money(res.ChannelsAtoms),
			"to claim", money(res.ReceivableAtoms),
			"gas", coin(res.GasWei),
			"ledger", balanced,
		); err != nil {
			return err
		}
		for _, name := range slices.Sorted(maps.Keys(res.Accounts)) {
			fmt.Fprintf(w, "  %-20s %s\n", account(name), souk.Atoms(res.Accounts[name]))
		}
		return nil
	})
}

// coin shows wei as coins with four decimals, rounded down.
func coin(wei string) string {
	n, ok := new(big.Int).SetString(wei, 10)
	if !ok {
		return wei
	}
	tenThousandths := n.Div(n, big.NewInt(1e14))
	whole, part := new(big.Int).DivMod(tenThousandths, big.NewInt(1e4), new(big.Int))
	return fmt.Sprintf("%s.%04d", whole, part)
}

func (a *app) faucet(ctx context.Context, _ []string) error {
	res, err := a.daemon.Wallet.Faucet(ctx, &apiv1.FaucetRequest{})
	if err != nil {
		return err
	}
	return a.show(res, func(w io.Writer) error {
		return pairs(w, "received", money(res.AmountAtoms), "transaction", res.Tx)
	})
}

func (a *app) deposit(ctx context.Context, amount, to string) error {
	atoms, err := souk.ParseAtoms(amount)
	switch {
	case err != nil:
		return usagef("amount: %w", err)
	case atoms == 0:
		return usagef("amount must be above zero")
	case to == "":
		return usagef("--to is missing: which provider's channel?")
	case !isPeerID(to):
		return usagef("--to: %w", notPeer(to))
	}
	res, err := a.daemon.Wallet.Deposit(ctx, &apiv1.DepositRequest{Peer: to, AmountAtoms: uint64(atoms)})
	if err != nil {
		return err
	}
	return a.show(res, func(w io.Writer) error {
		return pairs(w, "channel", res.Channel.GetId(), "peer", res.Channel.GetPeer(),
			"balance", money(res.Channel.GetBalanceAtoms()), "transaction", res.Tx)
	})
}

func (a *app) refund(ctx context.Context, args []string) error {
	res, err := a.daemon.Wallet.Refund(ctx, &apiv1.RefundRequest{Peer: args[0]})
	if err != nil {
		return err
	}
	return a.show(res, func(w io.Writer) error {
		return pairs(w, "refunded", money(res.AmountAtoms), "transaction", res.Tx, "claim", res.ClaimTx)
	})
}

func (a *app) withdraw(ctx context.Context, args []string) error {
	res, err := a.daemon.Wallet.Withdraw(ctx, &apiv1.WithdrawRequest{Peer: args[0]})
	if err != nil {
		return err
	}
	return a.show(res, func(w io.Writer) error {
		return pairs(w, "amount", money(res.AmountAtoms), "ready", dash(res.Ready), "transaction", res.Tx)
	})
}

func (a *app) channels(ctx context.Context, _ []string) error {
	res, err := a.daemon.Wallet.Channels(ctx, &apiv1.ChannelsRequest{})
	if err != nil {
		return err
	}
	return a.show(res, func(w io.Writer) error {
		var rows [][]string
		for _, c := range res.Channels {
			role := "pays us"
			if c.Paying {
				role = "we pay"
			}
			rows = append(rows, []string{short(c.Id), short(c.Peer), role, money(c.BalanceAtoms), money(c.DueAtoms),
				money(c.VouchedAtoms), money(c.ClaimedAtoms), money(c.ReservedAtoms), clock(c.WithdrawReady)})
		}
		return table(w, "CHANNEL PEER ROLE BALANCE DUE VOUCHED CLAIMED RESERVED WITHDRAWAL", rows)
	})
}

func (a *app) history(ctx context.Context, after uint64, limit uint32) error {
	res, err := a.daemon.Wallet.History(ctx, &apiv1.HistoryRequest{After: after, Limit: limit})
	if err != nil {
		return err
	}
	return a.show(res, func(w io.Writer) error {
		var rows [][]string
		for _, e := range res.Entries {
			rows = append(rows, []string{fmt.Sprint(e.Seq), clock(e.Time), e.Kind, money(e.AmountAtoms), account(e.Debit),
				souk.Atoms(e.DebitBalanceAtoms).String(), account(e.Credit), souk.Atoms(e.CreditBalanceAtoms).String(), dash(short(e.Ref))})
		}
		return table(w, "NO TIME KIND AMOUNT DEBIT BALANCE CREDIT BALANCE REF", rows)
	})
}
