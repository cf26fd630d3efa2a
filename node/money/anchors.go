package money

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment/chain"
	"github.com/souk-market/souk/payment/ledger"
	"github.com/souk-market/souk/payment/log"
)

// Anchor is a checkpoint of our log that a transaction carries.
type Anchor struct {
	Checkpoint []byte        `json:"checkpoint"` // the signed note
	Size       uint64        `json:"size"`
	Root       souk.Digest   `json:"root"` // over the checkpoints in the transaction
	Count      uint64        `json:"count"`
	Index      uint64        `json:"index"`
	Proof      []souk.Digest `json:"proof"`
	Tx         string        `json:"tx"`
	Block      uint64        `json:"block"`
	Time       time.Time     `json:"time"`
}

// AnchorChain is what a keeper needs to anchor the log of receipts.
type AnchorChain interface {
	Anchor(ctx context.Context, root souk.Digest, count uint64) (tx string, err error)
	Wait(ctx context.Context, tx string, confirmations uint64) (chain.TxReceipt, error)
}

// ErrNothingToAnchor is returned when the log is empty.
var ErrNothingToAnchor = &souk.Error{Code: souk.CodeState, Err: errors.New("the receipts log is empty: there is nothing to anchor")}

// Anchors lists what was anchored, oldest first.
func (k *Keeper) Anchors() (recs []Anchor, err error) {
	err = k.cfg.Ledger.Scan("anchor/", func(key string, value []byte) error {
		var a Anchor
		if err := json.Unmarshal(value, &a); err != nil {
			return fmt.Errorf("record %s: %w", key, err)
		}
		recs = append(recs, a)
		return nil
	})
	return recs, err
}

// Anchor puts the newest checkpoint into a transaction, unless one has it already.
func (k *Keeper) Anchor(ctx context.Context) (Anchor, error) {
	leave, err := k.anchoring.enter(ctx, struct{}{})
	if err != nil {
		return Anchor{}, err
	}
	defer leave()
	note, size := k.cfg.Tree.Checkpoint(), k.cfg.Tree.Size()
	if size == 0 {
		return Anchor{}, ErrNothingToAnchor
	}
	had, err := k.Anchors()
	if err != nil {
		return Anchor{}, err
	}
	if n := len(had); n > 0 && had[n-1].Size == size {
		return had[n-1], nil
	}
	ctx, cancel := context.WithTimeout(ctx, txWithin)
	defer cancel()
	body, _, ok := bytes.Cut(note, []byte("\n\n")) // a signed note's text ends where its signatures begin
	if !ok {
		return Anchor{}, errors.New("the log's checkpoint is not a signed note")
	}
	leaves := [][]byte{append(bytes.Clone(body), '\n')}
	a := Anchor{Checkpoint: note, Size: size, Root: log.AnchorRoot(leaves), Count: uint64(len(leaves)), Proof: []souk.Digest{}}
	if a.Tx, err = k.cfg.Anchors.Anchor(ctx, a.Root, a.Count); err != nil {
		return a, fmt.Errorf("anchor: %w", err)
	}
	mined, err := k.cfg.Anchors.Wait(ctx, a.Tx, 1)
	if err != nil {
		return a, fmt.Errorf("anchor %s: %w", a.Tx, err)
	}
	a.Block, a.Time = mined.Block, mined.Time
	value, err := json.Marshal(a)
	if err != nil {
		return a, fmt.Errorf("encode anchor: %w", err)
	}
	k.cfg.Log.Info("anchored", "size", size, "tx", a.Tx)
	return a, k.cfg.Ledger.Commit(ctx, ledger.Batch{Records: []ledger.Record{{Key: fmt.Sprintf("anchor/%016x", size), Value: value}}})
}
