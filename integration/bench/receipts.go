package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	voi "github.com/oasisprotocol/curve25519-voi/primitives/ed25519"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/ledger"
	"github.com/souk-market/souk/payment/log"
	"github.com/souk-market/souk/storage/badger"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"
)

const (
	receiptLinks     = 256 // runs that a busy node pays at once, each waiting for its receipt to be safe
	receiptsInSample = 16 * receiptLinks
)

// receiptCommit measures all that a client does with a provider's receipts
// until they are safe.
func receiptCommit() bench {
	return bench{
		row:     "receipt verify, log and commit, durable",
		against: "batched Ed25519 verify of the same signatures",
		unit:    "receipts/s on one core",
		goal:    "≥ 20,000/s/core",
		prepare: prepareReceipts,
	}
}

// receiver is a client that takes receipts: its ledger and its log.
type receiver struct {
	domain payment.EIP712Domain
	key    ed25519.PrivateKey // the provider's
	next   uint64
	log    *log.Log
	book   *ledger.Ledger
}

func prepareReceipts(dir string) (*subject, error) {
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	tree, err := log.Open(log.Config{Dir: filepath.Join(dir, "log"), Origin: "souk/bench", Key: key})
	if err != nil {
		return nil, err
	}
	store, err := badger.Open(badger.Config{Dir: filepath.Join(dir, "ledger")})
	if err != nil {
		return nil, err
	}
	book, shut, err := runLedger(dir, store)
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	ctx := context.Background()
	d := &receiver{domain: payment.EIP712Domain{ChainID: 1337}, key: key, log: tree, book: book}
	return &subject{
		ours: func() (float64, error) {
			receipts := d.receipts(souk.NodeKey(public))
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
			return rate(len(receipts), func() error { return d.takeAll(ctx, receipts) })
		},
		limit: func() (float64, error) {
			receipts := d.receipts(souk.NodeKey(public))
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
			return rate(len(receipts), func() error { return verifyBatched(d.domain, receipts) })
		},
		met:   func(ours, _ figure) bool { return ours.median >= 20_000 },
		note:  func() string { return fmt.Sprintf("%d runs at once, one receipt of each in a commit", receiptLinks) },
		close: func() error { return errors.Join(shut(), store.Close()) },
	}, nil
}

// receipts are new ones, signed by their provider.
func (d *receiver) receipts(provider souk.NodeKey) []payment.Receipt {
	receipts := make([]payment.Receipt, receiptsInSample)
	for i := range receipts {
		d.next++
		due := souk.Atoms(69 * d.next)
		receipts[i] = payment.Receipt{Version: 2, ProviderKey: provider, Seq: d.next, Kind: payment.KindInterval, StartMs: 1, EndMs: 5001, CumulativeDue: due,
			Usage: []payment.UsageLine{{Line: payment.HourlyTariff(50_000)[0], Quantity: 5000 * d.next, Due: due}}}
		receipts[i].SignProvider(d.domain, d.key)
	}
	return receipts
}

// takeAll takes receipts as they come from so many runs: each brings its next
// when the one before is safe, and what comes together is written together.
func (d *receiver) takeAll(ctx context.Context, receipts []payment.Receipt) error {
	g, ctx := errgroup.WithContext(ctx)
	for run := range slices.Chunk(receipts, len(receipts)/receiptLinks) {
		g.Go(func() error {
			for _, r := range run {
				if err := d.take(ctx, r); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// take verifies a receipt, and returns once ledger and log have it for good.
func (d *receiver) take(ctx context.Context, r payment.Receipt) error {
	if err := r.VerifyProvider(d.domain); err != nil {
		return err
	}
	digest := r.Digest(d.domain)
	body, err := proto.Marshal(r.Proto())
	if err != nil {
		return err
	}
	err = d.book.Commit(ctx, ledger.Batch{
		Transfers: []ledger.Transfer{{ID: ledger.TransferID("usage", digest[:]), Debit: ledger.Spent,
			Credit: ledger.Owed(r.Channel), Amount: 69, Kind: "usage", Ref: digest.Short(), At: time.UnixMilli(r.EndMs)}},
		Records: []ledger.Record{{Key: "receipt/" + string(binary.BigEndian.AppendUint64(nil, r.Seq)), Value: body}},
	})
	if err != nil {
		return err
	}
	_, err = d.log.Append(ctx, digest)
	return err
}

// verifyBatched is the least that so many signatures cost.
func verifyBatched(d payment.EIP712Domain, receipts []payment.Receipt) error {
	v := voi.NewBatchVerifierWithCapacity(len(receipts))
	for _, r := range receipts {
		digest := r.Digest(d)
		v.Add(r.ProviderKey[:], souk.DomainReceipt.Message(digest[:]), r.ProviderSig)
	}
	if !v.VerifyBatchOnly(rand.Reader) {
		return errors.New("a signature does not verify")
	}
	return nil
}
