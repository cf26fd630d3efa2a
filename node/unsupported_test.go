package node_test

import (
	"crypto/sha256"
	"slices"
	"strings"
	"testing"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/market"
	"github.com/souk-market/souk/node/client"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/node/network/networktest"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
	jobv1 "github.com/souk-market/souk/proto/souk/job/v1"
	leasev1 "github.com/souk-market/souk/proto/souk/lease/v1"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"github.com/souk-market/souk/proto/wire"
	"google.golang.org/protobuf/proto"
)

// coming is how a job and a lease use each extension that is to come, or that an owner
// need not want.
var coming = map[string]struct {
	job   func(*jobv1.Job)
	lease func(*leasev1.Lease) // nil: the lease has no field for it
}{
	market.ExtensionSecrets:    {func(j *jobv1.Job) { j.Secrets = []*jobv1.Secret{{Name: "HF_TOKEN", Sealed: []byte{1}}} }, nil},
	market.ExtensionCheckpoint: {func(j *jobv1.Job) { j.Checkpoint = &jobv1.Checkpoint{SyncEveryMs: 60_000} }, nil},
	market.ExtensionService:    {func(j *jobv1.Job) { j.Service = &jobv1.Service{Ports: []uint32{8000}} }, nil},
	market.ExtensionNetwork: {func(j *jobv1.Job) { j.Network = &leasev1.Network{Hosts: []string{"example.com:443"}} },
		func(l *leasev1.Lease) { l.Network = &leasev1.Network{Hosts: []string{"example.com:443"}} }},
	market.ExtensionAccess: {func(j *jobv1.Job) { j.Access = &leasev1.Access{Exec: true} },
		func(l *leasev1.Lease) { l.Access = &leasev1.Access{Exec: true} }},
	market.ExtensionEvidence: {func(j *jobv1.Job) { j.Resources.MinEvidence = marketv1.Evidence_EVIDENCE_ATTESTED },
		func(l *leasev1.Lease) { l.Evidence = marketv1.Evidence_EVIDENCE_CHALLENGED }},
	market.ExtensionGang: {func(j *jobv1.Job) { j.GangSize = 2 },
		func(l *leasev1.Lease) { l.Gang = &marketv1.Gang{Id: make([]byte, 16), Size: 2} }},
}

// TestUnsupported uses each extension that is to come in a job that its owner
// submits, in a lease that lists it, in one that does not, and in a job that was
// not announced as such. The provider refuses each by name: nothing runs.
func TestUnsupported(t *testing.T) {
	s := newStall(t, 2, nil)
	owner, c := s.client(t, &networktest.Liar{}), s.hand(t)
	names := append(market.ComingExtensions(), market.ExtensionNetwork) // which this owner does not want
	if len(coming) != len(names) {
		t.Errorf("%d extensions are tried of %d", len(coming), len(names))
	}
	for _, name := range names {
		use := coming[name]
		t.Run("order/"+name, func(t *testing.T) {
			msg := stallJob(testJob(t, owner, "brief"))
			use.job(msg)
			_, why, err := c.ask(t, msg)
			wantUnsupported(t, why, err, name)
			j := owner.submit(t, msg)
			end := j.finished(t)
			if told := shown(j.get(t)); end.State != "no-match" || !strings.Contains(told, name) {
				t.Errorf("the job ended as %s: %s", end.State, told)
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
				g := c.propose(t, stallJob(c.job(t, "brief")), souk.JobID{Digest: souk.Digest{1}})
				promised := g.ID
				change(g.Lease, g.Request)
				g.Payload = network.MustMarshal(g.Lease)
				g.ID.Digest = sha256.Sum256(g.Payload)
				g.Request.Lease = wire.Seal(c.cfg.Identity, souk.DomainLease, g.Payload)
				why, err := c.Countersign(t.Context(), g)
				wantUnsupported(t, why, err, name)
				if err := c.CloseLease(t.Context(), g.Terms.Channel, promised); err != nil {
					t.Error(err)
				}
			})
		}
		t.Run("job/"+name, func(t *testing.T) {
			plain := stallJob(c.job(t, "brief"))
			hidden := proto.CloneOf(plain)
			use.job(hidden)
			g := c.propose(t, plain, idOf(hidden))
			c.countersigned(t, g)
			end := c.lastFrame(t, &runv1.Attach{Lease: g.ID.Digest[:], Job: network.MustMarshal(hidden)})
			if end.GetState().GetReason() != runv1.EndReason_END_REASON_UNSUPPORTED || !strings.HasSuffix(end.GetState().GetDetail(), "unsupported: "+name) {
				t.Errorf("the run ended with %v", end)
			}
		})
	}
	networktest.Eventually(t, "the devices", func() bool { return s.idle(t) })
	nothingRuns(t)
}

// TestUnsupportedStreams opens a run stream and asks about a channel in ways that
// need more than this version has: both are declined by name, and the lease stays.
func TestUnsupportedStreams(t *testing.T) {
	s := newStall(t, 1, nil)
	c := s.hand(t)
	msg := stallJob(c.job(t, "brief"))
	g := c.lease(t, msg)
	f := c.lastFrame(t, &runv1.Attach{Lease: g.ID.Digest[:], Job: network.MustMarshal(msg), MustUnderstand: []string{"teleport"}})
	why, err := client.OpenDecline(f.GetDecline(), g.ID.Digest, g.Terms.ProviderKey)
	wantUnsupported(t, why, err, "teleport")

	ask := &leasev1.ChannelRequest{MustUnderstand: []string{"teleport"}, Request: &leasev1.ChannelRequest_Terms{Terms: &leasev1.TermsRequest{}}}
	var reply leasev1.ChannelReply
	if err := network.Exchange(t.Context(), c.host, g.Peer, network.ChannelProtocol, ask, &reply, network.MaxChannelBytes); err != nil {
		t.Fatal(err)
	}
	why, err = client.OpenDecline(reply.GetDecline(), souk.Digest{}, g.Terms.ProviderKey)
	wantUnsupported(t, why, err, "teleport")
}

// lastFrame attaches to a run and returns the frame that ends the stream.
func (h *hand) lastFrame(t *testing.T, attach *runv1.Attach) *runv1.ToClient {
	t.Helper()
	st := h.open(t, &runv1.ToProvider{Message: &runv1.ToProvider_Attach{Attach: attach}})
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
func shown(j *apiv1.GetResponse) string {
	var lines []string
	for _, a := range j.Attempts {
		for _, d := range a.Declines {
			lines = append(lines, d.Reason+" "+d.Detail)
		}
	}
	for _, r := range j.Removals {
		if r.Removed > 0 {
			lines = append(lines, r.Clause)
		}
	}
	return strings.Join(lines, "; ")
}
