package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/ledger"
	"github.com/souk-market/souk/storage/badger"
	"github.com/souk-market/souk/storage/mark"
	"golang.org/x/sync/errgroup"
)

// The load on the ledger: so many writers at once, each waiting for its batch
// before it sends the next.
const (
	ledgerWriters = 64
	ledgerBatch   = 64   // transfers in a batch
	ledgerBatches = 1024 // in a sample, over all writers
)

// ledgerTransfers measures the ledger on disk under many leases.
func ledgerTransfers() bench {
	return bench{
		row:     "ledger transfers, durable",
		against: "one sequential write of the same bytes, then fsync",
		unit:    "transfers/s",
		goal:    "≥ 500,000/s, p99 commit ≤ 10 ms",
		prepare: prepareLedger,
	}
}

// counted is the ledger's store, with the bytes that the ledger gives it.
type counted struct {
	*badger.Store
	bytes atomic.Int64
}

func (c *counted) Update(fn func(payment.Txn) error) error {
	return c.Store.Update(func(txn payment.Txn) error { return fn(countedTxn{txn, &c.bytes}) })
}

type countedTxn struct {
	payment.Txn
	bytes *atomic.Int64
}

func (t countedTxn) Set(key, value []byte) error {
	t.bytes.Add(int64(len(key) + len(value)))
	return t.Txn.Set(key, value)
}

func prepareLedger(dir string) (*subject, error) {
	disk, err := badger.Open(badger.Config{Dir: filepath.Join(dir, "ledger")})
	if err != nil {
		return nil, err
	}
	store := &counted{Store: disk}
	book, shut, err := runLedger(dir, store)
	if err != nil {
		return nil, errors.Join(err, disk.Close())
	}
	ctx := context.Background()
	var next uint64
	var waits [][]time.Duration // of each sample, the first of which warms up
	var written int64
	return &subject{
		ours: func() (float64, error) {
			batches := make([]ledger.Batch, ledgerBatches)
			for i := range batches {
				batches[i] = usage(&next)
			}
			before := store.bytes.Load()
			took := make([]time.Duration, len(batches))
			r, err := rate(ledgerBatches*ledgerBatch, func() error { return commitAll(ctx, book, batches, took) })
			written = store.bytes.Load() - before
			waits = append(waits, took)
			return r, err
		},
		limit: func() (float64, error) {
			return rate(ledgerBatches*ledgerBatch, func() error { return writeSynced(filepath.Join(dir, "raw"), written) })
		},
		met: func(ours, _ figure) bool { return ours.median >= 500_000 && tail(waits) <= 10*time.Millisecond },
		note: func() string {
			return fmt.Sprintf("p99 commit %s, %d writers, batches of %d transfers, %d bytes a transfer",
				tail(waits).Round(10*time.Microsecond), ledgerWriters, ledgerBatch, written/(ledgerBatches*ledgerBatch))
		},
		close: func() error { return errors.Join(shut(), disk.Close()) },
	}, nil
}

// runLedger runs a ledger as a node does, with its mark beside the store. shut
// ends it and verifies it.
func runLedger(dir string, store payment.Store) (book *ledger.Ledger, shut func() error, err error) {
	beside, err := mark.Open(filepath.Join(dir, "mark"))
	if err != nil {
		return nil, nil, err
	}
	if book, err = ledger.Open(ledger.Config{Store: store, Mark: beside}); err != nil {
		return nil, nil, errors.Join(err, beside.Close())
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- book.Run(ctx) }()
	return book, func() error {
		cancel()
		return errors.Join(<-done, book.Verify(), beside.Close())
	}, nil
}

// usage is what a client books for receipts on many channels.
func usage(next *uint64) ledger.Batch {
	b := ledger.Batch{Transfers: make([]ledger.Transfer, ledgerBatch)}
	now := time.Now()
	for i := range b.Transfers {
		*next++
		id := binary.BigEndian.AppendUint64(nil, *next)
		var channel souk.ChannelID
		channel.Digest[0] = byte(*next)
		b.Transfers[i] = ledger.Transfer{ID: ledger.TransferID("usage", id), Debit: ledger.Spent, Credit: ledger.Owed(channel),
			Amount: 1234, Kind: "usage", Ref: channel.Short(), At: now}
	}
	return b
}

// commitAll commits the batches from many writers, and notes how long each waited.
func commitAll(ctx context.Context, book *ledger.Ledger, batches []ledger.Batch, took []time.Duration) error {
	g, ctx := errgroup.WithContext(ctx)
	var at atomic.Int64
	for range ledgerWriters {
		g.Go(func() error {
			for {
				i := int(at.Add(1)) - 1
				if i >= len(batches) {
					return nil
				}
				start := time.Now()
				if err := book.Commit(ctx, batches[i]); err != nil {
					return err
				}
				took[i] = time.Since(start)
			}
		})
	}
	return g.Wait()
}

// writeSynced is the least that n durable bytes cost on this disk.
func writeSynced(path string, n int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(make([]byte, n)); err != nil {
		return err
	}
	return f.Sync()
}

// tail is the wait that one commit in a hundred passes, once it is warm.
func tail(waits [][]time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(slices.Concat(waits[1:]...)))
	return sorted[len(sorted)*99/100]
}
