package market

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
	jobv1 "github.com/souk-market/souk/proto/souk/job/v1"
	leasev1 "github.com/souk-market/souk/proto/souk/lease/v1"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
)

const (
	unsupportedReason = marketv1.DeclineReason_DECLINE_REASON_UNSUPPORTED
	malformedReason   = marketv1.DeclineReason_DECLINE_REASON_MALFORMED
)

func TestUnderstand(t *testing.T) {
	for _, tt := range []struct {
		name  string
		lists [][]string
		want  *Refusal
	}{
		{"nothing", nil, nil},
		{"empty lists", [][]string{nil, {}}, nil},
		{"one", [][]string{{"gang"}}, &Refusal{Reason: unsupportedReason, Unsupported: []string{"gang"}}},
		{"each once", [][]string{{"gang", "x-1"}, {"x-1", "gang"}}, &Refusal{Reason: unsupportedReason, Unsupported: []string{"gang", "x-1"}}},
		{"too many", [][]string{slices.Repeat([]string{"gang"}, maxExtensions+1)}, &Refusal{Reason: malformedReason, Detail: "must_understand"}},
		{"no name", [][]string{{"gang"}, {""}}, &Refusal{Reason: malformedReason, Detail: "must_understand"}},
		{"a long name", [][]string{{strings.Repeat("a", maxExtensionBytes+1)}}, &Refusal{Reason: malformedReason, Detail: "must_understand"}},
		{"capitals", [][]string{{"Gang"}}, &Refusal{Reason: malformedReason, Detail: "must_understand"}},
		{"a line end", [][]string{{"gang\n"}}, &Refusal{Reason: malformedReason, Detail: "must_understand"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := Understand(tt.lists...)
			if (got == nil) != (tt.want == nil) || got != nil && (got.Reason != tt.want.Reason || got.Detail != tt.want.Detail || !slices.Equal(got.Unsupported, tt.want.Unsupported)) {
				t.Errorf("refused with %+v; want %+v", got, tt.want)
			}
		})
	}
	if r := Allow([]string{"network"}, []string{"image", "network"}, []string{"network"}); r == nil || r.Error() != "unsupported: network" {
		t.Errorf("what an owner does not want: %v", r)
	}
	if r := cmp.Or(Allow(nil, []string{"network"}), Allow([]string{"network"}, []string{"image"})); r != nil {
		t.Errorf("what an owner wants: %v", r)
	}
	if r := UnderstandVersion(Version); r != nil {
		t.Errorf("our own version: %v", r)
	}
	if r := UnderstandVersion(Version + 1); r == nil || r.Error() != "unsupported: version-3" {
		t.Errorf("the next version: %v", r)
	}
	for _, name := range Extensions() {
		if !isExtension(name) || slices.Contains(ComingExtensions(), name) {
			t.Errorf("%q is understood, and is to come or no name", name)
		}
	}
}

// TestOrderNamesWhatItNeeds sends orders that need what is to come, with fields
// that mean nothing to this version: each is refused by name, and can be declined.
func TestOrderNamesWhatItNeeds(t *testing.T) {
	for _, name := range append(ComingExtensions(), "teleport") {
		m := goodOrder()
		m.Version, m.MustUnderstand, m.Resources = Version+1, []string{name}, nil
		payload := encode(t, m)
		o, err := OpenOrder(seal(t, 1, souk.DomainOrder, m), start)
		r, ok := errors.AsType[*Refusal](err)
		if !ok || r.Reason != unsupportedReason || !slices.Equal(r.Unsupported, []string{name}) {
			t.Errorf("%s: %v", name, err)
		}
		if o == nil || o.Order != nil || o.Digest != digestOf(payload) || o.Client != keyOf(1) {
			t.Errorf("%s: what comes back is %+v", name, o)
		}
	}
	m := goodOrder()
	m.Gang = &marketv1.Gang{Id: make([]byte, 16), Size: 2}
	_, err := OpenOrder(seal(t, 1, souk.DomainOrder, m), start)
	if r := RefusalOf(err); r.Reason != unsupportedReason || r.Error() != "unsupported: gang" {
		t.Errorf("a gang that is not announced: %v", err)
	}
	later := goodOrder()
	later.Version, later.Resources.MinEvidence = 99, 9
	if _, err := OpenOrder(seal(t, 1, souk.DomainOrder, later), start); err != nil {
		t.Errorf("a later version that needs nothing: %v", err)
	}
}

func TestBidNamesWhatItNeeds(t *testing.T) {
	m := goodOrder()
	m.Version = Version
	order := openedOrder(t, m)
	for _, tt := range []struct {
		name   string
		change func(*marketv1.Bid)
		want   string // of the refusal
	}{
		{"an extension", func(b *marketv1.Bid) { b.MustUnderstand = []string{"gang", "teleport"} }, "unsupported: gang, teleport"},
		{"a version", func(b *marketv1.Bid) { b.Version = Version + 1 }, "unsupported: version-3"},
		{"names that are none", func(b *marketv1.Bid) { b.MustUnderstand = []string{"\x1b"} }, "malformed: the provider cannot act on the message (must_understand)"},
	} {
		b := goodBid(order)
		tt.change(b)
		_, err := OpenBid(seal(t, 2, souk.DomainBid, b), start, order)
		if r, ok := errors.AsType[*Refusal](err); !ok || r.Error() != tt.want {
			t.Errorf("%s: %v; want %s", tt.name, err, tt.want)
		}
	}
	old := openedOrder(t, goodOrder())
	b := goodBid(old)
	b.Version, b.Tariff = 2, payment.HourlyTariff(b.PriceAtomsPerHour).Proto()
	_, err := OpenBid(seal(t, 2, souk.DomainBid, b), start, old)
	wantReject(t, err, Mismatch, "version 2 in answer to 0")
}

func TestLeaseAndJobExtensions(t *testing.T) {
	wasm, oci := []marketv1.Runner{marketv1.Runner_RUNNER_WASM}, []marketv1.Runner{marketv1.Runner_RUNNER_OCI}
	none := &marketv1.Resources{Runners: wasm, MinEvidence: marketv1.Evidence_EVIDENCE_NONE}
	for want, j := range map[string]*jobv1.Job{
		"":                     {Wasm: "cid", Resources: none},
		ExtensionImage:         {Image: "a@sha256:", Resources: none},
		"image,image-ipfs":     {Image: "ipfs://cid", Resources: none},
		ExtensionIsolation:     {Resources: &marketv1.Resources{Runners: oci}},
		ExtensionNetwork:       {Network: &leasev1.Network{}},
		ExtensionAccess:        {Access: &leasev1.Access{Exec: true}},
		ExtensionSecrets:       {Secrets: []*jobv1.Secret{{Name: "A"}}},
		ExtensionCheckpoint:    {Checkpoint: &jobv1.Checkpoint{SyncEveryMs: 1}},
		ExtensionReclaimNotice: {Reclaim: &leasev1.Reclaim{NoticeMs: 1}},
		ExtensionChallenge:     {Resources: &marketv1.Resources{Runners: wasm, MinEvidence: marketv1.Evidence_EVIDENCE_CHALLENGED}},
		ExtensionEvidence:      {Resources: &marketv1.Resources{Runners: wasm, MinEvidence: marketv1.Evidence_EVIDENCE_ATTESTED}},
		ExtensionService:       {Service: &jobv1.Service{}},
		ExtensionGang:          {GangSize: 2},
		ExtensionMixed:         {Resources: &marketv1.Resources{Runners: wasm, Mixed: true}},
		ExtensionShm:           {Resources: none, ShmBytes: 1},
		ExtensionSlice:         {Resources: &marketv1.Resources{Runners: wasm, Slice: "1g.10gb"}},
	} {
		if got := strings.Join(JobExtensions(j), ","); got != want {
			t.Errorf("a job with %q uses %q", want, got)
		}
	}
	for want, l := range map[string]*leasev1.Lease{
		"":                     {Evidence: marketv1.Evidence_EVIDENCE_NONE},
		ExtensionNetwork:       {Network: &leasev1.Network{}},
		ExtensionAccess:        {Access: &leasev1.Access{}},
		ExtensionReclaimNotice: {Reclaim: &leasev1.Reclaim{}},
		ExtensionEvidence:      {Evidence: marketv1.Evidence_EVIDENCE_ATTESTED},
		ExtensionGang:          {Gang: &marketv1.Gang{}},
		ExtensionMixed:         {Groups: []*leasev1.DeviceGroup{{Class: "A"}, {Class: "B"}}},
	} {
		if got := strings.Join(LeaseExtensions(l), ","); got != want {
			t.Errorf("a lease with %q uses %q", want, got)
		}
		if r := UnderstandLease(l, nil); (r == nil) != slices.Contains(append(Extensions(), ""), want) {
			t.Errorf("a lease with %q: %v", want, r)
		}
	}
	if r := UnderstandLease(&leasev1.Lease{Version: Version}, []string{"x"}); r == nil || r.Error() != "unsupported: x" {
		t.Errorf("a request that needs more than its lease: %v", r)
	}
}

// TestDeclineNames says in a decline what was not understood, as far as it fits
// and can be shown.
func TestDeclineNames(t *testing.T) {
	subject := digestOf([]byte("order"))
	many := make([]string, 100)
	for i := range many {
		many[i] = strings.Repeat("x", 90)
	}
	for _, tt := range []struct{ names, want []string }{
		{[]string{"gang", "device-ms/RTX_4090"}, []string{"gang", "device-ms/RTX_4090"}},
		{[]string{"", "a b", "a\nb", strings.Repeat("x", 97), "image"}, []string{"image"}},
		{many, many[:5]},
	} {
		sent := (&Refusal{Reason: unsupportedReason, Detail: "line one\nline two", Unsupported: tt.names}).Proto(subject)
		d, err := OpenDecline(seal(t, 2, souk.DomainDecline, sent), subject)
		if err != nil || !slices.Equal(d.Unsupported, tt.want) || d.Detail != "line one line two" {
			t.Errorf("declined %.80q: %+v, %v", tt.names, d, err)
		}
		sent.Unsupported = tt.names
		envelope := seal(t, 2, souk.DomainDecline, sent)
		if len(envelope) > MaxDeclineBytes {
			continue
		}
		if d, err = OpenDecline(envelope, subject); err != nil || !slices.Equal(d.Unsupported, tt.want) {
			t.Errorf("another's decline of %.80q: %+v, %v", tt.names, d, err)
		}
	}
}
