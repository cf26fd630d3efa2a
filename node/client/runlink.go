package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	p2pnet "github.com/libp2p/go-libp2p/core/network"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/market"
	"github.com/souk-market/souk/node/disk"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/payment"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"github.com/souk-market/souk/proto/wire"
	"github.com/souk-market/souk/scheduler"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"
)

const (
	reattachFirst = 250 * time.Millisecond
	reattachMost  = 5 * time.Second
)

// runLink is a client's end of one run: it keeps the stream open, keeps the logs,
// and pays. A receipt is checked, then it and its voucher are durable, then they
// are sent; the final one only after the outputs are verified.
type runLink struct {
	j         *Job
	with      *Config
	dealer    *Dealer
	s         *Proposal
	payer     *payment.Payer
	telemetry *telemetry

	allowed  chan struct{} // closed: the last voucher may be sent
	once     sync.Once
	releases chan bool     // the wish to end the run; true: drop the outputs
	quit     chan struct{} // closed: give the stream up after what is under way
	quitOnce sync.Once

	// Owned by run.
	final  *runv1.Receipt // held back until allowed
	output string         // the CID of /out, once the provider named it
	paid   bool           // the final receipt is countersigned
	over   bool           // the provider said that the run has ended
	gap    bool           // a full disk made this session drop a piece of log
}

// linkClosed tells the job's goroutine that a run link is gone.
type linkClosed struct {
	scheduler.Tick // an event like any other
	lease          souk.LeaseID
}

// errLeft ends a session that the job has left.
var errLeft = errors.New("the job has left the run stream")

// errBreach is what no provider says that keeps to the protocol.
var errBreach = errors.New("not the protocol")

// breach tells whether a session ended for what the provider said. The stream is
// authenticated and whole, so the network cannot have done it.
func breach(err error) bool {
	return errors.Is(err, errBreach) || errors.Is(err, wire.ErrTooLarge) || errors.Is(err, proto.Error)
}

// allow permits the last voucher to be sent.
func (l *runLink) allow() { l.once.Do(func() { close(l.allowed) }) }

// leave gives the stream up after what is under way.
func (l *runLink) leave() { l.quitOnce.Do(func() { close(l.quit) }) }

// run keeps a session with the provider until the run is over, the job leaves it,
// or ctx ends.
func (l *runLink) run(ctx context.Context) {
	wait, lost := reattachFirst, false
	var deadline <-chan time.Time
	quit := l.quit
	for {
		err := l.session(ctx, func() {
			wait = reattachFirst
			if lost {
				lost = false
				l.j.post(ctx, scheduler.LinkBack{Lease: l.s.ID})
			}
		})
		if l.over || ctx.Err() != nil || errors.Is(err, errLeft) {
			return
		}
		if breach(err) {
			if err := l.cheated(ctx, err); err != nil {
				l.with.Log.Error("close lease", "lease", l.s.ID.Short(), "err", err)
			}
			return
		}
		if !lost {
			lost = true
			l.j.post(ctx, scheduler.LinkLost{Lease: l.s.ID})
			l.with.Log.Warn("run stream lost", "lease", l.s.ID.Short(), "peer", l.s.Peer, "err", err)
		}
		t := time.NewTimer(wait)
		wait = min(2*wait, reattachMost)
		select {
		case <-ctx.Done():
		case <-deadline:
			t.Stop()
			return
		case <-quit:
			quit, deadline = nil, time.After(l.with.Waits.Release)
		case <-t.C:
		}
		t.Stop()
	}
}

// session is one stream, from attach to its end.
func (l *runLink) session(ctx context.Context, opened func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	st, done, err := l.dealer.openRun(ctx, l.s.Peer)
	if err != nil {
		return err
	}
	g := new(errgroup.Group) // its end must not cut short what the last frames ask for
	frames := make(chan *runv1.ToClient, 16)
	g.Go(func() error {
		defer close(frames)
		r := wire.NewReader(st, network.MaxRunBytes)
		for {
			f := new(runv1.ToClient)
			if err := r.Read(f); err != nil {
				return err
			}
			select {
			case frames <- f:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
	err = l.attachAndFollow(ctx, network.DeadlineWriter{Stream: st, Within: l.with.Waits.Write}, frames, opened)
	cancel()
	done() // resets the stream, which ends the reader
	return errors.Join(err, ignoreCancel(g.Wait()))
}

func ignoreCancel(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, p2pnet.ErrReset) {
		return nil
	}
	return err
}

func (l *runLink) attachAndFollow(ctx context.Context, w io.Writer, frames <-chan *runv1.ToClient, opened func()) error {
	out, errs := l.offset(runv1.LogStream_LOG_STREAM_STDOUT), l.offset(runv1.LogStream_LOG_STREAM_STDERR)
	rec, _ := l.j.Watch()
	attach := &runv1.Attach{Lease: l.s.ID.Digest[:], Job: rec.Message, StdoutOffset: out, StderrOffset: errs, Version: market.Version, Samples: l.telemetry.have}
	if err := wire.Write(w, &runv1.ToProvider{Message: &runv1.ToProvider_Attach{Attach: attach}}); err != nil {
		return err
	}
	opened()
	l.gap = false
	return l.follow(ctx, w, frames)
}

// follow takes what the provider says and answers it.
func (l *runLink) follow(ctx context.Context, w io.Writer, frames <-chan *runv1.ToClient) error {
	allowed, quit := l.allowed, l.quit
	var deadline <-chan time.Time
	for {
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case f, ok := <-frames:
			if !ok {
				return errors.New("the provider closed the stream")
			}
			err = l.heard(ctx, w, f)
		case <-allowed:
			allowed = nil
			if l.final != nil {
				err = l.pay(ctx, w, l.final)
			}
		case discard := <-l.releases:
			err = wire.Write(w, &runv1.ToProvider{Message: &runv1.ToProvider_Release{Release: &runv1.Release{DiscardOutputs: discard}}})
		case <-quit:
			quit, deadline = nil, time.After(l.with.Waits.Release)
		case <-deadline:
			return errLeft
		}
		if err != nil || l.over {
			return err
		}
	}
}

// heard handles one frame.
func (l *runLink) heard(ctx context.Context, w io.Writer, f *runv1.ToClient) error {
	switch m := f.Message.(type) {
	case *runv1.ToClient_Log:
		return l.keepLog(m.Log)
	case *runv1.ToClient_Telemetry:
		return l.keepSamples(ctx, time.Now(), m.Telemetry)
	case *runv1.ToClient_Receipt:
		if m.Receipt.GetKind() == uint32(payment.KindFinal) {
			l.final = m.Receipt
			select {
			case <-l.allowed:
			default:
				return nil
			}
		}
		return l.pay(ctx, w, m.Receipt)
	case *runv1.ToClient_State:
		return l.state(ctx, m.State)
	case *runv1.ToClient_Decline:
		return l.declined(ctx, m.Decline)
	default:
		if len(f.ProtoReflect().GetUnknown()) > 0 {
			return nil // a message of a later version: what we must know comes in those of this one
		}
		return fmt.Errorf("a frame without a message: %w", errBreach)
	}
}

// declined ends a run whose provider does not understand its stream.
func (l *runLink) declined(ctx context.Context, envelope []byte) error {
	why, err := OpenDecline(envelope, l.s.ID.Digest, l.s.Terms.ProviderKey)
	if err != nil {
		return fmt.Errorf("%w: %w", errBreach, err)
	}
	l.j.declined(ctx, l.s.Peer, why)
	l.j.post(ctx, scheduler.RunState{Lease: l.s.ID, Phase: runv1.Phase_PHASE_ENDED,
		Reason: runv1.EndReason_END_REASON_UNSUPPORTED, Detail: network.Clip(why.Error(), 200)})
	l.over = true
	return l.closeLease(ctx)
}

func (l *runLink) state(ctx context.Context, s *runv1.State) error {
	if l.output == "" {
		l.output = network.Clip(s.Output, 200)
	} else if s.Output != "" && s.Output != l.output {
		return fmt.Errorf("other outputs than before: %w", errBreach)
	}
	if tx := network.Clip(s.DepositTx, 100); tx != "" {
		if rec, _ := l.j.Watch(); rec.byLease(l.s.ID.String()) != nil && rec.byLease(l.s.ID.String()).DepositTx != tx {
			if err := l.j.note(ctx, func(r *Record) { r.byLease(l.s.ID.String()).DepositTx = tx }); err != nil {
				return err
			}
		}
	}
	doing := ""
	if s.Phase == runv1.Phase_PHASE_STAGING || s.Phase == runv1.Phase_PHASE_RUNNING {
		doing = network.Clip(s.Detail, 200)
	}
	l.j.tell(doing)
	l.telemetry.pause(s.Phase == runv1.Phase_PHASE_PAUSED)
	l.j.post(ctx, scheduler.RunState{Lease: l.s.ID, Phase: s.Phase, Reason: s.Reason, Exit: s.ExitCode, Output: s.Output, Detail: network.Clip(s.Detail, 200)})
	if s.Phase != runv1.Phase_PHASE_ENDED {
		return nil
	}
	l.over = true
	return l.closeLease(ctx)
}

// offset is how much of a log this attempt has brought.
func (l *runLink) offset(stream runv1.LogStream) uint64 {
	f, base := l.logOf(stream)
	return f.Len() - min(base, f.Len())
}

func (l *runLink) logOf(stream runv1.LogStream) (*disk.LogFile, uint64) {
	rec, _ := l.j.Watch()
	base := map[string]uint64{}
	if a := rec.byLease(l.s.ID.String()); a != nil {
		base = a.LogBase
	}
	if stream == runv1.LogStream_LOG_STREAM_STDERR {
		return l.j.stderr, base["stderr"]
	}
	return l.j.stdout, base["stdout"]
}

// keepLog appends what is new of a piece of log. What a full disk drops, and all
// that follows it, comes again with the next connection.
func (l *runLink) keepLog(p *runv1.Log) error {
	if p.Stream > runv1.LogStream_LOG_STREAM_STDERR {
		return nil // a stream of a later version
	}
	f, _ := l.logOf(p.Stream)
	have := l.offset(p.Stream)
	l.gap = l.gap || f.Room() != nil
	if p.Offset > have || len(p.Data) > 2*network.LogPiece {
		if f.Len() == disk.MaxLogBytes || l.gap {
			return nil // no more is kept
		}
		return fmt.Errorf("log piece of %d bytes at %d, have %d: %w", len(p.Data), p.Offset, have, errBreach)
	}
	fresh := p.Data[min(have-p.Offset, uint64(len(p.Data))):]
	if len(fresh) == 0 {
		return nil
	}
	_, err := f.Write(fresh)
	return err
}
