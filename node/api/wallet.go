package api

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/node/client"
	"github.com/souk-market/souk/node/money"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/chain"
	"github.com/souk-market/souk/payment/ledger"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
	leasev1 "github.com/souk-market/souk/proto/souk/lease/v1"
)

// walletService answers souk.api.v1.Wallet. Without a chain its first four fields
// are nil.
type walletService struct {
	chain       walletChain
	withdrawals withdrawalChain
	keeper      interface{ Reconcile(context.Context) error }
	client      channelClient
	ledger      ledgerView
	channels    channelList
	book        offerBook
}

// walletChain is the wallet on chain.
type walletChain interface {
	Address() payment.Address
	GasBalance(ctx context.Context, of payment.Address) (wei *big.Int, err error)
	Faucet(ctx context.Context) (amount souk.Atoms, tx string, err error)
	Wait(ctx context.Context, tx string, confirmations uint64) (chain.TxReceipt, error)
}

// withdrawalChain takes money out of channels without their receivers.
type withdrawalChain interface {
	Block(ctx context.Context) (number uint64, at time.Time, err error)
	StartWithdraw(ctx context.Context, ch payment.Channel, amount souk.Atoms) (tx string, err error)
	FinishWithdraw(ctx context.Context, ch payment.Channel) (tx string, err error)
	Wait(ctx context.Context, tx string, confirmations uint64) (chain.TxReceipt, error)
}

// channelClient asks providers about the channels that pay them.
type channelClient interface {
	Fund(ctx context.Context, to peer.ID, amount souk.Atoms) (souk.ChannelID, string, error)
	Refund(ctx context.Context, ch *money.Channel) (*leasev1.Refunded, error)
}

// ledgerView is the ledger as its owner reads it.
type ledgerView interface {
	Balance(ledger.Account) souk.Atoms
	Balances() map[ledger.Account]souk.Atoms
	Verify() error
	History(after uint64, limit int) ([]ledger.Entry, error)
}

// channelList is the channels of this node.
type channelList interface {
	All() []*money.Channel
	Get(id souk.ChannelID) (*money.Channel, bool)
	With(peer string, paying bool) (*money.Channel, bool)
}

// Balance tells what the wallet holds.
func (s *walletService) Balance(ctx context.Context, _ *apiv1.BalanceRequest) (*apiv1.BalanceResponse, error) {
	if s.chain == nil {
		return nil, coded(ErrNoChain)
	}
	if err := s.keeper.Reconcile(ctx); err != nil {
		return nil, coded(fmt.Errorf("read the chain: %w", err))
	}
	gas, err := s.chain.GasBalance(ctx, s.chain.Address())
	if err != nil {
		return nil, coded(err)
	}
	out := &apiv1.BalanceResponse{Address: s.chain.Address().Hex(), WalletAtoms: uint64(max(s.ledger.Balance(ledger.Wallet), 0)),
		GasWei: gas.String(), Accounts: map[string]int64{}, Balanced: s.ledger.Verify() == nil}
	for acct, b := range s.ledger.Balances() {
		out.Accounts[string(acct)] = int64(b)
		switch kind, _, _ := strings.Cut(string(acct), ":"); kind {
		case "channel":
			out.ChannelsAtoms += uint64(b)
		case "receivable":
			out.ReceivableAtoms += uint64(b)
		}
	}
	return out, nil
}

// Faucet takes test tokens and gas from a devnet.
func (s *walletService) Faucet(ctx context.Context, _ *apiv1.FaucetRequest) (*apiv1.FaucetResponse, error) {
	if s.chain == nil {
		return nil, coded(ErrNoChain)
	}
	ctx, cancel := context.WithTimeout(ctx, faucetWithin)
	defer cancel()
	amount, tx, err := s.chain.Faucet(ctx)
	if err != nil {
		return nil, coded(fmt.Errorf("faucet (only a devnet has one): %w", err))
	}
	if _, err := s.chain.Wait(ctx, tx, 1); err != nil {
		return nil, coded(err)
	}
	return &apiv1.FaucetResponse{AmountAtoms: uint64(amount), Tx: tx}, coded(s.keeper.Reconcile(ctx))
}

// resolvePeer reads a peer id, or a unique prefix of one that this node knows.
func (s *walletService) resolvePeer(id string) (peer.ID, error) {
	if p, err := peer.Decode(id); err == nil {
		if _, err := network.PeerKey(p); err == nil { // a prefix can decode too, into a key that is none
			return p, nil
		}
	}
	var known []string
	for _, o := range s.book.Offers() {
		if p, err := network.PeerID(o.Provider); err == nil {
			known = append(known, p.String())
		}
	}
	for _, rec := range s.channels.All() {
		known = append(known, rec.Peer)
	}
	slices.Sort(known)
	var found []string
	for _, p := range slices.Compact(known) {
		if id != "" && strings.HasPrefix(p, id) {
			found = append(found, p)
		}
	}
	switch len(found) {
	case 1:
		return peer.Decode(found[0])
	case 0:
		return "", invalid("no peer known here begins with %q; souk offers and souk wallet channels list them", id)
	default:
		return "", invalid("%d peers begin with %q; give more of the id", len(found), id)
	}
}

// Deposit funds the channel with a provider.
func (s *walletService) Deposit(ctx context.Context, req *apiv1.DepositRequest) (*apiv1.DepositResponse, error) {
	if s.client == nil {
		return nil, coded(ErrNoChain)
	}
	if req.AmountAtoms == 0 || req.AmountAtoms > 1<<62 {
		return nil, invalid("the amount must be above zero")
	}
	p, err := s.resolvePeer(req.Peer)
	if err != nil {
		return nil, err
	}
	if err := s.keeper.Reconcile(ctx); err != nil {
		return nil, coded(fmt.Errorf("read the chain: %w", err))
	}
	id, tx, err := s.client.Fund(ctx, p, souk.Atoms(req.AmountAtoms))
	if err != nil {
		return nil, coded(err)
	}
	rec, _ := s.channels.Get(id)
	return &apiv1.DepositResponse{Channel: channelProto(rec), Tx: tx}, nil
}

// paying returns the channel on which this node pays a peer.
func (s *walletService) paying(prefix string) (*money.Channel, error) {
	p, err := s.resolvePeer(prefix)
	if err != nil {
		return nil, err
	}
	rec, ok := s.channels.With(p.String(), true)
	if !ok {
		return nil, connect.NewError(connect.CodeNotFound, fmt.Errorf("no channel pays %s", p))
	}
	return rec, nil
}

// Refund asks a provider for what is left in the channel.
func (s *walletService) Refund(ctx context.Context, req *apiv1.RefundRequest) (*apiv1.RefundResponse, error) {
	if s.client == nil {
		return nil, coded(ErrNoChain)
	}
	rec, err := s.paying(req.Peer)
	if err != nil {
		return nil, err
	}
	r, err := s.client.Refund(ctx, rec)
	if err != nil {
		return nil, coded(err)
	}
	return &apiv1.RefundResponse{AmountAtoms: r.GetAmountAtoms(), Tx: r.GetRefundTx(), ClaimTx: r.GetClaimTx()}, nil
}

// Withdraw starts a timed withdrawal, or ends one whose time has come.
func (s *walletService) Withdraw(ctx context.Context, req *apiv1.WithdrawRequest) (*apiv1.WithdrawResponse, error) {
	if s.client == nil {
		return nil, coded(ErrNoChain)
	}
	rec, err := s.paying(req.Peer)
	if err == nil {
		err = s.keeper.Reconcile(ctx)
	}
	if err != nil {
		return nil, coded(err)
	}
	rec, _ = s.channels.Get(rec.ID())
	_, now, err := s.withdrawals.Block(ctx) // the contract goes by the chain's clock
	if err != nil {
		return nil, coded(err)
	}
	out := &apiv1.WithdrawResponse{}
	switch left := rec.Left(); {
	case rec.Live():
		return nil, connect.NewError(connect.CodeFailedPrecondition, errors.New("a lease on the channel is live; stop its job first"))
	case left <= 0:
		return nil, connect.NewError(connect.CodeFailedPrecondition, errors.New("the channel is empty"))
	case rec.Withdrawing == 0:
		out.AmountAtoms = uint64(left)
		out.Tx, err = s.withdrawals.StartWithdraw(ctx, rec.Config, left)
	case now.Before(rec.WithdrawReady):
		out.AmountAtoms, out.Ready = uint64(rec.Withdrawing), client.Stamp(rec.WithdrawReady)
		return out, nil
	default:
		out.AmountAtoms = uint64(rec.Withdrawing)
		out.Tx, err = s.withdrawals.FinishWithdraw(ctx, rec.Config)
	}
	if err == nil {
		_, err = s.chain.Wait(ctx, out.Tx, 1)
	}
	if err == nil {
		err = s.keeper.Reconcile(ctx)
	}
	if now, ok := s.channels.Get(rec.ID()); ok {
		out.Ready = client.Stamp(now.WithdrawReady)
	}
	return out, coded(err)
}

func channelProto(r *money.Channel) *apiv1.Channel {
	return &apiv1.Channel{Id: r.ID().String(), Peer: r.Peer, Paying: r.Paying, BalanceAtoms: uint64(r.Balance),
		VouchedAtoms: uint64(r.Voucher.MaxClaimable), DueAtoms: uint64(r.Due()), ClaimedAtoms: uint64(r.Claimed),
		ReservedAtoms: uint64(r.Reserved()), WithdrawReady: client.Stamp(r.WithdrawReady), DepositTx: r.DepositTx, ClaimTx: r.ClaimTx, RefundTx: r.RefundTx}
}

// Channels lists the channels of this node.
func (s *walletService) Channels(context.Context, *apiv1.ChannelsRequest) (*apiv1.ChannelsResponse, error) {
	out := &apiv1.ChannelsResponse{}
	for _, rec := range s.channels.All() {
		out.Channels = append(out.Channels, channelProto(rec))
	}
	return out, nil
}

// History lists ledger entries, oldest first.
func (s *walletService) History(_ context.Context, req *apiv1.HistoryRequest) (*apiv1.HistoryResponse, error) {
	limit := int(req.Limit)
	if limit == 0 || limit > 1000 {
		limit = 1000
	}
	entries, err := s.ledger.History(req.After, limit)
	if err != nil {
		return nil, coded(err)
	}
	out := &apiv1.HistoryResponse{}
	for _, e := range entries {
		out.Entries = append(out.Entries, &apiv1.LedgerEntry{Seq: e.Seq, Time: client.Stamp(e.At), Kind: e.Kind, Debit: string(e.Debit),
			Credit: string(e.Credit), AmountAtoms: uint64(e.Amount), Ref: e.Ref,
			DebitBalanceAtoms: int64(e.DebitBalance), CreditBalanceAtoms: int64(e.CreditBalance)})
	}
	return out, nil
}

// faucetWithin bounds a faucet call: a devnet mines in a second.
const faucetWithin = 30 * time.Second
