package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/market"
	"github.com/souk-market/souk/node/money"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/payment"
	leasev1 "github.com/souk-market/souk/proto/souk/lease/v1"
)

// channelAsk sends one request about a channel to a provider.
func (d *Dealer) channelAsk(ctx context.Context, to peer.ID, req *leasev1.ChannelRequest) (*leasev1.ChannelReply, error) {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.Waits.Channel)
	defer cancel()
	if _, err := d.reach(ctx, to); err != nil {
		return nil, err
	}
	req.Version = market.Version
	var reply leasev1.ChannelReply
	if err := network.Exchange(ctx, d.cfg.Host, to, network.ChannelProtocol, req, &reply, network.MaxChannelBytes); err != nil {
		return nil, err
	}
	if env := reply.GetDecline(); env != nil {
		key, err := network.PeerKey(to)
		if err != nil {
			return nil, err
		}
		why, err := OpenDecline(env, souk.Digest{}, key)
		if err != nil {
			return nil, err
		}
		return nil, &declinedError{*why}
	}
	return &reply, nil
}

// declinedError is a provider's refusal of something other than an order.
type declinedError struct{ why market.Refusal }

// ErrorCode is [souk.CodeExhausted].
func (e *declinedError) ErrorCode() souk.Code { return souk.CodeExhausted }

func (e *declinedError) Error() string { return "the provider declined: " + e.why.Error() }

// errAnswer is an answer to another question than was asked.
var errAnswer = errors.New("the provider did not answer what it was asked")

// Fund deposits into the channel with a provider ahead of any job.
func (d *Dealer) Fund(ctx context.Context, to peer.ID, amount souk.Atoms) (souk.ChannelID, string, error) {
	reply, err := d.channelAsk(ctx, to, &leasev1.ChannelRequest{Request: &leasev1.ChannelRequest_Terms{Terms: &leasev1.TermsRequest{}}})
	if err != nil {
		return souk.ChannelID{}, "", err
	}
	keys, err := payment.OpenKeys(reply.GetTerms().GetKeys(), time.Now())
	if err != nil {
		return souk.ChannelID{}, "", fmt.Errorf("provider keys: %w", err)
	}
	if key, err := network.PeerKey(to); err != nil || key != keys.Node {
		return souk.ChannelID{}, "", fmt.Errorf("the provider showed another node's keys")
	}
	ch, domain, err := d.channelFor(reply.GetTerms().GetSettlement(), keys)
	if err != nil {
		return souk.ChannelID{}, "", err
	}
	dep, err := d.Authorize(ch, amount, d.signedAway(souk.ChannelID{}))
	if err != nil {
		return souk.ChannelID{}, "", err
	}
	id := d.cfg.Channels.Open(ch, domain, to.String(), true)
	if err := d.cfg.Keeper.Mark(ctx, id, func(*money.Channel) {}); err != nil { // known before the provider has the authorization
		return id, "", err
	}
	reply, err = d.channelAsk(ctx, to, &leasev1.ChannelRequest{Request: &leasev1.ChannelRequest_Deposit{
		Deposit: &leasev1.DepositRequest{Channel: ch.Proto(), ClientKeys: d.cfg.Keys.At(time.Now()), Deposit: dep.Proto()}}})
	if err != nil {
		return id, "", err
	}
	if reply.GetDeposited() == nil {
		return id, "", fmt.Errorf("deposit with %s: %w", to, errAnswer)
	}
	tx := reply.GetDeposited().GetTx()
	if err := d.cfg.Keeper.Mark(ctx, id, func(r *money.Channel) { r.DepositTx = network.Clip(tx, 100) }); err != nil {
		return id, tx, err
	}
	return id, tx, d.cfg.Keeper.Reconcile(ctx)
}

// Refund asks a provider to claim what is due and to give the rest back.
func (d *Dealer) Refund(ctx context.Context, rec *money.Channel) (*leasev1.Refunded, error) {
	to, err := peer.Decode(rec.Peer)
	if err != nil {
		return nil, fmt.Errorf("peer of channel %s: %w", rec.ID().Short(), err)
	}
	id := rec.ID()
	reply, err := d.channelAsk(ctx, to, &leasev1.ChannelRequest{Request: &leasev1.ChannelRequest_Refund{
		Refund: &leasev1.RefundRequest{Channel: id.Digest[:]}}})
	if err != nil {
		return nil, err
	}
	r := reply.GetRefunded()
	if r == nil {
		return nil, fmt.Errorf("refund by %s: %w", to, errAnswer)
	}
	err = d.cfg.Keeper.Mark(ctx, id, func(rec *money.Channel) {
		rec.ClaimTx, rec.RefundTx = network.Clip(r.GetClaimTx(), 100), network.Clip(r.GetRefundTx(), 100)
	})
	if err != nil {
		return r, err
	}
	return r, d.cfg.Keeper.Reconcile(ctx)
}
