package payment

import (
	"errors"
	"math"
	"math/big"
	"reflect"
	"strings"
	"testing"

	"github.com/souk-market/souk"
	"pgregory.net/rapid"
)

func TestTariffValidate(t *testing.T) {
	line := func(unit string) Line { return Line{unit, 5, 1000} }
	many := make(Tariff, MaxLines+1)
	for i := range many {
		many[i] = line(UnitDeviceMs + "/" + strings.Repeat("A", i+1))
	}
	for _, tt := range []struct {
		name    string
		tariff  Tariff
		want    error  // nil and no unknown unit: it is valid
		unknown string // the unit that the error must name
	}{
		{"hourly", HourlyTariff(50_000), nil, ""},
		{"every unit", Tariff{line(UnitDeviceMs), line(UnitReservedMs), line(UnitRequest), line(UnitTokenIn), line(UnitTokenCached),
			line(UnitTokenOut), line(UnitEgressByte), line(UnitDiskGiBHour)}, nil, ""},
		{"two classes", Tariff{line("device-ms/CPU"), line("device-ms/RTX_4090")}, nil, ""},
		{"as many as there may be", many[:MaxLines], nil, ""},
		{"free", Tariff{{UnitDeviceMs, 0, 1}}, nil, ""},
		{"none", nil, ErrMalformed, ""},
		{"too many", many, ErrMalformed, ""},
		{"per 0", Tariff{{UnitDeviceMs, 5, 0}}, ErrMalformed, ""},
		{"a unit twice", Tariff{line(UnitRequest), line(UnitTokenIn), line(UnitRequest)}, ErrMalformed, ""},
		{"a long unit", Tariff{line("device-ms/" + strings.Repeat("A", 71))}, ErrMalformed, ""},
		{"a new unit", Tariff{line(UnitDeviceMs), line("photon")}, nil, "photon"},
		{"no unit", Tariff{line("")}, nil, ""},
		{"no class", Tariff{line("device-ms/")}, nil, "device-ms/"},
		{"a class with a line end", Tariff{line("device-ms/A\nB")}, nil, "device-ms/A\nB"},
	} {
		err := tt.tariff.Validate()
		var unit *UnitError
		unknown := errors.As(err, &unit)
		switch {
		case tt.name == "no unit":
			if !unknown || unit.Unit != "" {
				t.Errorf("%s: %v", tt.name, err)
			}
		case tt.unknown != "":
			if !unknown || unit.Unit != tt.unknown {
				t.Errorf("%s: %v, want one that names %q", tt.name, err, tt.unknown)
			}
		case unknown || !errors.Is(err, tt.want):
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
		got, err := TariffFromProto(tt.tariff.Proto())
		if err == nil && !reflect.DeepEqual(got, tt.tariff) || (err == nil) != (tt.tariff.Validate() == nil) {
			t.Errorf("%s: became %v, %v", tt.name, got, err)
		}
	}
}

func TestLinePrices(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := Line{UnitTokenOut, rapid.Uint64().Draw(t, "price"), rapid.Uint64Min(1).Draw(t, "per")}
		quantity := rapid.Uint64().Draw(t, "quantity")
		whole, rest := new(big.Int).QuoRem(new(big.Int).Mul(new(big.Int).SetUint64(quantity), new(big.Int).SetUint64(l.Price)),
			new(big.Int).SetUint64(l.Per), new(big.Int))
		due, err := l.Due(quantity)
		if fits := whole.IsInt64(); fits != (err == nil) || fits && int64(due) != whole.Int64() || err != nil && !errors.Is(err, souk.ErrOverflow) {
			t.Errorf("%+v.Due(%d) = %d, %v; exactly %s", l, quantity, due, err, whole)
		}
		if rest.Sign() > 0 {
			whole.Add(whole, big.NewInt(1))
		}
		most, err := l.Most(quantity)
		if fits := whole.IsInt64(); fits != (err == nil) || fits && int64(most) != whole.Int64() || err != nil && !errors.Is(err, souk.ErrOverflow) {
			t.Errorf("%+v.Most(%d) = %d, %v; rounded up %s", l, quantity, most, err, whole)
		}
		room := drawAtoms(t, "room")
		q := l.affords(room)
		if most, err := l.Most(q); l.Price > 0 && q < math.MaxUint64 && (err != nil || most > room) {
			t.Errorf("%+v affords %d of %d: they cost %d, %v", l, q, room, most, err)
		}
		if more, err := l.Most(q + 1); q < math.MaxUint64 && err == nil && more <= room {
			t.Errorf("%+v affords %d of %d: one more costs %d", l, q, room, more)
		}
	})
}

func TestHourly(t *testing.T) {
	for _, tt := range []struct {
		name   string
		tariff Tariff
		want   uint64
	}{
		{"as it was given", HourlyTariff(412_345), 412_345},
		{"by the second", Tariff{{UnitDeviceMs, 7, 1000}}, 25_200},
		{"the dearest class", Tariff{{"device-ms/A", 1, 3_600_000}, {"device-ms/B", 9, 3_600_000}}, 9},
		{"no device time", Tariff{{UnitRequest, 5, 1}}, 0},
		{"beyond numbers", Tariff{{UnitDeviceMs, math.MaxUint64, 1}}, math.MaxUint64},
	} {
		if got := tt.tariff.Hourly(); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}
