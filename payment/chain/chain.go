// Package chain is a client of the contracts that hold the money: it reads
// channels, submits deposits, claims, refunds and withdrawals, and anchors logs.
//
// It keeps no state but the next transaction's number, so it can be rebuilt at
// any moment, and whoever uses it reconciles from what [Client.Channel] reads.
// Every call takes a context and asks each configured node in turn, with a
// timeout for each. Calls that send a transaction return once a node has taken
// it; [Client.Wait] tells what became of it. To repeat one after an error is
// safe: a deposit counts once, a claim or a settlement that was made already
// does nothing, a refund is good for one nonce.
package chain

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"time"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/ethclient"
	"github.com/ethereum/go-ethereum/rpc"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/chain/contracts/anchors"
	"github.com/souk-market/souk/payment/chain/contracts/collector"
	"github.com/souk-market/souk/payment/chain/contracts/settlement"
	"github.com/souk-market/souk/payment/chain/contracts/testtoken"
)

var (
	// ErrUsed is returned for a deposit whose authorization was used or cancelled.
	ErrUsed = errors.New("authorization already used")
	// ErrDeposit is returned for a deposit that the contracts would refuse.
	ErrDeposit = errors.New("invalid deposit")
	// ErrWrongChain is returned when a node serves another chain than configured.
	ErrWrongChain = errors.New("node serves another chain")
	// ErrDropped is returned for a transaction that the nodes do not know any more.
	ErrDropped = errors.New("transaction was dropped")
	// ErrNoAnswer is returned when no node answers; that says nothing about the chain.
	ErrNoAnswer = errors.New("no node of the chain answers")
	// ErrNoWallet is returned for a transaction of a client without a wallet.
	ErrNoWallet = errors.New("no wallet")
	// ErrGas is returned when a wallet cannot pay for a transaction.
	ErrGas = errors.New("the wallet has too little gas")
	// ErrNoAnchor is returned for a transaction that anchored nothing.
	ErrNoAnchor = errors.New("no anchor in transaction")
)

// Config holds what a [Client] needs. A field without a default is required.
type Config struct {
	URLs          []string          // JSON-RPC over HTTP, tried in order
	ChainID       uint64            // default: what the first node to answer says
	Contracts     Contracts         // where they stand
	Wallet        *ecdsa.PrivateKey // pays gas, and is the payer of its deposits; nil: reading only
	Authorizer    *ecdsa.PrivateKey // signs claims where Wallet is not on the receiver's side; default: Wallet
	Confirmations uint64            // what Wait waits for if told 0, at least 1, the block itself; default 1
	Timeout       time.Duration     // for one call of one node; default 5s
	Poll          time.Duration     // between looks for a receipt; default 250ms
	DropAfter     time.Duration     // how long a transaction may be unknown to the nodes; default 30s
	Log           *slog.Logger      // default: discarded
}

// Client talks to the contracts. Its methods may run at once.
type Client struct {
	Config

	nodes   []*endpoint
	http    *http.Client
	chainID *big.Int
	from    payment.Address

	settlement *settlement.Settlement
	collector  *collector.ERC3009DepositCollector
	token      *testtoken.TestToken
	anchors    *anchors.Anchors

	sending chan struct{} // holds one: whoever takes it numbers and sends a transaction, and owns sent
	sent    sentTx
	unmined *unmined
}

// New checks the config. It asks the nodes for the chain's id if there is none.
func New(c Config) (*Client, error) {
	if len(c.URLs) == 0 {
		return nil, errors.New("chain: no URL")
	}
	if c.Contracts.Settlement == (payment.Address{}) || c.Contracts.Token == (payment.Address{}) {
		return nil, errors.New("chain: no contracts")
	}
	c.Contracts = c.Contracts.withDefaults()
	c.Confirmations = max(1, c.Confirmations)
	c.Timeout = orDefault(c.Timeout, 5*time.Second)
	c.Poll = orDefault(c.Poll, 250*time.Millisecond)
	c.DropAfter = orDefault(c.DropAfter, 30*time.Second)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Authorizer == nil {
		c.Authorizer = c.Wallet
	}
	client := &Client{
		Config:     c,
		http:       newHTTPClient(),
		settlement: settlement.NewSettlement(),
		collector:  collector.NewERC3009DepositCollector(),
		token:      testtoken.NewTestToken(),
		anchors:    anchors.NewAnchors(),
		sending:    make(chan struct{}, 1),
		unmined:    new(unmined),
	}
	client.sending <- struct{}{}
	if c.Wallet != nil {
		client.from = crypto.PubkeyToAddress(c.Wallet.PublicKey)
	}
	for _, u := range c.URLs {
		e, err := newEndpoint(u, client.http)
		if err != nil {
			return nil, fmt.Errorf("chain: %w", err)
		}
		client.nodes = append(client.nodes, e)
	}
	if client.ChainID == 0 {
		id, err := client.askChainID()
		if err != nil {
			return nil, fmt.Errorf("chain: ask for the chain's id: %w", err)
		}
		client.ChainID = id
	}
	client.chainID = new(big.Int).SetUint64(client.ChainID)
	return client, nil
}

func orDefault(d, def time.Duration) time.Duration {
	if d <= 0 {
		return def
	}
	return d
}

// Close drops idle connections. The client stays usable.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Domain is where vouchers and receipts for this chain count.
func (c *Client) Domain() payment.EIP712Domain {
	return payment.EIP712Domain{ChainID: c.ChainID, Settlement: c.Contracts.Settlement}
}

// Address is the wallet's, zero without one.
func (c *Client) Address() payment.Address { return c.from }

// Block is the latest block's number and time.
func (c *Client) Block(ctx context.Context) (number uint64, at time.Time, err error) {
	err = c.do(ctx, func(ctx context.Context, e *ethclient.Client) error {
		h, err := e.HeaderByNumber(ctx, nil)
		if err != nil {
			return err
		}
		number, at = h.Number.Uint64(), time.Unix(int64(h.Time), 0)
		return nil
	})
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("read latest block: %w", err)
	}
	return number, at, nil
}

// Final is the number of the last block that the chain will not take back.
func (c *Client) Final(ctx context.Context) (number uint64, err error) {
	err = c.do(ctx, func(ctx context.Context, e *ethclient.Client) error {
		h, err := e.HeaderByNumber(ctx, big.NewInt(int64(rpc.FinalizedBlockNumber)))
		if err != nil {
			return err
		}
		number = h.Number.Uint64()
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("read final block: %w", err)
	}
	return number, nil
}

// TokenBalance is how many tokens an address holds.
func (c *Client) TokenBalance(ctx context.Context, of payment.Address) (souk.Atoms, error) {
	out, err := c.call(ctx, c.Contracts.Token, c.token.PackBalanceOf(of), nil)
	if err != nil {
		return 0, fmt.Errorf("read token balance of %s: %w", of, err)
	}
	n, err := c.token.UnpackBalanceOf(out)
	if err != nil {
		return 0, fmt.Errorf("read token balance of %s: %w", of, err)
	}
	return toAtoms(n)
}

// GasBalance is how much native coin an address holds, in wei.
func (c *Client) GasBalance(ctx context.Context, of payment.Address) (wei *big.Int, err error) {
	err = c.do(ctx, func(ctx context.Context, e *ethclient.Client) error {
		wei, err = e.BalanceAt(ctx, of, nil)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read coin balance of %s: %w", of, err)
	}
	return wei, nil
}

// ChannelState is what the contract holds for a channel.
type ChannelState struct {
	Block             uint64     // as of which block
	Balance           souk.Atoms // deposits less refunds and withdrawals; claims do not lower it
	Claimed           souk.Atoms // in all, at most Balance
	PendingWithdrawal souk.Atoms // what the payer has started to withdraw
	WithdrawStarted   time.Time  // zero: no withdrawal is pending
	RefundNonce       uint64     // what the next signed refund must carry
}

// Left is what neither was claimed nor is about to be withdrawn.
func (s ChannelState) Left() souk.Atoms {
	return max(0, s.Balance-s.Claimed-s.PendingWithdrawal)
}

// WithdrawReady is when a pending withdrawal on ch can be finished; ok is false
// if none is pending.
func (s ChannelState) WithdrawReady(ch payment.Channel) (at time.Time, ok bool) {
	if s.WithdrawStarted.IsZero() {
		return time.Time{}, false
	}
	return s.WithdrawStarted.Add(time.Duration(ch.WithdrawDelay) * time.Second), true
}

// Channel reads a channel as of one block, 0 for the latest. A channel that was
// never funded is all zeros.
func (c *Client) Channel(ctx context.Context, id souk.ChannelID, atBlock uint64) (ChannelState, error) {
	state, err := c.readChannel(ctx, id, atBlock)
	if err != nil {
		return ChannelState{}, fmt.Errorf("read channel %s: %w", id.Short(), err)
	}
	return state, nil
}

func (c *Client) readChannel(ctx context.Context, id souk.ChannelID, block uint64) (s ChannelState, err error) {
	if block == 0 {
		if block, _, err = c.Block(ctx); err != nil {
			return s, err
		}
	}
	s.Block = block
	at := new(big.Int).SetUint64(block)
	out, err := c.call(ctx, c.Contracts.Settlement, c.settlement.PackChannels(id.Digest), at)
	if err != nil {
		return s, err
	}
	channel, err := c.settlement.UnpackChannels(out)
	if err != nil {
		return s, err
	}
	if out, err = c.call(ctx, c.Contracts.Settlement, c.settlement.PackPendingWithdrawals(id.Digest), at); err != nil {
		return s, err
	}
	pending, err := c.settlement.UnpackPendingWithdrawals(out)
	if err != nil {
		return s, err
	}
	if out, err = c.call(ctx, c.Contracts.Settlement, c.settlement.PackRefundNonce(id.Digest), at); err != nil {
		return s, err
	}
	nonce, err := c.settlement.UnpackRefundNonce(out)
	if err != nil {
		return s, err
	}
	if !nonce.IsUint64() {
		return s, fmt.Errorf("refund nonce %s: %w", nonce, souk.ErrOverflow)
	}
	s.RefundNonce = nonce.Uint64()
	if started := pending.InitiatedAt.Int64(); started != 0 {
		s.WithdrawStarted = time.Unix(started, 0)
	}
	for _, f := range []struct {
		dst *souk.Atoms
		src *big.Int
	}{{&s.Balance, channel.Balance}, {&s.Claimed, channel.TotalClaimed}, {&s.PendingWithdrawal, pending.Amount}} {
		if *f.dst, err = toAtoms(f.src); err != nil {
			return s, err
		}
	}
	return s, nil
}

// Unsettled is what a receiver has claimed and Settle would pay it.
func (c *Client) Unsettled(ctx context.Context, receiver payment.Address) (souk.Atoms, error) {
	out, err := c.call(ctx, c.Contracts.Settlement, c.settlement.PackReceivers(receiver, c.Contracts.Token), nil)
	if err != nil {
		return 0, fmt.Errorf("read receiver %s: %w", receiver, err)
	}
	r, err := c.settlement.UnpackReceivers(out)
	if err != nil {
		return 0, fmt.Errorf("read receiver %s: %w", receiver, err)
	}
	return toAtoms(new(big.Int).Sub(r.TotalClaimed, r.TotalSettled))
}

// call runs a view function. A nil block is the latest.
func (c *Client) call(ctx context.Context, to common.Address, data []byte, block *big.Int) (out []byte, err error) {
	err = c.do(ctx, func(ctx context.Context, e *ethclient.Client) error {
		out, err = e.CallContract(ctx, ethereum.CallMsg{From: c.from, To: &to, Data: data}, block)
		if err == nil && len(out) == 0 {
			return fmt.Errorf("no contract at %s", to)
		}
		return revert(err)
	})
	return out, err
}

func toAtoms(n *big.Int) (souk.Atoms, error) {
	if !n.IsInt64() || n.Sign() < 0 {
		return 0, fmt.Errorf("%s atoms: %w", n, souk.ErrOverflow)
	}
	return souk.Atoms(n.Int64()), nil
}

func fromAtoms(a souk.Atoms) *big.Int { return big.NewInt(int64(a)) }
