package money

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
	leasev1 "github.com/souk-market/souk/proto/souk/lease/v1"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	"github.com/souk-market/souk/storage/files"
)

// Bounds on what a lease may say, whoever wrote it.
const (
	MinInterval   = 500 * time.Millisecond // between receipts: below it, signing costs more than it secures
	MaxInterval   = 10 * time.Minute
	MaxStart      = 30 * time.Minute // from the lease to the start: until then a device waits unpaid
	MaxMoney      = 1 << 50          // of a price, a reserve or a deposit: no sum of them overflows
	maxGrace      = 30 * time.Second
	maxHoldPaused = 10 * time.Minute
)

// LeaseTerms reads from a lease what metering needs, and refuses values out of
// range. Both sides use it, so that both meter the same. The error is a
// [*payment.UnitError] where the tariff has a unit that is not known.
func LeaseTerms(payload []byte, l *leasev1.Lease) (t payment.Terms, ch payment.Channel, err error) {
	if ch, err = payment.ChannelFromProto(l.Channel); err != nil {
		return t, ch, err
	}
	ms := func(v uint64) time.Duration { return time.Duration(min(v, 1<<40)) * time.Millisecond }
	t = payment.Terms{Lease: souk.LeaseID{Digest: sha256.Sum256(payload)}, Interval: ms(l.IntervalMs), Grace: ms(l.GraceMs), HoldPaused: ms(l.HoldPausedMs),
		MaxDuration: ms(l.MaxDurationMs), PayAhead: ms(l.PayAheadMs), Reserve: souk.Atoms(l.ReserveAtoms)}
	t.Domain = payment.EIP712Domain{ChainID: l.ChainId}
	if len(l.Settlement) != len(t.Domain.Settlement) || len(l.ProviderKey) != 32 || len(l.ClientKey) != 32 || len(l.Job) != 32 || len(l.Bid) != 32 {
		return t, ch, fmt.Errorf("an id, key or address has the wrong length")
	}
	t.Domain.Settlement = payment.Address(l.Settlement)
	t.Job = souk.JobID{Digest: souk.Digest(l.Job)}
	t.ProviderKey, t.ClientKey = souk.NodeKey(l.ProviderKey), souk.NodeKey(l.ClientKey)
	t.Channel = ch.ID(t.Domain)
	if len(l.InputDigest) != 0 {
		if t.InputDigest, err = souk.DigestFrom(l.InputDigest); err != nil {
			return t, ch, fmt.Errorf("input digest: %w", err)
		}
	}
	if err := readTariff(l, &t); err != nil {
		return t, ch, err
	}
	switch {
	case len(l.Devices) == 0 || len(l.Devices) > 64 || slices.Contains(l.Devices, ""):
		err = fmt.Errorf("%d devices", len(l.Devices))
	case t.Interval < MinInterval || t.Interval > MaxInterval:
		err = fmt.Errorf("interval %s, not %s to %s", t.Interval, MinInterval, MaxInterval)
	case t.Grace <= 0 || t.Grace > maxGrace:
		err = fmt.Errorf("grace %s, not up to %s", t.Grace, maxGrace)
	case t.HoldPaused < 0 || t.HoldPaused > maxHoldPaused:
		err = fmt.Errorf("hold %s, not up to %s", t.HoldPaused, maxHoldPaused)
	case t.MaxDuration <= 0:
		err = fmt.Errorf("no duration")
	case t.Reserve <= 0 || l.ReserveAtoms > MaxMoney:
		err = fmt.Errorf("reserve %d out of range", l.ReserveAtoms)
	case !slices.ContainsFunc(t.Tariff, func(l payment.Line) bool { return l.Price > 0 }):
		err = fmt.Errorf("no price")
	case slices.ContainsFunc(t.Tariff, func(l payment.Line) bool { return l.Price > MaxMoney }):
		err = fmt.Errorf("price out of range")
	case t.PayAhead < 0 || t.PayAhead > MaxInterval:
		err = fmt.Errorf("pay ahead %s, not up to %s", t.PayAhead, MaxInterval)
	default:
		err = t.Validate()
	}
	return t, ch, err
}

// readTariff reads what a lease costs and which devices it holds, by class. A
// lease of version 1 has neither tariff nor classes: its devices cost
// price_atoms_per_hour, and its receipts are of version 1.
func readTariff(l *leasev1.Lease, t *payment.Terms) (err error) {
	switch {
	case l.Version > 2:
		return fmt.Errorf("version %d is not known", l.Version)
	case l.Version < 2 && len(l.Tariff)+len(l.Groups) > 0:
		return fmt.Errorf("a tariff or classes in version %d", l.Version)
	case l.Version < 2:
		t.Version, t.Tariff = 1, payment.HourlyTariff(l.PriceAtomsPerHour)
	default:
		t.Version = 2
		if t.Tariff, err = payment.TariffFromProto(l.Tariff); err != nil {
			return err
		}
	}
	if len(l.Groups) == 0 {
		t.Devices = []payment.ClassCount{{Count: len(l.Devices)}}
		return nil
	}
	var grouped []string
	for _, g := range l.Groups {
		t.Devices = append(t.Devices, payment.ClassCount{Class: g.GetClass(), Count: len(g.GetDevices())})
		grouped = append(grouped, g.GetDevices()...)
	}
	slices.Sort(grouped)
	if all := slices.Sorted(slices.Values(l.Devices)); !slices.Equal(grouped, all) || len(slices.Compact(all)) != len(grouped) {
		return fmt.Errorf("the classes do not hold each device once")
	}
	return nil
}

// BidTariff is what a bid asks for the work: its lines, or device time alone at
// its price by the hour.
func BidTariff(bid *marketv1.Bid) (payment.Tariff, error) {
	if len(bid.Tariff) == 0 {
		return payment.HourlyTariff(bid.PriceAtomsPerHour), nil
	}
	return payment.TariffFromProto(bid.Tariff)
}

// InputDigest is the digest that stands for a job's inputs in its receipts.
func InputDigest(cid string) (souk.Digest, error) {
	if cid == "" {
		return souk.Digest{}, nil
	}
	return files.DigestOf(cid)
}

// FundsError says that the wallet is short of what a channel needs.
type FundsError struct{ Need, Have souk.Atoms }

// ErrorCode is [souk.CodeExhausted].
func (e *FundsError) ErrorCode() souk.Code { return souk.CodeExhausted }

func (e *FundsError) Error() string {
	return fmt.Sprintf("the deposit needs %s tokens and the wallet has %s", e.Need, e.Have)
}
