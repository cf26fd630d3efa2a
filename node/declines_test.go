package node

import (
	"strings"
	"testing"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/market"
	role "github.com/souk-market/souk/node/client"
	"github.com/souk-market/souk/node/money"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/payment"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
	leasev1 "github.com/souk-market/souk/proto/souk/lease/v1"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	"github.com/souk-market/souk/proto/wire"
)

// bidFor asks the provider for a bid as a client's attempt does.
func bidFor(t *testing.T, provider, client *Node) (*role.Proposal, *market.Bid) {
	t.Helper()
	msg := testJob(t, client, "train")
	ask := func() (*market.Bid, *market.Refusal, error) {
		return client.dealer.Ask(t.Context(), provider.host.ID(), client.book.Offers(), msg, time.Now().Add(5*time.Second))
	}
	bid, decline, err := ask()
	for decline != nil && decline.Reason == marketv1.DeclineReason_DECLINE_REASON_RATE {
		<-time.After(time.Duration(decline.Shortfall) * time.Millisecond) // there are more bids here than a client asks for
		bid, decline, err = ask()
	}
	if err != nil || decline != nil {
		t.Fatalf("ask: %v, %v", decline, err)
	}
	id, err := souk.ParseDigest(strings.Repeat("ab", 32))
	if err != nil {
		t.Fatal(err)
	}
	s, err := client.dealer.Draft(souk.JobID{Digest: id}, msg, provider.host.ID(), bid, time.Now().Add(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	return s, bid
}

// TestLeaseRefusals changes one thing in a good lease request at a time: each is
// declined with its reason, and none takes the device or touches the channel.
func TestLeaseRefusals(t *testing.T) {
	provider, client := twoNodes(t, serveChain(t))
	c, p := client.dealer, provider.provider
	for _, tt := range []struct {
		name    string
		lease   func(*leasev1.Lease)
		request func(*role.Proposal, *leasev1.LeaseRequest)
		reason  marketv1.DeclineReason
		short   bool // whether a shortfall is told
	}{
		{"no such bid", func(l *leasev1.Lease) { l.Bid = make([]byte, 32) }, nil, marketv1.DeclineReason_DECLINE_REASON_EXPIRED, false},
		{"too late to start", func(l *leasev1.Lease) { l.StartByMs = time.Now().Add(-time.Second).UnixMilli() }, nil, marketv1.DeclineReason_DECLINE_REASON_EXPIRED, false},
		{"a start next year", func(l *leasev1.Lease) { l.StartByMs = time.Now().AddDate(1, 0, 0).UnixMilli() }, nil, marketv1.DeclineReason_DECLINE_REASON_MALFORMED, false},
		{"another price", func(l *leasev1.Lease) { l.PriceAtomsPerHour-- }, nil, marketv1.DeclineReason_DECLINE_REASON_MALFORMED, false},
		{"another tariff", func(l *leasev1.Lease) { l.Tariff[0].PriceAtoms-- }, nil, marketv1.DeclineReason_DECLINE_REASON_MALFORMED, false},
		{"no tariff", func(l *leasev1.Lease) { l.Tariff = nil }, nil, marketv1.DeclineReason_DECLINE_REASON_MALFORMED, false},
		{"a unit of later", func(l *leasev1.Lease) { l.Tariff[0].Unit = "photon" }, nil, marketv1.DeclineReason_DECLINE_REASON_UNSUPPORTED, false},
		{"classes that were not bid", func(l *leasev1.Lease) { l.Groups = []*leasev1.DeviceGroup{{Class: "A", Devices: l.Devices}} }, nil, marketv1.DeclineReason_DECLINE_REASON_MALFORMED, false},
		{"before tariffs", func(l *leasev1.Lease) { l.Version, l.Tariff = 1, nil }, nil, marketv1.DeclineReason_DECLINE_REASON_MALFORMED, false},
		{"another device", func(l *leasev1.Lease) { l.Devices = []string{"GPU-0"} }, nil, marketv1.DeclineReason_DECLINE_REASON_MALFORMED, false},
		{"longer than ordered", func(l *leasev1.Lease) { l.MaxDurationMs++ }, nil, marketv1.DeclineReason_DECLINE_REASON_MALFORMED, false},
		{"receipts too often", func(l *leasev1.Lease) { l.IntervalMs = 1 }, nil, marketv1.DeclineReason_DECLINE_REASON_MALFORMED, false},
		{"a clock an hour off", func(l *leasev1.Lease) { l.SignedMs += 3_600_000 }, nil, marketv1.DeclineReason_DECLINE_REASON_MALFORMED, false},
		{"another chain", func(l *leasev1.Lease) { l.ChainId = 1 }, nil, marketv1.DeclineReason_DECLINE_REASON_PAYMENT, false},
		{"another's pocket", func(l *leasev1.Lease) { l.Channel.Receiver[0] ^= 1 }, nil, marketv1.DeclineReason_DECLINE_REASON_PAYMENT, false},
		{"a withdrawal of minutes", func(l *leasev1.Lease) { l.Channel.WithdrawDelayS = 900 }, nil, marketv1.DeclineReason_DECLINE_REASON_PAYMENT, false},
		{"no deposit", nil, func(_ *role.Proposal, r *leasev1.LeaseRequest) { r.Deposit = nil }, marketv1.DeclineReason_DECLINE_REASON_PAYMENT, true},
		{"a deposit of dust", nil, func(s *role.Proposal, r *leasev1.LeaseRequest) {
			d, err := c.Authorize(s.Channel, 1, 0)
			if err != nil {
				t.Fatal(err)
			}
			r.Deposit = d.Proto()
		}, marketv1.DeclineReason_DECLINE_REASON_PAYMENT, true},
		{"a deposit signed by nobody", nil, func(_ *role.Proposal, r *leasev1.LeaseRequest) { r.Deposit.Signature[5] ^= 1 }, marketv1.DeclineReason_DECLINE_REASON_PAYMENT, false},
		{"a voucher of nothing", nil, func(s *role.Proposal, r *leasev1.LeaseRequest) {
			v := payment.Voucher{Channel: s.Terms.Channel}
			if err := v.Sign(s.Terms.Domain, client.cfg.VoucherKey); err != nil {
				t.Fatal(err)
			}
			r.Voucher = v.Proto()
		}, marketv1.DeclineReason_DECLINE_REASON_PAYMENT, true},
		{"a voucher by another key", nil, func(s *role.Proposal, r *leasev1.LeaseRequest) {
			v := payment.Voucher{Channel: s.Terms.Channel, MaxClaimable: s.Terms.First()}
			if err := v.Sign(s.Terms.Domain, provider.cfg.VoucherKey); err != nil {
				t.Fatal(err)
			}
			r.Voucher = v.Proto()
		}, marketv1.DeclineReason_DECLINE_REASON_PAYMENT, false},
		{"not signed by who sends it", nil, func(s *role.Proposal, r *leasev1.LeaseRequest) {
			r.Lease = wire.Seal(provider.cfg.Identity, souk.DomainLease, s.Payload)
		}, marketv1.DeclineReason_DECLINE_REASON_MALFORMED, false},
		{"half a lease", nil, func(_ *role.Proposal, r *leasev1.LeaseRequest) { r.Lease = r.Lease[:40] }, marketv1.DeclineReason_DECLINE_REASON_MALFORMED, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, _ := bidFor(t, provider, client)
			if tt.lease != nil {
				tt.lease(s.Lease)
				s.Payload = network.MustMarshal(s.Lease)
				s.Terms, s.Channel, _ = money.LeaseTerms(s.Payload, s.Lease)
			}
			req := goodRequest(t, client, s)
			if tt.request != nil {
				tt.request(s, req)
			}
			signed, refused := p.Accept(t.Context(), client.host.ID(), req)
			if refused == nil {
				t.Fatalf("accepted: %x", signed)
			}
			if refused.Reason != tt.reason || (refused.Shortfall > 0) != tt.short || refused.Detail == "" {
				t.Errorf("declined with %s, shortfall %d: %s", refused.Reason, refused.Shortfall, refused.Detail)
			}
			if free := p.Offers(time.Now(), nil)[0].Free; free != 1 {
				t.Errorf("%d devices free after a refusal", free)
			}
		})
	}
}

// goodRequest is what a lease's client would send.
func goodRequest(t *testing.T, n *Node, s *role.Proposal) *leasev1.LeaseRequest {
	t.Helper()
	v := payment.Voucher{Channel: s.Terms.Channel, MaxClaimable: s.Terms.First()}
	if err := v.Sign(s.Terms.Domain, n.cfg.VoucherKey); err != nil {
		t.Fatal(err)
	}
	d, err := n.dealer.Authorize(s.Channel, souk.AtomsPerToken, 0)
	if err != nil {
		t.Fatal(err)
	}
	return &leasev1.LeaseRequest{Lease: wire.Seal(n.cfg.Identity, souk.DomainLease, s.Payload), Voucher: v.Proto(), Deposit: d.Proto()}
}

// TestTaken lets two strangers win the same device: nothing was held for
// either, so the second is told that it is taken, and sees so in its job.
func TestTaken(t *testing.T) {
	url := serveChain(t)
	provider, first := twoNodes(t, url)
	s, _ := bidFor(t, provider, first)
	other, _ := bidFor(t, provider, first)
	if _, refused := provider.provider.Accept(t.Context(), first.host.ID(), goodRequest(t, first, s)); refused != nil {
		t.Fatal(refused)
	}
	_, refused := provider.provider.Accept(t.Context(), first.host.ID(), goodRequest(t, first, other))
	if refused == nil || refused.Reason != marketv1.DeclineReason_DECLINE_REASON_TAKEN {
		t.Errorf("second lease: %v", refused)
	}
	// The same request again is the same lease.
	if again, refused := provider.provider.Accept(t.Context(), first.host.ID(), goodRequest(t, first, s)); refused != nil || len(again) == 0 {
		t.Errorf("repeated lease: %v", refused)
	}
	// A job of its own now meets a busy provider, and its owner reads why.
	j := submit(t, first, testJob(t, first, "train"))
	if end := finished(t, j); end.State != "no-match" {
		t.Errorf("job beside a busy provider ended as %v", end)
	}
	got, err := calls(first).jobs.Get(t.Context(), &apiv1.GetRequest{Id: j.ID().String()})
	if err != nil {
		t.Fatal(err)
	}
	declines := got.Attempts[0].Declines
	if len(declines) != 1 || declines[0].Reason != "busy" || declines[0].Shortfall != 1 {
		t.Errorf("declines shown: %v", declines)
	}
}
