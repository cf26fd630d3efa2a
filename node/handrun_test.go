package node_test

import (
	"testing"
	"time"

	p2pnet "github.com/libp2p/go-libp2p/core/network"
	"github.com/souk-market/souk/gpu/runner"
	"github.com/souk-market/souk/node/client"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/payment"
	jobv1 "github.com/souk-market/souk/proto/souk/job/v1"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"github.com/souk-market/souk/proto/wire"
)

// handRun is a hand's end of one run.
type handRun struct {
	*hand
	t      *testing.T
	s      *client.Proposal
	job    []byte
	payer  *payment.Payer
	st     p2pnet.Stream
	frames *wire.Reader
	last   *runv1.State
	owed   *runv1.Receipt
	heard  uint64 // samples
}

// run takes a lease for a job, and attaches to it.
func (h *hand) run(t *testing.T, msg *jobv1.Job) *handRun {
	t.Helper()
	r := &handRun{hand: h, t: t, s: h.lease(t, msg), job: network.MustMarshal(msg)}
	for _, cid := range runner.Contents(msg) {
		if err := h.files.Grant(t.Context(), cid, h.to.id); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if r.payer, err = h.Payer(r.s); err != nil {
		t.Fatal(err)
	}
	r.attach()
	return r
}

func (r *handRun) attach() {
	r.t.Helper()
	if _, err := r.connect(r.t.Context(), r.to.id, nil); err != nil {
		r.t.Fatal(err)
	}
	r.st = r.open(r.t, &runv1.ToProvider{Message: &runv1.ToProvider_Attach{Attach: &runv1.Attach{Lease: r.s.ID.Digest[:], Job: r.job, Samples: r.heard}}})
	r.frames, r.last, r.owed = wire.NewReader(r.st, network.MaxRunBytes), nil, nil
}

// until reads what the provider says until ok.
func (r *handRun) until(what string, ok func() bool) {
	r.t.Helper()
	r.st.SetReadDeadline(time.Now().Add(20 * time.Second))
	for !ok() {
		var f runv1.ToClient
		if err := r.frames.Read(&f); err != nil {
			r.t.Fatalf("waiting for %s: %v", what, err)
		}
		if s := f.GetState(); s != nil {
			r.last = s
		}
		for _, b := range f.GetTelemetry().GetSamples() {
			s, err := payment.OpenSample(b)
			if err == nil {
				err = r.payer.Sample(s.AtMs, payment.SampleLeaf(b))
			}
			if err != nil {
				r.t.Fatal(err)
			}
			r.heard++
		}
		if owed := f.GetReceipt(); owed != nil {
			r.owed = owed
		}
	}
}

func (r *handRun) untilPhase(ph runv1.Phase) {
	r.t.Helper()
	r.until(ph.String(), func() bool { return r.last.GetPhase() == ph })
}

// pay countersigns the receipt that waits.
func (r *handRun) pay() {
	r.t.Helper()
	owed, err := payment.ReceiptFromProto(r.owed)
	if err != nil {
		r.t.Fatal(err)
	}
	paid, err := r.payer.Check(time.Now(), owed)
	if err == nil {
		owed, err = r.Pay(r.t.Context(), r.s, owed, paid)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	r.payer.Accept(owed)
	answer, err := r.Answer(r.s, owed, paid)
	if err == nil {
		err = wire.Write(r.st, answer)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	r.owed = nil
}

// payAll pays what comes until the lease has ended.
func (r *handRun) payAll() {
	r.t.Helper()
	for r.last.GetPhase() != runv1.Phase_PHASE_ENDED {
		// The last one waits for the outputs it names, which come behind it.
		ready := func() bool {
			return r.owed != nil && (r.owed.Kind != uint32(payment.KindFinal) || r.last.GetPhase() == runv1.Phase_PHASE_COLLECTING)
		}
		r.until("a receipt or the end", func() bool { return ready() || r.last.GetPhase() == runv1.Phase_PHASE_ENDED })
		if ready() {
			r.pay()
		}
	}
	if err := r.CloseLease(r.t.Context(), r.s.Terms.Channel, r.s.ID); err != nil {
		r.t.Fatal(err)
	}
}
