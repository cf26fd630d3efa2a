package node

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/node/disk"
	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/ledger"
	leasev1 "github.com/souk-market/souk/proto/souk/lease/v1"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"github.com/souk-market/souk/proto/wire"
	"github.com/souk-market/souk/scheduler"
	"github.com/souk-market/souk/storage/badger"
)

// hosting is one lease at its provider. Its goroutine owns the meter and moves
// the phases; streams only look at what is under mu and leave messages.
type hosting struct {
	p       *provider
	id      souk.LeaseID
	lease   *leasev1.Lease
	terms   payment.Terms
	channel payment.Channel
	client  peer.ID
	dir     string // files and logs of this lease
	stdout  *disk.LogFile
	stderr  *disk.LogFile
	meter   *payment.Meter

	jobs         chan []byte             // the job message, from the first attach that brings it
	countersigns chan *runv1.Countersign // from streams; full: dropped, the client repeats
	releases     chan bool               // the client's wish to end; true: drop the outputs
	mu           sync.Mutex              // guards what follows
	rec          leaseRecord             // as it is in the ledger
	receipts     []*runv1.Receipt        // signed by us, not yet by the client; oldest first
	news         chan struct{}           // closed and replaced at each change
}

func newHosting(p *provider, pr *proposal) *hosting {
	h := restoreHosting(p, pr.id, pr.lease, pr.terms, pr.channel, pr.peer)
	h.rec = leaseRecord{Payload: pr.payload, ClientLease: pr.request.Lease,
		ProviderLease: wire.Seal(p.cfg.Key, souk.DomainLease, pr.payload),
		Deposit:       pr.deposit, Phase: runv1.Phase_PHASE_FUNDING}
	return h
}

func restoreHosting(p *provider, id souk.LeaseID, l *leasev1.Lease, t payment.Terms, ch payment.Channel, client peer.ID) *hosting {
	h := &hosting{p: p, id: id, lease: l, terms: t, channel: ch, client: client,
		dir: filepath.Join(p.cfg.Home, "jobs", id.String()), meter: payment.NewMeter(t),
		jobs: make(chan []byte, 1), countersigns: make(chan *runv1.Countersign, 8), releases: make(chan bool, 1),
		news: make(chan struct{})}
	h.stdout, h.stderr = disk.NewLogFile(filepath.Join(h.dir, "stdout.log"), h.tell, p.cfg.Space.LedgerRoom),
		disk.NewLogFile(filepath.Join(h.dir, "stderr.log"), h.tell, p.cfg.Space.LedgerRoom)
	return h
}

// occupies is what the lease takes on the floor, and until when at the latest.
func (h *hosting) occupies() scheduler.Lease {
	return scheduler.Lease{ID: h.id, Client: h.terms.ClientKey, Devices: h.lease.Devices, Use: h.lease.Resources,
		Until: time.UnixMilli(h.lease.StartByMs).Add(h.terms.MaxDuration + time.Hour)}
}

// record returns a copy of the durable state.
func (h *hosting) record() leaseRecord {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.rec
}

func (h *hosting) over() bool { return h.record().Phase == runv1.Phase_PHASE_ENDED }

// look returns what a stream shows, and a channel that closes at the next change.
func (h *hosting) look() (leaseRecord, []*runv1.Receipt, <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.rec, h.receipts, h.news
}

// tell wakes the streams.
func (h *hosting) tell() {
	h.mu.Lock()
	defer h.mu.Unlock()
	close(h.news)
	h.news = make(chan struct{})
}

// save makes a change of the record durable, then shows it.
func (h *hosting) save(ctx context.Context, change func(*leaseRecord)) error {
	rec := h.record()
	change(&rec)
	if err := h.p.cfg.Ledger.Commit(ctx, ledger.Batch{Records: []ledger.Record{rec.ledgerRecord(h.id)}}); err != nil {
		return fmt.Errorf("lease %s: %w", h.id.Short(), err)
	}
	h.show(func() { h.rec = rec })
	return nil
}

// show changes what streams see.
func (h *hosting) show(change func()) {
	h.mu.Lock()
	change()
	h.mu.Unlock()
	h.tell()
}

func (h *hosting) phase(ctx context.Context, ph runv1.Phase) error {
	h.p.cfg.Log.Info("run", "lease", h.id.Short(), "phase", phaseName(ph))
	return h.save(ctx, func(r *leaseRecord) { r.Phase = ph })
}

// ending is why a run is over.
type ending struct {
	reason runv1.EndReason
	detail string
}

func ended(reason runv1.EndReason, format string, args ...any) *ending {
	return &ending{reason, fmt.Sprintf(format, args...)}
}

// run takes one lease from countersigned to ended. It is the only goroutine
// that moves the lease.
func (h *hosting) run(ctx context.Context) {
	guard := h.p.cfg.Host.ConnManager() // a busy node must not trim the connection that pays it
	guard.Protect(h.client, h.id.String())
	defer guard.Unprotect(h.client, h.id.String())
	e := h.steps(ctx)
	if ctx.Err() != nil {
		if h.record().Phase == runv1.Phase_PHASE_COLLECTING {
			return // the outputs and the last receipt are safe: the next start goes on from here
		}
		e = ended(runv1.EndReason_END_REASON_PROVIDER_STOPPED, "the provider is stopping") // whatever broke, it was that
	}
	h.p.free(h.id)
	h.cleanUp()
	// What ended while the disk was full is written down when there is space.
	for errors.Is(h.close(e), badger.ErrLowDisk) && h.p.cfg.Space.Wait(ctx) {
	}
	h.p.cfg.Log.Info("run ended", "lease", h.id.Short(), "reason", reasonName(e.reason), "detail", e.detail)
	h.p.cfg.Keeper.Wake()
}

// steps is the path of a run, left to right.
func (h *hosting) steps(ctx context.Context) *ending {
	switch rec := h.record(); rec.Phase {
	case runv1.Phase_PHASE_FUNDING:
		if rec.ProviderLease == nil {
			return ended(runv1.EndReason_END_REASON_PROVIDER_FAILED, "the record has no lease")
		}
	case runv1.Phase_PHASE_COLLECTING:
		if rec.Output != "" {
			if err := h.p.cfg.Files.Grant(ctx, rec.Output, h.client); err != nil {
				return ended(runv1.EndReason_END_REASON_PROVIDER_FAILED, "serve outputs: %v", err)
			}
		}
		return h.collect(ctx)
	case runv1.Phase_PHASE_STAGING:
		return ended(runv1.EndReason_END_REASON_PROVIDER_RESTARTED, "the provider was restarted")
	default:
		// What ran is gone with its process. What was receipted may still be
		// signed; there is nothing to add to it, so no final receipt.
		restarted := ended(runv1.EndReason_END_REASON_PROVIDER_RESTARTED, "the provider was restarted")
		if _, owed, _ := h.look(); len(owed) == 0 {
			return restarted
		}
		err := h.save(ctx, func(r *leaseRecord) {
			r.Phase, r.Reason, r.Detail = runv1.Phase_PHASE_COLLECTING, restarted.reason, restarted.detail
		})
		if err != nil {
			return ended(runv1.EndReason_END_REASON_PROVIDER_FAILED, "%v", err)
		}
		return h.collect(ctx)
	}
	if e := h.fund(ctx); e != nil {
		return e
	}
	job, e := h.stage(ctx)
	if e != nil {
		return e
	}
	if e := h.execute(ctx, job); e != nil {
		return e
	}
	return h.collect(ctx)
}
