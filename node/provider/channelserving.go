package provider

import (
	"context"
	"fmt"
	"time"

	p2pnet "github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/market"
	"github.com/souk-market/souk/node/money"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/chain"
	leasev1 "github.com/souk-market/souk/proto/souk/lease/v1"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	"github.com/souk-market/souk/proto/wire"
)

// ServeChannel answers what a client asks about its channel with this provider.
func (p *Provider) ServeChannel(ctx context.Context, s p2pnet.Stream) error {
	var req leasev1.ChannelRequest
	if err := wire.NewReader(s, network.MaxChannelBytes).Read(&req); err != nil {
		return fmt.Errorf("read channel request: %w", err)
	}
	reply, err := p.channelReply(ctx, s.Conn().RemotePeer(), &req)
	if err != nil {
		refused, ok := err.(*market.Refusal)
		if !ok {
			p.cfg.Log.Warn("channel request", "peer", s.Conn().RemotePeer(), "err", err)
			refused = unpaid(0, "%v", err)
		}
		reply = &leasev1.ChannelReply{Answer: &leasev1.ChannelReply_Decline{
			Decline: p.decline(souk.Digest{}, refused)}}
	}
	return wire.Write(s, reply)
}

func (p *Provider) channelReply(ctx context.Context, client peer.ID, req *leasev1.ChannelRequest) (*leasev1.ChannelReply, error) {
	if refused := market.Understand(req.MustUnderstand); refused != nil {
		return nil, refused
	}
	switch r := req.Request.(type) {
	case *leasev1.ChannelRequest_Terms:
		return &leasev1.ChannelReply{Answer: &leasev1.ChannelReply_Terms{
			Terms: &leasev1.Terms{Settlement: p.cfg.Settlement, Keys: p.cfg.Keys.At(time.Now())}}}, nil
	case *leasev1.ChannelRequest_Deposit:
		tx, err := p.takeDeposit(ctx, client, r.Deposit)
		if err != nil {
			return nil, err
		}
		return &leasev1.ChannelReply{Answer: &leasev1.ChannelReply_Deposited{Deposited: &leasev1.Deposited{Tx: tx}}}, nil
	case *leasev1.ChannelRequest_Refund:
		id, err := souk.DigestFrom(r.Refund.Channel)
		if err != nil {
			return nil, malformed("channel: %v", err)
		}
		known, ok := p.cfg.Channels.Get(souk.ChannelID{Digest: id})
		if !ok || known.Peer != client.String() || known.Paying {
			return nil, unpaid(0, "no such channel of yours")
		}
		claim, refund, amount, err := p.cfg.Keeper.Refund(ctx, known.ID())
		if err != nil {
			return nil, err
		}
		return &leasev1.ChannelReply{Answer: &leasev1.ChannelReply_Refunded{
			Refunded: &leasev1.Refunded{ClaimTx: claim, RefundTx: refund, AmountAtoms: uint64(amount)}}}, nil
	default:
		if len(req.ProtoReflect().GetUnknown()) > 0 {
			return nil, &market.Refusal{Reason: marketv1.DeclineReason_DECLINE_REASON_UNSUPPORTED, Detail: "a request of a later version"}
		}
		return nil, malformed("no request")
	}
}

// takeDeposit submits a deposit that comes ahead of any lease.
func (p *Provider) takeDeposit(ctx context.Context, client peer.ID, r *leasev1.DepositRequest) (string, error) {
	key, err := network.PeerKey(client)
	if err != nil {
		return "", malformed("%v", err)
	}
	ch, err := payment.ChannelFromProto(r.Channel)
	if err != nil {
		return "", malformed("channel: %v", err)
	}
	keys, err := payment.OpenKeys(r.ClientKeys, time.Now())
	if err != nil || keys.Node != key || keys.Authorizer != ch.PayerAuthorizer {
		return "", malformed("the client's keys are not those of the channel")
	}
	if refused := p.checkChannel(ch); refused != nil {
		return "", refused
	}
	d, err := chain.DepositFromProto(r.Deposit)
	if err != nil {
		return "", malformed("deposit: %v", err)
	}
	if short := souk.Atoms(p.cfg.Settlement.MinDepositAtoms) - d.Amount; short > 0 {
		return "", unpaid(short, "the deposit is below %s", souk.Atoms(p.cfg.Settlement.MinDepositAtoms))
	}
	if d.Amount > money.MaxMoney {
		return "", unpaid(0, "a deposit of %s is out of range", d.Amount)
	}
	if !d.ValidAt(time.Now()) {
		return "", unpaid(0, "the deposit's authorization is not valid now")
	}
	domain := p.cfg.Domain
	if err := chain.VerifyDeposit(d, ch, p.cfg.Contracts, domain); err != nil {
		return "", unpaid(0, "%v", err)
	}
	id := p.cfg.Channels.Open(ch, domain, client.String(), false)
	tx, err := p.cfg.Keeper.Deposit(ctx, ch, d, souk.LeaseID{}, "", func(string) error {
		p.cfg.Channels.Open(ch, domain, client.String(), false)    // a lease declined meanwhile may have dropped it
		return p.cfg.Keeper.Mark(ctx, id, func(*money.Channel) {}) // from here on the keeper watches it
	})
	if err != nil {
		p.cfg.Channels.Drop(id)
	}
	return tx, err
}
