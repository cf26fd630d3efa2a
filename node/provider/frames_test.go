package provider

import (
	"crypto/ed25519"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/node/money"
	"github.com/souk-market/souk/node/money/moneytest"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/payment"
	leasev1 "github.com/souk-market/souk/proto/souk/lease/v1"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"github.com/souk-market/souk/proto/wire"
	"github.com/souk-market/souk/scheduler"
	"google.golang.org/protobuf/proto"
)

func fuzzPeer(f *testing.F, key ed25519.PrivateKey) peer.ID {
	f.Helper()
	id, err := network.PeerID(souk.NodeKey(key.Public().(ed25519.PublicKey)))
	if err != nil {
		f.Fatal(err)
	}
	return id
}

// FuzzLeaseRequest feeds a provider what a client may send as a lease: as bytes,
// and as a payload behind a good signature.
func FuzzLeaseRequest(f *testing.F) {
	client, provider := moneytest.Key(1), moneytest.Key(2)
	from := fuzzPeer(f, client)
	payload := network.MustMarshal(moneytest.Lease(client, provider))
	voucher := &leasev1.Voucher{Channel: make([]byte, 32), MaxClaimableAtoms: 500, Signature: make([]byte, 65)}
	f.Add(network.MustMarshal(&leasev1.LeaseRequest{Lease: wire.Seal(client, souk.DomainLease, payload), Voucher: voucher}))
	f.Add(payload)
	priced := moneytest.Lease(client, provider)
	priced.Version, priced.Tariff = 2, payment.Tariff{{Unit: "device-ms/A", Price: 1, Per: 10}, {Unit: "device-ms/B", Price: 2, Per: 10}}.Proto()
	priced.Devices, priced.Groups = []string{"a", "b"}, []*leasev1.DeviceGroup{{Class: "A", Devices: []string{"a"}}, {Class: "B", Devices: []string{"b"}}}
	f.Add(network.MustMarshal(priced))
	f.Add([]byte{0x0a, 0x02, 0x08, 0x01})
	f.Fuzz(func(t *testing.T, b []byte) {
		var req leasev1.LeaseRequest
		if proto.Unmarshal(b, &req) == nil {
			checkProposal(t, from, &req)
		}
		checkProposal(t, from, &leasev1.LeaseRequest{Lease: wire.Seal(client, souk.DomainLease, b), Voucher: voucher})
	})
}

// checkProposal holds what was accepted to the bounds that metering relies on.
func checkProposal(t *testing.T, from peer.ID, req *leasev1.LeaseRequest) {
	t.Helper()
	pr, refused := openProposal(from, req)
	if refused != nil {
		return
	}
	if pr.terms.DeviceCount() < 1 || pr.terms.DeviceCount() > 64 || pr.terms.Interval < money.MinInterval || pr.terms.Interval > money.MaxInterval ||
		pr.terms.Grace <= 0 || pr.terms.Reserve <= 0 || pr.terms.First() < 0 || pr.terms.First() > pr.terms.Reserve {
		t.Errorf("accepted %+v", pr.terms)
	}
}

// FuzzCountersign feeds a provider answers to a receipt: none but the client's
// own, over that receipt and with a voucher, is taken.
func FuzzCountersign(f *testing.F) {
	client, provider := moneytest.Key(1), moneytest.Key(2)
	lease := moneytest.Lease(client, provider)
	terms, channel, err := money.LeaseTerms(network.MustMarshal(lease), lease)
	if err != nil {
		f.Fatal(err)
	}
	m := payment.NewMeter(terms)
	m.Start(time.UnixMilli(1_700_000_000_000))
	r := m.Finish(time.UnixMilli(1_700_000_003_000), souk.Digest{1}, payment.Usage{})
	r.SignProvider(terms.Domain, provider)
	books := &tenancy{terms: terms, channel: channel}
	digest := r.Digest(terms.Domain)
	signed := r
	signed.SignClient(terms.Domain, client)
	f.Add(network.MustMarshal(&runv1.ToProvider{Message: &runv1.ToProvider_Countersign{Countersign: &runv1.Countersign{Receipt: digest[:],
		Signature: signed.ClientSig, Voucher: &leasev1.Voucher{Channel: terms.Channel.Digest[:], MaxClaimableAtoms: 500, Signature: make([]byte, 65)}, LeasePaidAtoms: 500}}}))
	f.Add(network.MustMarshal(&runv1.ToProvider{Message: &runv1.ToProvider_Release{Release: &runv1.Release{}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		var msg runv1.ToProvider
		if proto.Unmarshal(b, &msg) != nil || msg.GetCountersign() == nil {
			return
		}
		c := msg.GetCountersign()
		v, err := payment.VoucherFromProto(c.Voucher)
		if err != nil {
			return
		}
		machine, err := scheduler.RestoreTenancy(scheduler.TenancyConfig{Terms: terms}, scheduler.TenancyHistory{Receipts: []payment.Receipt{r},
			State: scheduler.TenancyState{Phase: runv1.Phase_PHASE_COLLECTING}}, time.UnixMilli(1_700_000_004_000))
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range machine.Step(time.UnixMilli(1_700_000_004_000), scheduler.CountersignReceived{Receipt: c.Receipt,
			Signature: c.Signature, Paid: c.LeasePaidAtoms, Voucher: v}) {
			if post, ok := a.(scheduler.PostCountersign); ok && books.checkVoucher(post.Voucher) == nil {
				t.Error("a voucher that nobody signed was taken")
			}
		}
	})
}
