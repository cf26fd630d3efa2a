package node_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/gpu/challenge"
	"github.com/souk-market/souk/gpu/challenge/reference"
	"github.com/souk-market/souk/node"
	"github.com/souk-market/souk/node/network/networktest"
	"github.com/souk-market/souk/node/provider"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
	jobv1 "github.com/souk-market/souk/proto/souk/job/v1"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
)

// provers computes challenges in the test's own process.
type provers struct {
	broken  error         // why nothing can be measured
	starts  chan struct{} // a device starts when there is one; nil: at once
	waits   chan struct{} // tells that a device waits for that
	running atomic.Int32
	started atomic.Int32
}

// Backend implements [provider.Provers].
func (p *provers) Backend(gpu.Device) (string, error) { return "reference", p.broken }

// Start implements [provider.Provers].
func (p *provers) Start(ctx context.Context, c challenge.Challenge, _ gpu.Device) (provider.ProvingDevice, error) {
	if p.starts != nil {
		p.waits <- struct{}{}
		select {
		case <-p.starts:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	p.running.Add(1)
	p.started.Add(1)
	return &provingDevice{reference.New(c), p}, nil
}

type provingDevice struct {
	*reference.Device
	of *provers
}

// Close implements [provider.ProvingDevice].
func (d *provingDevice) Close() error { d.of.running.Add(-1); return nil }

// challenge asks for a proof over the API.
func (d *daemon) challenge(t *testing.T, of *daemon) (*apiv1.Proof, error) {
	t.Helper()
	s, err := d.MarketClient.Challenge(t.Context(), &apiv1.ChallengeRequest{Provider: of.id.String(), Size: challenge.MinSize, Rounds: 1})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	var p *apiv1.Proof
	for s.Receive() {
		p = s.Msg().Proof
	}
	return p, s.Err()
}

// TestChallenge has a client challenge a provider: alone, while another challenge
// runs, while a job has the device, and where nothing can be measured.
func TestChallenge(t *testing.T) {
	url := serveChain(t)
	by := &provers{}
	seller := startDaemon(t, func(c *node.Config) { sellingCPU(url)(c); c.Provers = by })
	seller.fill(t)
	client := buyer(t, seller)
	got, err := client.challenge(t, seller)
	if err != nil || !got.Proved || got.Backend != "reference" || got.Tiles == 0 || got.Challenger != client.id.String() || by.running.Load() != 0 {
		t.Fatalf("%v, %v; %d devices run on", got, err, by.running.Load())
	}
	if row := client.market(t)[0]; row.Proof == nil || !row.Proof.Proved {
		t.Errorf("the offer shows %v", row.Proof)
	}
	if _, err := seller.challenge(t, seller); err == nil || !strings.Contains(err.Error(), "challenge it from another node") {
		t.Errorf("of itself: %v", err)
	}

	h := handOn(t, seller)
	h.lease(t, h.job(t, "out")) // it has the processor until it ends
	if _, err := client.challenge(t, seller); err == nil || !strings.Contains(err.Error(), "busy: 1 device short") {
		t.Errorf("a leased device is challenged: %v", err)
	}

}

// TestChallengeHolds has an order come while devices compute: it is declined as busy,
// and the devices are free when the challenge is over, however it ends.
func TestChallengeHolds(t *testing.T) {
	url := serveChain(t)
	by := &provers{starts: make(chan struct{}), waits: make(chan struct{}, 1)}
	seller := startDaemon(t, func(c *node.Config) { sellingCPU(url)(c); c.Provers = by })
	seller.fill(t)
	h := handOn(t, seller)
	first, second := startDaemon(t, watching(seller)), startDaemon(t, watching(seller))
	first.hears(t)
	second.hears(t)
	ended := make(chan error)
	go func() { _, err := first.challenge(t, seller); ended <- err }()
	<-by.waits
	if _, err := second.challenge(t, seller); err == nil || !strings.Contains(err.Error(), "busy") {
		t.Errorf("a second challenger: %v", err)
	}
	if _, why, err := h.ask(t, h.job(t, "out")); err != nil || why == nil || why.Error() != "busy: 1 device short" {
		t.Errorf("an order meanwhile: %v, %v", why, err)
	}
	first.stop() // the challenger is gone
	if err := <-ended; err == nil {
		t.Error("a challenge without a challenger has an end")
	}
	by.starts <- struct{}{}
	networktest.Eventually(t, "a bid", func() bool {
		_, why, err := h.ask(t, h.job(t, "out"))
		return why == nil && err == nil
	})
	if _, err := second.challenge(t, seller); err == nil || !strings.Contains(err.Error(), "busy") {
		t.Errorf("a device with a bid is challenged: %v", err)
	}
	if n := by.running.Load(); n != 0 {
		t.Errorf("%d devices run on", n)
	}
}

// TestNotMeasured challenges a provider without a driver: it is no fault.
func TestNotMeasured(t *testing.T) {
	url := serveChain(t)
	seller := startDaemon(t, func(c *node.Config) { sellingCPU(url)(c); c.Provers = &provers{broken: errors.New("no driver")} })
	client := startDaemon(t, watching(seller))
	client.hears(t)
	if _, err := client.challenge(t, seller); err == nil || !strings.Contains(err.Error(), "not-measured") || !strings.Contains(err.Error(), "no driver") {
		t.Errorf("got %v", err)
	}
	if row := client.market(t)[0]; row.Proof != nil {
		t.Errorf("the offer shows %v", row.Proof)
	}
}

// TestJobChallengesFirst runs jobs that want evidence: what a client has none of it
// finds out before it orders, once while that is fresh. Who cannot be measured gets
// no order, and the job says why.
func TestJobChallengesFirst(t *testing.T) {
	url := serveChain(t)
	by := &provers{}
	seller := startDaemon(t, func(c *node.Config) { sellingCPU(url)(c); c.Provers = by })
	seller.fill(t)
	client := buyer(t, seller)
	wants := func() *jobv1.Job {
		msg := testJob(t, client, "brief")
		msg.Resources.MinEvidence = marketv1.Evidence_EVIDENCE_CHALLENGED
		return msg
	}
	if row := client.market(t)[0]; row.Offer.Evidence != marketv1.Evidence_EVIDENCE_NONE || row.Proof != nil {
		t.Errorf("before any challenge the offer shows %v", row)
	}
	if plan, err := client.Plan(t.Context(), &apiv1.PlanRequest{Job: wants()}); err != nil || len(plan.Candidates) != 1 {
		t.Errorf("plan: %v, %v", plan, err)
	}
	for range 2 {
		if end := client.submit(t, wants()).finished(t); end.State != "done" {
			t.Fatalf("the job ended as %v", end)
		}
		if n := by.started.Load(); n != 1 {
			t.Fatalf("%d devices were challenged", n)
		}
	}
	if row := client.market(t)[0]; row.Proof == nil || !row.Proof.Proved || row.Proof.Challenger != client.id.String() {
		t.Errorf("the offer shows %v", row.Proof)
	}

	seller.stop()
	next := again(seller)
	next.Provers = &provers{broken: errors.New("no kernels")}
	seller = start(t, next)
	second := buyer(t, seller)
	msg := testJob(t, second, "brief")
	msg.Resources.MinEvidence = marketv1.Evidence_EVIDENCE_CHALLENGED
	j := second.submit(t, msg)
	if end := j.finished(t); end.State != "no-match" || !strings.Contains(shown(j.get(t)), "not-measured") {
		t.Errorf("without proof the job ended as %v: %s", end, shown(j.get(t)))
	}
}

// watching is a node without a chain that knows a provider.
func watching(of *daemon) func(*node.Config) {
	return func(c *node.Config) { c.Bootstrap = of.addrs[:1] }
}
