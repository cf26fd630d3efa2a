package node

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
	leasev1 "github.com/souk-market/souk/proto/souk/lease/v1"
	"github.com/souk-market/souk/storage/files"
)

// leaseTerms reads from a lease what metering needs, and refuses values out of
// range. Both sides use it, so that both meter the same.
func leaseTerms(payload []byte, l *leasev1.Lease) (t payment.Terms, ch payment.Channel, err error) {
	if ch, err = payment.ChannelFromProto(l.Channel); err != nil {
		return t, ch, err
	}
	ms := func(v uint64) time.Duration { return time.Duration(min(v, 1<<40)) * time.Millisecond }
	t = payment.Terms{Lease: souk.LeaseID{Digest: sha256.Sum256(payload)}, PriceAtomsPerHour: l.PriceAtomsPerHour,
		Devices: len(l.Devices), Interval: ms(l.IntervalMs), Grace: ms(l.GraceMs), HoldPaused: ms(l.HoldPausedMs),
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
	switch {
	case t.Devices == 0 || t.Devices > 64 || slices.Contains(l.Devices, ""):
		err = fmt.Errorf("%d devices", t.Devices)
	case t.Interval < minInterval || t.Interval > maxInterval:
		err = fmt.Errorf("interval %s, not %s to %s", t.Interval, minInterval, maxInterval)
	case t.Grace <= 0 || t.Grace > maxGrace:
		err = fmt.Errorf("grace %s, not up to %s", t.Grace, maxGrace)
	case t.HoldPaused < 0 || t.HoldPaused > maxHoldPaused:
		err = fmt.Errorf("hold %s, not up to %s", t.HoldPaused, maxHoldPaused)
	case t.MaxDuration <= 0:
		err = fmt.Errorf("no duration")
	case t.Reserve <= 0 || l.ReserveAtoms > maxMoney || l.PriceAtomsPerHour == 0 || l.PriceAtomsPerHour > maxMoney:
		err = fmt.Errorf("price %d or reserve %d out of range", l.PriceAtomsPerHour, l.ReserveAtoms)
	case t.PayAhead < 0 || t.PayAhead > maxInterval:
		err = fmt.Errorf("pay ahead %s, not up to %s", t.PayAhead, maxInterval)
	default:
		err = t.Validate()
	}
	return t, ch, err
}

// inputDigest is the digest that stands for a job's inputs in its receipts.
func inputDigest(cid string) (souk.Digest, error) {
	if cid == "" {
		return souk.Digest{}, nil
	}
	return files.DigestOf(cid)
}
