package market

import (
	"bytes"
	"math"
	"time"

	"github.com/souk-market/souk"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
)

// Offer is a standing offer whose signature and fields were checked.
type Offer struct {
	*marketv1.Offer
	Provider souk.NodeKey // who signed it
	Issued   time.Time
	Expires  time.Time
	Envelope []byte // as it travelled, so that it can be passed on
}

// OpenOffer checks the envelope of an offer: size, signature, bounds of every
// field, and that it is neither over nor signed further ahead than [Skew]. The
// error is a *[RejectError]. The offer keeps a copy of envelope.
func OpenOffer(envelope []byte, now time.Time) (*Offer, error) {
	m := new(marketv1.Offer)
	signer, _, err := open(souk.DomainOffer, envelope, MaxOfferBytes, m)
	if err != nil {
		return nil, err
	}
	var c checker
	c.offer(m)
	if err := c.result(); err != nil {
		return nil, err
	}
	o := &Offer{Offer: m, Provider: signer, Issued: at(m.IssuedMs), Expires: at(m.ExpiresMs)}
	if ahead := o.Issued.Sub(now); ahead > Skew {
		return nil, reject(Future, "issued %s ahead", ahead)
	}
	if !now.Before(o.Expires) {
		return nil, reject(Expired, "%s ago", now.Sub(o.Expires))
	}
	m.Extensions = understoodOf(m.Extensions) // the envelope keeps the rest
	o.Envelope = bytes.Clone(envelope)
	return o, nil
}

func (c *checker) offer(m *marketv1.Offer) {
	c.that(isClass(m.Class), "class")
	c.that(m.Epoch > 0 && m.Epoch < maxTime, "epoch")
	c.that(m.Sequence <= maxSequence, "sequence")
	c.that(isTime(m.IssuedMs), "issued_ms")
	// The daemon starts before it offers; a stepped clock may bend that a little.
	c.that(int64(min(m.Epoch, maxTime)) <= m.IssuedMs+Skew.Milliseconds(), "epoch")
	c.that(isTime(m.ExpiresMs) && m.ExpiresMs > m.IssuedMs && m.ExpiresMs-m.IssuedMs <= OfferLife.Milliseconds(), "expires_ms")
	c.that(m.Model != "" && isText(m.Model, 96), "model")
	c.that(m.MemoryBytes <= maxBytes, "memory_bytes")
	c.that(m.ComputeCap <= maxComputeCap, "compute_cap")
	c.that(m.Count >= 1 && m.Count <= 1024, "count")
	c.that(m.Free <= m.Count, "free")
	c.that(m.PriceAtomsPerHour <= MaxPrice, "price_atoms_per_hour")
	c.that(m.Region == "" || isRegion(m.Region), "region")
	c.runners(m.Runners, "runners")
	c.that(isEvidence(m.Evidence), "evidence")
	c.that(m.CpuMilli <= maxCPUMilli, "cpu_milli")
	c.that(m.RamBytes <= maxBytes, "ram_bytes")
	c.that(m.DiskBytes <= maxBytes, "disk_bytes")
	c.that(len(m.Addresses) <= 8, "addresses")
	for _, a := range m.Addresses[:min(len(m.Addresses), 8)] {
		c.that(isAddress(a), "addresses")
	}
	c.that(m.MaxDurationMs <= maxDurationMs, "max_duration_ms")
	c.that(m.Slice == "" || m.Slice == SliceOf(m.Class), "slice")
	c.tariff(m.Tariff, m.PriceAtomsPerHour)
}

// newer tells whether (epoch, sequence) comes after (oldEpoch, oldSequence).
func newer(epoch, sequence, oldEpoch, oldSequence uint64) bool {
	return epoch > oldEpoch || epoch == oldEpoch && sequence > oldSequence
}

// duration is the longest lease the offer gives, where 0 stands for no bound.
func (o *Offer) duration() uint64 {
	if o.MaxDurationMs == 0 {
		return math.MaxUint64
	}
	return o.MaxDurationMs
}

// Revocation ends a provider's offers up to and with (epoch, sequence).
type Revocation struct {
	*marketv1.Revocation
	Provider souk.NodeKey // who signed it
	Issued   time.Time
	Envelope []byte // as it travelled
}

// OpenRevocation checks the envelope of a revocation. One so old that all it
// ends is over anyway is refused as expired. The error is a *[RejectError].
func OpenRevocation(envelope []byte, now time.Time) (*Revocation, error) {
	m := new(marketv1.Revocation)
	signer, _, err := open(souk.DomainRevoke, envelope, MaxOfferBytes, m)
	if err != nil {
		return nil, err
	}
	var c checker
	c.that(m.Epoch > 0 && m.Epoch < maxTime, "epoch")
	c.that(m.Sequence <= maxSequence, "sequence")
	c.that(isTime(m.IssuedMs), "issued_ms")
	if err := c.result(); err != nil {
		return nil, err
	}
	r := &Revocation{Revocation: m, Provider: signer, Issued: at(m.IssuedMs)}
	if ahead := r.Issued.Sub(now); ahead > Skew {
		return nil, reject(Future, "issued %s ahead", ahead)
	}
	if age := now.Sub(r.Issued); age > OfferLife+Skew {
		return nil, reject(Expired, "issued %s ago", age)
	}
	r.Envelope = bytes.Clone(envelope)
	return r, nil
}
