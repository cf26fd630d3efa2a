package provider

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	p2pnet "github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/market"
	"github.com/souk-market/souk/node/money"
	"github.com/souk-market/souk/node/network"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	"github.com/souk-market/souk/proto/wire"
)

// openBid is a bid that a lease may still name.
type openBid struct {
	bid    *marketv1.Bid
	order  *market.Order
	client souk.NodeKey
	until  time.Time
}

// ServeOrder answers one order with a bid or a decline.
func (p *Provider) ServeOrder(ctx context.Context, s p2pnet.Stream) error {
	envelope, err := wire.NewReader(s, network.MaxOrderBytes).Next()
	if err != nil {
		return fmt.Errorf("read order: %w", err)
	}
	return wire.Write(s, p.answer(time.Now(), s.Conn().RemotePeer(), envelope))
}

func (p *Provider) answer(now time.Time, client peer.ID, envelope []byte) *marketv1.OrderReply {
	subject := souk.Digest{}
	decline := func(r *market.Refusal) *marketv1.OrderReply {
		return &marketv1.OrderReply{Answer: &marketv1.OrderReply_Decline{Decline: p.decline(subject, r)}}
	}
	order, err := market.OpenOrder(envelope, now)
	if order != nil {
		subject = order.Digest
	}
	if err != nil {
		return decline(market.RefusalOf(err))
	}
	if key, err := network.PeerKey(client); err != nil || key != order.Client || souk.NodeKey(order.ProviderKey) != p.key {
		return decline(malformed("the order is not from you to me"))
	}
	if low := p.cfg.Space.Room(diskOf(order.Resources)); low != nil {
		return decline(lowDisk(low.Short(), "the provider's disk is nearly full"))
	}
	rec, known := p.cfg.Channels.With(client.String(), false)
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.bids) >= maxBids {
		return decline(&market.Refusal{Reason: marketv1.DeclineReason_DECLINE_REASON_RATE, Shortfall: uint64(bidFirm.Milliseconds()), Detail: "too many bids are out"})
	}
	got, refusal := p.floor.Bid(now, order.Client, order.Order, known && rec.Free() > 0)
	if refusal != nil {
		return decline(refusal)
	}
	bid := &marketv1.Bid{Order: order.Digest[:], Class: got.Class, Devices: got.Devices, PriceAtomsPerHour: got.Price,
		ValidUntilMs: got.ValidUntil.UnixMilli(), Held: got.Held, Settlement: p.cfg.Settlement, Keys: p.cfg.Keys.At(now),
		Runner: got.Runner, MinIntervalMs: uint64(money.MinInterval.Milliseconds()),
		Version: min(order.Version, market.Version)}
	if bid.Version >= 2 {
		bid.Tariff = got.Tariff.Proto()
	}
	for _, g := range got.Groups {
		bid.Groups = append(bid.Groups, &marketv1.BidGroup{Class: g.Class, Devices: g.Devices})
		bid.MustUnderstand = []string{market.ExtensionMixed}
	}
	payload := network.MustMarshal(bid)
	p.bids[sha256.Sum256(payload)] = &openBid{bid: bid, order: order, client: order.Client, until: got.ValidUntil}
	return &marketv1.OrderReply{Answer: &marketv1.OrderReply_Bid{Bid: wire.Seal(p.cfg.Key, souk.DomainBid, payload)}}
}

// decline signs a refusal of the payload with the digest subject; a zero digest
// stands for something that could not be read.
func (p *Provider) decline(subject souk.Digest, r *market.Refusal) []byte {
	return wire.Seal(p.cfg.Key, souk.DomainDecline, network.MustMarshal(r.Proto(subject)))
}

// diskOf is what a job can fill: its inputs are here twice, as blocks and as files,
// and so are its outputs.
func diskOf(r *marketv1.Resources) uint64 { return 2 * min(r.GetDiskBytes(), 1<<60) }
