// Package client is the role that buys: it takes a job, finds it a provider, signs
// the lease and its first voucher, follows the run, answers its receipts and brings
// the outputs home.
//
// What a job promised or was told is in the ledger before anything follows from it,
// so a job goes on after a restart where it stood. scheduler's machine decides, and
// this package does what it asks.
//
// A [Client] has the jobs: client.go takes one, job.go drives its machine,
// jobactions.go does what that asks for, runlink.go follows the run and paying.go
// answers its receipts. A [Dealer] speaks with providers and promises: asking.go,
// proposal.go, vouching.go, releasing.go and, for channels, channelasking.go.
package client

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/gpu/runner"
	"github.com/souk-market/souk/market"
	"github.com/souk-market/souk/node/disk"
	"github.com/souk-market/souk/node/money"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/node/offers"
	"github.com/souk-market/souk/node/proof"
	"github.com/souk-market/souk/payment/ledger"
	jobv1 "github.com/souk-market/souk/proto/souk/job/v1"
	"github.com/souk-market/souk/scheduler"
	"github.com/souk-market/souk/storage/badger"
	"github.com/souk-market/souk/storage/files"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"
)

// Config holds what a [Client] needs.
type Config struct {
	Dealer   *Dealer
	Home     string // job folders go below jobs/
	Book     Book
	Ledger   JobStore
	Channels ChannelList
	Inputs   Inputs
	Outputs  Outputs
	Keeper   interface{ Wake() } // reads the chain soon
	Proofs   Proofs
	Space    *disk.Space
	Waits    *network.Waits
	Log      *slog.Logger
}

// Book is the market as a job searches it.
type Book interface {
	Match(market.Query) []*market.Offer
	Explain(market.Query) []market.Removal
	Watch(context.Context) (<-chan offers.Change, error)
}

// Proofs challenges providers. What came of it is evidence from then on.
type Proofs interface {
	Challenge(ctx context.Context, o *market.Offer, plan proof.Plan, progress func(step string)) (*proof.Evidence, error)
}

// JobStore is the ledger as jobs are written to it.
type JobStore interface {
	Commit(context.Context, ledger.Batch) error
	Scan(prefix string, fn func(key string, value []byte) error) error
}

// ChannelList is every channel of this node.
type ChannelList interface{ All() []*money.Channel }

// Inputs serves what a job needs to its provider.
type Inputs interface {
	Complete(ctx context.Context, root string) (bool, error)
	Grant(ctx context.Context, root string, to peer.ID) error
	Withdraw(root string, to peer.ID)
}

// Outputs brings home what a job left.
type Outputs interface {
	Fetch(ctx context.Context, root string, from peer.ID, limit files.Limit, progress func(bytes uint64)) error
	Resolve(ctx context.Context, root, path string) (string, error)
	Save(ctx context.Context, root, dest string) (bytes uint64, nfiles int, err error)
}

// Client runs this node's jobs on other nodes' devices.
type Client struct {
	cfg      Config
	wholeBy  time.Time // when the book is taken for whole
	queue    chan *Job // jobs whose goroutine Run starts
	restored []*Job    // jobs that had not ended before a restart, for Run to start
	releases releases

	mu   sync.Mutex // guards jobs
	jobs map[souk.JobID]*Job
}

// New returns a client with the jobs from before a restart. Run goes on with
// them.
func New(cfg Config) (*Client, error) {
	c := &Client{cfg: cfg, wholeBy: time.Now().Add(bookWithin), queue: make(chan *Job, 2*maxJobs),
		releases: make(releases, 64), jobs: map[souk.JobID]*Job{}}
	err := cfg.Ledger.Scan("job/", func(key string, value []byte) error {
		var rec Record
		if err := json.Unmarshal(value, &rec); err != nil {
			return fmt.Errorf("record %s: %w", key, err)
		}
		j, err := c.restore(rec)
		if err != nil {
			return fmt.Errorf("record %s: %w", key, err)
		}
		if rec.Ended.IsZero() {
			c.restored = append(c.restored, j)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	return c, nil
}

func (c *Client) restore(rec Record) (*Job, error) {
	var msg jobv1.Job
	if err := proto.Unmarshal(rec.Message, &msg); err != nil {
		return nil, err
	}
	id := souk.JobID{Digest: sha256.Sum256(rec.Message)}
	if err := rec.adopt(); err != nil {
		return nil, err
	}
	j := c.newJob(id, &msg, rec)
	c.jobs[id] = j
	return j, nil
}

// Run runs the jobs until ctx ends.
func (c *Client) Run(ctx context.Context) error {
	if err := c.closeUnheld(ctx); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	start := func(j *Job) {
		g.Go(func() error {
			err := j.run(ctx)
			for errors.Is(err, badger.ErrLowDisk) && c.cfg.Space.Wait(ctx) {
				err = j.again(ctx)
			}
			if err != nil && ctx.Err() == nil {
				c.cfg.Log.Error("job", "job", j.id.Short(), "err", err)
			}
			return nil
		})
	}
	for _, j := range c.restored {
		start(j)
	}
	g.Go(func() error {
		for {
			select {
			case <-ctx.Done():
				return nil
			case j := <-c.queue:
				start(j)
			case u := <-c.releases:
				g.Go(func() error { c.cfg.Dealer.release(ctx, u); return nil })
			}
		}
	})
	return g.Wait()
}

// closeUnheld closes leases that no unfinished job holds: the last run
// of this node ended between a lease and the job's record of it. A provider that
// signed one is told.
func (c *Client) closeUnheld(ctx context.Context) error {
	held := map[souk.LeaseID]bool{}
	for _, j := range c.List() {
		if rec, _ := j.Watch(); rec.Ended.IsZero() {
			held[rec.Snapshot.Lease] = true
		}
	}
	for _, rec := range c.cfg.Channels.All() {
		for id, share := range rec.Leases {
			if !rec.Paying || !share.Live || held[id] {
				continue
			}
			s, err := c.cfg.Dealer.signed(id)
			if err != nil {
				return err
			}
			if err := c.cfg.Dealer.CloseLease(ctx, rec.ID(), id); err != nil {
				return err
			}
			c.releases.add(s, true)
		}
	}
	return nil
}

// maxJobs bounds the jobs that have not ended: each holds files and connections.
const maxJobs = 1024

// errTooMany is returned when more jobs wait than this node runs at once.
var errTooMany = &souk.Error{Code: souk.CodeExhausted, Err: errors.New("too many jobs are waiting"), Fix: "wait for some to end"}

// Submit makes a job durable and starts it. The same job again is the same job.
func (c *Client) Submit(ctx context.Context, msg *jobv1.Job, saveTo []string) (souk.JobID, error) {
	payload := network.MustMarshal(msg)
	id := souk.JobID{Digest: sha256.Sum256(payload)}
	c.mu.Lock()
	_, known := c.jobs[id]
	c.mu.Unlock()
	if known {
		return id, nil
	}
	if err := CheckJob(msg); err != nil {
		return id, err
	}
	if c.Live() >= maxJobs {
		return id, errTooMany
	}
	for _, cid := range runner.Contents(msg) {
		if ok, err := c.cfg.Inputs.Complete(ctx, cid); err != nil || !ok {
			return id, errors.Join(&inputError{cid}, err)
		}
	}
	j := c.newJob(id, msg, Record{Message: payload, SaveTo: saveTo, Started: time.Now().UTC(), State: scheduler.Matching.String()})
	if err := j.note(ctx, func(*Record) {}); err != nil {
		return id, err
	}
	c.mu.Lock()
	if _, known = c.jobs[id]; !known {
		c.jobs[id] = j
	}
	c.mu.Unlock()
	if known {
		return id, nil
	}
	c.queue <- j // as long as there may be jobs
	return id, nil
}

// inputError names what a job needs and this node cannot serve to a provider.
type inputError struct{ cid string }

// ErrorCode is [souk.CodeInvalid].
func (e *inputError) ErrorCode() souk.Code { return souk.CodeInvalid }

func (e *inputError) Error() string {
	return fmt.Sprintf("%s is not in this node's store, or not all of it: souk add puts it there", e.cid)
}

// CheckJob refuses a job that no provider could take, whoever wrote it.
func CheckJob(m *jobv1.Job) error {
	switch {
	case m == nil:
		return errors.New("no job")
	case proto.Size(m) > maxJobBytes:
		return fmt.Errorf("the job is %d bytes, at most %d are allowed: move data into inputs", proto.Size(m), maxJobBytes)
	case len(m.Nonce) != 16:
		return errors.New("a job needs a nonce of 16 bytes")
	case m.Resources == nil || m.Price == nil || m.Limits == nil:
		return errors.New("a job needs resources, a price and limits")
	case (m.Wasm == "") == (m.Image == ""):
		return errors.New("a job needs either a module or an image")
	case m.Price.MaxAtomsPerHour == 0 || m.Price.MaxTotalAtoms == 0:
		return errors.New("the price must be above zero")
	case m.Limits.MaxDurationMs == 0 || m.Limits.StartWithinMs == 0:
		return errors.New("a job needs max_duration and start_within")
	}
	if err := checkIdle(m); err != nil {
		return err
	}
	for _, o := range m.Outputs {
		if p := filepath.Clean(o.From); p != "/out" && !strings.HasPrefix(p, "/out/") {
			return fmt.Errorf("output %s is not below /out", o.From)
		}
	}
	return nil
}

// checkIdle bounds what a job's owner may say of how much its GPUs must be used.
func checkIdle(m *jobv1.Job) error {
	least, over := m.Limits.MinGpuUtil, m.Limits.MinGpuUtilOverMs
	switch {
	case least == 0 && over == 0:
		return nil
	case least == 0 || least > 100 || over < uint64(scheduler.MinIdleOver.Milliseconds()) || over > uint64(scheduler.MaxIdleOver.Milliseconds()):
		return fmt.Errorf("min_gpu_util of %d%% over %d ms: it is 1%% to 100%% over %s to %s", least, over, scheduler.MinIdleOver, scheduler.MaxIdleOver)
	case m.Resources.GpuCount == 0:
		return errors.New("min_gpu_util needs a GPU")
	}
	return nil
}

// errNoJob and errAmbiguous are what an id can be.
var (
	errNoJob     = &souk.Error{Code: souk.CodeNotFound, Err: errors.New("no such job")}
	errAmbiguous = &souk.Error{Code: souk.CodeInvalid, Err: errors.New("more than one job begins so"), Fix: "give more digits"}
)

// Find returns the job whose id begins with prefix.
func (c *Client) Find(prefix string) (*Job, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var found *Job
	for id, j := range c.jobs {
		if prefix != "" && strings.HasPrefix(id.String(), strings.ToLower(prefix)) {
			if found != nil {
				return nil, fmt.Errorf("job %s: %w", prefix, errAmbiguous)
			}
			found = j
		}
	}
	if found == nil {
		return nil, fmt.Errorf("job %q: %w", prefix, errNoJob)
	}
	return found, nil
}

// List returns the jobs, newest first.
func (c *Client) List() []*Job {
	c.mu.Lock()
	jobs := make([]*Job, 0, len(c.jobs))
	for _, j := range c.jobs {
		jobs = append(jobs, j)
	}
	c.mu.Unlock()
	slices.SortFunc(jobs, func(a, b *Job) int {
		ra, _ := a.Watch()
		rb, _ := b.Watch()
		return rb.Started.Compare(ra.Started)
	})
	return jobs
}

// Live counts the jobs that have not ended.
func (c *Client) Live() (n uint32) {
	for _, j := range c.List() {
		if rec, _ := j.Watch(); rec.Ended.IsZero() {
			n++
		}
	}
	return n
}
