package payment

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/souk-market/souk"
)

// signedInterval is the first receipt of someTerms, as it arrives.
func signedInterval() Receipt {
	m := NewMeter(someTerms())
	m.Start(epoch)
	r, _ := m.Tick(after(10*second), Usage{})
	r.SignProvider(domain, providerKey)
	return *r
}

// use changes the device time of a receipt, and what it costs with it.
func use(r *Receipt, ms int64) {
	l := &r.Usage[0]
	l.Quantity += uint64(ms)
	l.Due += souk.Atoms(ms)
	r.CumulativeDue += souk.Atoms(ms)
}

func TestPayerRefuses(t *testing.T) {
	terms := someTerms()
	resign := func(change func(*Receipt)) func(*Receipt) {
		return func(r *Receipt) {
			change(r)
			r.SignProvider(domain, providerKey)
		}
	}
	late := 11 * second // when the receipt arrives; the lease was signed at -1 s
	for _, tt := range []struct {
		name   string
		at     time.Duration
		change func(*Receipt)
		want   Reason // empty: accepted
	}{
		{"good", late, func(*Receipt) {}, ""},
		{"another lease", late, resign(func(r *Receipt) { r.Lease.Digest[0]++ }), BadParties},
		{"another job", late, resign(func(r *Receipt) { r.Job.Digest[0]++ }), BadParties},
		{"another channel", late, resign(func(r *Receipt) { r.Channel.Digest[0]++ }), BadParties},
		{"another provider", late, resign(func(r *Receipt) { r.ProviderKey[0]++ }), BadParties},
		{"another client", late, resign(func(r *Receipt) { r.ClientKey[0]++ }), BadParties},
		{"another price", late, resign(func(r *Receipt) { r.Usage[0].Price++ }), BadParties},
		{"another unit", late, resign(func(r *Receipt) { r.Usage[0].Unit = UnitRequest }), BadParties},
		{"another divisor", late, resign(func(r *Receipt) { r.Usage[0].Per *= 2 }), BadParties},
		{"no usage", late, resign(func(r *Receipt) { r.Usage = nil }), BadParties},
		{"a line more", late, resign(func(r *Receipt) { r.Usage = append(r.Usage, r.Usage[0]) }), BadParties},
		{"version 1", late, resign(func(r *Receipt) {
			r.Version, r.Usage, r.DeviceMilliseconds, r.PriceAtomsPerHour = 1, nil, 20_000, souk.MillisPerHour
		}), BadParties},
		{"version 3", late, resign(func(r *Receipt) { r.Version = 3 }), BadParties},
		{"another input", late, resign(func(r *Receipt) { r.InputDigest[0]++ }), BadParties},
		{"seq 0", late, resign(func(r *Receipt) { r.Seq = 0 }), BadSequence},
		{"seq 2", late, resign(func(r *Receipt) { r.Seq = 2 }), BadSequence},
		{"a previous receipt", late, resign(func(r *Receipt) { r.PrevReceipt[0]++ }), BadChain},
		{"kind 3", late, resign(func(r *Receipt) { r.Kind = 3 }), BadForm},
		{"an output", late, resign(func(r *Receipt) { r.OutputDigest[0]++ }), BadForm},
		{"negative start", late, resign(func(r *Receipt) { r.StartMs = -1 }), BadTime},
		{"end before start", late, resign(func(r *Receipt) { r.EndMs = r.StartMs - 1 }), BadTime},
		{"in the future", -25 * second, func(*Receipt) {}, BadTime},
		{"longer than has passed", 6 * second, func(*Receipt) {}, BadTime}, // 7 s and the slack
		{"just within the slack", 7 * second, func(*Receipt) {}, ""},
		{"more than the devices", late, resign(func(r *Receipt) { use(r, 2) }), BadUsage},
		{"one device alone", late, resign(func(r *Receipt) { use(r, -1) }), BadUsage},
		{"cut short", late, resign(func(r *Receipt) { use(r, -2) }), BadUsage},
		{"one atom more", late, resign(func(r *Receipt) { r.CumulativeDue++ }), BadAmount},
		{"one atom less", late, resign(func(r *Receipt) { r.CumulativeDue-- }), BadAmount},
		{"a line over one atom more", late, resign(func(r *Receipt) { r.Usage[0].Due++ }), BadAmount},
		{"line and sum over one atom more", late, resign(func(r *Receipt) { r.Usage[0].Due++; r.CumulativeDue++ }), BadAmount},
		{"negative due", late, resign(func(r *Receipt) { r.CumulativeDue = -1 }), BadAmount},
		{"unsigned", late, func(r *Receipt) { r.ProviderSig = nil }, BadSignature},
		{"changed after signing", late, func(r *Receipt) { r.EnergyMillijoules++ }, BadSignature},
		{"signed by the client", late, func(r *Receipt) { r.SignClient(domain, clientKey); r.ProviderSig = r.ClientSig }, BadSignature},
		{"signed elsewhere", late, func(r *Receipt) {
			other := domain
			other.ChainID++
			r.SignProvider(other, providerKey)
		}, BadSignature},
		{"a final one cut short", late, resign(func(r *Receipt) { r.Kind = KindFinal; use(r, -2) }), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := NewPayer(terms)
			p.Start(after(-1 * second))
			r := signedInterval()
			r.ProviderSig = bytes.Clone(r.ProviderSig)
			tt.change(&r)
			for range 2 { // a check changes nothing
				_, err := p.Check(after(tt.at), r)
				var refused *ReceiptError
				if tt.want == "" && err != nil || tt.want != "" && (!errors.As(err, &refused) || refused.Reason != tt.want || refused.Seq != r.Seq) {
					t.Errorf("Check = %v, want %q", err, tt.want)
				}
			}
			if good := signedInterval(); p.Receipts() != 0 {
				t.Error("a check accepted a receipt")
			} else if _, err := p.Check(after(late), good); err != nil {
				t.Errorf("the good receipt after it: %v", err)
			}
		})
	}
}

func TestPayerLimits(t *testing.T) {
	terms := someTerms()
	terms.MaxDuration, terms.Reserve = 15*second, 29_000
	m := NewMeter(someTerms()) // a provider that knows no limits
	m.Start(epoch)
	r1, _ := m.Tick(after(10*second), Usage{})
	r1.SignProvider(domain, providerKey)
	for _, tt := range []struct {
		name   string
		end    time.Duration
		want   Reason
		change func(*Terms)
	}{
		{"within both", 14 * second, "", func(*Terms) {}},
		{"past the reserve", 14501 * time.Millisecond, BadAmount, func(*Terms) {}},
		{"past the duration", 15001 * time.Millisecond, BadUsage, func(t *Terms) { t.Reserve = 1 << 40 }},
	} {
		terms := terms
		tt.change(&terms)
		provider := *m
		p := NewPayer(terms)
		p.Start(epoch)
		if _, err := p.Check(after(10*second), *r1); err != nil {
			t.Fatal(err)
		}
		p.Accept(*r1)
		if _, err := provider.Countersigned(after(10*second), 1, 20_000); err != nil {
			t.Fatal(err)
		}
		f := provider.Finish(after(tt.end), souk.Digest{}, Usage{})
		f.SignProvider(domain, providerKey)
		_, err := p.Check(after(tt.end), f)
		var refused *ReceiptError
		if tt.want == "" && err != nil || tt.want != "" && (!errors.As(err, &refused) || refused.Reason != tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestPayerPays(t *testing.T) {
	terms := someTerms()
	terms.PayAhead, terms.Reserve = 4*second, 50_000
	m, p := NewMeter(terms), NewPayer(terms)
	m.Start(epoch)
	p.Start(epoch)
	if p.Paid() != 28_000 || m.Paid() != 28_000 {
		t.Errorf("at first: %d, %d", p.Paid(), m.Paid())
	}
	check := func(at time.Duration, r Receipt, want souk.Atoms) {
		t.Helper()
		r.SignProvider(domain, providerKey)
		for range 2 { // the second time it is a repetition
			got, err := p.Check(after(at), r)
			if got != want || err != nil {
				t.Errorf("at %s: Check = %d, %v; want %d", at, got, err, want)
			}
			p.Accept(r)
		}
		if _, err := m.Countersigned(after(at), r.Seq, want); err != nil {
			t.Error(err)
		}
	}
	r1, _ := m.Tick(after(10*second), Usage{})
	check(10*second, *r1, 28_000)
	r2, _ := m.Tick(after(20*second), Usage{})
	check(20*second, *r2, 48_000)
	r1.SignProvider(domain, providerKey)
	var refused *ReceiptError
	if _, err := p.Check(after(21*second), *r1); !errors.As(err, &refused) || refused.Reason != BadSequence {
		t.Errorf("an old receipt: %v", err)
	}
	f := m.Finish(after(22*second), souk.Digest{5}, Usage{})
	check(22*second, f, 44_000)
	if p.Paid() != 48_000 || p.Due() != 44_000 || p.Receipts() != 3 || !p.Done() || !m.Settled() {
		t.Errorf("paid %d, due %d, %d receipts, done %v, settled %v", p.Paid(), p.Due(), p.Receipts(), p.Done(), m.Settled())
	}
	// After the final receipt nothing is accepted, not even its continuation.
	f.Seq, f.PrevReceipt = 4, f.Digest(domain)
	f.SignProvider(domain, providerKey)
	if _, err := p.Check(after(23*second), f); !errors.As(err, &refused) || refused.Reason != BadSequence {
		t.Errorf("after the final receipt: %v", err)
	}
}

// TestTwoReceiptsForOneInterval: a provider that signs two versions of the same
// receipt gets one of them countersigned.
func TestTwoReceiptsForOneInterval(t *testing.T) {
	p := NewPayer(someTerms())
	p.Start(epoch)
	r := signedInterval()
	p.Accept(r)
	r.EnergyMillijoules++
	r.SignProvider(domain, providerKey)
	var refused *ReceiptError
	if _, err := p.Check(after(11*second), r); !errors.As(err, &refused) || refused.Reason != BadSequence {
		t.Errorf("Check = %v", err)
	}
}

func TestRestoredPayer(t *testing.T) {
	terms := someTerms()
	r1 := signedInterval()
	p, err := RestorePayer(terms, []Receipt{r1})
	if err != nil {
		t.Fatal(err)
	}
	p.Start(epoch)
	if got, err := p.Check(after(30*second), r1); got != 20_000 || err != nil {
		t.Errorf("the last receipt again: %d, %v", got, err)
	}
	m, err := RestoreMeter(terms, []Receipt{r1}, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := m.Finish(after(30*second), souk.Digest{}, Usage{})
	f.SignProvider(domain, providerKey)
	if got, err := p.Check(after(30*second), f); got != 20_000 || err != nil {
		t.Errorf("the final receipt: %d, %v", got, err)
	}
}

// TestPayerWithoutAStart believes the first receipt about its length, and none
// after it.
func TestPayerWithoutAStart(t *testing.T) {
	p := NewPayer(someTerms())
	m := NewMeter(someTerms())
	m.Start(epoch)
	r1, _ := m.Tick(after(10*second), Usage{})
	r1.SignProvider(domain, providerKey)
	if _, err := p.Check(after(10*second), *r1); err != nil {
		t.Fatal(err)
	}
	p.Accept(*r1)
	if _, err := m.Countersigned(after(10*second), 1, 20_000); err != nil {
		t.Fatal(err)
	}
	r2, _ := m.Tick(after(20*second), Usage{})
	r2.SignProvider(domain, providerKey)
	var refused *ReceiptError
	if _, err := p.Check(after(17*second), *r2); !errors.As(err, &refused) || refused.Reason != BadTime {
		t.Errorf("10 s in 7: %v", err)
	}
	if _, err := p.Check(after(18*second), *r2); err != nil {
		t.Errorf("10 s in 8 and the slack: %v", err)
	}
}
