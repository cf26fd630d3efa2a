package provider

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/node/money/moneytest"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/log"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"github.com/souk-market/souk/proto/wire"
	"github.com/souk-market/souk/scheduler"
)

// The deeds of a client on a run stream, as bytes of a script.
const (
	timePasses byte = iota
	answerWell
	answerWrong // with one thing changed
	answerAgain
	answerFlood
	askRelease
	attachTwice
	runEnds
	providerRestarts
	answerBytes
	clientDeeds
)

// FuzzToProvider has a client say what it likes on a run stream, in sequence:
// what is due only grows, by receipts that both sides signed, under vouchers that
// the client's key signed, and unpaid work stays within an interval and grace.
func FuzzToProvider(f *testing.F) {
	f.Add([]byte{timePasses, 50, answerWell, 0, timePasses, 50, answerWell, 0, runEnds, answerWell, 0, answerAgain, 0})
	f.Add([]byte{timePasses, 60, answerFlood, 0, timePasses, 255, timePasses, 255, answerWell, 0, providerRestarts, answerWell, 0})
	f.Add([]byte{timePasses, 50, askRelease, attachTwice, timePasses, 50, answerWell, 50, timePasses, 60, answerWell, 0, runEnds, providerRestarts, answerAgain, 1})
	for what := range byte(len(answerLies)) {
		f.Add([]byte{timePasses, 50, answerWell, 0, timePasses, 60, answerWrong, what, 2, answerWell, 0, runEnds, answerWrong, what, 250})
	}
	f.Add(append([]byte{answerBytes, 20}, frameOf(&runv1.ToProvider{Message: &runv1.ToProvider_Release{Release: &runv1.Release{}}})...))
	tree := moneytest.NewTree(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		s := &moneytest.Script{B: b[:min(len(b), 1<<10)]}
		synctest.Test(t, func(t *testing.T) {
			m := newMetered(t, tree)
			for steps := 0; steps < 64 && !s.Done(); steps++ {
				m.deed(s)
				m.check()
			}
			if err := m.Ledger.Verify(); err != nil {
				t.Error(err)
			}
		})
	})
}

func frameOf(f *runv1.ToProvider) []byte {
	var b bytes.Buffer
	if err := wire.Write(&b, f); err != nil {
		panic(err) // of our own making, into memory
	}
	return b.Bytes()
}

// metered is a provider's end of a run whose process is a clock, with what its
// client said.
type metered struct {
	*moneytest.Books
	t *testing.T
	h *tenancy

	answers  []*runv1.Countersign
	agreed   map[souk.Digest]bool // receipts that the client's key signed
	vouchers souk.Atoms           // the highest that its key signed for the channel
	due      souk.Atoms
}

func newMetered(t *testing.T, tree *log.Log) *metered {
	t.Helper()
	m := &metered{t: t, Books: moneytest.NewBooks(t, tree, false, nil), agreed: map[souk.Digest]bool{}}
	m.vouchers = m.Record(t).Voucher.MaxClaimable
	p := seller(m.Books, nil)
	m.h = openTenancy(p.means, m.Lease, m.Terms, m.Channel, peer.ID("client"), leaseRecord{Payload: m.Payload})
	m.h.machine = scheduler.NewTenancy(m.h.limits, time.Now())
	m.step(scheduler.BackingIs{Enough: true})
	m.step(scheduler.JobReceived{})
	m.step(scheduler.InputsStaged{})
	m.step(scheduler.RunStarted{})
	return m
}

// seller is a provider with these books and no network; change may edit its config.
func seller(b *moneytest.Books, change func(*Config)) *Provider {
	cfg := Config{Key: b.Provider, Home: b.Home, Ledger: b.Ledger, Channels: b.Channels, Receipts: b.Receipts,
		Space: b.Space, Log: b.Log, Domain: b.Terms.Domain, Waits: network.DefaultWaits(), Now: time.Now}
	if change != nil {
		change(&cfg)
	}
	p := &Provider{cfg: cfg, dirty: make(chan struct{}, 1), floor: scheduler.NewFloor(scheduler.FloorConfig{}),
		tenancies: map[souk.LeaseID]*tenancy{}, bids: map[souk.Digest]*openBid{}, off: newOffSale(), reclaimed: map[string]bool{}, devices: cfg.Devices}
	if cfg.Devices != nil {
		if err := p.off.load(cfg.Ledger); err != nil {
			panic(err)
		}
	}
	p.means = p.meansOf()
	return p
}

// answer is what an honest client says to a receipt, with more paid ahead.
func (m *metered) answer(r payment.Receipt, more souk.Atoms) *runv1.Countersign {
	r.SignClient(m.Terms.Domain, m.Client)
	digest := r.Digest(m.Terms.Domain)
	paid := r.CumulativeDue
	if r.Kind != payment.KindFinal {
		paid = max(m.Terms.First(), min(m.Terms.Reserve, r.CumulativeDue+m.Cost(m.t, m.Terms.PayAhead)+more))
	}
	return &runv1.Countersign{Receipt: digest[:], Signature: r.ClientSig, LeasePaidAtoms: uint64(paid),
		Voucher: m.Voucher(m.t, m.Terms.Channel, max(m.vouchers, moneytest.OtherShare+paid)).Proto()}
}

// owed is the receipt that waits, or a stale one.
func (m *metered) owed() (payment.Receipt, bool) {
	_, owed, _ := m.h.watch()
	if len(owed) == 0 {
		return payment.Receipt{}, false
	}
	r, err := payment.ReceiptFromProto(owed[0])
	if err != nil {
		m.t.Fatal(err)
	}
	return r, true
}

// answerLies change one thing of an answer by n.
var answerLies = []func(m *metered, c *runv1.Countersign, n int64){
	func(_ *metered, c *runv1.Countersign, n int64) { c.Receipt[int(n&31)] ^= 1 },
	func(_ *metered, c *runv1.Countersign, n int64) { c.Receipt = c.Receipt[:n&31] },
	func(_ *metered, c *runv1.Countersign, n int64) { c.Signature[int(n&63)] ^= 1 },
	func(_ *metered, c *runv1.Countersign, _ int64) { c.Signature = nil },
	func(_ *metered, c *runv1.Countersign, n int64) { c.LeasePaidAtoms += uint64(50 * n) },
	func(_ *metered, c *runv1.Countersign, _ int64) { c.LeasePaidAtoms = 1 << 63 },
	func(_ *metered, c *runv1.Countersign, _ int64) { c.Voucher = nil },
	func(_ *metered, c *runv1.Countersign, n int64) { c.Voucher.Signature[int(n&63)] ^= 1 },
	func(_ *metered, c *runv1.Countersign, n int64) { c.Voucher.MaxClaimableAtoms += uint64(n) }, // not signed again
	func(m *metered, c *runv1.Countersign, n int64) {
		c.Voucher = m.Voucher(m.t, m.Terms.Channel, max(1, souk.Atoms(int64(c.Voucher.MaxClaimableAtoms)+50*n))).Proto()
	},
	func(m *metered, c *runv1.Countersign, n int64) {
		other := m.Terms.Channel
		other.Digest[0] ^= byte(n) | 1
		c.Voucher = m.Voucher(m.t, other, 1_000_000).Proto()
	},
}

// step gives the lease's machine an event, and does what is about its books; the
// rest succeeds.
func (m *metered) step(e scheduler.TenancyEvent) {
	for events := []scheduler.TenancyEvent{e}; len(events) > 0; events = events[1:] {
		for _, a := range m.h.machine.Step(time.Now(), events[0]) {
			switch a := a.(type) {
			case scheduler.StoreTenancy:
				if err := m.h.store(m.t.Context(), a); err != nil {
					m.t.Fatal(err)
				}
			case scheduler.PostCountersign:
				events = append(events, m.h.post(m.t.Context(), a))
			case scheduler.StopRun:
				events = append(events, scheduler.RunOver{Reason: runv1.EndReason_END_REASON_CLIENT_RELEASED})
			case scheduler.StoreOutputs:
				events = append(events, scheduler.OutputsStored{})
			}
		}
	}
}

// deed does the script's next deed.
func (m *metered) deed(s *moneytest.Script) {
	r, owed := m.owed()
	switch s.Next() % clientDeeds {
	case timePasses:
		m.pass(time.Duration(s.Next()) * 100 * time.Millisecond)
	case answerWell:
		if more := souk.Atoms(s.Next()); owed {
			m.send(m.answer(r, more))
		}
	case answerWrong:
		lie, n := answerLies[int(s.Next())%len(answerLies)], int64(int8(s.Next()))
		if owed {
			c := m.answer(r, 0)
			lie(m, c, n)
			m.send(c)
		}
	case answerAgain:
		if n := int(s.Next()); len(m.answers) > 0 {
			m.send(m.answers[n%len(m.answers)])
		}
	case answerFlood:
		if more := souk.Atoms(s.Next()); owed {
			m.send(m.answer(r, more), m.answer(r, 0), m.answer(r, 1), m.answer(r, 2), m.answer(r, 3), m.answer(r, 4),
				m.answer(r, 5), m.answer(r, 6), m.answer(r, 7), m.answer(r, 8), m.answer(r, 9))
		}
	case askRelease:
		m.listen(bytes.Repeat(frameOf(&runv1.ToProvider{Message: &runv1.ToProvider_Release{Release: &runv1.Release{}}}), 100))
	case attachTwice:
		m.listen(frameOf(&runv1.ToProvider{Message: &runv1.ToProvider_Attach{Attach: &runv1.Attach{}}}))
	case runEnds:
		m.step(scheduler.RunOver{Reason: runv1.EndReason_END_REASON_COMPLETED})
	case providerRestarts:
		m.h = openTenancy(m.h.with, m.h.lease, m.h.terms, m.h.channel, m.h.client, m.h.record())
		if err := m.h.restore(time.Now(), false); err != nil {
			m.t.Fatal(err)
		}
		m.step(scheduler.Tick{})
	case answerBytes:
		m.listen(s.Take(int(s.Next())))
	}
}

// pass lets time go by, with the receipts that fall due in it.
func (m *metered) pass(d time.Duration) {
	until := time.Now().Add(d)
	for {
		next, ok := m.h.machine.Next()
		if !ok || next.After(until) {
			<-time.After(time.Until(until))
			return
		}
		<-time.After(time.Until(next))
		m.step(scheduler.Tick{})
	}
}

// send says answers at once, and notes what the client's key signed in them.
func (m *metered) send(cs ...*runv1.Countersign) {
	var b []byte
	for _, c := range cs {
		m.answers = append(m.answers, c)
		if d, err := souk.DigestFrom(c.Receipt); err == nil {
			m.agreed[d] = true
		}
		v, err := payment.VoucherFromProto(c.Voucher)
		if err == nil && v.Channel == m.Terms.Channel && v.Verify(m.Terms.Domain, m.Channel.PayerAuthorizer) == nil {
			m.vouchers = max(m.vouchers, v.MaxClaimable)
		}
		b = append(b, frameOf(&runv1.ToProvider{Message: &runv1.ToProvider_Countersign{Countersign: c}})...)
	}
	m.listen(b)
}

// listen hands bytes to the stream's reader, and does what a run does then.
func (m *metered) listen(b []byte) {
	if err := m.h.listen(wire.NewReader(bytes.NewReader(b), network.MaxRunBytes)); err == nil {
		m.t.Fatal("a stream without an end")
	} else if cut := errors.Is(err, io.EOF); cut && len(b) > 0 && b[0] == 0 {
		m.t.Fatalf("a frame without a message: %v", err)
	}
	if len(m.h.countersigns) > 8 || len(m.h.releases) > 1 {
		m.t.Fatalf("%d answers and %d releases wait", len(m.h.countersigns), len(m.h.releases))
	}
	for len(m.h.countersigns) > 0 {
		c := <-m.h.countersigns
		if v, err := payment.VoucherFromProto(c.Voucher); err == nil {
			m.step(scheduler.CountersignReceived{Receipt: c.Receipt, Signature: c.Signature, Paid: c.LeasePaidAtoms, Voucher: v})
		}
	}
	for len(m.h.releases) > 0 {
		<-m.h.releases
	}
}

// check holds what the provider counts on against what was signed.
func (m *metered) check() {
	rec := m.Record(m.t)
	share := rec.Leases[m.Terms.Lease]
	var due souk.Atoms
	for _, r := range m.Signed(m.t) {
		if due = max(due, r.CumulativeDue); !m.agreed[r.Digest(m.Terms.Domain)] {
			m.t.Fatalf("receipt %d counts, which the client did not sign", r.Seq)
		}
	}
	_, owed, _ := m.h.watch()
	unpaid := m.h.machine.Due() - share.Due
	switch {
	case share.Due < m.due || share.Due != due:
		m.t.Fatalf("due %s after %s, %s by receipts", share.Due, m.due, due)
	case share.Paid > m.Terms.Reserve || share.Paid < share.Due:
		m.t.Fatalf("paid %s of %s due, %s reserved", share.Paid, share.Due, m.Terms.Reserve)
	case rec.Voucher.MaxClaimable > m.vouchers, rec.Vouched() > rec.Voucher.MaxClaimable:
		m.t.Fatalf("counts on %s by a voucher of %s; the client signed %s", rec.Vouched(), rec.Voucher.MaxClaimable, m.vouchers)
	case unpaid > m.Cost(m.t, m.Terms.Interval+m.Terms.Grace), len(owed) > 2:
		m.t.Fatalf("%s of work unpaid, %d receipts out", unpaid, len(owed))
	}
	m.due = share.Due
}
