package market

import (
	"bytes"
	"cmp"
	"slices"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
)

// Bounds in time on what an order or a bid may promise.
const (
	maxOrderWait = 10 * time.Minute // how far ahead an order's deadline may lie
	maxBidLife   = 5 * time.Minute  // how long a bid's price may be firm
	maxInterval  = time.Hour        // between receipts
)

// Order is an order whose signature and fields were checked.
type Order struct {
	*marketv1.Order
	Client   souk.NodeKey // who signed it
	Digest   souk.Digest  // SHA-256 of its payload, which answers repeat
	Deadline time.Time    // when the client stops waiting, by its own clock
}

// OpenOrder checks the envelope of an order. The error is a *[RejectError], or a
// *[Refusal] where the order needs what this build does not understand. An order
// that was signed and is refused comes back with its client and digest alone, which
// a decline repeats. An order whose deadline has passed is opened all the same: the scheduler
// declines it, so that its sender learns by how much. That the order came from
// its signer's own stream, and is meant [Order.For] this node, is for the caller
// to check.
func OpenOrder(envelope []byte, now time.Time) (*Order, error) {
	m := new(marketv1.Order)
	signer, id, err := open(souk.DomainOrder, envelope, MaxOrderBytes, m)
	if err != nil {
		return nil, err
	}
	refused := &Order{Client: signer, Digest: id}
	if r := Understand(m.MustUnderstand, OrderExtensions(m)); r != nil {
		return refused, r // before its fields: they may mean something else
	}
	var c checker
	c.that(len(m.Nonce) == 16, "nonce")
	c.resources(m.Resources)
	c.that(m.MaxDurationMs > 0 && m.MaxDurationMs <= maxDurationMs, "max_duration_ms")
	c.that(m.MaxPriceAtomsPerHour <= MaxPrice, "max_price_atoms_per_hour")
	c.that(isTime(m.DeadlineMs), "deadline_ms")
	c.that(len(m.ProviderKey) == len(souk.NodeKey{}), "provider_key")
	if err := c.result(); err != nil {
		return refused, err
	}
	o := &Order{Order: m, Client: signer, Digest: id, Deadline: at(m.DeadlineMs)}
	if wait := o.Deadline.Sub(now); wait > maxOrderWait {
		return refused, reject(Malformed, "deadline_ms: %s ahead", wait)
	}
	return o, nil
}

// For tells whether the order is meant for the provider with this key.
func (o Order) For(provider souk.NodeKey) bool { return bytes.Equal(o.ProviderKey, provider[:]) }

// Bid is a bid whose signature and fields were checked against its order.
type Bid struct {
	*marketv1.Bid
	Lines      payment.Tariff // what the work costs: in version 1, device time alone
	Provider   souk.NodeKey   // who signed it
	Digest     souk.Digest    // SHA-256 of its payload, which a lease names
	ValidUntil time.Time      // until when the price is firm, by the provider's clock
	Envelope   []byte         // as it travelled: with its payload the lease can be proved
}

// OpenBid checks the envelope of a bid, and that it answers order: the provider
// asked, at most the price allowed, as many devices as wanted, classes and a
// runner that the order accepts, still firm. The error is a *[RejectError], or a
// *[Refusal] where the bid needs what this build does not understand, or has devices
// of several classes otherwise than the order wants them.
func OpenBid(envelope []byte, now time.Time, order Order) (*Bid, error) {
	m := new(marketv1.Bid)
	signer, id, err := open(souk.DomainBid, envelope, MaxBidBytes, m)
	if err != nil {
		return nil, err
	}
	if r := cmp.Or(UnderstandVersion(m.Version), Understand(m.MustUnderstand)); r != nil {
		return nil, r
	}
	var c checker
	c.that(len(m.Order) == len(souk.Digest{}), "order")
	c.that(isClass(m.Class), "class")
	c.that(len(m.Devices) >= 1 && len(m.Devices) <= MaxDevices, "devices")
	for i, d := range m.Devices[:min(len(m.Devices), MaxDevices)] {
		c.that(isDevice(d) && !slices.Contains(m.Devices[:i], d), "devices")
	}
	lines, err := tariffOfBid(m)
	if err != nil {
		return nil, err
	}
	c.that(m.PriceAtomsPerHour <= MaxPrice, "price_atoms_per_hour")
	c.that(m.PriceAtomsPerHour == lines.Hourly(), "tariff")
	c.that(isTime(m.ValidUntilMs), "valid_until_ms")
	c.settlement(m.Settlement)
	c.that(len(m.Keys) >= 1 && len(m.Keys) <= 1024, "keys")
	c.that(m.Runner > marketv1.Runner_RUNNER_UNSPECIFIED, "runner")
	c.that(m.MinIntervalMs <= uint64(maxInterval.Milliseconds()), "min_interval_ms")
	if err := c.result(); err != nil {
		return nil, err
	}
	b := &Bid{Bid: m, Lines: lines, Provider: signer, Digest: id, ValidUntil: at(m.ValidUntilMs)}
	if err := b.answers(order, now); err != nil {
		return nil, err
	}
	if r := refuseGroups(m, lines, order); r != nil {
		return nil, r
	}
	b.Envelope = bytes.Clone(envelope)
	return b, nil
}

// answers checks a well-formed bid against the order it should answer.
func (b *Bid) answers(o Order, now time.Time) error {
	r := o.Resources
	switch {
	case !bytes.Equal(b.Order, o.Digest[:]):
		return reject(Mismatch, "bid on another order")
	case !o.For(b.Provider):
		return reject(Mismatch, "bid of another provider")
	case b.Version > max(o.Version, 1):
		return reject(Mismatch, "version %d in answer to %d", b.Version, o.Version)
	case b.PriceAtomsPerHour > o.MaxPriceAtomsPerHour:
		return reject(Mismatch, "price %d above the cap of %d", b.PriceAtomsPerHour, o.MaxPriceAtomsPerHour)
	case len(b.Devices) != Devices(r) && len(b.Groups) == 0:
		return reject(Mismatch, "%d devices for %d", len(b.Devices), Devices(r))
	case !AcceptsClass(r, b.Class) && len(b.Groups) == 0:
		return reject(Mismatch, "class %s", b.Class)
	case !slices.Contains(r.GetRunners(), b.Runner):
		return reject(Mismatch, "runner %s", RunnerName(b.Runner))
	case now.Sub(b.ValidUntil) > Skew:
		return reject(Expired, "bid ended %s ago", now.Sub(b.ValidUntil))
	case b.ValidUntil.Sub(now) > maxBidLife:
		return reject(Malformed, "valid_until_ms: %s ahead", b.ValidUntil.Sub(now))
	}
	return nil
}

// CPUClass is the class of the processor sold as a device.
const CPUClass = "CPU"

// Devices is how many devices a request needs: one, the processor, where the
// job needs no GPU.
func Devices(r *marketv1.Resources) int { return max(1, int(r.GetGpuCount())) }

// AcceptsClass tells whether a request may be met by devices of class. A job
// that needs no GPU gets the processor, and one that does never gets it; nor does one
// that wants a whole device get a slice, or the other way round.
func AcceptsClass(r *marketv1.Resources, class string) bool {
	if r.GetGpuCount() == 0 {
		return class == CPUClass
	}
	return class != CPUClass && acceptsSlice(r, class)
}

// Decline is a refusal that was signed, and whose fields were checked.
type Decline struct {
	Refusal
	Provider souk.NodeKey // who signed it
}

// OpenDecline checks the envelope of a decline, and that it declines subject:
// the SHA-256 of an order's or a lease's payload. Reasons of a later version
// pass; [ReasonName] numbers them. The error is a *[RejectError].
func OpenDecline(envelope []byte, subject souk.Digest) (*Decline, error) {
	m := new(marketv1.Decline)
	signer, _, err := open(souk.DomainDecline, envelope, MaxDeclineBytes, m)
	if err != nil {
		return nil, err
	}
	var c checker
	c.that(len(m.Subject) == len(subject), "subject")
	c.that(m.Reason > marketv1.DeclineReason_DECLINE_REASON_UNSPECIFIED, "reason")
	c.that(isText(m.Detail, maxDetail), "detail")
	if err := c.result(); err != nil {
		return nil, err
	}
	if !bytes.Equal(m.Subject, subject[:]) {
		return nil, reject(Mismatch, "decline of something else")
	}
	return &Decline{Refusal{m.Reason, m.Shortfall, m.Detail, terms(m.Unsupported)}, signer}, nil
}
