package bubble

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment/chain"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
)

// TestTimers lets a client take its money out behind the back of a provider whose
// chain is down when its hour comes. Nothing tells the provider: the hour after
// that finds the withdrawal, claims what is due before it, and anchors the log.
func TestTimers(t *testing.T) {
	dir := homes(t)
	synctest.Test(t, func(t *testing.T) {
		m, seller, buyer := newPair(t, dir)
		defer m.close(t)
		k := &task{client: buyer, takes: 20 * time.Second}
		if err := k.run(t.Context(), m, 0); err != nil {
			t.Fatal(err)
		}
		paid := souk.Atoms(k.end.Summary.PaidAtoms)
		time.Sleep(time.Minute) // both keepers have read what the job changed
		if ch := m.channel(t, seller); souk.Atoms(ch.DueAtoms) != paid || paid == 0 || ch.ClaimedAtoms != 0 {
			t.Fatalf("the job paid %s, the provider's channel is %v", paid, ch)
		}
		w, err := buyer.up().Withdraw(t.Context(), &apiv1.WithdrawRequest{Peer: seller.peer})
		if err != nil || w.Tx == "" {
			t.Fatalf("withdrawal: %v, %v", w, err)
		}
		time.Sleep(time.Until(m.opened.Add(55 * time.Minute)))
		m.chain.SetDown(true)
		time.Sleep(time.Until(m.opened.Add(65 * time.Minute)))
		m.chain.SetDown(false)
		time.Sleep(time.Until(m.opened.Add(115 * time.Minute)))
		if ch := m.channel(t, seller); ch.ClaimedAtoms != 0 || ch.WithdrawReady != "" {
			t.Errorf("before its hour the provider knew: %v", ch)
		}
		missed := time.Now()
		found := m.after(t, "the provider's claim", 10*time.Minute, func() bool {
			return souk.Atoms(m.channel(t, seller).ClaimedAtoms) == paid
		})
		for _, d := range m.daemons {
			var got *apiv1.AnchorsResponse
			var err error
			m.after(t, "the anchor", time.Minute, func() bool { // due at the same moment as the claim
				got, err = d.up().Anchors(t.Context(), &apiv1.AnchorsRequest{})
				return err != nil || len(got.Anchors) > 0
			})
			if err != nil || len(got.Anchors) != 1 || got.Anchors[0].Size != uint64(k.end.Summary.Receipts) {
				t.Errorf("%s: anchors %v, %v; want one over %d receipts", d.name, got.GetAnchors(), err, k.end.Summary.Receipts)
			}
		}
		m.chain.Advance(25 * time.Hour)
		if done, err := buyer.up().Withdraw(t.Context(), &apiv1.WithdrawRequest{Peer: seller.peer}); err != nil || done.Tx == "" {
			t.Errorf("end of the withdrawal: %v, %v", done, err)
		}
		for d, want := range map[*daemon]souk.Atoms{seller: chain.FaucetTokens + paid, buyer: chain.FaucetTokens - paid} {
			got, err := d.up().Balance(t.Context(), &apiv1.BalanceRequest{})
			if err != nil || souk.Atoms(got.WalletAtoms) != want || !got.Balanced || got.ChannelsAtoms+got.ReceivableAtoms != 0 {
				t.Errorf("%s: %v, %v; want %s", d.name, got, err, want)
			}
		}
		t.Logf("a withdrawal nobody spoke of was claimed against %v after the market opened", missed.Add(found).Sub(m.opened).Round(time.Second))
	})
}

// channel is the only one that a daemon has.
func (m *market) channel(t *testing.T, d *daemon) *apiv1.Channel {
	t.Helper()
	got, err := d.up().Channels(t.Context(), &apiv1.ChannelsRequest{})
	if err != nil || len(got.Channels) != 1 {
		t.Fatalf("%s has channels %v, %v", d.name, got.GetChannels(), err)
	}
	return got.Channels[0]
}
