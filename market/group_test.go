package market

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
)

// mixedOrder wants three devices of two classes.
func mixedOrder() *marketv1.Order {
	m := goodOrder()
	m.Version, m.Resources.GpuCount, m.Resources.Mixed, m.MustUnderstand = Version, 3, true, []string{ExtensionMixed}
	return m
}

// mixedBid bids two devices of one class and one of another.
func mixedBid(o Order) *marketv1.Bid {
	m := goodBid(o)
	m.Version, m.MustUnderstand, m.Devices = Version, []string{ExtensionMixed}, []string{"GPU-1", "GPU-2", "GPU-3"}
	m.Groups = []*marketv1.BidGroup{{Class: "RTX_4090", Devices: []string{"GPU-1", "GPU-2"}}, {Class: "L40S", Devices: []string{"GPU-3"}}}
	m.Tariff = Quote(Part{"RTX_4090", 2, 300_000, nil}, Part{"L40S", 1, 450_000, nil}).Proto()
	return m
}

func TestMixedBid(t *testing.T) {
	order := openedOrder(t, mixedOrder())
	const malformed = "malformed: the provider cannot act on the message (the bid's groups are not its devices)"
	const unpriced = "malformed: the provider cannot act on the message (the bid's tariff does not price the classes of its groups)"
	for _, tt := range []struct {
		name   string
		change func(*marketv1.Bid)
		want   string // of the refusal; empty: it opens
	}{
		{"good", func(*marketv1.Bid) {}, ""},
		{"of one class", func(m *marketv1.Bid) { m.Groups, m.Tariff = nil, payment.HourlyTariff(450_000).Proto() }, ""},
		{"a line for all", func(m *marketv1.Bid) { m.Tariff = append(m.Tariff, tariffLine("reserved-ms", 1, 3600)) }, ""},
		{"one group", func(m *marketv1.Bid) {
			m.Groups, m.Tariff = []*marketv1.BidGroup{{Class: "RTX_4090", Devices: m.Devices}}, payment.HourlyTariff(450_000).Proto()
		}, malformed},
		{"a device in no group", func(m *marketv1.Bid) { m.Groups[1].Devices = []string{"GPU-4"} }, malformed},
		{"a device in two groups", func(m *marketv1.Bid) { m.Groups[1].Devices = []string{"GPU-2", "GPU-3"} }, malformed},
		{"an empty group", func(m *marketv1.Bid) {
			m.Groups[0].Devices, m.Groups[1].Devices = m.Devices, nil
		}, malformed},
		{"a class twice", func(m *marketv1.Bid) { m.Groups[1].Class = "RTX_4090" }, malformed},
		{"another first class", func(m *marketv1.Bid) { m.Class = "L40S" }, malformed},
		{"no class", func(m *marketv1.Bid) { m.Groups[1].Class = "" }, malformed},
		{"too many groups", func(m *marketv1.Bid) {
			m.Devices, m.Groups = nil, nil
			for i := range MaxClasses + 1 {
				id := string(rune('A' + i))
				m.Devices, m.Groups = append(m.Devices, id), append(m.Groups, &marketv1.BidGroup{Class: id, Devices: []string{id}})
			}
			m.Class = "A"
		}, malformed},
		{"fewer devices than ordered", func(m *marketv1.Bid) { m.Devices, m.Groups[0].Devices = m.Devices[1:], m.Devices[1:2] },
			"device: 1 device of the kind missing (the bid has 2 devices, the order wants 3)"},
		{"more devices than ordered", func(m *marketv1.Bid) {
			m.Devices, m.Groups[1].Devices = append(m.Devices, "GPU-4"), []string{"GPU-3", "GPU-4"}
		}, "device: 1 device of the kind missing (the bid has 4 devices, the order wants 3)"},
		{"a class that was not asked for", func(m *marketv1.Bid) { m.Groups[1].Class = "H100" },
			"device: 1 device of the kind missing (the bid has class H100, which the order does not accept)"},
		{"the processor", func(m *marketv1.Bid) { m.Groups[1].Class = CPUClass },
			"device: 1 device of the kind missing (the bid has class CPU, which the order does not accept)"},
		{"a class without a price", func(m *marketv1.Bid) { m.Tariff, m.PriceAtomsPerHour = m.Tariff[:1], 300_000 }, unpriced},
		{"one price for all", func(m *marketv1.Bid) { m.Tariff = payment.HourlyTariff(450_000).Proto() }, unpriced},
		{"a price of another class", func(m *marketv1.Bid) { m.Tariff[1].Unit = "device-ms/H100" }, unpriced},
		{"classes in the price of one", func(m *marketv1.Bid) { m.Groups = nil }, unpriced},
		{"needs more", func(m *marketv1.Bid) { m.MustUnderstand = append(m.MustUnderstand, "warp") }, "unsupported: warp"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := mixedBid(order)
			tt.change(m)
			b, err := OpenBid(seal(t, 2, souk.DomainBid, m), start, order)
			if tt.want == "" {
				if err != nil || b.Classes()[0].Count+len(b.Groups)/2 != 3 {
					t.Errorf("opened %v, %v", b, err)
				}
				return
			}
			if r, ok := errors.AsType[*Refusal](err); !ok || r.Error() != tt.want {
				t.Errorf("opened with %v; want %s", err, tt.want)
			}
		})
	}
	plain := mixedOrder()
	plain.Resources.Mixed, plain.MustUnderstand = false, nil
	other := openedOrder(t, plain)
	_, err := OpenBid(seal(t, 2, souk.DomainBid, mixedBid(other)), start, other)
	if r, ok := errors.AsType[*Refusal](err); !ok || r.Error() != "device: 3 devices of the kind missing (the bid has devices of 2 classes, the order wants one)" {
		t.Errorf("several classes for an order that wants one: %v", err)
	}
	old := mixedBid(order)
	old.Version, old.Tariff = 1, nil
	if _, err := OpenBid(seal(t, 2, souk.DomainBid, old), start, order); err == nil {
		t.Error("groups in version 1")
	}
}

// TestBidHoldsToOffers holds bids to what their provider posted, class by class.
func TestBidHoldsToOffers(t *testing.T) {
	order := openedOrder(t, mixedOrder())
	offer := func(class string, price uint64, lines ...*marketv1.TariffLine) *Offer {
		return offerOf(t, 2, func(m *marketv1.Offer) {
			m.Class, m.PriceAtomsPerHour = class, price
			if len(lines) > 0 {
				m.Tariff = append(payment.HourlyTariff(price).Proto(), lines...)
			}
		})
	}
	held := tariffLine("reserved-ms", 60_000, souk.MillisPerHour)
	for _, tt := range []struct {
		name   string
		offers []*Offer
		change func(*marketv1.Bid)
		want   string
	}{
		{"as posted", []*Offer{offer("L40S", 450_000), offer("RTX_4090", 300_000)}, nil, ""},
		{"below", []*Offer{offer("L40S", 450_001), offer("RTX_4090", 300_001), offer("H100", 1)}, nil, ""},
		{"a class above", []*Offer{offer("L40S", 900_000), offer("RTX_4090", 299_999)}, nil, "bid of 0.3 above the posted 0.299999"},
		{"a class that was not offered", []*Offer{offer("RTX_4090", 300_000)}, nil,
			"device: 1 device of the kind missing (the bid has class L40S, which was not offered)"},
		{"a line as posted", []*Offer{offer("L40S", 450_000, held), offer("RTX_4090", 300_000)}, func(m *marketv1.Bid) { m.Tariff = append(m.Tariff, held) }, ""},
		{"a line that was not posted", []*Offer{offer("L40S", 450_000), offer("RTX_4090", 300_000)}, func(m *marketv1.Bid) { m.Tariff = append(m.Tariff, held) },
			"by the bid the job costs 1.23, by the offer 1.05"},
		{"one class of several", []*Offer{offer("L40S", 450_000), offer("RTX_4090", 300_000)}, func(m *marketv1.Bid) {
			m.Groups, m.Tariff = nil, payment.HourlyTariff(450_000).Proto()
		}, "bid of 0.45 above the posted 0.3"},
		{"one class, one offer", []*Offer{offer("H100", 450_000)}, func(m *marketv1.Bid) {
			m.Groups, m.Tariff = nil, payment.HourlyTariff(450_000).Proto()
		}, ""},
	} {
		m := mixedBid(order)
		if tt.change != nil {
			tt.change(m)
		}
		b, err := OpenBid(seal(t, 2, souk.DomainBid, m), start, order)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if err := b.HoldsTo(tt.offers, souk.MillisPerHour); err == nil && tt.want != "" || err != nil && err.Error() != tt.want {
			t.Errorf("%s: %v; want %q", tt.name, err, tt.want)
		}
	}
	b, err := OpenBid(seal(t, 2, souk.DomainBid, mixedBid(order)), start, order)
	if err != nil || b.Cost(souk.MillisPerHour) != 1_050_000 || !slices.Equal(b.Classes(), []payment.ClassCount{{Class: "RTX_4090", Count: 2}, {Class: "L40S", Count: 1}}) {
		t.Errorf("a bid of %v, %v", b.Classes(), err)
	}
}

// TestMixedIsAnnounced: whoever does not know that devices may be of several classes
// hears so by name, in orders, leases and jobs, and finds it in no field alone.
func TestMixedIsAnnounced(t *testing.T) {
	m := mixedOrder()
	if got := OrderExtensions(m); !slices.Equal(got, m.MustUnderstand) {
		t.Errorf("an order uses %q", got)
	}
	if !slices.Contains(Extensions(), ExtensionMixed) || strings.Contains(strings.Join(ComingExtensions(), " "), ExtensionMixed) {
		t.Error("mixed is not understood")
	}
	o := offerOf(t, 2, func(m *marketv1.Offer) { m.Extensions = []string{"warp", ExtensionMixed} })
	if !slices.Equal(o.Extensions, []string{ExtensionMixed}) {
		t.Errorf("an offer announces %q", o.Extensions)
	}
}
