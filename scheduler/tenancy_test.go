package scheduler

import (
	"bytes"
	"crypto/ed25519"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
)

var update = flag.Bool("update", false, "rewrite the histories of testdata/tenancy")

// TestTenancyHistories plays the histories in testdata/tenancy. A line that is not
// indented is a command; the indented lines after it are what the tenancy wants
// done, and where it stands then. See [tenant.command] for the commands.
func TestTenancyHistories(t *testing.T) {
	names, err := filepath.Glob("testdata/tenancy/*.txt")
	if err != nil || len(names) < 8 {
		t.Fatalf("%d histories, %v", len(names), err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			got := playHistory(t, string(text))
			if *update {
				if err := os.WriteFile(name, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(text) {
				t.Errorf("the history has changed; read it again after go test -update:\n%s", firstDifference(string(text), got))
			}
		})
	}
}

// playHistory does the commands in text, and returns it with what came of each.
func playHistory(t *testing.T, text string) string {
	var out strings.Builder
	x := &tenant{t: t}
	for line := range strings.Lines(text) {
		switch {
		case strings.HasPrefix(line, "\t"):
			continue
		case strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#"):
			out.WriteString(line)
			continue
		}
		out.WriteString(line)
		for _, l := range x.command(words(line)) {
			out.WriteString("\t" + l + "\n")
		}
	}
	return out.String()
}

func words(line string) []string { return strings.Fields(line) }

func firstDifference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range g {
		if i >= len(w) || w[i] != g[i] {
			return fmt.Sprintf("line %d\n- %s\n+ %s", i+1, strings.Join(w[min(i, len(w)):min(i+4, len(w))], "\n- "), strings.Join(g[i:min(i+4, len(g))], "\n+ "))
		}
	}
	return fmt.Sprintf("%d lines, had %d", len(g), len(w))
}

// tenancyTerms cost 100 atoms for a second: 1000 an interval.
func tenancyTerms() payment.Terms {
	t := payment.Terms{Domain: payment.EIP712Domain{ChainID: 1337}, Version: 2, Tariff: payment.HourlyTariff(360_000), Devices: []payment.ClassCount{{Count: 1}}, Interval: 10 * time.Second,
		Grace: 2 * time.Second, HoldPaused: 30 * time.Second, MaxDuration: 5 * time.Minute, Reserve: 20_000}
	t.Lease.Digest, t.ClientKey = souk.Digest{1}, souk.NodeKey(tenantKey(1).Public().(ed25519.PublicKey))
	return t
}

func tenantKey(n byte) ed25519.PrivateKey { return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, 32)) }

// tenant drives a tenancy by hand, and keeps what a driver has in its store.
type tenant struct {
	t   testing.TB
	cfg TenancyConfig
	now time.Time
	y   *Tenancy

	acts     []TenancyAction
	state    TenancyState
	receipts []payment.Receipt
	paid     souk.Atoms
	before   func() // undoes the last StoreTenancy; nil: there was none
	post     *PostCountersign
	ended    bool
}

func (x *tenant) start(deposit bool) []TenancyAction {
	x.now = start
	x.cfg = TenancyConfig{Terms: tenancyTerms(), StartBy: start.Add(3 * time.Minute), Deposit: deposit}
	x.y = NewTenancy(x.cfg, x.now)
	x.state, x.receipts, x.paid, x.ended = x.y.Snapshot(), nil, x.cfg.Terms.First(), false
	return x.step(Tick{})
}

// step gives an event and keeps what is to be stored.
func (x *tenant) step(e TenancyEvent) []TenancyAction {
	x.acts, x.before = x.y.Step(x.now, e), nil
	for _, a := range x.acts {
		switch a := a.(type) {
		case StoreTenancy:
			state, n := x.state, len(x.receipts)
			if x.before == nil {
				x.before = func() { x.state, x.receipts, x.ended = state, x.receipts[:n], false }
			}
			x.state, x.receipts = a.State, append(slices.Clip(x.receipts), a.Receipts...)
		case PostCountersign:
			x.post = &a
		case EndTenancy:
			x.state, x.ended = a.State, true
		}
	}
	return x.acts
}

// unstored takes back what the last step stored.
func (x *tenant) unstored() {
	if x.before != nil {
		x.before()
	}
}

// restart begins another life of the provider.
func (x *tenant) restart(devices bool) []TenancyAction {
	var err error
	x.y, err = RestoreTenancy(x.cfg, TenancyHistory{x.state, x.receipts, x.paid, devices}, x.now)
	if err != nil {
		x.t.Fatal(err)
	}
	x.post = nil
	return x.step(Tick{})
}

// answer is what an honest client says to receipt seq.
func (x *tenant) answer(seq int) CountersignReceived {
	if seq < 1 || seq > len(x.receipts) {
		return CountersignReceived{Receipt: make([]byte, 32)}
	}
	r := x.receipts[seq-1]
	digest := r.Digest(x.cfg.Terms.Domain)
	r.SignClient(x.cfg.Terms.Domain, tenantKey(1))
	return CountersignReceived{Receipt: digest[:], Signature: r.ClientSig, Paid: uint64(max(r.CumulativeDue, x.cfg.Terms.First())),
		Voucher: payment.Voucher{MaxClaimable: 1}}
}

// oldest is the first receipt that is not countersigned; 0: there is none.
func (x *tenant) oldest() int {
	for i, r := range x.receipts {
		if len(r.ClientSig) == 0 {
			return i + 1
		}
	}
	return 0
}

// posted makes the answer that is out durable.
func (x *tenant) posted(overdrawn bool) []TenancyAction {
	if x.post == nil {
		return x.step(CountersignPosted{})
	}
	p := x.post
	x.post = nil
	x.receipts = slices.Clone(x.receipts)
	x.receipts[p.Receipt.Seq-1].ClientSig = p.Receipt.ClientSig
	x.paid = max(x.paid, p.Paid)
	return x.step(CountersignPosted{p.Receipt.Seq, overdrawn})
}

// command does one line of a history.
func (x *tenant) command(line []string) []string {
	rest := strings.Join(line[1:], " ")
	has := func(w string) bool { return slices.Contains(line[1:], w) }
	switch line[0] {
	case "lease": // [deposit]
		return x.show(x.start(has("deposit")))
	case "given": // staging or running: what led there stands in other histories
		x.start(false)
		x.step(BackingIs{Enough: true})
		if has("signalled") {
			x.y.cfg.Signal = true
		}
		if has("running") {
			x.step(JobReceived{})
			x.step(InputsStaged{})
			x.step(RunStarted{})
		}
		return x.show(nil)
	case "pass": // time
		x.now = x.now.Add(x.span(line[1]))
		return nil
	case "wait": // for the next deadline
		if at, ok := x.y.Next(); ok && at.After(x.now) {
			x.now = at
		}
		return x.show(x.step(Tick{}))
	case "crash": // [unstored] [gone]: the last StoreTenancy was not done; the devices are not to be had again
		if has("unstored") {
			x.unstored()
		}
		return x.show(x.restart(!has("gone") && x.state.Phase == runv1.Phase_PHASE_FUNDING))
	case "store-failed":
		x.unstored()
		return x.show(x.step(StoreFailed{rest}))
	case "countersign": // [seq] [again] [forged] [paid=atoms]
		return x.show(x.step(x.parseAnswer(line[1:])))
	case "posted": // [overdrawn]
		return x.show(x.posted(has("overdrawn")))
	case "refused":
		e := CountersignRefused{x.post.Receipt.Seq}
		x.post = nil
		return x.show(x.step(e))
	}
	return x.show(x.step(x.parse(line[0], line[1:])))
}

func (x *tenant) span(s string) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		x.t.Fatal(err)
	}
	return d
}

func (x *tenant) parseAnswer(args []string) CountersignReceived {
	seq := x.oldest()
	if len(args) > 0 {
		if n, err := strconv.Atoi(args[0]); err == nil {
			seq = n
		}
	}
	c := x.answer(seq)
	for _, w := range args {
		if paid, ok := strings.CutPrefix(w, "paid="); ok {
			c.Paid, _ = strconv.ParseUint(paid, 10, 64)
		}
		if w == "forged" {
			c.Signature = tenantKey(2)[:64]
		}
	}
	return c
}

// parse reads an event.
func (x *tenant) parse(name string, args []string) TenancyEvent {
	first, rest := "", ""
	if len(args) > 0 {
		first, rest = args[0], strings.Join(args[1:], " ")
	}
	switch name {
	case "deposit-sent":
		return DepositSent{first}
	case "deposit-counted":
		return DepositCounted{}
	case "funding-failed":
		return FundingFailed{reasonNamed(first), rest}
	case "backing":
		return BackingIs{Enough: first == "enough", Pending: first == "pending"}
	case "job":
		return JobReceived{}
	case "staged":
		return InputsStaged{}
	case "staging-failed":
		return StagingFailed{reasonNamed(first), rest}
	case "started":
		return RunStarted{}
	case "measured":
		energy, _ := strconv.ParseUint(first, 10, 64)
		return RunMeasured{payment.Usage{EnergyMillijoules: energy}}
	case "exit": // CODE
		code, _ := strconv.Atoi(first)
		return RunOver{Reason: runv1.EndReason_END_REASON_COMPLETED, Exit: int32(code)}
	case "over": // REASON [DETAIL], or REASON until=AGO [DETAIL]
		e := RunOver{Reason: reasonNamed(first), Detail: rest}
		e.Until, e.Detail = x.until(rest)
		return e
	case "outputs":
		return OutputsStored{Output: first, Digest: souk.Digest{9}}
	case "no-outputs":
		return OutputsNotStored{strings.Join(args, " ")}
	case "release":
		return ReleaseAsked{Discard: first == "discard"}
	case "reclaim":
		return ReclaimAsked{Notice: x.span(first), Broken: rest == "broken"}
	case "disk-low":
		return DiskLow{}
	case "device-failed": // [until=AGO] DETAIL
		e := DeviceFailed{Reason: runv1.EndReason_END_REASON_DEVICE_FAILED}
		e.Until, e.Detail = x.until(strings.Join(args, " "))
		return e
	case "stopping":
		return ProviderStopping{}
	case "failed":
		return ProviderFailed{Detail: strings.Join(args, " ")}
	}
	x.t.Fatalf("no command is called %q", name)
	return nil
}

// until reads how long ago all was well for the last time, and gives back the rest.
func (x *tenant) until(text string) (time.Time, string) {
	ago, rest, _ := strings.Cut(text, " ")
	if ago, ok := strings.CutPrefix(ago, "until="); ok {
		return x.now.Add(-x.span(ago)), rest
	}
	return time.Time{}, text
}

func reasonNamed(s string) runv1.EndReason {
	for r, e := range endings {
		if string(e.reason) == s {
			return r
		}
	}
	return runv1.EndReason_END_REASON_UNSPECIFIED
}

// show is what a step wants done, and where the tenancy stands then.
func (x *tenant) show(acts []TenancyAction) (lines []string) {
	for _, a := range acts {
		lines = append(lines, x.showAction(a))
	}
	at := fmt.Sprintf("= %s %s", x.now.Sub(start), phaseWord(x.y.Snapshot().Phase))
	if next, ok := x.y.Next(); ok {
		at += ", next in " + next.Sub(x.now).String()
	}
	if n := len(x.y.owed); n > 0 {
		at += fmt.Sprintf(", %d owed", n)
	}
	return append(lines, at)
}

func phaseWord(p runv1.Phase) string {
	return strings.ToLower(strings.TrimPrefix(p.String(), "PHASE_"))
}

func stateWords(s TenancyState) string {
	text := phaseWord(s.Phase)
	if s.DepositTx != "" {
		text += " tx=" + s.DepositTx
	}
	if s.Reason != runv1.EndReason_END_REASON_UNSPECIFIED {
		text += " " + string(ReasonOf(s.Reason))
	}
	if s.Output != "" {
		text += " output=" + s.Output
	}
	if s.Detail != "" {
		text += ": " + s.Detail
	}
	return text
}

func (x *tenant) showAction(a TenancyAction) string {
	name := strings.TrimPrefix(fmt.Sprintf("%T", a), "scheduler.")
	switch a := a.(type) {
	case StoreTenancy:
		for _, r := range a.Receipts {
			kind := map[uint8]string{payment.KindInterval: "interval", payment.KindFinal: "final"}[r.Kind]
			name += fmt.Sprintf(" [receipt %d %s due %d]", r.Seq, kind, r.CumulativeDue)
		}
		return name + " " + stateWords(a.State)
	case EndTenancy:
		return name + " " + stateWords(a.State)
	case SubmitDeposit:
		return strings.TrimSpace(fmt.Sprintf("%s by %s %s", name, a.By.Sub(start), a.Known))
	case StageInputs:
		return fmt.Sprintf("%s by %s", name, a.By.Sub(start))
	case GrantOutputs:
		return name + " " + a.Output
	case WithdrawOutputs:
		return name + " " + a.Output
	case PostCountersign:
		return fmt.Sprintf("%s %d paid %d", name, a.Receipt.Seq, a.Paid)
	case RejectCountersign:
		return fmt.Sprintf("%s %v", name, a.Err)
	}
	return name
}
