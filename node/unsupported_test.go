package node

import (
	"crypto/sha256"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/market"
	role "github.com/souk-market/souk/node/client"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/node/network/networktest"
	jobv1 "github.com/souk-market/souk/proto/souk/job/v1"
	leasev1 "github.com/souk-market/souk/proto/souk/lease/v1"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"github.com/souk-market/souk/proto/wire"
	"google.golang.org/protobuf/proto"
)

// coming is how a job and a lease use each extension that is to come.
var coming = map[string]struct {
	job   func(*jobv1.Job)
	lease func(*leasev1.Lease) // nil: the lease has no field for it
}{
	market.ExtensionImage:      {func(j *jobv1.Job) { j.Wasm, j.Image = "", "python@sha256:"+strings.Repeat("0", 64) }, nil},
	market.ExtensionIsolation:  {func(j *jobv1.Job) { j.Resources.Runners = []marketv1.Runner{marketv1.Runner_RUNNER_GVISOR} }, nil},
	market.ExtensionSecrets:    {func(j *jobv1.Job) { j.Secrets = []*jobv1.Secret{{Name: "HF_TOKEN", Sealed: []byte{1}}} }, nil},
	market.ExtensionCheckpoint: {func(j *jobv1.Job) { j.Checkpoint = &jobv1.Checkpoint{SyncEveryMs: 60_000} }, nil},
	market.ExtensionService:    {func(j *jobv1.Job) { j.Service = &jobv1.Service{Ports: []uint32{8000}} }, nil},
	market.ExtensionNetwork: {func(j *jobv1.Job) { j.Network = &leasev1.Network{Hosts: []string{"example.com:443"}} },
		func(l *leasev1.Lease) { l.Network = &leasev1.Network{Hosts: []string{"example.com:443"}} }},
	market.ExtensionAccess: {func(j *jobv1.Job) { j.Access = &leasev1.Access{Exec: true} },
		func(l *leasev1.Lease) { l.Access = &leasev1.Access{Exec: true} }},
	market.ExtensionReclaimNotice: {func(j *jobv1.Job) { j.Reclaim = &leasev1.Reclaim{NoticeMs: 120_000} },
		func(l *leasev1.Lease) { l.Reclaim = &leasev1.Reclaim{NoticeMs: 120_000} }},
	market.ExtensionEvidence: {func(j *jobv1.Job) { j.Resources.MinEvidence = marketv1.Evidence_EVIDENCE_CHALLENGED },
		func(l *leasev1.Lease) { l.Evidence = marketv1.Evidence_EVIDENCE_CHALLENGED }},
	market.ExtensionGang: {func(j *jobv1.Job) { j.GangSize = 2 },
		func(l *leasev1.Lease) { l.Gang = &marketv1.Gang{Id: make([]byte, 16), Size: 2} }},
}

// TestUnsupported uses each extension that is to come in a job that its owner
// submits, in a lease that lists it, in one that does not, and in a job that was
// not announced as such. The provider refuses each by name: nothing runs.
func TestUnsupported(t *testing.T) {
	s := newStall(t, 2, nil)
	client := s.client(t, &networktest.Liar{})
	if len(coming) != len(market.ComingExtensions()) {
		t.Errorf("%d extensions are tried of %d", len(coming), len(market.ComingExtensions()))
	}
	for _, name := range market.ComingExtensions() {
		use := coming[name]
		t.Run("order/"+name, func(t *testing.T) {
			msg := stallJob(t, client, "brief")
			use.job(msg)
			_, why, err := s.bid(t, client, msg)
			wantUnsupported(t, why, err, name)
			j := submit(t, client, msg)
			networktest.Eventually(t, "the job's end", func() bool { rec, _ := j.Watch(); return !rec.Ended.IsZero() })
			rec, _ := j.Watch()
			if rec.State != "no-match" || !strings.Contains(shown(rec), name) && !strings.Contains(shown(rec), "runner=gvisor") {
				t.Errorf("the job ended as %s: %s", rec.State, shown(rec))
			}
		})
		for kind, change := range map[string]func(*leasev1.Lease, *leasev1.LeaseRequest){
			"listed":        func(l *leasev1.Lease, _ *leasev1.LeaseRequest) { l.MustUnderstand = []string{name} },
			"requested":     func(_ *leasev1.Lease, r *leasev1.LeaseRequest) { r.MustUnderstand = []string{name} },
			"not announced": func(l *leasev1.Lease, _ *leasev1.LeaseRequest) { use.lease(l) },
		} {
			if kind == "not announced" && use.lease == nil {
				continue
			}
			t.Run("lease/"+kind+"/"+name, func(t *testing.T) {
				g := s.lease(t, client, stallJob(t, client, "brief"), souk.JobID{Digest: souk.Digest{1}})
				promised := g.ID
				change(g.Lease, g.Request)
				g.Payload = network.MustMarshal(g.Lease)
				g.ID.Digest = sha256.Sum256(g.Payload)
				g.Request.Lease = wire.Seal(client.cfg.Identity, souk.DomainLease, g.Payload)
				why, err := client.dealer.Countersign(t.Context(), g)
				wantUnsupported(t, why, err, name)
				if err := client.dealer.CloseLease(t.Context(), g.Terms.Channel, promised); err != nil {
					t.Error(err)
				}
			})
		}
		t.Run("job/"+name, func(t *testing.T) {
			plain := stallJob(t, client, "brief")
			hidden := proto.CloneOf(plain)
			use.job(hidden)
			payload := network.MustMarshal(hidden)
			g := s.lease(t, client, plain, souk.JobID{Digest: sha256.Sum256(payload)})
			if why, err := client.dealer.Countersign(t.Context(), g); why != nil || err != nil {
				t.Fatalf("lease: %v, %v", why, err)
			}
			end := lastState(t, client, g, &runv1.Attach{Lease: g.ID.Digest[:], Job: payload})
			if end.GetState().GetReason() != runv1.EndReason_END_REASON_UNSUPPORTED || !strings.HasSuffix(end.GetState().GetDetail(), "unsupported: "+name) {
				t.Errorf("the run ended with %v", end)
			}
		})
	}
	networktest.Eventually(t, "the devices", s.idle)
	nothingRuns(t)
}

// TestUnsupportedStreams opens a run stream and asks about a channel in ways that
// need more than this version has: both are declined by name, and the lease stays.
func TestUnsupportedStreams(t *testing.T) {
	s := newStall(t, 1, nil)
	client := s.client(t, &networktest.Liar{})
	msg := stallJob(t, client, "brief")
	payload := network.MustMarshal(msg)
	g := s.lease(t, client, msg, souk.JobID{Digest: sha256.Sum256(payload)})
	if why, err := client.dealer.Countersign(t.Context(), g); why != nil || err != nil {
		t.Fatalf("lease: %v, %v", why, err)
	}
	f := lastState(t, client, g, &runv1.Attach{Lease: g.ID.Digest[:], Job: payload, MustUnderstand: []string{"teleport"}})
	why, err := role.OpenDecline(f.GetDecline(), g.ID.Digest, g.Terms.ProviderKey)
	wantUnsupported(t, why, err, "teleport")

	ask := &leasev1.ChannelRequest{MustUnderstand: []string{"teleport"}, Request: &leasev1.ChannelRequest_Terms{Terms: &leasev1.TermsRequest{}}}
	var reply leasev1.ChannelReply
	if err := network.Exchange(t.Context(), client.host, g.Peer, network.ChannelProtocol, ask, &reply, network.MaxChannelBytes); err != nil {
		t.Fatal(err)
	}
	why, err = role.OpenDecline(reply.GetDecline(), souk.Digest{}, g.Terms.ProviderKey)
	wantUnsupported(t, why, err, "teleport")
}

// lease asks the stall's provider for a bid and signs a lease on it for the job id.
func (s *stall) lease(t *testing.T, c *Node, msg *jobv1.Job, id souk.JobID) *role.Proposal {
	t.Helper()
	bid, why, err := s.bid(t, c, msg)
	if err != nil || why != nil {
		t.Fatalf("ask: %v, %v", why, err)
	}
	g, err := c.dealer.Propose(t.Context(), id, msg, s.provider.host.ID(), bid, time.Now().Add(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// bid asks the stall's provider, as soon as it may be asked again.
func (s *stall) bid(t *testing.T, c *Node, msg *jobv1.Job) (bid *market.Bid, why *market.Refusal, err error) {
	t.Helper()
	networktest.Eventually(t, "an answer", func() bool {
		bid, why, err = c.dealer.Ask(t.Context(), s.provider.host.ID(), c.book.Offers(), msg, time.Now().Add(5*time.Second))
		return why == nil || why.Reason != marketv1.DeclineReason_DECLINE_REASON_RATE
	})
	return bid, why, err
}

// lastState attaches to a run and returns the frame that ends the stream.
func lastState(t *testing.T, c *Node, g *role.Proposal, attach *runv1.Attach) *runv1.ToClient {
	t.Helper()
	st, done, err := network.OpenStream(t.Context(), c.host, g.Peer, network.RunProtocol)
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	if err := wire.Write(st, &runv1.ToProvider{Message: &runv1.ToProvider_Attach{Attach: attach}}); err != nil {
		t.Fatal(err)
	}
	for frames := wire.NewReader(st, network.MaxRunBytes); ; {
		f := new(runv1.ToClient)
		if err := frames.Read(f); err != nil {
			t.Fatal(err)
		}
		if f.GetDecline() != nil || f.GetState().GetPhase() == runv1.Phase_PHASE_ENDED {
			return f
		}
	}
}

func wantUnsupported(t *testing.T, why *market.Refusal, err error, name string) {
	t.Helper()
	if err != nil || why == nil || why.Reason != marketv1.DeclineReason_DECLINE_REASON_UNSUPPORTED || !slices.Contains(why.Unsupported, name) {
		t.Errorf("declined with %v, %v; want unsupported: %s", why, err, name)
	}
}

// shown is what a job's owner reads of why nobody took it.
func shown(rec role.Record) string {
	var lines []string
	for _, a := range rec.Attempts {
		for _, d := range a.Declines {
			lines = append(lines, d.Reason+" "+d.Detail)
		}
	}
	for _, r := range rec.Removals {
		if r.Removed > 0 {
			lines = append(lines, r.Clause)
		}
	}
	return strings.Join(lines, "; ")
}
