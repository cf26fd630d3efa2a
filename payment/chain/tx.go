package chain

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/ethclient"
)

// sentTx is the last transaction that a node took.
type sentTx struct {
	nonce uint64
	hash  common.Hash // zero: none yet
}

// send signs a call and hands it to a node. One transaction is numbered at a
// time, so that two cannot get the same number. gas, if not 0, is the least limit
// to set: an estimate is made on the latest state, which what was sent before
// may still change.
func (c *Client) send(ctx context.Context, to common.Address, data []byte, gas uint64) (string, error) {
	if c.Wallet == nil {
		return "", ErrNoWallet
	}
	select {
	case <-c.sending:
		defer func() { c.sending <- struct{}{} }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	tx, err := c.prepare(ctx, to, data, gas)
	if err != nil {
		return "", err
	}
	// A second try heals a number that another program with this wallet took.
	for try := 0; ; try++ {
		signed, err := c.sendNumbered(ctx, tx)
		if err == nil {
			c.Log.Debug("transaction sent", "tx", signed.Hash(), "nonce", signed.Nonce())
			return signed.Hash().Hex(), nil
		}
		if try > 0 || !strings.Contains(err.Error(), "nonce too low") && !strings.Contains(err.Error(), "underpriced") {
			return "", err
		}
		c.sent = sentTx{}
	}
}

// prepare fills everything but the number.
func (c *Client) prepare(ctx context.Context, to common.Address, data []byte, gas uint64) (*types.DynamicFeeTx, error) {
	tx := &types.DynamicFeeTx{ChainID: c.chainID, To: &to, Data: data}
	err := c.do(ctx, func(ctx context.Context, e *ethclient.Client) error {
		estimate, err := e.EstimateGas(ctx, ethereum.CallMsg{From: c.from, To: &to, Data: data})
		if err != nil {
			return revert(err)
		}
		tx.Gas = max(gas, estimate+estimate/4)
		head, err := e.HeaderByNumber(ctx, nil)
		if err != nil {
			return err
		}
		if head.BaseFee == nil {
			return errors.New("chain has no base fee")
		}
		if tx.GasTipCap, err = e.SuggestGasTipCap(ctx); err != nil {
			return err
		}
		// Twice the base fee outlasts six full blocks.
		tx.GasFeeCap = new(big.Int).Add(tx.GasTipCap, new(big.Int).Lsh(head.BaseFee, 1))
		return nil
	})
	if err != nil {
		return nil, err
	}
	return tx, nil
}

func (c *Client) sendNumbered(ctx context.Context, tx *types.DynamicFeeTx) (*types.Transaction, error) {
	nonce, err := c.nonce(ctx)
	if err != nil {
		return nil, fmt.Errorf("number transaction: %w", err)
	}
	tx.Nonce = nonce
	signed, err := types.SignNewTx(c.Wallet, types.LatestSignerForChainID(c.chainID), tx)
	if err != nil {
		return nil, fmt.Errorf("sign transaction: %w", err)
	}
	err = c.do(ctx, func(ctx context.Context, e *ethclient.Client) error {
		err := e.SendTransaction(ctx, signed)
		if err != nil && strings.Contains(err.Error(), "already known") {
			return nil
		}
		return err
	})
	if err != nil && strings.Contains(err.Error(), "insufficient funds") {
		return nil, fmt.Errorf("send transaction from %s: %w", c.from, ErrGas)
	}
	if err != nil {
		return nil, fmt.Errorf("send transaction: %w", err)
	}
	c.sent = sentTx{nonce: nonce, hash: signed.Hash()}
	c.unmined.add(signed)
	return signed, nil
}

// nonce is the next transaction's number. A node may be behind on what was just
// sent through it or through another, so the last number counts too, unless no
// node knows that transaction any more.
func (c *Client) nonce(ctx context.Context) (nonce uint64, err error) {
	err = c.do(ctx, func(ctx context.Context, e *ethclient.Client) error {
		nonce, err = e.PendingNonceAt(ctx, c.from)
		return err
	})
	if err != nil {
		return 0, err
	}
	if c.sent.hash == (common.Hash{}) || c.sent.nonce < nonce {
		return nonce, nil
	}
	err = c.do(ctx, func(ctx context.Context, e *ethclient.Client) error {
		_, _, err := e.TransactionByHash(ctx, c.sent.hash)
		return err
	})
	switch {
	case errors.Is(err, ethereum.NotFound):
		return nonce, nil
	case err != nil:
		return 0, err
	}
	return c.sent.nonce + 1, nil
}

// TxReceipt says where a transaction ended up.
type TxReceipt struct {
	Tx      string
	Block   uint64
	Time    time.Time // of the block
	GasUsed uint64
}

// Wait returns once tx has as many confirmations as asked for, the block it is
// in being the first; 0 asks for the configured number. It outlives failing
// nodes and blocks that are taken back, until ctx ends, and sends again what the
// nodes have lost. The error is a
// [RevertError] if the contract refused, [ErrDropped] if the transaction is gone.
func (c *Client) Wait(ctx context.Context, tx string, confirmations uint64) (TxReceipt, error) {
	hash, err := parseTx(tx)
	if err != nil {
		return TxReceipt{}, err
	}
	if confirmations == 0 {
		confirmations = c.Confirmations
	}
	ticker := time.NewTicker(c.Poll)
	defer ticker.Stop()
	known, again := time.Now(), time.Time{}
	for {
		r, err := c.look(ctx, hash, confirmations)
		switch {
		case err == nil:
			c.unmined.mined(hash)
			return r, nil
		case errors.Is(err, errWaiting):
			known = time.Now()
		case errors.Is(err, ErrDropped):
			if time.Since(known) > c.DropAfter {
				return TxReceipt{}, fmt.Errorf("wait for %s: %w", tx, ErrDropped)
			}
			if time.Since(again) > resendEvery {
				again = time.Now()
				c.resend(ctx, hash)
			}
		default:
			if _, ok := errors.AsType[*RevertError](err); ok {
				c.unmined.mined(hash)
				return TxReceipt{}, fmt.Errorf("transaction %s: %w", tx, err)
			}
			// No node answered: that says nothing about the transaction.
			known = time.Now()
		}
		select {
		case <-ctx.Done():
			return TxReceipt{}, fmt.Errorf("wait for %s: %w", tx, ctx.Err())
		case <-ticker.C:
		}
	}
}

// resendEvery spaces what is sent again to nodes that do not know it, or not yet.
const resendEvery = time.Second

// resend hands a transaction to the nodes again, if this client sent it, and those
// before it that may be lost too: a node that is restarted forgets what waits in
// it, and mines none that has a gap before it. Signed once, each counts once.
func (c *Client) resend(ctx context.Context, hash common.Hash) {
	for _, tx := range c.unmined.upTo(hash) {
		err := c.do(ctx, func(ctx context.Context, e *ethclient.Client) error { return e.SendTransaction(ctx, tx) })
		c.Log.Debug("transaction sent again", "tx", tx.Hash(), "err", err) // the next look tells what came of it
	}
}

// maxUnmined bounds how many transactions are kept to be sent again.
const maxUnmined = 256

// unmined are the transactions that were sent and not seen in a block, by number.
type unmined struct {
	mu  sync.Mutex // guards txs
	txs []*types.Transaction
}

// add keeps what was just sent, in place of what had its number or a later one:
// those are not known to any node, or this one would have another number.
func (u *unmined) add(tx *types.Transaction) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.txs = slices.DeleteFunc(u.txs, func(o *types.Transaction) bool { return o.Nonce() >= tx.Nonce() })
	if len(u.txs) == maxUnmined {
		u.txs = slices.Delete(u.txs, 0, 1)
	}
	u.txs = append(u.txs, tx)
}

// upTo is a transaction with those before it; nothing where it is not known.
func (u *unmined) upTo(hash common.Hash) []*types.Transaction {
	u.mu.Lock()
	defer u.mu.Unlock()
	i := slices.IndexFunc(u.txs, func(o *types.Transaction) bool { return o.Hash() == hash })
	return slices.Clone(u.txs[:i+1])
}

// mined forgets a transaction that is in a block, and with it those before it.
func (u *unmined) mined(hash common.Hash) {
	u.mu.Lock()
	defer u.mu.Unlock()
	i := slices.IndexFunc(u.txs, func(o *types.Transaction) bool { return o.Hash() == hash })
	u.txs = slices.Delete(u.txs, 0, i+1)
}

// errWaiting is the answer of look for a transaction that is on its way.
var errWaiting = errors.New("not confirmed yet")

func (c *Client) look(ctx context.Context, hash common.Hash, confirmations uint64) (r TxReceipt, err error) {
	err = c.do(ctx, func(ctx context.Context, e *ethclient.Client) error {
		receipt, err := e.TransactionReceipt(ctx, hash)
		if errors.Is(err, ethereum.NotFound) {
			if _, _, err := e.TransactionByHash(ctx, hash); errors.Is(err, ethereum.NotFound) {
				return ErrDropped
			}
			return errWaiting
		}
		if err != nil {
			return err
		}
		head, err := e.BlockNumber(ctx)
		if err != nil {
			return err
		}
		block := receipt.BlockNumber.Uint64()
		if head+1 < block+confirmations {
			return errWaiting
		}
		if receipt.Status != types.ReceiptStatusSuccessful {
			return c.reason(ctx, e, hash, receipt)
		}
		header, err := e.HeaderByHash(ctx, receipt.BlockHash)
		if err != nil {
			return err
		}
		r = TxReceipt{Tx: hash.Hex(), Block: block, Time: time.Unix(int64(header.Time), 0), GasUsed: receipt.GasUsed}
		return nil
	})
	return r, err
}

// reason runs a failed transaction again on the state before its block to learn
// why. What stood before it in the block is missing, so the reason may be unknown.
func (c *Client) reason(ctx context.Context, e *ethclient.Client, hash common.Hash, r *types.Receipt) error {
	tx, _, err := e.TransactionByHash(ctx, hash)
	if err != nil {
		return err
	}
	from, err := types.Sender(types.LatestSignerForChainID(c.chainID), tx)
	if err != nil {
		return fmt.Errorf("sender: %w", err)
	}
	msg := ethereum.CallMsg{From: from, To: tx.To(), Gas: tx.Gas(), Value: tx.Value(), Data: tx.Data()}
	_, err = e.CallContract(ctx, msg, new(big.Int).Sub(r.BlockNumber, common.Big1))
	if reverted, ok := errors.AsType[*RevertError](revert(err)); ok {
		return reverted
	}
	return &RevertError{}
}

func parseTx(tx string) (common.Hash, error) {
	b, err := hexutil.Decode(tx)
	if err != nil || len(b) != common.HashLength {
		return common.Hash{}, fmt.Errorf("%q is not a transaction hash", tx)
	}
	return common.BytesToHash(b), nil
}
