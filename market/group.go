package market

import (
	"fmt"
	"slices"
	"strings"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
)

// Classes counts the devices of a bid as the terms of a lease on it do: a single
// class has no name there.
func (b *Bid) Classes() []payment.ClassCount { return classesOf(b.Parts()) }

// Cost is what so many milliseconds on the devices of a bid are expected to cost.
func (b *Bid) Cost(durationMs uint64) souk.Atoms {
	return UsageOn(b.Classes(), durationMs).Cost(b.Lines)
}

// HoldsTo refuses a bid that asks more than its provider's offers, of which there is
// at least one: for the time of any device, or for so many milliseconds on all of
// them. A single offer counts for a bid of one class, several for their classes; a
// class without an offer is refused as a *[Refusal].
func (b *Bid) HoldsTo(offers []*Offer, durationMs uint64) error {
	posted, parts := offers[0].Lines(), []Part(nil)
	for _, g := range b.groups() {
		o := offers[0]
		if len(offers) > 1 || len(b.Groups) > 0 {
			if o = offerOfClass(offers, g.GetClass()); o == nil {
				return wrongDevices(len(g.GetDevices()), "the bid has class %s, which was not offered", g.GetClass())
			}
			parts = append(parts, o.part(len(g.GetDevices())))
		}
		if asked := b.hourly(g.GetClass()); asked > o.PriceAtomsPerHour {
			return fmt.Errorf("bid of %s above the posted %s", souk.Atoms(asked), souk.Atoms(o.PriceAtomsPerHour))
		}
	}
	if len(parts) > 0 {
		posted = Quote(parts...)
	}
	expected := UsageOn(b.Classes(), durationMs)
	if asked, most := expected.Cost(b.Lines), expected.Cost(posted); asked > most {
		return fmt.Errorf("by the bid the job costs %s, by the offer %s", asked, most)
	}
	return nil
}

// hourly is what a bid asks for one device of a class for one hour.
func (b *Bid) hourly(class string) uint64 {
	if len(b.Groups) == 0 {
		return b.PriceAtomsPerHour
	}
	for _, l := range b.Lines {
		if l.Unit == payment.UnitDeviceMs+"/"+class {
			return payment.Tariff{l}.Hourly()
		}
	}
	return 0 // refused before
}

// Parts are the devices of a bid by class, also where it has only one. Lines beside
// device time are left out: they are priced for all devices together.
func (b *Bid) Parts() []Part {
	var parts []Part
	for _, g := range b.groups() {
		parts = append(parts, Part{Class: g.GetClass(), Count: len(g.GetDevices()), Price: b.hourly(g.GetClass())})
	}
	return parts
}

// groups are the devices of a bid by class, also where it has only one.
func (b *Bid) groups() []*marketv1.BidGroup {
	if len(b.Groups) == 0 {
		return []*marketv1.BidGroup{{Class: b.Class, Devices: b.Devices}}
	}
	return b.Groups
}

// wrongDevices refuses a bid for devices that were not asked for, of which it has
// so many.
func wrongDevices(n int, format string, args ...any) *Refusal {
	return &Refusal{Reason: marketv1.DeclineReason_DECLINE_REASON_DEVICE, Shortfall: uint64(n), Detail: fmt.Sprintf(format, args...)}
}

// refuseGroups refuses a bid whose groups are not its devices, or not what the
// order asks for, and one whose tariff prices other classes.
func refuseGroups(m *marketv1.Bid, t payment.Tariff, o Order) *Refusal {
	var classes []string
	var devices []string
	for _, g := range m.Groups[:min(len(m.Groups), MaxClasses+1)] {
		classes, devices = append(classes, g.GetClass()), append(devices, g.GetDevices()...)
	}
	malformed := &Refusal{Reason: marketv1.DeclineReason_DECLINE_REASON_MALFORMED, Detail: "the bid's groups are not its devices"}
	switch r := o.Resources; {
	case len(classes) == 0:
	case m.Version < 2 || len(classes) == 1 || len(classes) > MaxClasses || classes[0] != m.Class || !slices.Equal(devices, m.Devices):
		return malformed
	case !r.GetMixed():
		return wrongDevices(len(devices), "the bid has devices of %d classes, the order wants one", len(classes))
	case len(devices) != Devices(r):
		return wrongDevices(max(len(devices), Devices(r))-min(len(devices), Devices(r)), "the bid has %d devices, the order wants %d", len(devices), Devices(r))
	default:
		for i, class := range classes {
			n := len(m.Groups[i].GetDevices())
			if n == 0 || !isClass(class) || slices.Contains(classes[:i], class) {
				return malformed
			}
			if !AcceptsClass(r, class) {
				return wrongDevices(n, "the bid has class %s, which the order does not accept", class)
			}
		}
	}
	if !pricesClasses(t, classes) {
		return &Refusal{Reason: marketv1.DeclineReason_DECLINE_REASON_MALFORMED, Detail: "the bid's tariff does not price the classes of its groups"}
	}
	return nil
}

// pricesClasses tells whether a tariff prices the device time of these classes, each
// for itself and no other; without any, of all devices alike.
func pricesClasses(t payment.Tariff, classes []string) bool {
	priced := 0
	for _, l := range t {
		class, ok := strings.CutPrefix(l.Unit, payment.UnitDeviceMs+"/")
		switch {
		case ok && !slices.Contains(classes, class), l.Unit == payment.UnitDeviceMs && len(classes) > 0:
			return false
		case ok:
			priced++
		}
	}
	return priced == len(classes)
}
