package market

import (
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
)

func tariffLine(unit string, price, per uint64) *marketv1.TariffLine {
	return &marketv1.TariffLine{Unit: unit, PriceAtoms: price, Per: per}
}

func TestOfferTariff(t *testing.T) {
	hour := tariffLine("device-ms", 400_000, souk.MillisPerHour)
	for _, tt := range []struct {
		name   string
		lines  []*marketv1.TariffLine
		reason Reason
	}{
		{"none", nil, ""},
		{"the price by the hour", []*marketv1.TariffLine{hour}, ""},
		{"the same in another way", []*marketv1.TariffLine{tariffLine("device-ms", 4, 36)}, ""},
		{"more lines", []*marketv1.TariffLine{hour, tariffLine("token-out", 3, 1000), tariffLine("egress-byte", 90_000, 1e9)}, ""},
		{"without device time", []*marketv1.TariffLine{tariffLine("token-out", 3, 1000)}, ""},
		{"a unit of a later version", []*marketv1.TariffLine{hour, tariffLine("kilowatt-hour/peak", 5, 1)}, ""},
		{"another price by the hour", []*marketv1.TariffLine{tariffLine("device-ms", 400_001, souk.MillisPerHour)}, Malformed},
		{"per nothing", []*marketv1.TariffLine{hour, tariffLine("request", 1, 0)}, Malformed},
		{"a unit twice", []*marketv1.TariffLine{hour, tariffLine("request", 1, 1), tariffLine("request", 2, 1)}, Malformed},
		{"no unit", []*marketv1.TariffLine{tariffLine("", 1, 1)}, Malformed},
		{"a unit that moves the cursor", []*marketv1.TariffLine{tariffLine("\x1b[2J", 1, 1)}, Malformed},
		{"more lines than this version takes", func() (all []*marketv1.TariffLine) {
			for c := range payment.MaxLines + 1 {
				all = append(all, tariffLine("unit-"+string(rune('a'+c)), 1, 1))
			}
			return all
		}(), Newer},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := goodOffer()
			m.Tariff = tt.lines
			o, err := OpenOffer(seal(t, 2, souk.DomainOffer, m), start)
			wantReject(t, err, tt.reason, "")
			if err == nil && len(o.Lines()) != max(1, len(tt.lines)) {
				t.Errorf("asks by %v", o.Lines())
			}
		})
	}
}

// TestBidTariff reads bids of both versions: in the second the tariff alone is the price.
func TestBidTariff(t *testing.T) {
	m := goodOrder()
	m.Version = Version
	order := openedOrder(t, m)
	hour := payment.HourlyTariff(450_000).Proto()
	for _, tt := range []struct {
		name    string
		version uint32
		lines   []*marketv1.TariffLine
		want    string // of the error; empty: it opens
	}{
		{"the first version", 1, nil, ""},
		{"the first version with a tariff", 1, hour, "malformed: tariff"},
		{"the second", 2, hour, ""},
		{"with more lines", 2, append(slices.Clone(hour), tariffLine("reserved-ms", 1, 3600)), ""},
		{"without any", 2, nil, "malformed: tariff: 0 lines, not 1 to 16: malformed message"},
		{"another price by the hour", 2, payment.HourlyTariff(449_999).Proto(), "malformed: tariff"},
		{"units of a later version", 2, append(slices.Clone(hour), tariffLine("kilowatt-hour", 1, 1), tariffLine("parsec", 1, 1)), "unsupported: kilowatt-hour, parsec"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := goodBid(order)
			b.Version, b.Tariff = tt.version, tt.lines
			got, err := OpenBid(seal(t, 2, souk.DomainBid, b), start, order)
			if err == nil && tt.want == "" && got.Lines.Hourly() == 450_000 {
				return
			}
			if err == nil || err.Error() != tt.want {
				t.Errorf("opened with %v; want %q", err, tt.want)
			}
		})
	}
}

func TestUsageCost(t *testing.T) {
	two := &marketv1.Resources{GpuCount: 2}
	u := append(UsageOf(two, 1_800_000), Quantity{"token-out", 1500})
	for _, tt := range []struct {
		name string
		t    payment.Tariff
		want souk.Atoms
	}{
		{"device time", payment.HourlyTariff(400_000), 400_000},
		{"reserved time and tokens", payment.Tariff{{Unit: "device-ms", Price: 1, Per: 36}, {Unit: "reserved-ms", Price: 1, Per: 3600}, {Unit: "token-out", Price: 3, Per: 1000}}, 100_000 + 1000 + 4},
		{"what is not expected", payment.Tariff{{Unit: "egress-byte", Price: 5, Per: 1}}, 0},
		{"past the range of atoms", payment.Tariff{{Unit: "device-ms", Price: math.MaxUint64, Per: 1}, {Unit: "reserved-ms", Price: 1, Per: 1}}, math.MaxInt64},
	} {
		if got := u.Cost(tt.t); got != tt.want {
			t.Errorf("%s: %d atoms; want %d", tt.name, got, tt.want)
		}
	}
	if got := UsageOf(two, math.MaxUint64).Of("device-ms"); got != math.MaxUint64 {
		t.Errorf("two devices for ever use %d ms", got)
	}
	if got := UsageOf(&marketv1.Resources{}, 7).Of("device-ms"); got != 7 {
		t.Errorf("the processor for 7 ms uses %d", got)
	}
}

// TestMatchByCost puts dear lines beside a low price by the hour: an order by price
// sees through it if it says what it expects, with and without a limit.
func TestMatchByCost(t *testing.T) {
	b := NewBook(Config{})
	for i := range 200 {
		o := offerOf(t, byte(i), func(m *marketv1.Offer) {
			m.PriceAtomsPerHour = 100_000 + uint64(i)
			if i < 50 { // the cheapest by the hour
				m.Tariff = []*marketv1.TariffLine{tariffLine("device-ms", m.PriceAtomsPerHour, souk.MillisPerHour), tariffLine("reserved-ms", 50_000-uint64(i), souk.MillisPerHour)}
			}
		})
		if _, err := b.Load(start, o); err != nil {
			t.Fatal(err)
		}
	}
	for _, limit := range []int{0, 1, 16, 199} {
		q := mustParse(t, "model=RTX_4090 order=price,-score")
		q.Limit = limit
		if got := b.Match(start, q)[0].PriceAtomsPerHour; got != 100_000 {
			t.Errorf("limit %d: by the hour the first is at %d", limit, got)
		}
		q.Usage = UsageOf(&marketv1.Resources{GpuCount: 1}, 600_000)
		if got := b.Match(start, q)[0].PriceAtomsPerHour; got != 100_050 {
			t.Errorf("limit %d: by cost the first is at %d", limit, got)
		}
	}
	var unit *Refusal
	if r := UnderstandUnits(payment.Tariff{{Unit: "device-ms"}, {Unit: "parsec"}}); !errors.As(error(r), &unit) || unit.Error() != "unsupported: parsec" {
		t.Errorf("an unknown unit: %v", r)
	}
}
