package crash

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/cmd/souk/verify"
	"github.com/souk-market/souk/integration/daemontest"
	"github.com/souk-market/souk/payment"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
)

// Bounds of the waits. Each is far above what a round needs.
const (
	endWithin    = 3 * time.Minute  // for a job to end, wherever it was hit
	quietWithin  = time.Minute      // for holds and leases to go
	agreeWithin  = 30 * time.Second // for both sides of a lease to have the same receipts
	refundWithin = 2 * time.Minute  // for claim and refund, whatever the crash left of an earlier one
)

// ended waits for the job's end, which here is its result and nothing less: one
// crash is what its retries are for.
func (m *market) ended(t *testing.T, id string) *apiv1.GetResponse {
	t.Helper()
	var job *apiv1.GetResponse
	daemontest.Eventually(t, endWithin, "the end of job "+id[:8], func(ctx context.Context) (err error) {
		if job, err = m.client.Jobs.Get(ctx, &apiv1.GetRequest{Id: id}); err == nil && job.Summary.Ended == "" {
			err = fmt.Errorf("state %s at %q", job.Summary.State, m.nameOf(job.Summary.Provider))
		}
		return err
	})
	s := job.Summary
	if s.State != "done" || s.Reason != "completed" || s.ExitCode != 0 {
		t.Errorf("the job ended %s, %s, exit code %d: %s; its attempts: %s", s.State, s.Reason, s.ExitCode, s.Detail, m.attempts(job))
		return job
	}
	got, err := daemontest.Read(t.Context(), m.client.Client, s.Outputs["out/result"])
	if err != nil || !bytes.Equal(got, m.result) {
		t.Errorf("the result has %d bytes, and not those of the job: %v; outputs %v", len(got), err, s.Outputs)
	}
	m.logged(t, job)
	return job
}

// logged checks that the last attempt's log is whole: no line lost, none twice.
func (m *market) logged(t *testing.T, job *apiv1.GetResponse) {
	t.Helper()
	stream, err := m.client.Jobs.Follow(t.Context(), &apiv1.FollowRequest{Id: job.Summary.Job, Logs: true, Once: true})
	if err != nil {
		t.Errorf("logs: %v", err)
		return
	}
	defer stream.Close()
	var log strings.Builder
	for stream.Receive() {
		log.Write(stream.Msg().GetLog().GetData())
	}
	one := job.Summary.Attempts == 1
	if err := stream.Err(); err != nil || !strings.HasSuffix(log.String(), m.log) || one && log.String() != m.log {
		t.Errorf("after %d attempts the log is %q: %v", job.Summary.Attempts, log.String(), err)
	}
}

func (m *market) nameOf(peer string) string {
	if p := m.provider(peer); p != nil {
		return p.Name
	}
	return peer
}

// reasons are the ends of a job's attempts.
func (m *market) reasons(job *apiv1.GetResponse) string {
	var reasons []string
	for _, a := range job.Attempts {
		reasons = append(reasons, a.Reason)
	}
	return strings.Join(reasons, ", then ")
}

// attempts is how a job's attempts ended, in a line.
func (m *market) attempts(job *apiv1.GetResponse) string {
	var tries []string
	for _, a := range job.Attempts {
		try := fmt.Sprintf("%s %s", m.nameOf(a.Provider), a.Reason)
		for _, d := range a.Declines {
			try += fmt.Sprintf(" (%s: %s)", m.nameOf(d.Provider), d.Detail)
		}
		tries = append(tries, try)
	}
	return strings.Join(tries, ", then ")
}

// free waits until nothing is held any more, by anyone's word: no lease and no
// job is left, each device is free, each offer says so, and only the daemons run.
func (m *market) free(t *testing.T) {
	t.Helper()
	daemontest.Eventually(t, quietWithin, "every hold to go", func(ctx context.Context) error {
		status, err := m.client.Node.Status(ctx, &apiv1.StatusRequest{})
		if err == nil && status.Jobs > 0 {
			err = fmt.Errorf("%d jobs of the client", status.Jobs)
		}
		if err != nil {
			return err
		}
		for _, p := range m.providers {
			if err := p.idle(ctx); err != nil {
				return fmt.Errorf("%s: %w", p.Name, err)
			}
		}
		offers, err := m.client.Market.Offers(ctx, &apiv1.OffersRequest{})
		if err == nil && len(offers.Offers) != len(m.providers) {
			err = fmt.Errorf("%d offers", len(offers.Offers))
		}
		if err != nil {
			return err
		}
		for _, row := range offers.Offers {
			if row.Offer.Free != row.Offer.Count {
				return fmt.Errorf("%s offers %d of %d devices", m.nameOf(row.Provider), row.Offer.Free, row.Offer.Count)
			}
		}
		return m.onlyDaemons()
	})
}

// idle tells what a provider still holds.
func (p *member) idle(ctx context.Context) error {
	status, err := p.Node.Status(ctx, &apiv1.StatusRequest{})
	if err == nil && status.Leases > 0 {
		err = fmt.Errorf("%d leases", status.Leases)
	}
	if err != nil {
		return err
	}
	devices, err := p.Node.Devices(ctx, &apiv1.DevicesRequest{})
	if err != nil {
		return err
	}
	for _, d := range devices.Devices {
		if d.Lease != "" {
			return fmt.Errorf("device %s is held by lease %.8s", d.Id, d.Lease)
		}
	}
	return nil
}

// onlyDaemons checks that no process runs but the daemons.
func (m *market) onlyDaemons() error {
	pids, err := running(m.souk)
	if err != nil {
		return err
	}
	for _, p := range m.all() {
		pid := fmt.Sprint(p.PID())
		if pids[pid] == "" {
			return fmt.Errorf("%s does not run", p.Name)
		}
		delete(pids, pid)
	}
	for pid, line := range pids {
		return fmt.Errorf("process %s runs: %s", pid, line)
	}
	return nil
}

// books is the receipts of one side that both have signed, by lease, and what
// they add up to.
type books struct {
	digests map[souk.LeaseID][]string // by sequence
	channel map[souk.LeaseID]souk.ChannelID
	due     map[souk.LeaseID]souk.Atoms
	half    int // receipts without the client's signature
}

// receipts reads one side's receipts, and verifies them as a stranger would.
func (p *member) receipts(ctx context.Context) (b books, err error) {
	res, err := p.Log.Receipts(ctx, &apiv1.ReceiptsRequest{Proofs: true})
	if err != nil {
		return b, err
	}
	b = books{digests: map[souk.LeaseID][]string{}, channel: map[souk.LeaseID]souk.ChannelID{}, due: map[souk.LeaseID]souk.Atoms{}}
	var whole []*apiv1.ProvedReceipt
	for _, r := range res.Receipts {
		if len(r.Receipt.ClientSignature) == 0 {
			b.half++
			continue
		}
		whole = append(whole, r)
		got, err := payment.ReceiptFromProto(r.Receipt)
		if err != nil {
			return b, err
		}
		b.digests[got.Lease] = append(b.digests[got.Lease], r.Digest)
		b.channel[got.Lease] = got.Channel
		b.due[got.Lease] = max(b.due[got.Lease], got.CumulativeDue)
	}
	report := verify.Receipts(whole)
	if len(report.Faults) > 0 || report.Included != len(whole) {
		return b, fmt.Errorf("%d of %d receipts of %s verify: %s", report.Included, len(whole), p.Name, strings.Join(report.Faults, "; "))
	}
	return b, p.loggedOnce(whole, report)
}

// loggedOnce checks that the log has each countersigned receipt once, and nothing else.
func (p *member) loggedOnce(whole []*apiv1.ProvedReceipt, report verify.Report) error {
	places := map[uint64]bool{}
	for _, r := range whole {
		places[r.Index] = true
	}
	size := uint64(0)
	for _, c := range report.Checkpoints {
		size = max(size, c.Size)
	}
	if len(places) != len(whole) || size != uint64(len(whole)) {
		return fmt.Errorf("%s has %d countersigned receipts at %d places of a log of %d", p.Name, len(whole), len(places), size)
	}
	return nil
}

// agree waits until client and providers have the same countersigned receipts,
// lease by lease, and returns the client's.
func (m *market) agree(t *testing.T, job *apiv1.GetResponse) (ours books) {
	t.Helper()
	defer func() {
		for _, a := range job.Attempts {
			if lease, err := souk.ParseDigest(a.Lease); err == nil && a.PaidAtoms != uint64(ours.due[souk.LeaseID{Digest: lease}]) {
				t.Errorf("at %s the job says it paid %d, its receipts say %d", m.nameOf(a.Provider), a.PaidAtoms, ours.due[souk.LeaseID{Digest: lease}])
			}
		}
	}()
	daemontest.Eventually(t, agreeWithin, "both sides to have the same receipts", func(ctx context.Context) (err error) {
		if ours, err = m.client.receipts(ctx); err != nil {
			return err
		}
		if ours.half > 0 {
			return fmt.Errorf("the client keeps %d receipts that it did not sign", ours.half)
		}
		leases := 0
		for _, p := range m.providers {
			theirs, err := p.receipts(ctx)
			if err != nil {
				return err
			}
			for lease, digests := range theirs.digests {
				leases++
				if fmt.Sprint(digests) != fmt.Sprint(ours.digests[lease]) {
					return fmt.Errorf("lease %s: %s has %d receipts due %s, the client %d due %s", lease.Short(), p.Name,
						len(digests), theirs.due[lease], len(ours.digests[lease]), ours.due[lease])
				}
			}
		}
		if leases != len(ours.digests) {
			return fmt.Errorf("the client has receipts of %d leases, the providers of %d", len(ours.digests), leases)
		}
		return nil
	})
	return ours
}
