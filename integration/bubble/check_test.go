package bubble

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment/chain"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"github.com/souk-market/souk/scheduler"
)

// agreeWithin is how long the books may differ once the network is whole.
const agreeWithin = 3 * time.Minute

// agree waits until every daemon's book is what the providers offer now, and says
// when that was.
func (m *market) agree(t *testing.T) time.Time {
	t.Helper()
	deadline := time.Now().Add(agreeWithin)
	for {
		wrong := m.disagreement(t)
		if wrong == "" {
			return time.Now()
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v after the network was whole: %s", agreeWithin, wrong)
		}
		time.Sleep(500 * time.Millisecond)
	}
}

// disagreement names one daemon whose book is wrong.
func (m *market) disagreement(t *testing.T) string {
	t.Helper()
	want := map[string]string{}
	for _, d := range m.sellers() {
		got, err := d.up().Devices(t.Context(), &apiv1.DevicesRequest{})
		if err != nil {
			t.Fatal(err)
		}
		free := 0
		for _, dev := range got.Devices {
			if dev.PriceAtomsPerHour > 0 && dev.Lease == "" {
				free++
			}
		}
		want[d.peer] = fmt.Sprintf("%d of %d free at %s in %s", free, d.runs.gpus, d.runs.price, d.cfg.Region)
	}
	for _, d := range m.daemons {
		got, err := d.up().Offers(t.Context(), &apiv1.OffersRequest{})
		if err != nil {
			t.Fatal(err)
		}
		have := map[string]string{}
		for _, o := range got.Offers {
			have[o.Provider] = fmt.Sprintf("%d of %d free at %s in %s", o.Offer.Free, o.Offer.Count, souk.Atoms(o.Offer.PriceAtomsPerHour), o.Offer.Region)
		}
		for peer, o := range want {
			if have[peer] != o && peer != d.peer {
				return fmt.Sprintf("%s has %q of a provider that offers %q", d.name, have[peer], o)
			}
		}
		for peer := range have {
			if want[peer] == "" {
				return fmt.Sprintf("%s has an offer of %s, who offers nothing", d.name, peer)
			}
		}
	}
	return ""
}

// balance is what the audit found.
type balance struct {
	reasons  map[string]int
	receipts int
	late     int // countersigned, and lost on the way to a provider that had given up
	paid     souk.Atoms
	unpaid   souk.Atoms // the most work of one lease that no receipt covers
	bound    souk.Atoms // what it may be
}

func (b balance) String() string {
	return fmt.Sprintf("%s; %d receipts, %d lost on the way, %s tokens paid; most unpaid work of a lease %s, bound %s", count(b.reasons), b.receipts, b.late, b.paid, b.unpaid, b.bound)
}

// count shows a map of counts, the names in order.
func count(of map[string]int) string {
	parts := make([]string, 0, len(of))
	for _, name := range slices.Sorted(maps.Keys(of)) {
		parts = append(parts, fmt.Sprintf("%s %d", name, of[name]))
	}
	return strings.Join(parts, ", ")
}

// audit holds jobs, receipts, channels, ledgers and the chain against each other,
// once nothing runs any more.
func (m *market) audit(t *testing.T, tasks []*task) *balance {
	t.Helper()
	b := &balance{reasons: map[string]int{}}
	for i, k := range tasks {
		s := k.end.Summary
		b.reasons[s.Reason]++
		if !typed(s.Reason) {
			t.Errorf("job %d ended as %s for %q", i, s.State, s.Reason)
		}
		if want := kinds[k.kind]; s.Reason == want.reason && s.State != want.state {
			t.Errorf("job %d ended as %s for %s", i, s.State, s.Reason)
		}
		if s.Reason != kinds[k.kind].reason {
			t.Logf("job %d (%s) at %v: %s after %d attempts: %s", i, kinds[k.kind].name, k.at.Round(time.Second), s.Reason, s.Attempts, s.Detail)
		}
		if s.State == "done" && s.Outputs["out"] == "" {
			t.Errorf("job %d is done without outputs", i)
		}
	}
	bought, sold := m.receipts(t, m.buyers()), m.receipts(t, m.sellers())
	for lease, ours := range bought {
		// A client signs, and then is cut off: its last word may have been lost.
		switch len(ours) - len(sold[lease]) {
		case 0:
		case 1:
			b.late++
		default:
			t.Errorf("lease %.8s: the client has %d receipts, the provider %d", lease, len(ours), len(sold[lease]))
		}
	}
	for lease, theirs := range sold {
		if bought[lease] == nil {
			t.Errorf("lease %.8s: the provider has %d receipts, the client none", lease, len(theirs))
		}
		b.receipts += len(theirs)
	}
	m.unpaid(t, b, sold)
	m.settle(t)
	m.books(t, b, sold)
	return b
}

// typed tells whether the reason is one that the scheduler names.
func typed(reason string) bool {
	if reason == "" || reason == string(scheduler.ReasonUnknown) {
		return false
	}
	for n := range runv1.EndReason_name {
		if string(scheduler.ReasonOf(runv1.EndReason(n))) == reason {
			return true
		}
	}
	return slices.Contains([]scheduler.Reason{scheduler.ReasonNoOffer, scheduler.ReasonDeclined, scheduler.ReasonNoAnswer,
		scheduler.ReasonPaymentRefused, scheduler.ReasonStartTimeout, scheduler.ReasonFundingTimeout, scheduler.ReasonExitCode,
		scheduler.ReasonNoOutputs, scheduler.ReasonStopped}, scheduler.Reason(reason))
}

// receipts are all that these daemons have with both signatures, by lease.
func (m *market) receipts(t *testing.T, of []*daemon) map[string][]*runv1.Receipt {
	t.Helper()
	all := map[string][]*runv1.Receipt{}
	for _, d := range of {
		got, err := d.up().Receipts(t.Context(), &apiv1.ReceiptsRequest{})
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range got.Receipts {
			r := row.Receipt
			signed := len(r.ClientSignature) > 0 && len(r.ProviderSignature) > 0
			if signed != row.Logged {
				t.Errorf("%s: receipt %d of lease %x is signed by both %t, logged %t", d.name, r.Seq, r.Lease[:4], signed, row.Logged)
			}
			if !signed {
				continue // the provider's last word to a client who did not answer
			}
			all[fmt.Sprintf("%x", r.Lease)] = append(all[fmt.Sprintf("%x", r.Lease)], r)
		}
	}
	return all
}

// due is what a lease's receipts say in all.
func due(rs []*runv1.Receipt) (n souk.Atoms) {
	for _, r := range rs {
		n = max(n, souk.Atoms(r.CumulativeDueAtoms))
	}
	return n
}

// unpaid holds what ran against what was paid for, lease by lease.
func (m *market) unpaid(t *testing.T, b *balance, sold map[string][]*runv1.Receipt) {
	t.Helper()
	for _, d := range m.sellers() {
		d.runs.mu.Lock()
		for lease, ran := range d.runs.ran {
			short := d.runs.costOf(ran) - due(sold[lease.String()])
			bound := d.runs.costOf(payEvery+payGrace) + 1
			if short > bound {
				t.Errorf("%s ran lease %s for %v, of which %s is unpaid; the bound is %s", d.name, lease.Short(), ran, short, bound)
			}
			if b.unpaid = max(b.unpaid, short); short == b.unpaid {
				b.bound = bound
			}
		}
		if d.runs.live != 0 {
			t.Errorf("%s still runs %d jobs", d.name, d.runs.live)
		}
		d.runs.mu.Unlock()
	}
}

// settle closes every channel: the provider claims what it is due and gives the
// rest back.
func (m *market) settle(t *testing.T) {
	t.Helper()
	for _, d := range m.buyers() {
		if _, err := d.up().Balance(t.Context(), &apiv1.BalanceRequest{}); err != nil { // reads the chain
			t.Fatal(err)
		}
		got, err := d.up().Channels(t.Context(), &apiv1.ChannelsRequest{})
		if err != nil {
			t.Fatal(err)
		}
		for _, ch := range got.Channels {
			if ch.BalanceAtoms == ch.ClaimedAtoms {
				continue
			}
			if err := m.refund(t, d, ch.Peer); err != nil {
				t.Errorf("%s: refund of a channel with %s: %v", d.name, ch.Peer, err)
			}
		}
	}
	time.Sleep(time.Minute) // what the chain did is read once more
}

// refund closes one channel. A provider keeps outputs that nobody fetched for ten
// minutes, and the lease with them; and the first word after a silence may go over
// a connection that the other side has given up.
func (m *market) refund(t *testing.T, d *daemon, peer string) (err error) {
	for range 12 {
		if _, err = d.up().Refund(t.Context(), &apiv1.RefundRequest{Peer: peer}); err == nil {
			return nil
		}
		time.Sleep(time.Minute)
	}
	return err
}

// books holds every wallet against the receipts that its providers hold, its
// ledger and the chain.
func (m *market) books(t *testing.T, b *balance, sold map[string][]*runv1.Receipt) {
	t.Helper()
	earned, spent := map[string]souk.Atoms{}, map[string]souk.Atoms{}
	for _, rs := range sold {
		earned[fmt.Sprintf("%x", rs[0].ProviderKey)] += due(rs)
		b.paid += due(rs)
		spent[fmt.Sprintf("%x", rs[0].ClientKey)] += due(rs)
	}
	for _, d := range m.daemons {
		key := fmt.Sprintf("%x", d.cfg.Identity[32:])
		got, err := d.up().Balance(t.Context(), &apiv1.BalanceRequest{})
		if err != nil {
			t.Fatal(err)
		}
		onChain, err := d.chain.TokenBalance(t.Context(), d.chain.Address())
		if err != nil {
			t.Fatal(err)
		}
		want := chain.FaucetTokens + earned[key] - spent[key]
		if !got.Balanced || souk.Atoms(got.WalletAtoms) != onChain || onChain != want {
			t.Errorf("%s: balanced %t, wallet %s, on chain %s; receipts say %s", d.name, got.Balanced, souk.Atoms(got.WalletAtoms), onChain, want)
		}
		if got.ChannelsAtoms != 0 || got.ReceivableAtoms != 0 {
			t.Errorf("%s: %s left in channels and %s receivable", d.name, souk.Atoms(got.ChannelsAtoms), souk.Atoms(got.ReceivableAtoms))
		}
	}
	all, held, owed := m.chain.Held()
	if want := chain.FaucetTokens * souk.Atoms(len(m.daemons)); all != want || held != owed {
		t.Errorf("the chain holds %s of %s; its contract holds %s and owes %s", all, want, held, owed)
	}
}
