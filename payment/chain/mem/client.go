package mem

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/chain"
)

// ClientConfig holds what a [Client] needs. The fields mean what they do in
// [chain.Config].
type ClientConfig struct {
	Wallet        *ecdsa.PrivateKey
	Authorizer    *ecdsa.PrivateKey
	Confirmations uint64
	Poll          time.Duration
	DropAfter     time.Duration
}

// Client is one wallet's view of a [Chain]. Its methods do what those of
// [chain.Client] do, with the same errors.
type Client struct {
	cfg        ClientConfig
	chain      *Chain
	from       payment.Address
	authorizer payment.Address
}

// Client is a client of the chain.
func (c *Chain) Client(cfg ClientConfig) *Client {
	cfg.Confirmations = max(1, cfg.Confirmations)
	if cfg.Poll <= 0 {
		cfg.Poll = 250 * time.Millisecond
	}
	if cfg.DropAfter <= 0 {
		cfg.DropAfter = 30 * time.Second
	}
	if cfg.Authorizer == nil {
		cfg.Authorizer = cfg.Wallet
	}
	client := &Client{cfg: cfg, chain: c}
	if cfg.Wallet != nil {
		client.from = crypto.PubkeyToAddress(cfg.Wallet.PublicKey)
	}
	if cfg.Authorizer != nil {
		client.authorizer = crypto.PubkeyToAddress(cfg.Authorizer.PublicKey)
	}
	return client
}

func (c *Chain) domain() payment.EIP712Domain {
	return payment.EIP712Domain{ChainID: c.cfg.ChainID, Settlement: c.cfg.Contracts.Settlement}
}

// Domain is where vouchers and receipts for this chain count.
func (c *Client) Domain() payment.EIP712Domain { return c.chain.domain() }

// Address is the wallet's, zero without one.
func (c *Client) Address() payment.Address { return c.from }

// ask runs fn on the present state, if the chain can be reached.
func (c *Client) ask(ctx context.Context, fn func(*state) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c.chain.mu.Lock()
	defer c.chain.mu.Unlock()
	now := c.chain.now()
	if c.chain.down {
		return ErrDown
	}
	return fn(now)
}

// Block is the latest block's number and time.
func (c *Client) Block(ctx context.Context) (number uint64, at time.Time, err error) {
	err = c.ask(ctx, func(*state) error {
		number, at = c.chain.latest, c.chain.blockTime(c.chain.latest)
		return nil
	})
	return number, at, wrap(err, "read latest block")
}

// Final is the number of the last block that the chain will not take back.
func (c *Client) Final(ctx context.Context) (number uint64, err error) {
	err = c.ask(ctx, func(*state) error {
		number = c.chain.latest - min(c.chain.latest, c.chain.cfg.Finality)
		return nil
	})
	return number, wrap(err, "read final block")
}

// TokenBalance is how many tokens an address holds.
func (c *Client) TokenBalance(ctx context.Context, of payment.Address) (n souk.Atoms, err error) {
	err = c.ask(ctx, func(s *state) error { n = s.tokens[of]; return nil })
	return n, wrap(err, "read token balance of %s", of)
}

// GasBalance is how much native coin an address holds, in wei.
func (c *Client) GasBalance(ctx context.Context, of payment.Address) (wei *big.Int, err error) {
	err = c.ask(ctx, func(s *state) error {
		wei = new(big.Int).Mul(new(big.Int).SetUint64(s.gas[of]), big.NewInt(1e9))
		return nil
	})
	return wei, wrap(err, "read coin balance of %s", of)
}

// Channel reads a channel as of one block, 0 for the latest.
func (c *Client) Channel(ctx context.Context, id souk.ChannelID, atBlock uint64) (out chain.ChannelState, err error) {
	err = c.ask(ctx, func(*state) error {
		if atBlock == 0 {
			atBlock = c.chain.latest
		}
		then, err := c.chain.read(atBlock)
		if err == nil {
			out = then.channels[id]
			out.Block = atBlock
		}
		return err
	})
	return out, wrap(err, "read channel %s", id.Short())
}

// Unsettled is what a receiver has claimed and Settle would pay it.
func (c *Client) Unsettled(ctx context.Context, receiver payment.Address) (n souk.Atoms, err error) {
	err = c.ask(ctx, func(s *state) error { n = s.earned[receiver]; return nil })
	return n, wrap(err, "read receiver %s", receiver)
}

// SignDeposit authorizes a deposit from the wallet, which must be the channel's payer.
func (c *Client) SignDeposit(ch payment.Channel, amount souk.Atoms, validFor time.Duration, now time.Time, salt [32]byte) (chain.Deposit, error) {
	if c.cfg.Wallet == nil {
		return chain.Deposit{}, fmt.Errorf("sign deposit: %w", chain.ErrNoWallet)
	}
	return chain.SignDeposit(c.cfg.Wallet, c.chain.cfg.Contracts, c.Domain(), ch, amount, validFor, now, salt)
}

// DepositUsed tells whether a deposit's authorization was used.
func (c *Client) DepositUsed(ctx context.Context, ch payment.Channel, d chain.Deposit) (used bool, err error) {
	id := ch.ID(c.Domain())
	err = c.ask(ctx, func(s *state) error { used = s.used[nonce(id, d)]; return nil })
	return used, wrap(err, "read deposit on channel %s", id.Short())
}

// send hands a call to the chain.
func (c *Client) send(ctx context.Context, a *anchored, call func(*state) error) (tx string, err error) {
	if c.cfg.Wallet == nil {
		return "", chain.ErrNoWallet
	}
	err = c.ask(ctx, func(*state) (err error) { tx, err = c.chain.send(c.from, a, call); return err })
	return tx, err
}

// Deposit submits a payer's deposit.
func (c *Client) Deposit(ctx context.Context, ch payment.Channel, d chain.Deposit) (tx string, err error) {
	id := ch.ID(c.Domain())
	err = chain.VerifyDeposit(d, ch, c.chain.cfg.Contracts, c.Domain())
	if err == nil {
		var used bool
		if used, err = c.DepositUsed(ctx, ch, d); used {
			err = chain.ErrUsed
		}
	}
	if err == nil {
		tx, err = c.send(ctx, nil, func(s *state) error { return c.chain.deposit(s, ch, id, d) })
	}
	return tx, wrap(err, "deposit on channel %s", id.Short())
}

// Claim books claims to their receivers; it moves no tokens.
func (c *Client) Claim(ctx context.Context, claims []chain.Claim) (tx string, err error) {
	if err = c.checkClaims(claims); err == nil {
		tx, err = c.send(ctx, nil, func(s *state) error { return c.chain.claim(s, c.from, c.authorizer, claims) })
	}
	return tx, wrap(err, "claim on %d channels", len(claims))
}

// ClaimAndSettle claims and pays the receivers of the claims, in one transaction.
func (c *Client) ClaimAndSettle(ctx context.Context, claims []chain.Claim) (tx string, err error) {
	if err = c.checkClaims(claims); err == nil {
		tx, err = c.send(ctx, nil, func(s *state) error {
			err := c.chain.claim(s, c.from, c.authorizer, claims)
			for i := 0; err == nil && i < len(claims); i++ {
				err = c.chain.settle(s, claims[i].Channel.Receiver)
			}
			return err
		})
	}
	return tx, wrap(err, "claim and settle %d channels", len(claims))
}

func (c *Client) checkClaims(claims []chain.Claim) error {
	if len(claims) == 0 {
		return errors.New("no claims")
	}
	for _, cl := range claims {
		if id := cl.Channel.ID(c.Domain()); cl.Voucher.Channel != id {
			return fmt.Errorf("voucher is for channel %s, not %s", cl.Voucher.Channel.Short(), id.Short())
		}
		if cl.Total < 0 || cl.Voucher.MaxClaimable < 0 {
			return fmt.Errorf("claim %d of %d atoms: %w", cl.Total, cl.Voucher.MaxClaimable, souk.ErrOverflow)
		}
	}
	return nil
}

// Settle pays each receiver all that was claimed for it; without any named, the
// wallet itself.
func (c *Client) Settle(ctx context.Context, receivers ...payment.Address) (tx string, err error) {
	if len(receivers) == 0 {
		receivers = []payment.Address{c.from}
	}
	tx, err = c.send(ctx, nil, func(s *state) (err error) {
		for i := 0; err == nil && i < len(receivers); i++ {
			err = c.chain.settle(s, receivers[i])
		}
		return err
	})
	return tx, wrap(err, "settle")
}

// Refund gives amount of what is not claimed back to the payer.
func (c *Client) Refund(ctx context.Context, ch payment.Channel, amount souk.Atoms, nonce uint64, authorizer *ecdsa.PrivateKey) (tx string, err error) {
	r := payment.Refund{Channel: ch.ID(c.Domain()), Nonce: nonce, Amount: amount}
	sig, err := r.Sign(c.Domain(), authorizer)
	if err == nil {
		tx, err = c.send(ctx, nil, func(s *state) error { return c.chain.refund(s, ch, r, sig) })
	}
	return tx, wrap(err, "refund on channel %s", r.Channel.Short())
}

// StartWithdraw starts the delay after which the payer can take amount back.
func (c *Client) StartWithdraw(ctx context.Context, ch payment.Channel, amount souk.Atoms) (tx string, err error) {
	if err = souk.ErrOverflow; amount >= 0 {
		tx, err = c.send(ctx, nil, func(s *state) error { return c.chain.startWithdraw(s, c.from, ch, amount) })
	}
	return tx, wrap(err, "start withdrawal from channel %s", ch.ID(c.Domain()).Short())
}

// FinishWithdraw takes a withdrawal whose delay has passed, or what claims have
// left of it.
func (c *Client) FinishWithdraw(ctx context.Context, ch payment.Channel) (tx string, err error) {
	tx, err = c.send(ctx, nil, func(s *state) error { return c.chain.finishWithdraw(s, c.from, ch) })
	return tx, wrap(err, "finish withdrawal from channel %s", ch.ID(c.Domain()).Short())
}

// Anchor puts the root over count log checkpoints, at least one, on chain.
func (c *Client) Anchor(ctx context.Context, root souk.Digest, count uint64) (tx string, err error) {
	tx, err = c.send(ctx, &anchored{root, count}, func(*state) error {
		if count == 0 {
			return refuse("NothingToAnchor")
		}
		return nil
	})
	return tx, wrap(err, "anchor %s", root.Short())
}

// AnchorAt reads back what a mined transaction anchored.
func (c *Client) AnchorAt(ctx context.Context, tx string) (root souk.Digest, count, block uint64, err error) {
	err = c.ask(ctx, func(*state) error {
		t := c.chain.known[tx]
		if t == nil || t.block == 0 {
			return errors.New("not found")
		}
		if t.anchor == nil || t.err != nil {
			return chain.ErrNoAnchor
		}
		root, count, block = t.anchor.root, t.anchor.count, t.block
		return nil
	})
	return root, count, block, wrap(err, "read anchor in %s", tx)
}

// Faucet gives the wallet tokens and gas, which are there once tx is mined.
func (c *Client) Faucet(ctx context.Context) (amount souk.Atoms, tx string, err error) {
	if c.cfg.Wallet == nil {
		return 0, "", fmt.Errorf("faucet: %w", chain.ErrNoWallet)
	}
	err = c.ask(ctx, func(*state) error {
		tx = c.chain.queue(payment.Address{}, nil, func(s *state) error {
			s.tokens[c.from] += chain.FaucetTokens
			s.gas[c.from] += chain.FaucetCoins * 1e9
			return nil
		})
		return nil
	})
	return chain.FaucetTokens, tx, wrap(err, "faucet")
}

// errWaiting is the answer for a transaction that is on its way.
var errWaiting = errors.New("not confirmed yet")

// Wait returns once tx has as many confirmations as asked for, the block it is
// in being the first; 0 asks for the configured number. It outlives a chain that
// is down, until ctx ends.
func (c *Client) Wait(ctx context.Context, tx string, confirmations uint64) (chain.TxReceipt, error) {
	if b, err := hexutil.Decode(tx); err != nil || len(b) != common.HashLength {
		return chain.TxReceipt{}, fmt.Errorf("%q is not a transaction hash", tx)
	}
	if confirmations == 0 {
		confirmations = c.cfg.Confirmations
	}
	ticker := time.NewTicker(c.cfg.Poll)
	defer ticker.Stop()
	known := time.Now()
	for {
		r, err := c.look(ctx, tx, confirmations)
		switch {
		case err == nil:
			return r, nil
		case errors.Is(err, chain.ErrDropped):
			if time.Since(known) > c.cfg.DropAfter {
				return chain.TxReceipt{}, fmt.Errorf("wait for %s: %w", tx, chain.ErrDropped)
			}
		case errors.As(err, new(*chain.RevertError)):
			return chain.TxReceipt{}, fmt.Errorf("transaction %s: %w", tx, err)
		default:
			known = time.Now()
		}
		select {
		case <-ctx.Done():
			return chain.TxReceipt{}, fmt.Errorf("wait for %s: %w", tx, ctx.Err())
		case <-ticker.C:
		}
	}
}

func (c *Client) look(ctx context.Context, tx string, confirmations uint64) (r chain.TxReceipt, err error) {
	err = c.ask(ctx, func(*state) error {
		t := c.chain.known[tx]
		switch {
		case t == nil:
			return chain.ErrDropped
		case t.block == 0 || c.chain.latest+1 < t.block+confirmations:
			return errWaiting
		}
		r = chain.TxReceipt{Tx: tx, Block: t.block, Time: t.time, GasUsed: gasUsed}
		return t.err
	})
	return r, err
}

// wrap says what an error came of; nil stays nil.
func wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), err)
}
