package money_test

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"github.com/souk-market/souk/node/money"
	"github.com/souk-market/souk/payment"
	leasev1 "github.com/souk-market/souk/proto/souk/lease/v1"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	"google.golang.org/protobuf/proto"
)

// OldLease is one from before tariffs.
func OldLease() *leasev1.Lease {
	address, id := bytes.Repeat([]byte{1}, 20), make([]byte, 32)
	return &leasev1.Lease{Job: id, Bid: id, ProviderKey: id, ClientKey: id, Devices: []string{"a1", "b1", "a2"}, PriceAtomsPerHour: 360_000, IntervalMs: 5000,
		GraceMs: 2000, HoldPausedMs: 30_000, MaxDurationMs: 600_000, ReserveAtoms: 60_000, ChainId: 1337, Settlement: address,
		Channel: &leasev1.Channel{Payer: address, PayerAuthorizer: address, Receiver: address, ReceiverAuthorizer: address, Token: address,
			WithdrawDelayS: 86_400, Salt: make([]byte, 32)}}
}

// Group is a class with devices.
func Group(class string, devices ...string) *leasev1.DeviceGroup {
	return &leasev1.DeviceGroup{Class: class, Devices: devices}
}

// TestLeaseTariff reads what leases of both versions cost.
func TestLeaseTariff(t *testing.T) {
	hourly := payment.HourlyTariff(360_000)
	byClass := payment.Tariff{{Unit: "device-ms/A", Price: 1, Per: 1}, {Unit: "device-ms/B", Price: 2, Per: 1}}
	for _, tt := range []struct {
		Name    string
		Change  func(*leasev1.Lease)
		Version int // of the receipts; 0: the lease is refused
		Tariff  payment.Tariff
		Devices []payment.ClassCount
	}{
		{"of no version", func(*leasev1.Lease) {}, 1, hourly, []payment.ClassCount{{Count: 3}}},
		{"of version 1", func(l *leasev1.Lease) { l.Version = 1 }, 1, hourly, []payment.ClassCount{{Count: 3}}},
		{"free, of version 1", func(l *leasev1.Lease) { l.PriceAtomsPerHour = 0 }, 0, nil, nil},
		{"of version 1 with a tariff", func(l *leasev1.Lease) { l.Tariff = hourly.Proto() }, 0, nil, nil},
		{"of version 1 with classes", func(l *leasev1.Lease) { l.Groups = []*leasev1.DeviceGroup{Group("A", "a1", "a2", "b1")} }, 0, nil, nil},
		{"of version 2", func(l *leasev1.Lease) { l.Version, l.Tariff, l.PriceAtomsPerHour = 2, hourly.Proto(), 7 }, 2, hourly, []payment.ClassCount{{Count: 3}}},
		{"of version 2 without a tariff", func(l *leasev1.Lease) { l.Version = 2 }, 0, nil, nil},
		{"free, of version 2", func(l *leasev1.Lease) { l.Version, l.Tariff = 2, payment.HourlyTariff(0).Proto() }, 0, nil, nil},
		{"dearer than money", func(l *leasev1.Lease) { l.Version, l.Tariff = 2, payment.HourlyTariff(1<<50+1).Proto() }, 0, nil, nil},
		{"of version 3", func(l *leasev1.Lease) { l.Version, l.Tariff = 3, hourly.Proto() }, 0, nil, nil},
		{"of two classes", func(l *leasev1.Lease) {
			l.Version, l.Tariff, l.Groups = 2, byClass.Proto(), []*leasev1.DeviceGroup{Group("A", "a1", "a2"), Group("B", "b1")}
		}, 2, byClass, []payment.ClassCount{{Class: "A", Count: 2}, {Class: "B", Count: 1}}},
		{"of two classes with a device missing", func(l *leasev1.Lease) {
			l.Version, l.Tariff, l.Groups = 2, byClass.Proto(), []*leasev1.DeviceGroup{Group("A", "a1"), Group("B", "b1")}
		}, 0, nil, nil},
		{"of two classes with a device twice", func(l *leasev1.Lease) {
			l.Version, l.Tariff, l.Groups = 2, byClass.Proto(), []*leasev1.DeviceGroup{Group("A", "a1", "a1"), Group("B", "b1")}
		}, 0, nil, nil},
		{"of two classes with one line", func(l *leasev1.Lease) {
			l.Version, l.Tariff, l.Groups = 2, hourly.Proto(), []*leasev1.DeviceGroup{Group("A", "a1", "a2"), Group("B", "b1")}
		}, 0, nil, nil},
	} {
		l := OldLease()
		tt.Change(l)
		payload, err := proto.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		terms, _, err := money.LeaseTerms(payload, l)
		switch {
		case tt.Version == 0:
			if err == nil {
				t.Errorf("a lease %s: read as %+v", tt.Name, terms)
			}
		case err != nil || terms.Version != tt.Version || !reflect.DeepEqual(terms.Tariff, tt.Tariff) || !reflect.DeepEqual(terms.Devices, tt.Devices):
			t.Errorf("a lease %s: %+v, %v", tt.Name, terms, err)
		}
	}
	l := OldLease()
	l.Version, l.Tariff = 2, []*marketv1.TariffLine{{Unit: "photon", PriceAtoms: 1, Per: 1}}
	_, _, err := money.LeaseTerms(nil, l)
	if unknown, ok := errors.AsType[*payment.UnitError](err); !ok || unknown.Unit != "photon" {
		t.Errorf("a unit of later: %v", err)
	}
}
