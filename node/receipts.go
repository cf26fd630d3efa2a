package node

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

// receiptBook is the receipts of this node, on both sides of the counter: their
// bodies in the ledger, the digests of finished ones in the log.
type receiptBook struct {
	ledger   *ledger.Ledger
	channels *channels
	tree     *log.Log
	domain   payment.EIP712Domain // of this node's chain; zero without one

	mu   sync.Mutex              // guards seen
	seen map[souk.NodeKey]uint32 // finished receipts of each provider
}

func receiptPrefix(lease souk.LeaseID) string { return "receipt/" + lease.String() + "/" }

func receiptRecord(lease souk.LeaseID, seq uint64, r *runv1.Receipt) ledger.Record {
	return ledger.Record{Key: fmt.Sprintf("%s%016x", receiptPrefix(lease), seq), Value: mustMarshal(r)}
}

// each calls fn with the receipts of one lease, or of all, by lease and sequence.
func (b *receiptBook) each(prefix string, fn func(*runv1.Receipt) error) error {
	return b.ledger.Scan(prefix, func(key string, value []byte) error {
		var r runv1.Receipt
		if err := proto.Unmarshal(value, &r); err != nil {
			return fmt.Errorf("record %s: %w", key, err)
		}
		return fn(&r)
	})
}

// of returns the receipts of one lease, oldest first.
func (b *receiptBook) of(lease souk.LeaseID) (rs []*runv1.Receipt, err error) {
	err = b.each(receiptPrefix(lease), func(r *runv1.Receipt) error {
		rs = append(rs, r)
		return nil
	})
	return rs, err
}

// log appends a finished receipt's digest.
func (b *receiptBook) log(ctx context.Context, r payment.Receipt) error {
	digest := r.Digest(b.domainOf(r))
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

// score is what this node knows of a provider by its own dealings: how many of
// its receipts it has signed, up to 1000. To a stranger it says nothing.
func (b *receiptBook) score(provider souk.NodeKey) uint32 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return min(b.seen[provider], 1000)
}

// domainOf is the domain that a receipt was signed under: that of its channel,
// whatever chain this node has now.
func (b *receiptBook) domainOf(r payment.Receipt) payment.EIP712Domain {
	if rec, ok := b.channels.get(r.Channel); ok {
		return rec.Domain
	}
	return b.domain
}

// relog logs what could not be logged while the disk was full.
func (b *receiptBook) relog(ctx context.Context) error {
	return b.each("receipt/", func(msg *runv1.Receipt) error {
		r, err := payment.ReceiptFromProto(msg)
		if err != nil || len(msg.ClientSignature) == 0 {
			return err
		}
		if _, known := b.tree.Index(r.Digest(b.domainOf(r))); known {
			return nil
		}
		return b.log(ctx, r)
	})
}

// checkAnchored makes sure that the log still has what the chain has of it: one that
// was lost, and begun anew, would contradict that.
func (b *receiptBook) checkAnchored() error {
	return b.ledger.Scan("anchor/", func(key string, value []byte) error {
		var a anchorRecord
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

// catchUp logs receipts whose signatures were complete when the last run of this
// node ended, before their digest was in the log. A log that has more receipts
// than the ledger says that the ledger has lost some.
func (b *receiptBook) catchUp(ctx context.Context) error {
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
		return b.log(ctx, r)
	})
	if err == nil && b.tree.Size() > finished {
		err = fmt.Errorf("the log has %d receipts, the ledger %d: %w: bring the home back from a backup", b.tree.Size(), finished, ledger.ErrLost)
	}
	return err
}
