package bubble

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/souk-market/souk"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
)

// newPair is a market of one provider and one client.
func newPair(t *testing.T, dir string) (m *market, seller, buyer *daemon) {
	t.Helper()
	m = newMarket(dir, *seed)
	seller, buyer = newDaemon(t, m, 0), newDaemon(t, m, 1)
	seller.sell(t, 1, 2*souk.AtomsPerToken, regions[0])
	m.open(t)
	return m, seller, buyer
}

// TestSilence cuts provider and client off from each other the moment a job comes
// to a step, for good. The client's job and the provider's device must both be
// free again by their deadlines, with a reason and within the loss bound, without
// a word from the other side; also while no chain takes a claim (akash support#627).
func TestSilence(t *testing.T) {
	for _, tt := range []struct {
		step    string
		job     time.Duration // within which the client's job has ended
		device  time.Duration // within which the provider's device is free
		outputs bool          // the provider holds outputs, and so the lease, for ten minutes more
		chain   bool          // the chain answers nobody meanwhile
	}{
		{"matching", 30 * time.Second, 30 * time.Second, false, false},
		{"leasing", 2*time.Minute + 10*time.Second, 4 * time.Minute, false, false},
		{"funding", 2*time.Minute + 10*time.Second, 4 * time.Minute, false, false},
		{"staging", 2*time.Minute + 10*time.Second, 4 * time.Minute, false, false},
		{"running", 80 * time.Second, 80 * time.Second, false, false}, // QUIC gives up after 30 s, the job after 30 s more
		{"running", 80 * time.Second, 80 * time.Second, false, true},
		{"collecting", 10*time.Minute + 10*time.Second, time.Minute, true, false},
	} {
		name := tt.step
		if tt.chain {
			name += " without a chain"
		}
		t.Run(name, func(t *testing.T) {
			dir := homes(t)
			synctest.Test(t, func(t *testing.T) {
				m, seller, buyer := newPair(t, dir)
				defer m.close(t)
				k := &task{client: buyer, takes: 20 * time.Second}
				m.cutAt(t, k, tt.step)
				m.chain.SetDown(tt.chain)
				cut := time.Now()
				job := m.after(t, "the job's end", tt.job, func() bool {
					got, err := buyer.up().Get(t.Context(), &apiv1.GetRequest{Id: k.id})
					k.end = got
					return err == nil && got.Summary.Ended != ""
				})
				device := m.after(t, "the device", max(0, tt.device-job), func() bool { return m.idle(t, seller) })
				if tt.outputs {
					time.Sleep(11*time.Minute - time.Since(cut))
				}
				m.chain.SetDown(false)
				m.conditions.silence(seller.ip, false)
				m.agree(t)
				b := m.audit(t, []*task{k})
				t.Logf("silence from %s on: the job ended after %v as %s (%s), the device was free by %v; %v",
					tt.step, job, k.end.Summary.State, k.end.Summary.Reason, job+device, b)
			})
		})
	}
}

// cutAt submits k and silences its provider when it comes to a step.
func (m *market) cutAt(t *testing.T, k *task, step string) {
	t.Helper()
	m.reach(t, k, step)
	m.conditions.silence(m.daemons[0].ip, true)
}

// reach submits k and waits until it comes to a step.
func (m *market) reach(t *testing.T, k *task, step string) {
	t.Helper()
	job, err := k.message(t.Context(), m, 0)
	if err != nil {
		t.Fatal(err)
	}
	sent, err := k.client.up().Submit(t.Context(), &apiv1.SubmitRequest{Job: job})
	if err != nil {
		t.Fatal(err)
	}
	k.id = sent.Id
	news, err := k.client.up().Follow(t.Context(), &apiv1.FollowRequest{Id: k.id})
	if err != nil {
		t.Fatal(err)
	}
	defer news.Close()
	for news.Receive() {
		s := news.Msg().GetSummary()
		if s.GetState() == step {
			return
		}
		if s.GetEnded() != "" {
			t.Fatalf("the job ended as %s (%s: %s) without a step %s", s.State, s.Reason, s.Detail, step)
		}
	}
	t.Fatalf("the job's news ended: %v", news.Err())
}

// after says how long something took, which must not be longer than most.
func (m *market) after(t *testing.T, what string, most time.Duration, ok func() bool) time.Duration {
	t.Helper()
	for start := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		if ok() {
			return time.Since(start)
		}
		if time.Since(start) > most {
			t.Errorf("%s: not within %v", what, most)
			most = time.Hour // how late it is, or that it never comes
		}
		if time.Since(start) >= time.Hour {
			t.Fatalf("%s: not within an hour", what)
		}
	}
}

// idle tells whether no device of a provider is leased and nothing runs on it.
func (m *market) idle(t *testing.T, d *daemon) bool {
	t.Helper()
	got, err := d.up().Devices(t.Context(), &apiv1.DevicesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, dev := range got.Devices {
		if dev.Lease != "" {
			return false
		}
	}
	d.runs.mu.Lock()
	defer d.runs.mu.Unlock()
	return d.runs.live == 0
}
