package client

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/market"
	"github.com/souk-market/souk/node/network"
	jobv1 "github.com/souk-market/souk/proto/souk/job/v1"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	wirev1 "github.com/souk-market/souk/proto/souk/wire/v1"
	"github.com/souk-market/souk/proto/wire"
	"google.golang.org/protobuf/proto"
)

// Ask sends one provider an order for a job and returns its bid, or its decline,
// or our own of a bid that needs what this node does not understand, or that has
// devices of classes that were not asked for. The bid is at most what its offers
// posted: of a mixed job there may be several, of any other one.
func (d *Dealer) Ask(ctx context.Context, to peer.ID, offers []*market.Offer, job *jobv1.Job, deadline time.Time) (*market.Bid, *market.Refusal, error) {
	key, err := network.PeerKey(to)
	if err != nil {
		return nil, nil, err
	}
	d.cfg.Log.Debug("order", "peer", to)
	nonce := make([]byte, 16)
	rand.Read(nonce)
	m := &marketv1.Order{Nonce: nonce, Resources: job.Resources, MaxDurationMs: job.Limits.MaxDurationMs,
		MaxPriceAtomsPerHour: PricePerDevice(job), DeadlineMs: deadline.UnixMilli(), ProviderKey: key[:],
		Version: market.Version, MustUnderstand: market.JobExtensions(job)}
	payload := network.MustMarshal(m)
	envelope := wire.Seal(d.cfg.Key, souk.DomainOrder, payload)
	order := market.Order{Order: m, Client: d.key, Digest: sha256.Sum256(payload), Deadline: deadline}
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	var out wirev1.Signed
	if err := proto.Unmarshal(envelope, &out); err != nil {
		return nil, nil, err
	}
	var reply marketv1.OrderReply
	if err := network.Exchange(ctx, d.cfg.Host, to, network.OrderProtocol, &out, &reply, network.MaxOrderReplyBytes); err != nil {
		return nil, nil, err
	}
	if env := reply.GetDecline(); env != nil {
		why, err := OpenDecline(env, order.Digest, key)
		return nil, why, err
	}
	bid, err := market.OpenBid(reply.GetBid(), time.Now(), order)
	if err == nil {
		err = bid.HoldsTo(offers, job.Limits.MaxDurationMs)
	}
	if r, ok := errors.AsType[*market.Refusal](err); ok {
		if r.Reason == marketv1.DeclineReason_DECLINE_REASON_UNSUPPORTED {
			r.Detail = "the provider's bid needs it"
		}
		return nil, r, nil
	}
	return bid, nil, err
}

// OpenDecline reads a decline of subject by the provider that was asked.
func OpenDecline(envelope []byte, subject souk.Digest, provider souk.NodeKey) (*market.Refusal, error) {
	d, err := market.OpenDecline(envelope, subject)
	if err != nil {
		return nil, err
	}
	if d.Provider != provider {
		return nil, errors.New("a decline signed by another provider")
	}
	return &d.Refusal, nil
}

// PricePerDevice is the job's price cap for one device.
func PricePerDevice(job *jobv1.Job) uint64 {
	return job.Price.MaxAtomsPerHour / uint64(market.Devices(job.Resources))
}
