package payment

import (
	"errors"
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/souk-market/souk"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
)

// manyLines are terms with a line of every kind: two devices of class A at one
// atom a millisecond each, one of class B at three, held time, and tokens.
func manyLines() Terms {
	t := someTerms()
	t.Devices = []ClassCount{{"A", 2}, {"B", 1}}
	t.Tariff = Tariff{{"device-ms/A", 1, 1}, {UnitReservedMs, 1, 10}, {"device-ms/B", 3, 1}, {UnitTokenOut, 5, 1000}}
	return t
}

func TestTermsHoldTheTariff(t *testing.T) {
	hourly := HourlyTariff(7)
	for _, tt := range []struct {
		name    string
		version int
		tariff  Tariff
		devices []ClassCount
		ok      bool
	}{
		{"one class", 2, hourly, []ClassCount{{"A", 2}}, true},
		{"a class without a name", 2, hourly, []ClassCount{{"", 2}}, true},
		{"tokens alone", 2, Tariff{{UnitTokenOut, 1, 1}}, []ClassCount{{"A", 1}, {"B", 1}}, true},
		{"every class priced", 2, manyLines().Tariff, manyLines().Devices, true},
		{"one class not priced", 2, manyLines().Tariff[:2], manyLines().Devices, false},
		{"a class that is not leased", 2, manyLines().Tariff, []ClassCount{{"A", 2}, {"C", 1}}, false},
		{"one price for two classes", 2, hourly, manyLines().Devices, false},
		{"a class line for one class", 2, manyLines().Tariff[:1], []ClassCount{{"A", 2}}, false},
		{"a class twice", 2, manyLines().Tariff, []ClassCount{{"A", 2}, {"B", 1}, {"A", 1}}, false},
		{"no device of a class", 2, hourly, []ClassCount{{"A", 0}}, false},
		{"version 1", 1, hourly, []ClassCount{{"", 2}}, true},
		{"version 1 by the second", 1, Tariff{{UnitDeviceMs, 7, 1000}}, []ClassCount{{"", 2}}, false},
		{"version 1 with tokens", 1, append(HourlyTariff(7), Line{UnitTokenOut, 1, 1}), []ClassCount{{"", 2}}, false},
		{"version 1 with tokens alone", 1, Tariff{{UnitTokenOut, 1, souk.MillisPerHour}}, []ClassCount{{"", 2}}, false},
		{"version 0", 0, hourly, []ClassCount{{"", 2}}, false},
		{"version 3", 3, hourly, []ClassCount{{"", 2}}, false},
	} {
		terms := someTerms()
		terms.Version, terms.Tariff, terms.Devices = tt.version, tt.tariff, tt.devices
		if err := terms.Validate(); (err == nil) != tt.ok || err != nil && !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	terms := someTerms()
	terms.Tariff = append(terms.Tariff, Line{"photon", 1, 1})
	if unknown, ok := errors.AsType[*UnitError](terms.Validate()); !ok || unknown.Unit != "photon" {
		t.Errorf("a unit of later: %v", terms.Validate())
	}
}

// quantities are what a receipt says was used, and what it costs.
func quantities(r Receipt) (q []uint64, due souk.Atoms) {
	for _, l := range r.Usage {
		q = append(q, l.Quantity)
	}
	return q, r.CumulativeDue
}

func tokens(n uint64) Usage {
	return Usage{Counters: map[string]uint64{UnitTokenOut: n, UnitRequest: 9}}
}

// TestEveryLine takes a lease with a line of every kind through a pause, held
// against both sides.
func TestEveryLine(t *testing.T) {
	terms := manyLines()
	if err := terms.Validate(); err != nil {
		t.Fatal(err)
	}
	m, p := NewMeter(terms), NewPayer(terms)
	m.Start(epoch)
	p.Start(epoch)
	if want := souk.Atoms(20_000 + 3_000 + 30_000); m.Paid() != want || p.Paid() != want {
		t.Errorf("the first voucher is over %d, %d; want %d", m.Paid(), p.Paid(), want)
	}
	var kept []Receipt
	take := func(r Receipt, at time.Duration, want []uint64, due, need souk.Atoms) {
		t.Helper()
		if q, d := quantities(r); !reflect.DeepEqual(q, want) || d != due {
			t.Errorf("receipt %d has %v, due %d; want %v, %d", r.Seq, q, d, want, due)
		}
		r.SignProvider(domain, providerKey)
		paid, err := p.Check(after(at), r)
		if err != nil || paid != need {
			t.Fatalf("receipt %d: Check = %d, %v; want %d", r.Seq, paid, err, need)
		}
		p.Accept(r)
		if _, err := m.Countersigned(after(at), r.Seq, paid); err != nil {
			t.Fatal(err)
		}
		r.SignClient(domain, clientKey)
		kept = append(kept, r)
		if p.Due() != due {
			t.Errorf("due %d at the payer, want %d", p.Due(), due)
		}
	}
	r1, _ := m.Tick(after(10*second), tokens(40_000))
	take(*r1, 11*second, []uint64{20_000, 30_000, 10_000, 40_000}, 53_200, 53_200)
	r2, _ := m.Tick(after(20*second), tokens(39_000)) // a counter that went back
	if _, act := m.Tick(after(22*second), tokens(50_000)); act.Do != Pause {
		t.Fatalf("at 22 s: %+v", act)
	}
	// Held time goes on in the pause, up to one interval and grace that is unpaid.
	if _, act := m.Tick(after(40*second), tokens(50_000)); act != (Action{}) {
		t.Fatalf("in the pause: %+v", act)
	}
	take(*r2, 40*second, []uint64{40_000, 60_000, 20_000, 40_000}, 106_200, 106_200)
	f := m.Finish(after(41*second), souk.Digest{5}, tokens(60_000))
	take(f, 42*second, []uint64{46_000, 69_000, 23_000, 60_000}, 122_200, 122_200)
	if !m.Settled() || !p.Done() || m.Due() != 122_200 {
		t.Errorf("settled %v, done %v, due %d", m.Settled(), p.Done(), m.Due())
	}
	for n := range len(kept) {
		again, err := RestoreMeter(terms, kept[:n], 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := again.Finish(after(50*second), souk.Digest{}, Usage{}); n > 0 && (got.CumulativeDue != kept[n-1].CumulativeDue || !reflect.DeepEqual(got.Usage, kept[n-1].Usage)) {
			t.Errorf("restored after %d receipts: %+v, want the usage of %+v", n, got, kept[n-1])
		}
	}
	if again, err := RestorePayer(terms, kept); err != nil || again.Due() != p.Due() || again.Paid() != p.Paid() {
		t.Errorf("restored payer: %v", err)
	}
	other := kept[0]
	other.Usage = other.Usage[:2]
	if _, err := RestoreMeter(terms, []Receipt{other}, 0); !errors.Is(err, ErrMalformed) {
		t.Errorf("a receipt of another tariff: meter %v", err)
	}
	if _, err := RestorePayer(terms, []Receipt{other}); !errors.Is(err, ErrMalformed) {
		t.Errorf("a receipt of another tariff: payer %v", err)
	}
}

// TestHeldTimeIsBounded: however long a pause, no more held time is unpaid than
// an interval and grace.
func TestHeldTimeIsBounded(t *testing.T) {
	terms := manyLines()
	terms.HoldPaused = time.Hour
	m := NewMeter(terms)
	m.Start(epoch)
	m.Tick(after(10*second), Usage{})
	m.Tick(after(12*second), Usage{})
	m.Tick(after(30*time.Minute), Usage{})
	if q, _ := quantities(m.Finish(after(31*time.Minute), souk.Digest{}, Usage{})); q[0] != 24_000 || q[1] != 36_000 {
		t.Errorf("used %v", q)
	}
}

// TestCounterPastTheReserve: what a counter adds beyond the reserve is not
// billed, and the run is stopped.
func TestCounterPastTheReserve(t *testing.T) {
	const spent = runv1.EndReason_END_REASON_RESERVE_SPENT
	for _, tt := range []struct {
		name   string
		change func(*Terms)
		counts uint64
		act    Verb
		tokens uint64 // in the final receipt
		due    souk.Atoms
	}{
		{"within it", func(*Terms) {}, 100_000, Continue, 100_000, 500 + 53_000},
		{"just within it", func(t *Terms) { t.Reserve = 53_000 + 500 }, 100_000, Continue, 100_000, 53_500},
		{"past it", func(t *Terms) { t.Reserve = 53_000 + 500 }, 100_001, Stop, 100_000, 53_500},
		{"far past it", func(t *Terms) { t.Reserve = 53_000 + 500 }, math.MaxUint64, Stop, 100_000, 53_500},
		{"a part of an atom is not sold", func(t *Terms) { t.Reserve = 53_000 + 1 }, 399, Stop, 200, 53_001},
		{"free of charge", func(t *Terms) { t.Tariff[3].Price = 0 }, math.MaxUint64, Continue, math.MaxUint64, 53_000},
	} {
		terms := manyLines()
		tt.change(&terms)
		m, p := NewMeter(terms), NewPayer(terms)
		m.Start(epoch)
		p.Start(epoch)
		_, act := m.Tick(after(10*second), tokens(tt.counts))
		// The exact reserve leaves no time to run either.
		if atEnd := terms.Reserve == tt.due; act.Do != tt.act && !(atEnd && act.Do == Stop) || act.Do == Stop && act.Reason != spent {
			t.Errorf("%s: %+v", tt.name, act)
		}
		f := m.Finish(after(10*second), souk.Digest{}, tokens(tt.counts))
		if q, due := quantities(f); q[3] != tt.tokens || due != tt.due || due > terms.Reserve || m.Due() != due {
			t.Errorf("%s: used %v, due %d; want %d tokens, %d", tt.name, q, due, tt.tokens, tt.due)
		}
	}
}

// TestPayerChecksEveryLine changes one line of an honest receipt.
func TestPayerChecksEveryLine(t *testing.T) {
	terms := manyLines()
	m := NewMeter(terms)
	m.Start(epoch)
	r1, _ := m.Tick(after(10*second), tokens(40_000))
	if _, err := m.Countersigned(after(10*second), 1, terms.Reserve); err != nil {
		t.Fatal(err)
	}
	r2, _ := m.Tick(after(20*second), tokens(50_000))
	// set gives a line a quantity, and the receipt what that costs.
	set := func(i int, quantity uint64) func(*Receipt) {
		return func(r *Receipt) {
			l := &r.Usage[i]
			r.CumulativeDue -= l.Due
			l.Quantity = quantity
			l.Due, _ = l.Line.Due(quantity)
			r.CumulativeDue += l.Due
		}
	}
	for _, tt := range []struct {
		name   string
		change func(*Receipt)
		want   Reason
	}{
		{"as it is", func(*Receipt) {}, ""},
		{"two lines changed round", func(r *Receipt) { r.Usage[0], r.Usage[2] = r.Usage[2], r.Usage[0] }, BadParties},
		{"another class", func(r *Receipt) { r.Usage[0].Unit = "device-ms/C" }, BadParties},
		{"one class longer than time", set(2, 20_001), BadUsage},
		{"one class shorter than an interval", set(2, 19_999), BadUsage},
		{"one device of two", set(0, 40_001), BadUsage},
		{"held longer than time", set(1, 60_003), BadUsage},
		{"held shorter", set(1, 45_000), ""},
		{"held on one device of three", set(1, 45_001), BadUsage},
		{"held time that shrinks", set(1, 27_000), BadUsage},
		{"tokens that shrink", set(3, 39_999), BadUsage},
		{"more tokens", set(3, 500_000_000), ""},
		{"tokens past the reserve", set(3, 5_000_000_000), BadAmount},
		{"a line over more", func(r *Receipt) { r.Usage[3].Due++; r.CumulativeDue++ }, BadAmount},
		{"a line over less, another over more", func(r *Receipt) { r.Usage[3].Due--; r.Usage[1].Due++ }, BadAmount},
		{"a negative line", func(r *Receipt) { r.Usage[3].Due = -1 }, BadAmount},
		{"the sum over more", func(r *Receipt) { r.CumulativeDue++ }, BadAmount},
		{"a quantity without a price", func(r *Receipt) { r.Usage[3].Quantity = math.MaxUint64 }, BadAmount},
	} {
		p := NewPayer(terms)
		p.Start(epoch)
		first := *r1
		first.SignProvider(domain, providerKey)
		if _, err := p.Check(after(10*second), first); err != nil {
			t.Fatal(err)
		}
		p.Accept(first)
		r := *r2
		r.Usage = append([]UsageLine(nil), r2.Usage...)
		tt.change(&r)
		r.SignProvider(domain, providerKey)
		_, err := p.Check(after(20*second), r)
		var refused *ReceiptError
		if tt.want == "" && err != nil || tt.want != "" && (!errors.As(err, &refused) || refused.Reason != tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

// TestIntervalWithoutTimeLines: where no line counts time, the times of an
// interval receipt are still those of an interval.
func TestIntervalWithoutTimeLines(t *testing.T) {
	terms := someTerms()
	terms.Tariff = Tariff{{UnitRequest, 3, 1}}
	m, p := NewMeter(terms), NewPayer(terms)
	m.Start(epoch)
	p.Start(epoch)
	r, _ := m.Tick(after(10*second), tokens(0))
	if r == nil || r.CumulativeDue != 27 || m.Paid() != 0 {
		t.Fatalf("receipt %+v, paid %d", r, m.Paid())
	}
	early := *r
	early.EndMs--
	for _, tt := range []struct {
		r    Receipt
		want Reason
	}{{*r, ""}, {early, BadUsage}} {
		tt.r.SignProvider(domain, providerKey)
		paid, err := p.Check(after(10*second), tt.r)
		var refused *ReceiptError
		if tt.want == "" && (err != nil || paid != 27) || tt.want != "" && (!errors.As(err, &refused) || refused.Reason != tt.want) {
			t.Errorf("Check = %d, %v; want %q", paid, err, tt.want)
		}
	}
}

// TestVersionOne: a lease from before tariffs goes on with receipts of its
// version, on both sides and across a restart.
func TestVersionOne(t *testing.T) {
	terms := someTerms()
	terms.Version, terms.Devices = 1, []ClassCount{{Count: 2}}
	if err := terms.Validate(); err != nil {
		t.Fatal(err)
	}
	m, p := NewMeter(terms), NewPayer(terms)
	m.Start(epoch)
	p.Start(epoch)
	var kept []Receipt
	for i, end := range []time.Duration{10 * second, 20 * second, 25 * second} {
		r, _ := m.Tick(after(end), tokens(7)) // not priced
		if r == nil {
			f := m.Finish(after(end), souk.Digest{5}, tokens(9))
			r = &f
		}
		want := []uint64{20_000, 20_000, 10_000}[i]
		if r.Version != 1 || r.Usage != nil || r.DeviceMilliseconds != want || r.PriceAtomsPerHour != souk.MillisPerHour || r.Proto().Version != 0 {
			t.Errorf("receipt %+v", r)
		}
		r.SignProvider(domain, providerKey)
		got, err := ReceiptFromProto(r.Proto())
		if err != nil {
			t.Fatal(err)
		}
		paid, err := p.Check(after(end), got)
		if err != nil {
			t.Fatal(err)
		}
		p.Accept(got)
		if _, err := m.Countersigned(after(end), r.Seq, paid); err != nil {
			t.Fatal(err)
		}
		got.SignClient(domain, clientKey)
		kept = append(kept, got)
	}
	if !m.Settled() || !p.Done() || m.Due() != 50_000 || p.Due() != 50_000 {
		t.Errorf("due %d and %d", m.Due(), p.Due())
	}
	again, err := RestoreMeter(terms, kept[:2], 0)
	if err != nil || again.Due() != 40_000 {
		t.Fatalf("restored: %v, due %d", err, again.Due())
	}
	if f := again.Finish(after(30*second), souk.Digest{}, Usage{}); f.DeviceMilliseconds != 0 || f.CumulativeDue != 40_000 || f.PrevReceipt != kept[1].Digest(domain) {
		t.Errorf("final receipt %+v", f)
	}
	back, err := RestorePayer(terms, kept[:2])
	if err != nil || back.Due() != 40_000 || back.Paid() != p.Paid()-10_000 {
		t.Errorf("restored payer: %v, due %d, paid %d of %d", err, back.Due(), back.Paid(), p.Paid())
	}
	terms.Version = 2
	if _, err := RestorePayer(terms, kept[:1]); !errors.Is(err, ErrMalformed) {
		t.Errorf("under a lease of version 2: %v", err)
	}
}
