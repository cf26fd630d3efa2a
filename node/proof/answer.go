package proof

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/gpu/challenge"
	"github.com/souk-market/souk/market"
	"github.com/souk-market/souk/node/network"
	challengev1 "github.com/souk-market/souk/proto/souk/challenge/v1"
	wirev1 "github.com/souk-market/souk/proto/souk/wire/v1"
	"github.com/souk-market/souk/proto/wire"
	"google.golang.org/protobuf/proto"
)

// Answering is the provider's half of one challenge on a stream. Its methods are
// called in the order in which they stand here.
type Answering struct {
	frames  *frames
	times   Times
	request *Request
	digest  souk.Digest
	devices []string
	backend string
}

// Answer reads the request of a stream. Where it is refused, the refusal has to be
// told by Decline; an error is a stream that is no use any more.
func Answer(conn Conn, provider souk.NodeKey, now time.Time, times Times) (*Answering, *market.Refusal, error) {
	a := &Answering{frames: newFrames(conn, MaxRequestBytes), times: times}
	if err := conn.SetReadDeadline(now.Add(times.Turn)); err != nil {
		return nil, nil, err
	}
	envelope, err := a.frames.in.Next()
	if err != nil {
		return nil, nil, fmt.Errorf("read challenge: %w", err)
	}
	a.frames.in = wire.NewReader(a.frames.buf, MaxFrameBytes)
	var refused *market.Refusal
	a.request, refused = OpenRequest(envelope, provider, now)
	return a, refused, nil
}

// Request is what was asked; nil where nothing could be read.
func (a *Answering) Request() *Request { return a.request }

// Subject is what a decline names; zero where nothing could be read.
func (a *Answering) Subject() souk.Digest {
	if a.request == nil {
		return souk.Digest{}
	}
	return a.request.Subject
}

// Decline tells a refusal, signed.
func (a *Answering) Decline(signed []byte) error {
	return a.frames.write(&challengev1.ToChallenger{Frame: &challengev1.ToChallenger_Decline{Decline: signed}}, a.times.Turn)
}

// errTurn is a frame that was not asked for.
var errTurn = errors.New("the challenger said something out of turn")

// Prove answers with devices, one for each id, that were started for [Request.Terms].
// It returns when the challenger has all, or does not act in time.
func (a *Answering) Prove(ctx context.Context, ids []string, backend string, devices []challenge.Device) error {
	a.devices, a.backend = ids, backend
	ready := &challengev1.ToChallenger{Frame: &challengev1.ToChallenger_Ready{Ready: &challengev1.Ready{Devices: ids, Backend: backend}}}
	if err := a.frames.write(ready, a.times.Turn); err != nil {
		return fmt.Errorf("say ready: %w", err)
	}
	var in challengev1.ToProvider
	if err := a.frames.read(&in, a.times.Turn); err != nil {
		return fmt.Errorf("wait for the start: %w", err)
	}
	if len(in.GetStart().GetNonce()) != len(challenge.Hash{}) {
		return errTurn
	}
	a.digest = a.request.digest(in.GetStart().GetNonce())
	prover, err := challenge.NewProver(a.request.terms(ids, a.digest), devices)
	if err != nil {
		return err
	}
	if err := a.tell(ctx, prover.Commit, func(r *challengev1.Roots) *challengev1.ToChallenger {
		return &challengev1.ToChallenger{Frame: &challengev1.ToChallenger_Committed{Committed: r}}
	}); err != nil {
		return err
	}
	in.Reset()
	if err := a.frames.read(&in, a.times.Turn); err != nil {
		return fmt.Errorf("wait for the recall: %w", err)
	}
	if len(in.GetRecall().GetNonce()) != len(challenge.Hash{}) {
		return errTurn
	}
	recall := func(ctx context.Context) ([][]challenge.Hash, error) {
		return prover.Recall(ctx, challenge.Hash(in.GetRecall().GetNonce()))
	}
	if err := a.tell(ctx, recall, func(r *challengev1.Roots) *challengev1.ToChallenger {
		return &challengev1.ToChallenger{Frame: &challengev1.ToChallenger_Recalled{Recalled: r}}
	}); err != nil {
		return err
	}
	return a.open(ctx, prover)
}

// tell computes roots and says those of each device.
func (a *Answering) tell(ctx context.Context, compute func(context.Context) ([][]challenge.Hash, error), frame func(*challengev1.Roots) *challengev1.ToChallenger) error {
	var roots [][]challenge.Hash
	err := a.frames.whileThere(ctx, a.times.Work, func(ctx context.Context) (err error) {
		roots, err = compute(ctx)
		return err
	})
	if err != nil {
		return a.fail(err)
	}
	for i, of := range roots {
		if err := a.frames.write(frame(&challengev1.Roots{Device: uint32(i), Hashes: joined(of)}), a.times.Turn); err != nil {
			return fmt.Errorf("say roots: %w", err)
		}
	}
	return nil
}

// open opens the tiles that are drawn.
func (a *Answering) open(ctx context.Context, prover *challenge.Prover) error {
	var in challengev1.ToProvider
	if err := a.frames.read(&in, a.times.Turn); err != nil {
		return fmt.Errorf("wait for the draw: %w", err)
	}
	places := placesOf(in.GetDraw())
	if len(places) == 0 || len(places) > MaxPlaces {
		return errTurn
	}
	openings, err := prover.Open(ctx, places)
	if err != nil {
		return a.fail(err)
	}
	for _, o := range openings {
		frame := &challengev1.ToChallenger{Frame: &challengev1.ToChallenger_Opening{Opening: &challengev1.Opening{
			Tile: o.Tile, Path: joined(o.Path), Recall: joined(o.Recall)}}}
		if err := a.frames.write(frame, a.times.Turn); err != nil {
			return fmt.Errorf("open tiles: %w", err)
		}
	}
	return nil
}

// fail tells the challenger that a device does not go on, if it is there to hear it.
func (a *Answering) fail(why error) error {
	frame := &challengev1.ToChallenger{Frame: &challengev1.ToChallenger_Failed{Failed: &challengev1.Failed{Detail: network.Clip(why.Error(), maxDetail)}}}
	return errors.Join(why, a.frames.write(frame, a.times.Turn))
}

// Fail is for devices that could not be started.
func (a *Answering) Fail(why error) error { return a.fail(why) }

// Evidence waits for what the challenger says came of it. It is an error unless it is
// of this challenge and these devices, and by who asked.
func (a *Answering) Evidence() (*Evidence, error) {
	var in challengev1.ToProvider
	if err := a.frames.read(&in, a.times.Turn); err != nil {
		return nil, fmt.Errorf("wait for the evidence: %w", err)
	}
	e, err := OpenEvidence(in.GetEvidence())
	if err != nil {
		return nil, err
	}
	if e.Challenger != a.request.Challenger || souk.Digest(e.Challenge) != a.digest || !proto.Equal(e.Evidence, a.said(e)) {
		return nil, errEvidence
	}
	return e, nil
}

// said is e with what this side knows of it.
func (a *Answering) said(e *Evidence) *challengev1.Evidence {
	m := proto.CloneOf(e.Evidence)
	m.ProviderKey, m.Class, m.Devices, m.Backend = a.request.ProviderKey, a.request.Class, a.devices, a.backend
	m.Arithmetic, m.Size, m.Rounds = a.request.Arithmetic, a.request.Size, a.request.Rounds
	return m
}

// signed is an envelope as the frame that it is.
func signed(envelope []byte) (*wirev1.Signed, error) {
	var s wirev1.Signed
	return &s, proto.Unmarshal(envelope, &s)
}
