package money

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/ledger"
	"github.com/souk-market/souk/payment/log"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"google.golang.org/protobuf/proto"
)

// Receipts are those of this node, as a provider and as a client: their bodies in
// the ledger, the digests of finished ones in the log. Its methods may run at once.
type Receipts struct {
	ledger   *ledger.Ledger
	channels *Channels
	tree     *log.Log
	domain   payment.EIP712Domain // of this node's chain; zero without one

	mu   sync.Mutex              // guards seen
	seen map[souk.NodeKey]uint32 // finished receipts of each provider
}

// NewReceipts keeps bodies in l and digests in tree.
func NewReceipts(l *ledger.Ledger, channels *Channels, tree *log.Log) *Receipts {
	return &Receipts{ledger: l, channels: channels, tree: tree, seen: map[souk.NodeKey]uint32{}}
}

// SetDomain says which chain this node has, before anything runs.
func (b *Receipts) SetDomain(d payment.EIP712Domain) { b.domain = d }

func receiptPrefix(lease souk.LeaseID) string { return "receipt/" + lease.String() + "/" }

// ReceiptRecord is a receipt's place in the ledger, with one signature or both.
func ReceiptRecord(lease souk.LeaseID, seq uint64, r *runv1.Receipt) ledger.Record {
	value, err := proto.MarshalOptions{Deterministic: true}.Marshal(r)
	if err != nil {
		panic(fmt.Sprintf("encode receipt: %v", err)) // plain fields: our bug
	}
	return ledger.Record{Key: fmt.Sprintf("%s%016x", receiptPrefix(lease), seq), Value: value}
}

// each calls fn with the receipts of one lease, or of all, by lease and sequence.
func (b *Receipts) each(prefix string, fn func(*runv1.Receipt) error) error {
	return b.ledger.Scan(prefix, func(key string, value []byte) error {
		var r runv1.Receipt
		if err := proto.Unmarshal(value, &r); err != nil {
			return fmt.Errorf("record %s: %w", key, err)
		}
		return fn(&r)
	})
}

// Of returns the receipts of one lease, oldest first.
func (b *Receipts) Of(lease souk.LeaseID) ([]*runv1.Receipt, error) {
	return b.list(receiptPrefix(lease))
}

// All returns every receipt, by lease and sequence.
func (b *Receipts) All() ([]*runv1.Receipt, error) { return b.list("receipt/") }

func (b *Receipts) list(prefix string) (rs []*runv1.Receipt, err error) {
	err = b.each(prefix, func(r *runv1.Receipt) error {
		rs = append(rs, r)
		return nil
	})
	return rs, err
}

// Log appends a finished receipt's digest.
func (b *Receipts) Log(ctx context.Context, r payment.Receipt) error {
	digest := r.Digest(b.DomainOf(r))
	if _, known := b.tree.Index(digest); !known {
		if _, err := b.tree.Append(ctx, digest); err != nil {
			return err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seen[r.ProviderKey]++
	return nil
}

// Score is what this node knows of a provider by its own dealings: how many of
// its receipts it has signed, up to 1000. It proves nothing to others.
func (b *Receipts) Score(provider souk.NodeKey) uint32 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return min(b.seen[provider], 1000)
}

// DomainOf is the domain that a receipt was signed under: that of its channel,
// whatever chain this node has now.
func (b *Receipts) DomainOf(r payment.Receipt) payment.EIP712Domain {
	if rec, ok := b.channels.Get(r.Channel); ok {
		return rec.Domain
	}
	return b.domain
}

// Relog logs what could not be logged while the disk was full.
func (b *Receipts) Relog(ctx context.Context) error {
	return b.each("receipt/", func(msg *runv1.Receipt) error {
		r, err := payment.ReceiptFromProto(msg)
		if err != nil || len(msg.ClientSignature) == 0 {
			return err
		}
		if _, known := b.tree.Index(r.Digest(b.DomainOf(r))); known {
			return nil
		}
		return b.Log(ctx, r)
	})
}

// checkAnchored makes sure that the log still has what the chain has of it: one that
// was lost, and begun anew, would contradict that.
func (b *Receipts) checkAnchored() error {
	return b.ledger.Scan("anchor/", func(key string, value []byte) error {
		var a Anchor
		if err := json.Unmarshal(value, &a); err != nil {
			return fmt.Errorf("record %s: %w", key, err)
		}
		if size := b.tree.Size(); size < a.Size {
			return fmt.Errorf("the log has %d receipts, and %d are anchored in %s: it was lost or is an old copy: bring the home back from a backup",
				size, a.Size, a.Tx)
		}
		return nil
	})
}

// CatchUp logs receipts whose signatures were complete when the last run of this
// node ended, before their digest was in the log. A log that has more receipts
// than the ledger says that the ledger has lost some.
func (b *Receipts) CatchUp(ctx context.Context) error {
	if err := b.checkAnchored(); err != nil {
		return err
	}
	var finished uint64
	err := b.each("receipt/", func(msg *runv1.Receipt) error {
		if len(msg.ClientSignature) == 0 {
			return nil
		}
		r, err := payment.ReceiptFromProto(msg)
		if err != nil {
			return fmt.Errorf("receipt of lease %x: %w", msg.Lease, err)
		}
		finished++
		return b.Log(ctx, r)
	})
	if err == nil && b.tree.Size() > finished {
		err = fmt.Errorf("the log has %d receipts, the ledger %d: %w: bring the home back from a backup", b.tree.Size(), finished, ledger.ErrLost)
	}
	return err
}
