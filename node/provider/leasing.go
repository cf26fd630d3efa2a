package provider

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	p2pnet "github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/gpu/runner/egress"
	"github.com/souk-market/souk/market"
	"github.com/souk-market/souk/node/money"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/chain"
	"github.com/souk-market/souk/payment/ledger"
	leasev1 "github.com/souk-market/souk/proto/souk/lease/v1"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	"github.com/souk-market/souk/proto/wire"
	"github.com/souk-market/souk/storage/badger"
	"google.golang.org/protobuf/proto"
)

// leaseSkew is how far apart two clocks may be.
const leaseSkew = 30 * time.Second

func unpaid(shortfall souk.Atoms, format string, args ...any) *market.Refusal {
	return &market.Refusal{Reason: marketv1.DeclineReason_DECLINE_REASON_PAYMENT, Shortfall: uint64(max(shortfall, 0)), Detail: fmt.Sprintf(format, args...)}
}

func malformed(format string, args ...any) *market.Refusal {
	return &market.Refusal{Reason: marketv1.DeclineReason_DECLINE_REASON_MALFORMED, Detail: fmt.Sprintf(format, args...)}
}

func lapsed(late time.Duration, detail string) *market.Refusal {
	return &market.Refusal{Reason: marketv1.DeclineReason_DECLINE_REASON_EXPIRED, Shortfall: uint64(max(0, late.Milliseconds())), Detail: detail}
}

func lowDisk(short uint64, detail string) *market.Refusal {
	return &market.Refusal{Reason: marketv1.DeclineReason_DECLINE_REASON_DISK, Shortfall: short, Detail: detail}
}

func draining(detail string) *market.Refusal {
	return &market.Refusal{Reason: marketv1.DeclineReason_DECLINE_REASON_DRAINING, Detail: detail}
}

// proposal is a lease request after every check that needs no state of ours.
type proposal struct {
	id      souk.LeaseID
	payload []byte
	request *leasev1.LeaseRequest
	lease   *leasev1.Lease
	client  souk.NodeKey
	peer    peer.ID
	channel payment.Channel
	voucher payment.Voucher
	deposit *chain.Deposit
	terms   payment.Terms
}

// ServeLease countersigns a lease, or says why not.
func (p *Provider) ServeLease(ctx context.Context, s p2pnet.Stream) error {
	var req leasev1.LeaseRequest
	if err := wire.NewReader(s, network.MaxLeaseBytes).Read(&req); err != nil {
		return fmt.Errorf("read lease request: %w", err)
	}
	signed, refused := p.accept(ctx, s.Conn().RemotePeer(), &req)
	if refused != nil {
		var subject souk.Digest
		if payload, _, err := wire.Open(souk.DomainLease, req.Lease, network.MaxLeaseBytes); err == nil {
			subject = sha256.Sum256(payload)
		}
		d := p.decline(subject, refused)
		return wire.Write(s, &leasev1.LeaseReply{Answer: &leasev1.LeaseReply_Decline{Decline: d}})
	}
	return wire.Write(s, &leasev1.LeaseReply{Answer: &leasev1.LeaseReply_Lease{Lease: signed}})
}

// accept checks a proposal, takes its devices, makes the lease durable and
// only then returns our signature. The same request again gets the same answer.
func (p *Provider) accept(ctx context.Context, client peer.ID, req *leasev1.LeaseRequest) ([]byte, *market.Refusal) {
	pr, refused := openProposal(client, req)
	if refused != nil {
		return nil, refused
	}
	p.accepting.Lock()
	defer p.accepting.Unlock()
	p.mu.Lock()
	if h, ok := p.tenancies[pr.id]; ok {
		p.mu.Unlock()
		return h.record().ProviderLease, nil
	}
	open := p.bids[souk.Digest(pr.lease.Bid)]
	p.mu.Unlock()
	now := time.Now()
	if refused := p.checkProposal(now, pr, open); refused != nil {
		return nil, refused
	}
	if low := p.cfg.Space.Room(diskOf(pr.lease.Resources)); low != nil {
		return nil, lowDisk(low.Short(), "the provider's disk is nearly full")
	}
	h := newTenancy(p.means, pr)
	p.mu.Lock()
	taken := p.floor.Commit(now, h.occupies())
	p.mu.Unlock()
	if taken != nil {
		return nil, taken
	}
	if refused := p.reserve(ctx, pr, h); refused != nil {
		p.cfg.Channels.Drop(pr.terms.Channel)
		p.free(pr.id)
		return nil, refused
	}
	p.mu.Lock()
	p.tenancies[pr.id] = h
	delete(p.bids, souk.Digest(pr.lease.Bid))
	p.mu.Unlock()
	p.take(ctx, h)
	p.Changed()
	p.cfg.Log.Info("lease", "lease", pr.id.Short(), "peer", client, "price", souk.Atoms(pr.lease.PriceAtomsPerHour))
	return h.record().ProviderLease, nil
}

// take hands a lease to Run, which takes at once what is queued unless the node is
// stopping: then the next start finds the lease. The client chooses when ctx ends,
// so while there is room that does not count: nobody else would ever end the lease.
func (p *Provider) take(ctx context.Context, h *tenancy) {
	select {
	case p.queue <- h:
		return
	default:
	}
	select {
	case p.queue <- h:
	case <-ctx.Done():
	}
}

// reserve puts the lease, its voucher and its part of the channel into the
// ledger in one transaction, if enough of the channel is free for it.
func (p *Provider) reserve(ctx context.Context, pr *proposal, h *tenancy) *market.Refusal {
	p.cfg.Channels.Open(pr.channel, pr.terms.Domain, pr.peer.String(), false)
	records := append(p.markDirty(pr.lease), h.rec.ledgerRecord(pr.id))
	err := p.cfg.Channels.Update(ctx, pr.terms.Channel, func(rec *money.Channel) (ledger.Batch, error) {
		var deposit, short souk.Atoms
		if pr.deposit != nil {
			deposit = pr.deposit.Amount
		}
		if err := rec.Open(pr.id, pr.terms.Reserve, deposit); err != nil {
			if no, ok := errors.AsType[*payment.ReserveError](err); ok {
				short = no.Short
			}
			return ledger.Batch{}, unpaid(short, "%v", err)
		}
		first := pr.terms.First()
		if err := rec.Show(pr.id, first, pr.voucher); err != nil {
			return ledger.Batch{}, unpaid(first, "first voucher: %v", err)
		}
		return ledger.Batch{Records: records}, nil
	})
	if errors.Is(err, badger.ErrLowDisk) {
		return lowDisk(0, "the provider's disk is full")
	}
	switch err := err.(type) {
	case nil:
		return nil
	case *market.Refusal:
		return err
	default:
		p.cfg.Log.Error("lease", "lease", pr.id.Short(), "err", err)
		return draining("the provider cannot write its ledger")
	}
}

// free gives a lease's devices back and offers them again.
func (p *Provider) free(id souk.LeaseID) {
	p.mu.Lock()
	p.floor.Release(time.Now(), id)
	p.keepDirty(time.Now())
	p.floor.Restock(p.floorConfig().Devices) // what ran on it may still do
	p.mu.Unlock()
	p.Changed()
}

// openProposal decodes a request and checks its signatures and ranges.
func openProposal(client peer.ID, req *leasev1.LeaseRequest) (*proposal, *market.Refusal) {
	payload, signer, err := wire.Open(souk.DomainLease, req.Lease, network.MaxLeaseBytes)
	if err != nil {
		return nil, malformed("lease: %v", err)
	}
	var l leasev1.Lease
	if err := proto.Unmarshal(payload, &l); err != nil {
		return nil, malformed("lease: %v", err)
	}
	if key, err := network.PeerKey(client); err != nil || key != signer || !bytes.Equal(l.ClientKey, signer[:]) {
		return nil, malformed("the lease is not signed by who sent it")
	}
	if refused := market.UnderstandLease(&l, req.MustUnderstand); refused != nil {
		return nil, refused
	}
	pr := &proposal{id: souk.LeaseID{Digest: sha256.Sum256(payload)}, payload: payload, request: req, lease: &l, client: signer, peer: client}
	pr.terms, pr.channel, err = money.LeaseTerms(payload, &l)
	if unknown, ok := errors.AsType[*payment.UnitError](err); ok {
		return nil, &market.Refusal{Reason: marketv1.DeclineReason_DECLINE_REASON_UNSUPPORTED, Detail: "a unit of the tariff", Unsupported: []string{unknown.Unit}}
	}
	if err != nil {
		return nil, malformed("lease: %v", err)
	}
	if pr.voucher, err = payment.VoucherFromProto(req.Voucher); err != nil {
		return nil, malformed("voucher: %v", err)
	}
	if req.Deposit != nil {
		d, err := chain.DepositFromProto(req.Deposit)
		if err != nil {
			return nil, malformed("deposit: %v", err)
		}
		pr.deposit = &d
	}
	return pr, nil
}

// checkProposal holds a proposal against the bid it names and our payment terms.
func (p *Provider) checkProposal(now time.Time, pr *proposal, open *openBid) *market.Refusal {
	l := pr.lease
	switch {
	case open == nil:
		return lapsed(0, "no such bid, or it has lapsed")
	case now.After(open.until.Add(bidFirm)):
		return lapsed(now.Sub(open.until), "the bid has lapsed")
	case open.client != pr.client:
		return malformed("the bid was another's")
	case souk.NodeKey(l.ProviderKey) != p.key:
		return malformed("the lease names another provider")
	case !slices.Equal(l.Devices, open.bid.Devices) || l.PriceAtomsPerHour != open.bid.PriceAtomsPerHour || l.Runner != open.bid.Runner:
		return malformed("the lease differs from the bid")
	case l.Version != open.bid.Version:
		return malformed("the lease is of version %d, the bid of %d", l.Version, open.bid.Version)
	case !costsAsBid(pr.terms.Tariff, open.bid):
		return malformed("the lease's tariff differs from the bid's")
	case !groupedAsBid(l, open.bid): // classes have prices: the provider alone says which device is of which
		return malformed("the lease's groups differ from the bid's")
	case !bytes.Equal(l.ProviderKeys, open.bid.Keys):
		return malformed("the provider's keys are not those of the bid")
	case l.MaxDurationMs > open.order.MaxDurationMs || !proto.Equal(l.Resources, open.order.Resources):
		return malformed("the lease asks for more than the order")
	case time.UnixMilli(l.SignedMs).Sub(now).Abs() > leaseSkew:
		return malformed("the lease was signed %s away from my clock", time.UnixMilli(l.SignedMs).Sub(now).Abs().Round(time.Second))
	case !time.UnixMilli(l.StartByMs).After(now):
		return lapsed(0, "the lease should have started already")
	case time.UnixMilli(l.StartByMs).Sub(now) > money.MaxStart+leaseSkew:
		return malformed("the lease may start in %s, at most %s", time.UnixMilli(l.StartByMs).Sub(now).Round(time.Second), money.MaxStart)
	}
	if refused := checkReclaim(l); refused != nil {
		return refused
	}
	if refused := p.checkNetwork(pr); refused != nil {
		return refused
	}
	return p.checkPayment(now, pr)
}

// checkNetwork refuses hosts that a job cannot have, or that no job has here.
func (p *Provider) checkNetwork(pr *proposal) *market.Refusal {
	l := pr.lease
	if refused := market.Allow(unwanted(p.cfg.Egress), pr.request.MustUnderstand, l.MustUnderstand, market.LeaseExtensions(l)); refused != nil {
		return refused
	}
	if l.Network == nil {
		return nil
	}
	if _, err := egress.Parse(l.Network.Hosts); err != nil {
		return malformed("network: %v", err)
	}
	return nil
}

// groupedAsBid tells whether a lease has the groups that were bid, each with its
// devices.
func groupedAsBid(l *leasev1.Lease, bid *marketv1.Bid) bool {
	return slices.EqualFunc(l.Groups, bid.Groups, func(g *leasev1.DeviceGroup, b *marketv1.BidGroup) bool {
		return g.GetClass() == b.GetClass() && slices.Equal(g.GetDevices(), b.GetDevices())
	})
}

// costsAsBid tells whether a lease's tariff is the one that was bid.
func costsAsBid(t payment.Tariff, bid *marketv1.Bid) bool {
	asked, err := money.BidTariff(bid)
	return err == nil && slices.Equal(t, asked)
}

// checkPayment holds a proposal's channel, keys, voucher and deposit against
// what this provider accepts.
func (p *Provider) checkPayment(now time.Time, pr *proposal) *market.Refusal {
	ours, ch := p.cfg.Settlement, pr.channel
	keys, err := payment.OpenKeys(pr.lease.ClientKeys, now)
	switch {
	case err != nil:
		return malformed("client keys: %v", err)
	case keys.Node != pr.client || keys.Authorizer != ch.PayerAuthorizer:
		return malformed("the client's keys are not those of the channel")
	case pr.terms.Domain.ChainID != ours.ChainId || !bytes.Equal(pr.lease.Settlement, ours.Contract):
		return unpaid(0, "the channel is on another chain or contract")
	}
	if refused := p.checkChannel(ch); refused != nil {
		return refused
	}
	if pr.voucher.Channel != pr.terms.Channel {
		return unpaid(0, "the voucher is for another channel")
	}
	if err := pr.voucher.Verify(pr.terms.Domain, ch.PayerAuthorizer); err != nil {
		return unpaid(0, "voucher: %v", err)
	}
	if pr.deposit != nil {
		if short := souk.Atoms(ours.MinDepositAtoms) - pr.deposit.Amount; short > 0 {
			return unpaid(short, "the deposit is below %s", souk.Atoms(ours.MinDepositAtoms))
		}
		if pr.deposit.Amount > money.MaxMoney {
			return unpaid(0, "a deposit of %s is out of range", pr.deposit.Amount)
		}
		if !pr.deposit.ValidAt(now) {
			return unpaid(0, "the deposit's authorization is not valid now")
		}
		if err := chain.VerifyDeposit(*pr.deposit, ch, p.cfg.Contracts, pr.terms.Domain); err != nil {
			return unpaid(0, "%v", err)
		}
	}
	return nil
}

// checkChannel refuses a channel that could not pay us.
func (p *Provider) checkChannel(ch payment.Channel) *market.Refusal {
	ours := p.cfg.Settlement
	mine, err := payment.OpenKeys(p.cfg.Keys.At(time.Now()), time.Now())
	switch {
	case err != nil:
		return draining("the provider's keys have lapsed")
	case ch.Receiver != payment.Address(ours.Receiver) || ch.ReceiverAuthorizer != mine.Authorizer:
		return unpaid(0, "the channel does not pay me")
	case ch.Token != payment.Address(ours.Token):
		return unpaid(0, "the channel holds another token")
	case ch.WithdrawDelay < ours.WithdrawDelayMinS || ch.WithdrawDelay > ours.WithdrawDelayMaxS:
		return unpaid(0, "withdrawal delay of %d s, not %d to %d", ch.WithdrawDelay, ours.WithdrawDelayMinS, ours.WithdrawDelayMaxS)
	case ch.Payer == payment.Address{} || ch.PayerAuthorizer == payment.Address{}:
		return unpaid(0, "the channel has no payer")
	}
	return nil
}
