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
	"google.golang.org/protobuf/proto"
)

const (
	receiptsInSample = 2000
	receiptsAtOnce   = 250 // that a busy node puts into one commit
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

// desk is where receipts arrive.
type desk struct {
	domain payment.Domain
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
	book, err := ledger.Open(ledger.Config{Store: store})
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- book.Run(ctx) }()
	d := &desk{domain: payment.Domain{ChainID: 1337}, key: key, log: tree, book: book}
	return &subject{
		ours: func() (float64, error) {
			receipts := d.receipts(souk.NodeKey(public))
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
			return rate(len(receipts), func() error {
				for some := range slices.Chunk(receipts, receiptsAtOnce) {
					if err := d.take(ctx, some); err != nil {
						return err
					}
				}
				return nil
			})
		},
		limit: func() (float64, error) {
			receipts := d.receipts(souk.NodeKey(public))
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
			return rate(len(receipts), func() error { return verifyBatched(d.domain, receipts) })
		},
		met:  func(ours, _ figure) bool { return ours.median >= 20_000 },
		note: func() string { return fmt.Sprintf("%d receipts in a commit", receiptsAtOnce) },
		close: func() error {
			cancel()
			return errors.Join(<-done, book.Verify(), store.Close())
		},
	}, nil
}

// receipts are new ones, signed by their provider.
func (d *desk) receipts(provider souk.NodeKey) []payment.Receipt {
	receipts := make([]payment.Receipt, receiptsInSample)
	for i := range receipts {
		d.next++
		receipts[i] = payment.Receipt{ProviderKey: provider, Seq: d.next, Kind: payment.KindInterval,
			StartMs: 1, EndMs: 5001, DeviceMilliseconds: 5000, PriceAtomsPerHour: 50_000, CumulativeDue: souk.Atoms(69 * d.next)}
		receipts[i].SignProvider(d.domain, d.key)
	}
	return receipts
}

// take verifies receipts, and returns once log and ledger have them for good.
func (d *desk) take(ctx context.Context, receipts []payment.Receipt) error {
	digests := make([]souk.Digest, len(receipts))
	var b ledger.Batch
	for i, r := range receipts {
		if err := r.VerifyProvider(d.domain); err != nil {
			return err
		}
		digests[i] = r.Digest(d.domain)
		body, err := proto.Marshal(r.Proto())
		if err != nil {
			return err
		}
		b.Transfers = append(b.Transfers, ledger.Transfer{ID: ledger.TransferID("usage", digests[i][:]), Debit: ledger.Spent,
			Credit: ledger.Owed(r.Channel), Amount: 69, Kind: "usage", Ref: digests[i].Short(), At: time.UnixMilli(r.EndMs)})
		b.Records = append(b.Records, ledger.Record{Key: "receipt/" + string(binary.BigEndian.AppendUint64(nil, r.Seq)), Value: body})
	}
	if err := d.book.Commit(ctx, b); err != nil {
		return err
	}
	_, err := d.log.Append(ctx, digests...)
	return err
}

// verifyBatched is the least that so many signatures cost.
func verifyBatched(d payment.Domain, receipts []payment.Receipt) error {
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
