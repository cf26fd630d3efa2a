package node_test

import (
	"crypto/sha256"
	"testing"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/node/client"
	"github.com/souk-market/souk/node/money"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/payment"
	leasev1 "github.com/souk-market/souk/proto/souk/lease/v1"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	"github.com/souk-market/souk/proto/wire"
)

// goodLease is a lease as its client would ask for it, in nobody's books.
func (h *hand) goodLease(t *testing.T) *client.Proposal {
	t.Helper()
	s := h.draft(t, h.job(t, "train"))
	h.good(t, s)
	return s
}

// good fills in the request for a lease.
func (h *hand) good(t *testing.T, s *client.Proposal) {
	t.Helper()
	s.Request = &leasev1.LeaseRequest{Lease: wire.Seal(h.cfg.Identity, souk.DomainLease, s.Payload),
		Voucher: h.voucher(t, s, s.Terms.First()), Deposit: h.deposit(t, s, souk.AtomsPerToken)}
}

// TestLeaseRefusals changes one thing in a good lease request at a time: each is
// declined with its reason, and none takes the device or touches the channel.
func TestLeaseRefusals(t *testing.T) {
	provider := seller(t, serveChain(t))
	c := handOn(t, provider)
	for _, tt := range []struct {
		name    string
		lease   func(*leasev1.Lease)
		request func(*client.Proposal, *leasev1.LeaseRequest)
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
		{"no deposit", nil, func(_ *client.Proposal, r *leasev1.LeaseRequest) { r.Deposit = nil }, marketv1.DeclineReason_DECLINE_REASON_PAYMENT, true},
		{"a deposit of dust", nil, func(s *client.Proposal, r *leasev1.LeaseRequest) { r.Deposit = c.deposit(t, s, 1) }, marketv1.DeclineReason_DECLINE_REASON_PAYMENT, true},
		{"a deposit signed by nobody", nil, func(_ *client.Proposal, r *leasev1.LeaseRequest) { r.Deposit.Signature[5] ^= 1 }, marketv1.DeclineReason_DECLINE_REASON_PAYMENT, false},
		{"a voucher of nothing", nil, func(s *client.Proposal, r *leasev1.LeaseRequest) { r.Voucher = c.voucher(t, s, 0) }, marketv1.DeclineReason_DECLINE_REASON_PAYMENT, true},
		{"a voucher by another key", nil, func(s *client.Proposal, r *leasev1.LeaseRequest) {
			v := payment.Voucher{Channel: s.Terms.Channel, MaxClaimable: s.Terms.First()}
			if err := v.Sign(s.Terms.Domain, provider.cfg.VoucherKey); err != nil {
				t.Fatal(err)
			}
			r.Voucher = v.Proto()
		}, marketv1.DeclineReason_DECLINE_REASON_PAYMENT, false},
		{"not signed by who sends it", nil, func(s *client.Proposal, r *leasev1.LeaseRequest) {
			r.Lease = wire.Seal(provider.cfg.Identity, souk.DomainLease, s.Payload)
		}, marketv1.DeclineReason_DECLINE_REASON_MALFORMED, false},
		{"half a lease", nil, func(_ *client.Proposal, r *leasev1.LeaseRequest) { r.Lease = r.Lease[:40] }, marketv1.DeclineReason_DECLINE_REASON_MALFORMED, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := c.draft(t, c.job(t, "train"))
			if tt.lease != nil {
				tt.lease(s.Lease)
				s.Payload = network.MustMarshal(s.Lease)
				s.Terms, s.Channel, _ = money.LeaseTerms(s.Payload, s.Lease)
			}
			c.good(t, s)
			if tt.request != nil {
				tt.request(s, s.Request)
			}
			var reply leasev1.LeaseReply
			if err := network.Exchange(t.Context(), c.host, provider.id, network.LeaseProtocol, s.Request, &reply, network.MaxLeaseBytes); err != nil {
				t.Fatal(err)
			}
			var subject souk.Digest // nought where no lease could be read
			if payload, _, err := wire.Open(souk.DomainLease, s.Request.Lease, network.MaxLeaseBytes); err == nil {
				subject = sha256.Sum256(payload)
			}
			refused, err := client.OpenDecline(reply.GetDecline(), subject, provider.key)
			if err != nil {
				t.Fatalf("accepted: %v, %v", &reply, err)
			}
			if refused.Reason != tt.reason || (refused.Shortfall > 0) != tt.short || refused.Detail == "" {
				t.Errorf("declined with %s, shortfall %d: %s", refused.Reason, refused.Shortfall, refused.Detail)
			}
			if ch := provider.channel(t, c.host.ID(), false); !provider.unused(t) || ch != nil {
				t.Errorf("after a refusal a device is in a lease, or the channel is kept: %v", ch)
			}
		})
	}
}

// TestTaken lets two strangers win the same device: nothing was held for
// either, so the second is told that it is taken, and sees so in its job.
func TestTaken(t *testing.T) {
	provider, owner := twoNodes(t, serveChain(t))
	c := handOn(t, provider)
	first, second := c.goodLease(t), c.goodLease(t)
	c.countersigned(t, first)
	refused, err := c.Countersign(t.Context(), second)
	if err != nil || refused == nil || refused.Reason != marketv1.DeclineReason_DECLINE_REASON_TAKEN {
		t.Errorf("second lease: %v, %v", refused, err)
	}
	c.countersigned(t, first) // the same request again is the same lease
	// Another's job now meets a busy provider, and its owner reads why.
	j := owner.submit(t, testJob(t, owner, "train"))
	if end := j.finished(t); end.State != "no-match" {
		t.Errorf("job beside a busy provider ended as %v", end)
	}
	declines := j.get(t).Attempts[0].Declines
	if len(declines) != 1 || declines[0].Reason != "busy" || declines[0].Shortfall != 1 {
		t.Errorf("declines shown: %v", declines)
	}
}
