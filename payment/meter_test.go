package payment

import (
	"errors"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/souk-market/souk"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
)

const second = time.Second

var epoch = time.UnixMilli(1_700_000_000_000).UTC()

// after is a time on the clock of every test.
func after(d time.Duration) time.Time { return epoch.Add(d) }

// someTerms cost one atom for each device millisecond, 20,000 an interval.
func someTerms() Terms {
	return Terms{
		Lease: souk.LeaseID{Digest: souk.Digest{1}}, Job: souk.JobID{Digest: souk.Digest{2}}, Channel: souk.ChannelID{Digest: souk.Digest{3}},
		Domain: domain, ProviderKey: nodeKey(providerKey), ClientKey: nodeKey(clientKey),
		Version: 2, Tariff: HourlyTariff(souk.MillisPerHour), Devices: []ClassCount{{"A", 2}}, Interval: 10 * second, Grace: 2 * second,
		HoldPaused: 30 * second, MaxDuration: time.Hour, Reserve: 10_000_000, InputDigest: souk.Digest{4},
	}
}

func TestDue(t *testing.T) {
	for _, tt := range []struct {
		price, ms uint64
		want      souk.Atoms
		err       error
	}{
		{0, math.MaxUint64, 0, nil},
		{math.MaxUint64, 0, 0, nil},
		{400_000, 10_000, 1111, nil}, // 1111.11…
		{3_600_000, 1, 1, nil},
		{3_599_999, 1, 0, nil},
		{math.MaxUint64, 1, 5124095576030, nil}, // the product takes 64 bits
		{math.MaxInt64, souk.MillisPerHour, math.MaxInt64, nil},
		{math.MaxInt64 + 1, souk.MillisPerHour, 0, souk.ErrOverflow},
		{math.MaxUint64, souk.MillisPerHour, 0, souk.ErrOverflow},
		{math.MaxUint64, math.MaxUint64, 0, souk.ErrOverflow},
	} {
		if got, err := Due(tt.price, tt.ms); got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("Due(%d, %d) = %d, %v; want %d, %v", tt.price, tt.ms, got, err, tt.want, tt.err)
		}
	}
}

func TestTerms(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Terms)
		first  souk.Atoms
		ok     bool
	}{
		{"as they are", func(*Terms) {}, 20_000, true},
		{"paid ahead", func(t *Terms) { t.PayAhead = 5 * second }, 30_000, true},
		{"small reserve", func(t *Terms) { t.Reserve = 7 }, 7, true},
		{"free", func(t *Terms) { t.Tariff = HourlyTariff(0) }, 0, true},
		{"priceless", func(t *Terms) { t.Tariff = HourlyTariff(math.MaxUint64) }, 10_000_000, true},
		{"no devices", func(t *Terms) { t.Devices = nil }, 0, false},
		{"too many devices", func(t *Terms) { t.Devices = []ClassCount{{"A", 1 << 15}, {"B", 1<<15 + 1}} }, 10_000_000, false},
		{"no interval", func(t *Terms) { t.Interval = 0 }, 0, false},
		{"negative grace", func(t *Terms) { t.Grace = -1 }, 20_000, false},
		{"endless", func(t *Terms) { t.MaxDuration = math.MaxInt64 }, 20_000, false},
		{"negative reserve", func(t *Terms) { t.Reserve = -1 }, -1, false},
	} {
		terms := someTerms()
		tt.change(&terms)
		err := terms.Validate()
		if got := terms.First(); got != tt.first || (err == nil) != tt.ok || err != nil && !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: First() = %d, Validate() = %v; want %d, %v", tt.name, got, err, tt.first, tt.ok)
		}
	}
}

// step is one thing that happens to a meter, and what must follow.
type step struct {
	at      time.Duration
	do      string // "tick", "sign", "finish"
	seq     uint64 // of sign
	paid    souk.Atoms
	receipt uint64 // seq of the receipt that tick must return; 0: none
	due     souk.Atoms
	act     Verb
	reason  runv1.EndReason
	err     error
	next    time.Duration // -1: Next must be false
}

const never = -1

func TestMeter(t *testing.T) {
	const unpaid = runv1.EndReason_END_REASON_CLIENT_UNPAID
	for _, tt := range []struct {
		name   string
		change func(*Terms)
		steps  []step
	}{
		{"paid in time", nil, []step{
			{at: 10 * second, do: "tick", receipt: 1, due: 20_000, next: 12 * second},
			{at: 10 * second, do: "tick", due: 20_000, next: 12 * second},
			{at: 11 * second, do: "sign", seq: 1, paid: 20_000, due: 22_000, next: 20 * second},
			{at: 11 * second, do: "sign", seq: 1, paid: 20_000, due: 22_000, next: 20 * second},
			{at: 20 * second, do: "tick", receipt: 2, due: 40_000, next: 22 * second},
			{at: 21 * second, do: "sign", seq: 2, paid: 40_000, due: 42_000, next: 30 * second},
			{at: 25 * second, do: "finish", receipt: 3, due: 50_000, next: never},
			{at: 26 * second, do: "sign", seq: 3, paid: 50_000, due: 50_000, next: never},
			{at: 27 * second, do: "finish", receipt: 3, due: 50_000, next: never},
		}},
		{"paused, resumed: the pause is not billed", nil, []step{
			{at: 10 * second, do: "tick", receipt: 1, due: 20_000, next: 12 * second},
			{at: 12 * second, do: "tick", due: 24_000, act: Pause, reason: unpaid, next: 42 * second},
			{at: 30 * second, do: "tick", due: 24_000, next: 42 * second},
			{at: 40 * second, do: "sign", seq: 1, paid: 20_000, act: Resume, due: 24_000, next: 48 * second},
			{at: 48 * second, do: "tick", receipt: 2, due: 40_000, next: 50 * second},
		}},
		{"never paid", nil, []step{
			{at: 10 * second, do: "tick", receipt: 1, due: 20_000, next: 12 * second},
			{at: 12 * second, do: "tick", due: 24_000, act: Pause, reason: unpaid, next: 42 * second},
			{at: 42 * second, do: "tick", due: 24_000, act: Stop, reason: unpaid, next: never},
			{at: 43 * second, do: "tick", due: 24_000, next: never},
			{at: 44 * second, do: "finish", receipt: 2, due: 24_000, next: never},
			{at: 50 * second, do: "sign", seq: 2, paid: 24_000, due: 24_000, err: ErrSequence, next: never},
			{at: 51 * second, do: "sign", seq: 1, paid: 24_000, due: 24_000, next: never},
			{at: 52 * second, do: "sign", seq: 2, paid: 24_000, due: 24_000, next: never},
		}},
		{"a voucher short of the receipt does not count", func(t *Terms) { t.PayAhead = 5 * second }, []step{
			{at: 10 * second, do: "tick", receipt: 1, due: 20_000, next: 12 * second},
			{at: 11 * second, do: "sign", seq: 1, paid: 29_999, due: 22_000, err: nil, next: 20 * second}, // the first voucher covers it
			{at: 20 * second, do: "tick", receipt: 2, due: 40_000, next: 22 * second},
			{at: 21 * second, do: "sign", seq: 2, paid: 49_999, due: 42_000, err: ErrShort, next: 22 * second},
			{at: 21 * second, do: "sign", seq: 2, paid: 50_000, due: 42_000, next: 30 * second},
		}},
		{"a receipt that does not exist", nil, []step{
			{at: 5 * second, do: "sign", seq: 1, paid: 20_000, due: 10_000, err: ErrSequence, next: 10 * second},
			{at: 10 * second, do: "tick", receipt: 1, due: 20_000, next: 12 * second},
			{at: 10 * second, do: "sign", seq: 2, paid: 20_000, due: 20_000, err: ErrSequence, next: 12 * second},
			{at: 10 * second, do: "sign", seq: 0, paid: 20_000, due: 20_000, next: 12 * second},
		}},
		{"out of time", func(t *Terms) { t.MaxDuration = 14 * second }, []step{
			{at: 10 * second, do: "tick", receipt: 1, due: 20_000, next: 12 * second},
			{at: 11 * second, do: "sign", seq: 1, paid: 20_000, due: 22_000, next: 14 * second},
			{at: 14 * second, do: "tick", due: 28_000, act: Stop, reason: runv1.EndReason_END_REASON_JOB_TIME, next: never},
			{at: 15 * second, do: "finish", receipt: 2, due: 28_000, next: never},
		}},
		{"out of reserve", func(t *Terms) { t.Reserve = 27_001 }, []step{
			{at: 10 * second, do: "tick", receipt: 1, due: 20_000, next: 12 * second},
			{at: 11 * second, do: "sign", seq: 1, paid: 20_000, due: 22_000, next: 13500 * time.Millisecond},
			{at: 20 * second, do: "tick", due: 27_000, act: Stop, reason: runv1.EndReason_END_REASON_RESERVE_SPENT, next: never},
			{at: 21 * second, do: "finish", receipt: 2, due: 27_000, next: never},
		}},
		{"no reserve at all", func(t *Terms) { t.Reserve = 0 }, []step{
			{at: 0, do: "tick", act: Stop, reason: runv1.EndReason_END_REASON_RESERVE_SPENT, next: never},
		}},
		{"free of charge", func(t *Terms) { t.Tariff, t.Reserve = HourlyTariff(0), 0 }, []step{
			{at: 10 * second, do: "tick", receipt: 1, next: 12 * second},
			{at: 11 * second, do: "sign", seq: 1, next: 20 * second},
		}},
		{"a late tick bills no more than an interval and grace", nil, []step{
			{at: 60 * second, do: "tick", receipt: 1, due: 24_000, act: Pause, reason: unpaid, next: 90 * second},
			{at: 61 * second, do: "sign", seq: 1, paid: 24_000, act: Resume, due: 24_000, next: 71 * second},
		}},
		{"a countersignature after the deadline, before the tick", nil, []step{
			{at: 10 * second, do: "tick", receipt: 1, due: 20_000, next: 12 * second},
			{at: 20 * second, do: "sign", seq: 1, paid: 20_000, due: 24_000, next: 28 * second},
		}},
		{"grace longer than an interval", func(t *Terms) { t.Grace = 25 * second }, []step{
			{at: 10 * second, do: "tick", receipt: 1, due: 20_000, next: 35 * second},
			{at: 30 * second, do: "tick", due: 60_000, next: 35 * second},
			{at: 34 * second, do: "sign", seq: 1, paid: 20_000, due: 68_000, next: 20 * second},
			{at: 34 * second, do: "tick", receipt: 2, due: 68_000, next: 45 * second}, // not 34+25: 10 s have run unpaid at 20, 35 at 45
			{at: 45 * second, do: "tick", due: 90_000, act: Pause, reason: unpaid, next: 75 * second},
		}},
		{"no grace", func(t *Terms) { t.Grace = 0 }, []step{
			{at: 10 * second, do: "tick", receipt: 1, due: 20_000, act: Pause, reason: unpaid, next: 40 * second},
			{at: 11 * second, do: "sign", seq: 1, paid: 20_000, act: Resume, due: 20_000, next: 21 * second},
		}},
		{"a clock that goes back", nil, []step{
			{at: 9 * second, do: "tick", due: 18_000, next: 10 * second},
			{at: 3 * second, do: "tick", due: 18_000, next: 10 * second},
			{at: 10 * second, do: "tick", receipt: 1, due: 20_000, next: 12 * second},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			terms := someTerms()
			if tt.change != nil {
				tt.change(&terms)
			}
			if err := terms.Validate(); err != nil {
				t.Fatal(err)
			}
			m := NewMeter(terms)
			m.Start(epoch)
			for _, s := range tt.steps {
				play(t, m, s)
			}
		})
	}
}

// play does one step.
func play(t *testing.T, m *Meter, s step) {
	t.Helper()
	var r *Receipt
	var act Action
	var err error
	switch s.do {
	case "tick":
		r, act = m.Tick(after(s.at), Usage{})
	case "sign":
		act, err = m.Countersigned(after(s.at), s.seq, s.paid)
	case "finish":
		f := m.Finish(after(s.at), souk.Digest{5}, Usage{})
		r = &f
	}
	seq := uint64(0)
	if r != nil {
		seq = r.Seq
		if r.CumulativeDue != s.due {
			t.Errorf("at %s: receipt %d over %d, want %d", s.at, seq, r.CumulativeDue, s.due)
		}
	}
	if seq != s.receipt || act.Do != s.act || act.Reason != s.reason || !errors.Is(err, s.err) || m.Due() != s.due {
		t.Errorf("at %s, %s: receipt %d, %+v, due %d, %v; want %d, %d %s, %d, %v",
			s.at, s.do, seq, act, m.Due(), err, s.receipt, s.act, s.reason, s.due, s.err)
	}
	next, ok := m.Next()
	if ok != (s.next != never) || ok && !next.Equal(after(s.next)) {
		t.Errorf("at %s, %s: next %s, %v; want %s", s.at, s.do, next.Sub(epoch), ok, s.next)
	}
}

func TestFinalReceiptWithoutARun(t *testing.T) {
	m := NewMeter(someTerms())
	if _, ok := m.Next(); ok {
		t.Error("a meter that was not started wants a tick")
	}
	if r, act := m.Tick(after(second), Usage{}); r != nil || act != (Action{}) {
		t.Errorf("Tick = %+v, %+v", r, act)
	}
	r := m.Finish(after(2*second), souk.Digest{}, Usage{})
	if r.Seq != 1 || r.Kind != KindFinal || r.CumulativeDue != 0 || r.StartMs != r.EndMs || r.EndMs != after(2*second).UnixMilli() {
		t.Errorf("Finish = %+v", r)
	}
	if m.Settled() {
		t.Error("settled without a countersignature")
	}
	if _, err := m.Countersigned(after(3*second), 1, 0); err != nil || !m.Settled() {
		t.Errorf("Countersigned = %v, settled %v", err, m.Settled())
	}
	m.Start(after(4 * second))
	if _, act := m.Tick(after(time.Hour), Usage{}); act != (Action{}) || m.Due() != 0 {
		t.Errorf("a finished meter runs: %+v, due %d", act, m.Due())
	}
}

func TestUsageIsPerReceipt(t *testing.T) {
	m := NewMeter(someTerms())
	m.Start(epoch)
	m.Tick(after(5*second), Usage{EnergyMillijoules: 70})
	r1, _ := m.Tick(after(10*second), Usage{EnergyMillijoules: 100})
	if _, err := m.Countersigned(after(10*second), 1, 20_000); err != nil {
		t.Fatal(err)
	}
	r2, _ := m.Tick(after(20*second), Usage{EnergyMillijoules: 90}) // a counter that went back
	f := m.Finish(after(25*second), souk.Digest{5}, Usage{EnergyMillijoules: 150})
	if r1.EnergyMillijoules != 100 || r2.EnergyMillijoules != 0 || f.EnergyMillijoules != 50 {
		t.Errorf("energy %d, %d, %d", r1.EnergyMillijoules, r2.EnergyMillijoules, f.EnergyMillijoules)
	}
	if f.OutputDigest != (souk.Digest{5}) || !r1.OutputDigest.IsZero() {
		t.Errorf("%+v %+v", r1, f)
	}
	if r2.PrevReceipt != r1.Digest(domain) || f.PrevReceipt != r2.Digest(domain) || r2.StartMs != r1.EndMs {
		t.Error("receipts are not a chain")
	}
}

// TestMonotonicClock: time.Now carries a reading that a step of the wall clock
// leaves alone; a receipt then counts from the start by it.
func TestMonotonicClock(t *testing.T) {
	start := time.Now()
	m := NewMeter(someTerms())
	m.Start(start)
	r, _ := m.Tick(start.Add(10*second), Usage{})
	if r == nil || r.EndMs-r.StartMs != 10_000 || r.StartMs != start.UnixMilli() {
		t.Errorf("receipt %+v", r)
	}
}

func TestRestoredMeter(t *testing.T) {
	terms := someTerms()
	m := NewMeter(terms)
	m.Start(epoch)
	r1, _ := m.Tick(after(10*second), Usage{})
	signed := *r1
	signed.SignClient(domain, clientKey)
	if _, err := m.Countersigned(after(11*second), 1, 20_000); err != nil {
		t.Fatal(err)
	}
	r2, _ := m.Tick(after(20*second), Usage{})

	// The second receipt is out when the provider goes down.
	again, err := RestoreMeter(terms, []Receipt{signed, *r2}, 20_000)
	if err != nil {
		t.Fatal(err)
	}
	if again.Due() != 40_000 || again.Paid() != 20_000 {
		t.Errorf("due %d, paid %d", again.Due(), again.Paid())
	}
	f := again.Finish(after(60*second), souk.Digest{}, Usage{})
	if f.Seq != 3 || f.PrevReceipt != r2.Digest(domain) || f.CumulativeDue != 40_000 || f.Usage[0].Quantity != 40_000 || f.StartMs != r2.EndMs {
		t.Errorf("final receipt %+v", f)
	}
	for _, s := range []struct {
		seq  uint64
		want error
	}{{1, nil}, {3, ErrSequence}, {2, nil}, {3, nil}} {
		if _, err := again.Countersigned(after(61*second), s.seq, 40_000); !errors.Is(err, s.want) {
			t.Errorf("Countersigned(%d) = %v, want %v", s.seq, err, s.want)
		}
	}
	if !again.Settled() {
		t.Error("not settled")
	}
	// After the final receipt nothing can follow.
	if third, err := RestoreMeter(terms, []Receipt{signed, *r2, f}, 40_000); err != nil || third.Finish(after(70*second), souk.Digest{}, Usage{}).Seq != 3 {
		t.Errorf("restored with the final receipt: %v", err)
	}
	for name, rs := range map[string][]Receipt{
		"a gap":               {signed, f},
		"from the middle":     {*r2},
		"after the end":       {signed, *r2, f, *r2},
		"another lease's":     {{Seq: 1}},
		"a broken chain":      {signed, {Lease: terms.Lease, Seq: 2}},
		"the first one twice": {signed, signed},
	} {
		if _, err := RestoreMeter(terms, rs, 0); !errors.Is(err, ErrSequence) {
			t.Errorf("meter, %s: %v", name, err)
		}
		if _, err := RestorePayer(terms, rs); !errors.Is(err, ErrSequence) {
			t.Errorf("payer, %s: %v", name, err)
		}
	}
}

// TestMillionIntervals bills a million uneven intervals and compares the sum
// with the exact one.
func TestMillionIntervals(t *testing.T) {
	n := 1_000_000
	if testing.Short() {
		n = 10_000
	}
	terms := someTerms()
	terms.Tariff, terms.Devices = HourlyTariff(412_345_679), []ClassCount{{"A", 7}} // 801.78… atoms a millisecond
	terms.Interval, terms.Grace = 100*time.Millisecond, 50*time.Millisecond
	terms.MaxDuration, terms.Reserve = maxTerm, math.MaxInt64
	m := NewMeter(terms)
	m.Start(epoch)
	rng := rand.New(rand.NewPCG(7, 11))
	now, total := epoch, new(big.Int)
	for i := range n {
		now = now.Add(100*time.Millisecond + time.Duration(rng.Int64N(int64(49*time.Millisecond))))
		r, act := m.Tick(now, Usage{})
		if r == nil || act != (Action{}) {
			t.Fatalf("interval %d: %+v, %+v", i, r, act)
		}
		if _, err := m.Countersigned(now, r.Seq, math.MaxInt64); err != nil {
			t.Fatal(err)
		}
		total.SetUint64(r.Usage[0].Quantity)
		if i%100_000 == 0 || i == n-1 {
			exact := new(big.Int).Mul(total, new(big.Int).SetUint64(terms.Tariff[0].Price))
			exact.Quo(exact, big.NewInt(souk.MillisPerHour))
			if exact.Cmp(big.NewInt(int64(r.CumulativeDue))) != 0 {
				t.Fatalf("interval %d: due %d, exactly %s", i, r.CumulativeDue, exact)
			}
		}
	}
	if wall := now.Sub(epoch).Milliseconds() * int64(terms.DeviceCount()); total.Int64() != wall {
		t.Errorf("billed %s device ms, %d have passed", total, wall)
	}
}

// TestForgo takes time back, as far as no receipt has it.
func TestForgo(t *testing.T) {
	for _, tt := range []struct {
		name string
		at   time.Duration // when it is known
		from time.Duration // since when it was not well
		want uint64        // device milliseconds, on two devices
	}{
		{"two seconds", 7 * second, 5 * second, 10_000},
		{"nothing", 7 * second, 7 * second, 14_000},
		{"a moment later, to which it ran", 7 * second, 9 * second, 18_000},
		{"before it began", 7 * second, -second, 0},
		{"back over many ticks", 9 * second, 1500 * time.Millisecond, 3_000},
		{"what a receipt has stays", 11 * second, 4 * second, 20_000},
		{"up to a receipt", 11 * second, 10500 * time.Millisecond, 21_000},
		{"work that was free anyway", 13 * second, 12500 * time.Millisecond, 24_000},
		{"paused since", 40 * second, 20 * second, 24_000},
	} {
		m := NewMeter(someTerms())
		m.Start(after(0))
		for at := second; at <= tt.at; at += second {
			m.Tick(after(at), Usage{})
		}
		m.Forgo(after(tt.from))
		m.Countersigned(after(tt.from), 1, 1<<40)
		r := m.Finish(after(tt.from), souk.Digest{}, Usage{})
		if got := r.Usage[0].Quantity; got != tt.want {
			t.Errorf("%s: %d device ms, want %d", tt.name, got, tt.want)
		}
		if most := max(after(tt.from).UnixMilli(), r.StartMs); tt.from < tt.at && r.EndMs > most {
			t.Errorf("%s: ends at %d, later than %d", tt.name, r.EndMs, most)
		}
	}
}
