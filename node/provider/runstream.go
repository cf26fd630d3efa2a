package provider

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	p2pnet "github.com/libp2p/go-libp2p/core/network"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/market"
	"github.com/souk-market/souk/node/disk"
	"github.com/souk-market/souk/node/network"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"github.com/souk-market/souk/proto/wire"
	"golang.org/x/sync/errgroup"
)

// ServeRun attaches a client to its run. The stream carries no state of its own: it
// shows what the tenancy holds from the offsets the client names, so a client
// that comes back misses nothing and sees nothing twice.
func (p *Provider) ServeRun(ctx context.Context, s p2pnet.Stream) error {
	frames := wire.NewReader(s, network.MaxRunBytes)
	var first runv1.ToProvider
	s.SetReadDeadline(time.Now().Add(p.cfg.Waits.Attach)) // a stranger that says nothing holds no slot
	if err := frames.Read(&first); err != nil {
		return fmt.Errorf("read attach: %w", err)
	}
	s.SetReadDeadline(time.Time{})
	attach := first.GetAttach()
	id, err := souk.DigestFrom(attach.GetLease())
	if err != nil {
		return fmt.Errorf("attach: lease: %w", err)
	}
	p.mu.Lock()
	t := p.tenancies[souk.LeaseID{Digest: id}]
	p.mu.Unlock()
	if t == nil || t.client != s.Conn().RemotePeer() {
		// Another's lease and no lease look the same from outside.
		return wire.Write(s, stateFrame(&runv1.State{Phase: runv1.Phase_PHASE_ENDED,
			Reason: runv1.EndReason_END_REASON_PROVIDER_FAILED, Detail: "no such lease of yours"}))
	}
	if refused := market.Understand(attach.MustUnderstand); refused != nil {
		return wire.Write(s, &runv1.ToClient{Message: &runv1.ToClient_Decline{Decline: p.decline(id, refused)}})
	}
	if len(attach.Job) > 0 {
		select {
		case t.jobs <- attach.Job:
		default: // it is here already
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return t.listen(frames) })
	g.Go(func() error {
		defer s.CloseRead() // unblocks listen
		return t.speak(ctx, network.DeadlineWriter{Stream: s, Within: p.cfg.Waits.Write}, attach)
	})
	if err := g.Wait(); !errors.Is(err, io.EOF) {
		return err
	}
	return nil // all was said, or the client left: closed, not reset, so that the last frames arrive
}

// listen takes the client's messages until the stream ends.
func (t *tenancy) listen(frames *wire.Reader) error {
	for {
		var msg runv1.ToProvider
		if err := frames.Read(&msg); err != nil {
			if errors.Is(err, io.EOF) {
				return io.EOF
			}
			return fmt.Errorf("run stream: %w", err)
		}
		switch m := msg.Message.(type) {
		case *runv1.ToProvider_Countersign:
			select {
			case t.countersigns <- m.Countersign:
			default: // a flood; the client repeats after the receipt comes again
			}
		case *runv1.ToProvider_Release:
			select {
			case t.releases <- m.Release.GetDiscardOutputs():
			default: // asked already
			}
		case nil:
			if len(msg.ProtoReflect().GetUnknown()) == 0 {
				return errors.New("run stream: a frame without a message")
			}
			// A message of a later version, which Attach.must_understand did not insist on.
		default:
			return errors.New("run stream: a second attach")
		}
	}
}

// speak sends the state, what is missing of the logs, and the receipts that wait
// for a signature; then again at each change, until the run has ended.
func (t *tenancy) speak(ctx context.Context, w io.Writer, from *runv1.Attach) error {
	var sent struct {
		state   []byte
		receipt uint64
		stdout  uint64
		stderr  uint64
		samples uint64
	}
	sent.stdout, sent.stderr, sent.samples = from.StdoutOffset, from.StderrOffset, from.Samples
	for {
		rec, owed, changed := t.watch()
		// Logs go before the state: who sees the end has seen every line.
		if err := t.speakLog(w, runv1.LogStream_LOG_STREAM_STDOUT, t.stdout, &sent.stdout); err != nil {
			return err
		}
		if err := t.speakLog(w, runv1.LogStream_LOG_STREAM_STDERR, t.stderr, &sent.stderr); err != nil {
			return err
		}
		// A receipt is held against the samples that came before it.
		if err := t.speakSamples(w, &sent.samples); err != nil {
			return err
		}
		for _, r := range owed {
			if r.Seq <= sent.receipt || rec.Phase == runv1.Phase_PHASE_ENDED {
				continue // what was not settled by the end is not asked for: nobody is left to take it
			}
			if err := wire.Write(w, &runv1.ToClient{Message: &runv1.ToClient_Receipt{Receipt: r}}); err != nil {
				return err
			}
			sent.receipt = r.Seq
		}
		state := stateFrame(&runv1.State{Phase: rec.Phase, DepositTx: rec.DepositTx, Reason: rec.Reason,
			ExitCode: rec.ExitCode, Output: rec.Output, Detail: rec.Detail})
		if b := network.MustMarshal(state); !bytes.Equal(b, sent.state) {
			if err := wire.Write(w, state); err != nil {
				return err
			}
			sent.state = b
		}
		if rec.Phase == runv1.Phase_PHASE_ENDED {
			return io.EOF
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

func (t *tenancy) speakLog(w io.Writer, stream runv1.LogStream, l *disk.LogFile, offset *uint64) error {
	buf := make([]byte, network.LogPiece)
	for {
		n := l.ReadAt(buf, *offset)
		if n == 0 {
			return nil
		}
		piece := &runv1.Log{Stream: stream, Offset: *offset, Data: buf[:n]}
		if err := wire.Write(w, &runv1.ToClient{Message: &runv1.ToClient_Log{Log: piece}}); err != nil {
			return err
		}
		*offset += uint64(n)
	}
}

func stateFrame(s *runv1.State) *runv1.ToClient {
	return &runv1.ToClient{Message: &runv1.ToClient_State{State: s}}
}
