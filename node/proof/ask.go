package proof

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/gpu/challenge"
	"github.com/souk-market/souk/market"
	"github.com/souk-market/souk/node/network"
	challengev1 "github.com/souk-market/souk/proto/souk/challenge/v1"
	"github.com/souk-market/souk/proto/wire"
)

// Plan is what a challenger asks of a class.
type Plan struct {
	Class      string
	Arithmetic challenge.Arithmetic
	Size       uint32
	Rounds     uint32 // of each device
	Band       challenge.Band
}

// PlanFor is a challenge that suits devices as they are offered: GPUs fill nine tenths
// of their memory; of a processor little is asked, since it computes slowly. Size and
// rounds of 0 are chosen here.
func PlanFor(o *market.Offer, size, rounds uint32) Plan {
	p := Plan{Class: o.Class, Arithmetic: challenge.ArithmeticOf(o.Class), Size: size, Rounds: rounds}
	if o.Class == market.CPUClass {
		p.Size, p.Rounds = cmp.Or(p.Size, 512), cmp.Or(p.Rounds, 2)
		return p
	}
	for _, n := range []uint32{16384, 8192, 4096, 1024} {
		if p.Size == 0 && challenge.FittingRounds(o.MemoryBytes, n) > 1 {
			p.Size = n
		}
	}
	p.Size = cmp.Or(p.Size, challenge.MinSize)
	p.Rounds = cmp.Or(p.Rounds, max(1, challenge.FittingRounds(o.MemoryBytes, p.Size)))
	p.Band = challenge.BandOf(p.Class, p.Arithmetic, p.Size, p.Rounds)
	return p
}

// tilesDrawn is how many tiles of each device are opened, and of all at least: half
// of wrong tiles are found with 1-2^-16, a tenth with 81 %.
const tilesDrawn = 16

// asking is the challenger's half of one challenge on a stream.
type asking struct {
	frames   *frames
	times    Times
	plan     Plan
	request  *Request
	progress func(step string)
	terms    challenge.Challenge
	verifier *challenge.Verifier
	evidence *challengev1.Evidence
}

// newAsking signs a challenge for a provider.
func newAsking(conn Conn, key ed25519.PrivateKey, provider souk.NodeKey, plan Plan, times Times, now time.Time) (*asking, []byte, error) {
	nonce := make([]byte, nonceSize)
	rand.Read(nonce)
	payload := network.MustMarshal(&challengev1.Challenge{Version: version, Nonce: nonce, ProviderKey: provider[:], Class: plan.Class,
		Arithmetic: challengev1.Arithmetic(plan.Arithmetic), Size: plan.Size, Rounds: plan.Rounds, SignedMs: now.UnixMilli()})
	envelope := wire.Seal(key, souk.DomainChallenge, payload)
	request, refused := OpenRequest(envelope, provider, now)
	if refused != nil {
		return nil, nil, &souk.Error{Code: souk.CodeInvalid, Err: refused}
	}
	return &asking{frames: newFrames(conn, MaxFrameBytes), times: times, plan: plan, request: request}, envelope, nil
}

// unanswered is the fault of devices that were ready and did not do what was asked.
const unanswered = "unanswered"

// run asks, and returns what came of it. A *[market.Refusal] is a provider that does
// not answer now; once its devices were ready, whatever comes is evidence.
func (a *asking) run(ctx context.Context, envelope []byte) (*challengev1.Evidence, error) {
	ready, err := a.open(envelope)
	if err != nil {
		return nil, err
	}
	start := make([]byte, len(challenge.Hash{}))
	rand.Read(start)
	a.terms = a.request.terms(ready.Devices, a.request.digest(start))
	a.evidence = &challengev1.Evidence{Version: version, ProviderKey: a.request.ProviderKey, Class: a.request.Class, Devices: ready.Devices,
		Challenge: a.terms.Digest[:], Arithmetic: a.request.Arithmetic, Size: a.request.Size, Rounds: a.request.Rounds, Backend: ready.Backend}
	verdict, err := a.prove(start)
	a.evidence.AtMs = time.Now().UnixMilli()
	if ctx.Err() != nil { // we left: nothing is known
		return nil, ctx.Err()
	}
	if err != nil {
		a.evidence.Verdict, a.evidence.Fault = challengev1.Verdict_VERDICT_FAILED, unanswered
		if f, ok := errors.AsType[*challenge.FaultError](err); ok {
			a.evidence.Fault = f.Fault.String()
		}
		return a.evidence, err
	}
	a.evidence.Verdict, a.evidence.Judged, a.evidence.Tiles = challengev1.Verdict_VERDICT_PROVED, verdict.Judged, uint32(verdict.Tiles)
	return a.evidence, nil
}

// open sends the request and waits for the devices.
func (a *asking) open(envelope []byte) (*challengev1.Ready, error) {
	m, err := signed(envelope)
	if err != nil {
		return nil, err
	}
	if err := a.frames.write(m, a.times.Turn); err != nil {
		return nil, fmt.Errorf("send challenge: %w", err)
	}
	a.progress("waiting")
	var in challengev1.ToChallenger
	if err := a.frames.read(&in, a.times.Start); err != nil {
		return nil, fmt.Errorf("wait for the devices: %w", err)
	}
	if env := in.GetDecline(); env != nil {
		d, err := market.OpenDecline(env, a.request.Subject)
		if err != nil {
			return nil, err
		}
		if d.Provider != souk.NodeKey(a.request.ProviderKey) {
			return nil, errors.New("a decline signed by another provider")
		}
		return nil, &d.Refusal
	}
	if f := in.GetFailed(); f != nil {
		return nil, fmt.Errorf("the provider's devices did not start: %s", plain(f.Detail))
	}
	ready := in.GetReady()
	switch {
	case ready == nil, !isWord(ready.GetBackend()), slices.ContainsFunc(ready.GetDevices(), func(id string) bool { return !isText(id) }):
		return nil, errors.New("the provider did not say which devices answer")
	}
	return ready, a.request.Terms(ready.Devices).Validate()
}

// plain is a peer's line for people.
func plain(s string) string {
	if s = network.Clip(s, maxDetail); !isText(s) {
		return "a line that cannot be shown"
	}
	return s
}

// prove is the challenge itself.
func (a *asking) prove(start []byte) (verdict challenge.Verdict, err error) {
	send := func(m *challengev1.ToProvider) error { return a.frames.write(m, a.times.Turn) }
	a.progress("computing")
	if err := send(&challengev1.ToProvider{Frame: &challengev1.ToProvider_Start{Start: &challengev1.Start{Nonce: start}}}); err != nil {
		return verdict, err
	}
	if a.verifier, err = challenge.NewVerifier(a.terms, a.plan.Band, time.Now()); err != nil {
		return verdict, err
	}
	took := time.Now()
	roots, err := a.roots((*challengev1.ToChallenger).GetCommitted)
	a.evidence.CommitUs = uint64(time.Since(took).Microseconds())
	if err == nil {
		err = a.verifier.Committed(time.Now(), roots)
	}
	if err != nil {
		return verdict, err
	}
	a.progress("recalling")
	var nonce challenge.Hash
	rand.Read(nonce[:])
	if err := a.verifier.Recall(time.Now(), nonce); err != nil {
		return verdict, err
	}
	took = time.Now()
	if err := send(&challengev1.ToProvider{Frame: &challengev1.ToProvider_Recall{Recall: &challengev1.Recall{Nonce: nonce[:]}}}); err != nil {
		return verdict, err
	}
	roots, err = a.roots((*challengev1.ToChallenger).GetRecalled)
	a.evidence.RecallUs = uint64(time.Since(took).Microseconds())
	if err == nil {
		err = a.verifier.Recalled(time.Now(), roots)
	}
	if err != nil {
		return verdict, err
	}
	return a.draw(send)
}

// draw has tiles opened, and checks them.
func (a *asking) draw(send func(*challengev1.ToProvider) error) (verdict challenge.Verdict, err error) {
	a.progress("opening")
	places, err := a.verifier.Draw(min(MaxPlaces, tilesDrawn*len(a.terms.Devices)), rand.Reader)
	if err != nil {
		return verdict, err
	}
	if err := send(&challengev1.ToProvider{Frame: &challengev1.ToProvider_Draw{Draw: drawOf(places)}}); err != nil {
		return verdict, err
	}
	var openings []challenge.Opening
	for range places {
		var in challengev1.ToChallenger
		if err := a.answer(&in, a.times.Turn); err != nil {
			return verdict, err
		}
		o := in.GetOpening()
		if o == nil {
			return verdict, outOfTurn()
		}
		path, whole := split(o.GetPath())
		recall, also := split(o.GetRecall())
		if !whole || !also {
			return verdict, &challenge.FaultError{Fault: challenge.Partial, Detail: "a path of broken hashes"}
		}
		openings = append(openings, challenge.Opening{Tile: o.GetTile(), Path: path, Recall: recall})
	}
	return a.verifier.Opened(openings, rand.Reader)
}

func outOfTurn() error {
	return &challenge.FaultError{Fault: challenge.OutOfOrder, Detail: "the provider said something out of turn"}
}

// answer reads a frame in which the devices may have failed.
func (a *asking) answer(in *challengev1.ToChallenger, within time.Duration) error {
	if err := a.frames.read(in, within); err != nil {
		return fmt.Errorf("the provider did not answer: %w", err)
	}
	if f := in.GetFailed(); f != nil {
		return fmt.Errorf("the provider's devices failed: %s", plain(f.Detail))
	}
	return nil
}

// roots reads those of every device.
func (a *asking) roots(of func(*challengev1.ToChallenger) *challengev1.Roots) (all [][]challenge.Hash, err error) {
	within := a.times.Work
	for i := range a.terms.Devices {
		var in challengev1.ToChallenger
		if err := a.answer(&in, within); err != nil {
			return nil, err
		}
		within = a.times.Turn // those of the others are there too
		r := of(&in)
		if r == nil || r.GetDevice() != uint32(i) {
			return nil, outOfTurn()
		}
		hashes, whole := split(r.GetHashes())
		if !whole {
			return nil, &challenge.FaultError{Fault: challenge.Partial, Device: a.terms.Devices[i], Detail: "a broken hash"}
		}
		all = append(all, hashes)
	}
	return all, nil
}
