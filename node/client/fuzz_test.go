package client

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/node/disk"
	"github.com/souk-market/souk/node/money/moneytest"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/log"
	leasev1 "github.com/souk-market/souk/proto/souk/lease/v1"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"github.com/souk-market/souk/proto/wire"
	"google.golang.org/protobuf/proto"
)

// The deeds of a provider on a run stream, as bytes of a script. What follows a
// deed in the script says how it is done.
const (
	sayReceipt   byte = iota // the next receipt, after an interval
	sayStretched             // one over more or less time than there was
	sayWrong                 // one with a field changed and truly signed
	sayFinal
	sayAgain // an earlier receipt
	sayLog
	sayState
	allowFinal // the client has its outputs
	restart    // the client does
	sayBytes
	providerDeeds
)

// FuzzToClient has a provider say what it likes on a run stream, in sequence:
// whatever it is, the client vouches no less than before, no more than the lease
// may cost, and never further ahead of the receipts it signed, nor of its own
// clock, than the lease says; and what it keeps has a bound.
func FuzzToClient(f *testing.F) {
	f.Add([]byte{sayReceipt, 0, sayReceipt, 10, sayFinal, 0, allowFinal})
	f.Add([]byte{sayLog, 0, 0, 100, sayLog, 0, 250, 100, sayReceipt, 0, sayAgain, 0, restart, sayAgain, 0})
	f.Add([]byte{sayState, 4, 1, 1, sayReceipt, 0, sayReceipt, 0, sayReceipt, 0, sayReceipt, 0, sayReceipt, 0, sayReceipt, 0, sayReceipt, 0, sayReceipt, 0})
	f.Add([]byte{sayReceipt, 0, sayStretched, 0, 20, sayStretched, 0, 20, sayStretched, 0, 20})
	for field := range byte(len(receiptLies)) {
		f.Add([]byte{sayReceipt, 0, sayWrong, field, 3})
	}
	f.Add(append([]byte{sayBytes, 40}, network.MustMarshal(stateFrame(&runv1.State{Phase: runv1.Phase_PHASE_RUNNING}))...))
	f.Add(append([]byte{sayBytes, 40}, network.MustMarshal(&runv1.ToClient{Message: &runv1.ToClient_Receipt{Receipt: &runv1.Receipt{Kind: 2}}})...))
	tree := moneytest.NewTree(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		s := &moneytest.Script{B: b[:min(len(b), 1<<10)]}
		synctest.Test(t, func(t *testing.T) {
			h := newHearing(t, tree)
			for steps := 0; steps < 64 && !s.Done() && !h.l.over; steps++ {
				h.step(s)
				h.check()
			}
			h.end()
		})
	})
}

// hearing is a client's end of a run stream, with what its provider said.
type hearing struct {
	*moneytest.Books
	t *testing.T
	l *runLink

	said    []payment.Receipt
	raw     bool // something came that is not of our making
	vouched souk.Atoms
	frames  int // that the client sent
}

// logBefore is how near the bound of the log another attempt came.
const logBefore = disk.MaxLogBytes - 100_000

func newHearing(t *testing.T, tree *log.Log) *hearing {
	t.Helper()
	h := &hearing{t: t, Books: moneytest.NewBooks(t, tree, true, func(l *leasev1.Lease) { // of the version that next bills
		l.Version, l.Tariff = 2, []*marketv1.TariffLine{{Unit: payment.UnitDeviceMs, PriceAtoms: l.PriceAtomsPerHour, Per: souk.MillisPerHour}}
	})}
	d := &Dealer{cfg: DealerConfig{Key: h.Client, VoucherKey: h.VoucherKey, Ledger: h.Ledger, Channels: h.Channels,
		Receipts: h.Receipts, Log: h.Log, Waits: network.DefaultWaits()}}
	c := &Client{cfg: Config{Dealer: d, Home: h.Home, Ledger: h.Ledger, Channels: h.Channels, Space: h.Space, Log: h.Log, Waits: network.DefaultWaits()}}
	rec := Record{State: "running", Attempts: []AttemptRecord{{Lease: h.Terms.Lease.String(), LogBase: map[string]uint64{"stdout": logBefore}}}}
	j := c.newJob(h.Terms.Job, nil, rec)
	if err := j.stdout.Reset(); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(j.stdout.Path, logBefore); err != nil {
		t.Fatal(err)
	}
	for _, f := range []*disk.LogFile{j.stdout, j.stderr} {
		if err := f.Resume(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(f.Close)
	}
	h.l = &runLink{j: j, with: j.with, dealer: d, allowed: make(chan struct{}),
		s: &Proposal{ID: h.Terms.Lease, Lease: h.Lease, Payload: h.Payload, Terms: h.Terms, Channel: h.Channel}}
	h.start()
	return h
}

// start is what a client does when it attaches.
func (h *hearing) start() {
	payer, err := h.l.dealer.Payer(h.l.s)
	if err != nil {
		h.t.Fatal(err)
	}
	if h.l.telemetry != nil {
		h.l.telemetry.file.Close()
	}
	samples, err := openTelemetry(h.l.s, h.l.j.msg.GetLimits(), h.l.with.telemetry(), payer)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(samples.file.Close)
	h.l = &runLink{j: h.l.j, with: h.l.with, dealer: h.l.dealer, s: h.l.s, payer: payer, telemetry: samples, allowed: h.l.allowed}
}

// next is the receipt that is due now.
func (h *hearing) next(kind uint8) payment.Receipt {
	r := payment.Receipt{Version: 2, Lease: h.Terms.Lease, Job: h.Terms.Job, Channel: h.Terms.Channel, ProviderKey: h.Terms.ProviderKey, ClientKey: h.Terms.ClientKey,
		Seq: 1, Kind: kind, StartMs: h.Lease.SignedMs, InputDigest: h.Terms.InputDigest}
	for _, had := range h.Signed(h.t) {
		r.Seq, r.PrevReceipt, r.StartMs = had.Seq+1, had.Digest(h.Terms.Domain), had.EndMs
	}
	h.span(&r, max(time.Now().UnixMilli(), r.StartMs))
	return r
}

// span makes the receipt end then, and bills all of it.
func (h *hearing) span(r *payment.Receipt, end int64) {
	usage := payment.UsageLine{Line: h.Terms.Tariff[0]}
	for _, had := range h.Signed(h.t) {
		usage.Quantity = had.Usage[0].Quantity
	}
	r.EndMs = max(end, r.StartMs)
	usage.Quantity += uint64(r.EndMs-r.StartMs) * uint64(h.Terms.DeviceCount())
	due, err := usage.Line.Due(usage.Quantity)
	if err != nil {
		h.t.Fatal(err)
	}
	usage.Due = due
	r.Usage, r.CumulativeDue = []payment.UsageLine{usage}, due
}

// receiptLies change one field of a receipt by n.
var receiptLies = []func(r *payment.Receipt, n int64){
	func(r *payment.Receipt, n int64) { r.Lease.Digest[0] ^= byte(n) },
	func(r *payment.Receipt, n int64) { r.Job.Digest[0] ^= byte(n) },
	func(r *payment.Receipt, n int64) { r.Channel.Digest[0] ^= byte(n) },
	func(r *payment.Receipt, n int64) { r.ClientKey[0] ^= byte(n) },
	func(r *payment.Receipt, n int64) { r.Seq += uint64(n) },
	func(r *payment.Receipt, n int64) { r.Kind += uint8(n) },
	func(r *payment.Receipt, n int64) { r.StartMs += 500 * n },
	func(r *payment.Receipt, n int64) { r.EndMs += 500 * n },
	func(r *payment.Receipt, n int64) { r.Usage[0].Quantity += uint64(500 * n) },
	func(r *payment.Receipt, n int64) { r.EnergyMillijoules += uint64(n) },
	func(r *payment.Receipt, n int64) { r.Usage[0].Price += uint64(n) },
	func(r *payment.Receipt, n int64) { r.Usage[0].Due += souk.Atoms(50 * n) },
	func(r *payment.Receipt, n int64) { r.Usage[0].Per += uint64(n) },
	func(r *payment.Receipt, n int64) { r.Usage[0].Unit = payment.UnitRequest },
	func(r *payment.Receipt, n int64) { r.Version += int(n) },
	func(r *payment.Receipt, n int64) { r.CumulativeDue += souk.Atoms(50 * n) },
	func(r *payment.Receipt, n int64) { r.InputDigest[0] ^= byte(n) },
	func(r *payment.Receipt, n int64) { r.OutputDigest[0] ^= byte(n) },
	func(r *payment.Receipt, n int64) { r.PrevReceipt[0] ^= byte(n) },
}

// step does the script's next deed.
func (h *hearing) step(s *moneytest.Script) {
	wait := func() { <-time.After(h.Terms.Interval + time.Duration(s.Next())*20*time.Millisecond) }
	switch s.Next() % providerDeeds {
	case sayReceipt:
		wait()
		h.show(h.next(payment.KindInterval))
	case sayStretched:
		wait()
		r := h.next(payment.KindInterval)
		h.span(&r, r.EndMs+100*int64(int8(s.Next())))
		h.show(r)
	case sayWrong:
		<-time.After(h.Terms.Interval)
		r := h.next(payment.KindInterval)
		receiptLies[int(s.Next())%len(receiptLies)](&r, int64(int8(s.Next())))
		h.show(r)
	case sayFinal:
		<-time.After(time.Duration(s.Next()) * 20 * time.Millisecond)
		h.show(h.next(payment.KindFinal))
	case sayAgain:
		if n := int(s.Next()); len(h.said) > 0 {
			h.hear(&runv1.ToClient{Message: &runv1.ToClient_Receipt{Receipt: h.said[n%len(h.said)].Proto()}})
		}
	case sayLog:
		h.print(s)
	case sayState:
		outputs := []string{"", "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku", "not a CID", string(bytes.Repeat([]byte{'x'}, 300))}
		h.hear(stateFrame(&runv1.State{Phase: runv1.Phase(s.Next() % 8), Output: outputs[s.Next()%4],
			DepositTx: string(bytes.Repeat([]byte{'0'}, int(s.Next()))), Detail: string(bytes.Repeat([]byte{'d'}, 300))}))
	case allowFinal:
		h.l.allow()
		if h.l.final != nil { // as follow does
			h.answered(h.l.pay(h.t.Context(), h, h.l.final))
		}
	case restart:
		h.start()
	case sayBytes:
		f := new(runv1.ToClient)
		if proto.Unmarshal(s.Take(int(s.Next())), f) == nil {
			h.raw = true
			h.hear(f)
		}
	}
}

// print says a piece of log near where the client's copy ends.
func (h *hearing) print(s *moneytest.Script) {
	stream := runv1.LogStream(1 + s.Next()%2)
	at := max(0, int64(h.l.offset(stream))+100*int64(int8(s.Next())))
	data := make([]byte, 300*int(s.Next()))
	for i := range data {
		data[i] = logByte(at + int64(i))
	}
	h.hear(&runv1.ToClient{Message: &runv1.ToClient_Log{Log: &runv1.Log{Stream: stream, Offset: uint64(at), Data: data}}})
}

// logByte is what a job prints.
func logByte(at int64) byte { return byte(at * 7 >> 3) }

func (h *hearing) show(r payment.Receipt) {
	r.SignProvider(h.Terms.Domain, h.Provider)
	h.said = append(h.said, r)
	h.hear(&runv1.ToClient{Message: &runv1.ToClient_Receipt{Receipt: r.Proto()}})
}

func (h *hearing) hear(f *runv1.ToClient) { h.answered(h.l.heard(h.t.Context(), h, f)) }

// answered ends the run for what only a cheat says, as runLink.run does.
func (h *hearing) answered(err error) {
	if err == nil {
		return
	}
	if !breach(err) {
		h.t.Fatalf("blames nobody for what a provider said: %v", err)
	}
	if err := h.l.cheated(h.t.Context(), err); err != nil {
		h.t.Fatal(err)
	}
}

// Write takes what the client sends: answers to what was said, with a good voucher.
func (h *hearing) Write(b []byte) (int, error) {
	var f runv1.ToProvider
	if err := wire.NewReader(bytes.NewReader(b), network.MaxRunBytes).Read(&f); err != nil {
		h.t.Fatal(err)
	}
	c := f.GetCountersign()
	v, err := payment.VoucherFromProto(c.GetVoucher())
	if err == nil {
		err = v.Verify(h.Terms.Domain, h.Channel.PayerAuthorizer)
	}
	if err != nil || souk.Atoms(c.LeasePaidAtoms) > h.Terms.Reserve || v.MaxClaimable > max(h.vouched, moneytest.OtherShare+souk.Atoms(c.LeasePaidAtoms)) {
		h.t.Fatalf("sent %v, %v", c, err)
	}
	h.frames++
	return len(b), nil
}

// check holds what the client vouched and keeps against its bounds.
func (h *hearing) check() {
	for len(h.l.j.events) > 0 {
		<-h.l.j.events
	}
	rec := h.Record(h.t)
	var due souk.Atoms
	for _, r := range h.Signed(h.t) {
		due = max(due, r.CumulativeDue)
	}
	share := rec.Voucher.MaxClaimable - moneytest.OtherShare
	ahead := h.Cost(h.t, h.Terms.Interval+h.Terms.PayAhead)
	ran := h.Cost(h.t, time.Since(time.UnixMilli(h.Lease.SignedMs))+payment.Slack)
	switch {
	case rec.Voucher.MaxClaimable < h.vouched, rec.Due() != due:
		h.t.Fatalf("vouched %s after %s; due %s of %s signed", rec.Voucher.MaxClaimable, h.vouched, rec.Due(), due)
	case due > ran, share > min(h.Terms.Reserve, due+ahead):
		h.t.Fatalf("vouched %s where %s is due, at most %s could have run, %s is ahead and %s reserved", share, due, ran, ahead, h.Terms.Reserve)
	}
	h.vouched = rec.Voucher.MaxClaimable
	job, _ := h.l.j.Watch()
	if b, err := json.Marshal(job); err != nil || len(b) > 2000 || len(h.l.output) > 200 {
		h.t.Fatalf("the job's record has %d bytes, the outputs' name %d, %v", len(b), len(h.l.output), err)
	}
}

// end looks at what is left of a run.
func (h *hearing) end() {
	if _, live := h.Record(h.t).Leases[h.Terms.Lease]; h.l.over && live {
		h.t.Error("the run is over, and its lease still reserves")
	}
	if err := h.Ledger.Verify(); err != nil {
		h.t.Error(err)
	}
	for _, name := range []string{"stdout.log", "stderr.log"} {
		info, err := os.Stat(filepath.Join(filepath.Dir(h.l.j.stdout.Path), name))
		if err != nil || info.Size() > disk.MaxLogBytes {
			h.t.Errorf("%s has %d bytes, %v", name, info.Size(), err)
		}
	}
	kept, err := os.ReadFile(h.l.j.stderr.Path)
	if err != nil {
		h.t.Fatal(err)
	}
	for i := range kept {
		if !h.raw && kept[i] != logByte(int64(i)) {
			h.t.Fatalf("byte %d of %d of the log is %d, was printed as %d", i, len(kept), kept[i], logByte(int64(i)))
		}
	}
}

func stateFrame(s *runv1.State) *runv1.ToClient {
	return &runv1.ToClient{Message: &runv1.ToClient_State{State: s}}
}
