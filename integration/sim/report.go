package sim

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/souk-market/souk"
)

// Report is what came of a simulation in which every promise held.
type Report struct {
	Hash          souk.Digest // over every event and the final state of every node
	Events        uint64
	Took          time.Duration // virtual, until all had come to an end
	Jobs          int
	Leases        int // countersigned
	Mixed         int // of them, on devices of several classes
	Settled       int // of them, up to the final receipt
	Receipts      int // signed by a provider
	Countersigned int
	Refused       int // countersignatures that did not pass, or paid too little
	Cheated       int // receipts refused as overcharging
	Retries       int
	Pauses        int
	LinksLost     int
	Crashes, Cuts int
	Offers, Heard int
	Claimed       souk.Atoms
	Unpaid        float64        // the largest unpaid work, as part of its bound
	Prepaid       float64        // the largest prepayment, as part of its bound
	Ends          map[string]int // jobs, by state and reason
	Runs          map[string]int // leases, by why the run ended
	Declines      map[string]int // orders and leases, by reason
}

// String is a table for people.
func (r *Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d events in %s; %d crashes, %d cuts, %d links lost\n", r.Events, r.Took, r.Crashes, r.Cuts, r.LinksLost)
	fmt.Fprintf(&b, "%d jobs, %d leases, %d mixed, %d settled, %d retries, %d pauses; %d offers, heard %d times\n",
		r.Jobs, r.Leases, r.Mixed, r.Settled, r.Retries, r.Pauses, r.Offers, r.Heard)
	fmt.Fprintf(&b, "%d receipts, %d countersigned, %d answers refused, %d overcharges refused; %s tokens claimed\n",
		r.Receipts, r.Countersigned, r.Refused, r.Cheated, r.Claimed)
	fmt.Fprintf(&b, "largest unpaid work %.4f of one interval and grace, largest prepayment %.4f of one interval and what is paid ahead\n", r.Unpaid, r.Prepaid)
	for _, t := range []map[string]int{r.Ends, r.Runs, r.Declines} {
		for _, k := range sortedKeys(t) {
			fmt.Fprintf(&b, "%7d  %s\n", t[k], strings.ToLower(strings.TrimPrefix(k, "END_REASON_")))
		}
	}
	return b.String()
}

func (w *world) report() *Report {
	r := &w.stats
	r.Events, r.Took = w.done, w.now
	for _, n := range w.nodes {
		if n.client != nil {
			r.Jobs += len(n.client.jobs)
		}
	}
	out := bufio.NewWriter(w.trace)
	w.dump(out)
	out.Flush() // a hash takes everything
	r.Hash = souk.Digest(w.trace.Sum(nil))
	return r
}

// dump writes the state of every node, in one order whatever the run was.
func (w *world) dump(out io.Writer) {
	fmt.Fprintln(out, w.now, w.seq, w.rng.Uint64())
	for _, n := range w.nodes {
		fmt.Fprintln(out, "node", n.index, n.id, n.life, w.chain.wallet[n.index])
		for _, o := range n.book.Offers(n.now()) {
			fmt.Fprintln(out, "offer", o.Provider, o.Class, o.Epoch, o.Sequence, o.Free, o.PriceAtomsPerHour)
		}
		for _, r := range sortedKeys(n.book.Rejects()) {
			fmt.Fprintln(out, "rejects", r, n.book.Rejects()[r])
		}
		if p := n.provider; p != nil {
			free := p.floor.Free(n.now())
			for _, class := range sortedKeys(free) {
				fmt.Fprintln(out, "free", class, free[class])
			}
			dumpAccounts(out, p.accounts)
		}
		if c := n.client; c != nil {
			dumpAccounts(out, c.accounts)
			for _, j := range c.jobs {
				fmt.Fprintf(out, "job %s %+v\n", j.id, j.snapshot)
			}
			for _, p := range c.settled {
				p.dump(out)
			}
		}
	}
}

func dumpAccounts(out io.Writer, accounts map[int]*account) {
	for _, i := range sortedKeys(accounts) {
		a := accounts[i]
		fmt.Fprintln(out, "channel", a.channel, int64(a.Vouched()), int64(a.Voucher.MaxClaimable))
	}
}

func (p *paper) dump(out io.Writer) {
	fmt.Fprintln(out, "lease", p.terms.Lease, p.signed.UnixMilli(), int64(p.deposit))
	for _, r := range p.receipts {
		fmt.Fprintf(out, "client's %s %x\n", r.Digest(domain), r.ClientSig)
	}
	if h := p.to.provider.tenancies[p.terms.Lease]; h != nil {
		fmt.Fprintln(out, "provider's", h.state.Phase, h.state.Reason, h.state.ExitCode, h.state.Output, h.ran, int64(h.settled), h.occupies.Devices)
		for _, r := range h.receipts {
			fmt.Fprintf(out, "%s %x %x\n", r.Digest(domain), r.ProviderSig, r.ClientSig)
		}
	}
}
