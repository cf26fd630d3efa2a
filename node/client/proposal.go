package client

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/market"
	"github.com/souk-market/souk/node/money"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/chain"
	"github.com/souk-market/souk/payment/ledger"
	jobv1 "github.com/souk-market/souk/proto/souk/job/v1"
	leasev1 "github.com/souk-market/souk/proto/souk/lease/v1"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	"github.com/souk-market/souk/proto/wire"
	"google.golang.org/protobuf/proto"
)

const (
	paymentGrace  = 2 * time.Second  // how long a voucher may follow its receipt
	withdrawDelay = 24 * 60 * 60     // seconds; what this client asks for in new channels
	depositValid  = 30 * time.Minute // how long a provider may take to submit a deposit
)

// Proposal is a lease that this node signed, with what it became known with.
type Proposal struct {
	ID       souk.LeaseID
	Peer     peer.ID // the provider
	Lease    *leasev1.Lease
	Payload  []byte // the lease as it was signed
	Terms    payment.Terms
	Channel  payment.Channel
	Request  *leasev1.LeaseRequest // what asks for the countersignature; nil once it came from the ledger
	Deposits souk.Atoms
}

// Propose builds the lease on a bid and makes the promise in it durable: its
// first voucher is in the ledger before any byte of it leaves.
func (d *Dealer) Propose(ctx context.Context, jobID souk.JobID, job *jobv1.Job, to peer.ID, bid *market.Bid, startBy time.Time) (*Proposal, error) {
	s, err := d.Draft(jobID, job, to, bid, startBy)
	if err != nil {
		return nil, err
	}
	d.cfg.Channels.Open(s.Channel, s.Terms.Domain, to.String(), true)
	d.proposing.Lock() // of two leases at once, the second sees what the first takes of the wallet
	defer d.proposing.Unlock()
	elsewhere := d.signedAway(s.Terms.Channel)
	err = d.cfg.Channels.Update(ctx, s.Terms.Channel, func(rec *money.Channel) (ledger.Batch, error) {
		if short := s.Terms.Reserve - rec.Free(); short > 0 {
			dep, err := d.Authorize(s.Channel, max(short, souk.Atoms(bid.Settlement.MinDepositAtoms)), elsewhere+rec.PendingDeposits())
			if err != nil {
				return ledger.Batch{}, err
			}
			s.Request.Deposit, s.Deposits = dep.Proto(), dep.Amount
		}
		if err := rec.Open(s.ID, s.Terms.Reserve, s.Deposits); err != nil {
			return ledger.Batch{}, err
		}
		total, err := rec.Promise(s.ID, s.Terms.First())
		if err != nil {
			return ledger.Batch{}, err
		}
		v := payment.Voucher{Channel: s.Terms.Channel, MaxClaimable: total}
		if err := v.Sign(s.Terms.Domain, d.cfg.VoucherKey); err != nil {
			return ledger.Batch{}, err
		}
		s.Request.Voucher = v.Proto()
		rec.Take(v)
		return ledger.Batch{Records: []ledger.Record{{Key: "signed/" + s.ID.String(), Value: s.Payload}}}, nil
	})
	if err != nil {
		return nil, fmt.Errorf("lease with %s: %w", to, err)
	}
	return s, nil
}

// Draft fills in a lease; it promises nothing yet.
func (d *Dealer) Draft(jobID souk.JobID, job *jobv1.Job, to peer.ID, bid *market.Bid, startBy time.Time) (*Proposal, error) {
	keys, err := payment.OpenKeys(bid.Keys, time.Now())
	if err != nil {
		return nil, fmt.Errorf("provider keys: %w", err)
	}
	key, err := network.PeerKey(to)
	if err != nil {
		return nil, err
	}
	ch, domain, err := d.channelFor(bid.Settlement, keys)
	if err != nil {
		return nil, err
	}
	tariff, err := money.BidTariff(bid.Bid)
	if err != nil {
		return nil, fmt.Errorf("bid: %w", err)
	}
	most, err := Reserve(job, tariff, bid.Classes())
	if err != nil {
		return nil, err
	}
	startBy = startBy.Add(d.cfg.Waits.Start)
	if most := time.Now().Add(money.MaxStart); startBy.After(most) {
		startBy = most
	}
	me := souk.NodeKey(d.key)
	l := &leasev1.Lease{Job: jobID.Digest[:], Bid: bid.Digest[:], ProviderKey: key[:], ClientKey: me[:], Devices: bid.Devices,
		PriceAtomsPerHour: bid.PriceAtomsPerHour, IntervalMs: max(job.Price.PayEveryMs, bid.MinIntervalMs),
		GraceMs: uint64(paymentGrace.Milliseconds()), HoldPausedMs: job.Limits.HoldPausedMs, MaxDurationMs: job.Limits.MaxDurationMs,
		ReserveAtoms: uint64(most), PayAheadMs: job.Price.PayAheadMs, Channel: ch.Proto(), ChainId: domain.ChainID, Settlement: domain.Settlement[:],
		Resources: job.Resources, Runner: bid.Runner, ClientKeys: d.cfg.Keys.At(time.Now()), ProviderKeys: bid.Keys,
		SignedMs: time.Now().UnixMilli(), StartByMs: startBy.UnixMilli(), Version: bid.Version, Reclaim: job.Reclaim, Network: job.Network, MustUnderstand: market.JobExtensions(job)}
	if l.Version >= 2 {
		l.Tariff = tariff.Proto()
	}
	for _, g := range bid.Groups {
		l.Groups = append(l.Groups, &leasev1.DeviceGroup{Class: g.GetClass(), Devices: g.GetDevices()})
	}
	if in, err := money.InputDigest(job.Input); err != nil {
		return nil, fmt.Errorf("inputs: %w", err)
	} else if !in.IsZero() {
		l.InputDigest = in[:]
	}
	s := &Proposal{Peer: to, Lease: l, Payload: network.MustMarshal(l), Channel: ch}
	if s.Terms, _, err = money.LeaseTerms(s.Payload, l); err != nil {
		return nil, fmt.Errorf("lease: %w", err)
	}
	s.ID = s.Terms.Lease
	s.Request = &leasev1.LeaseRequest{Lease: wire.Seal(d.cfg.Key, souk.DomainLease, s.Payload), Version: market.Version}
	return s, nil
}

// channelFor is the one channel from this client to a provider.
func (d *Dealer) channelFor(st *marketv1.Settlement, provider payment.Keys) (payment.Channel, payment.EIP712Domain, error) {
	ours := d.cfg.Chain.Domain()
	domain := payment.EIP712Domain{ChainID: st.GetChainId(), Settlement: payment.Address(st.GetContract())}
	token := payment.Address(st.GetToken())
	if domain != ours || token != d.cfg.Contracts.Token || payment.Address(st.GetCollector()) != d.cfg.Contracts.Collector {
		return payment.Channel{}, domain, fmt.Errorf("the provider is paid on chain %d at %s, this node is on chain %d at %s",
			domain.ChainID, domain.Settlement, ours.ChainID, ours.Settlement)
	}
	if withdrawDelay < st.WithdrawDelayMinS || withdrawDelay > st.WithdrawDelayMaxS {
		return payment.Channel{}, domain, fmt.Errorf("the provider wants a withdrawal delay of %d to %d s", st.WithdrawDelayMinS, st.WithdrawDelayMaxS)
	}
	return payment.Channel{Payer: d.cfg.Chain.Address(), PayerAuthorizer: d.authorizer, Receiver: payment.Address(st.Receiver),
		ReceiverAuthorizer: provider.Authorizer, Token: token, WithdrawDelay: withdrawDelay}, domain, nil
}

// Reserve is the most a job may cost by a tariff on devices of these classes: what
// its lease sets aside. Where the tariff counts what no time bounds, that is the job's cap.
func Reserve(job *jobv1.Job, tariff payment.Tariff, devices []payment.ClassCount) (souk.Atoms, error) {
	if tariff.Counts() {
		return souk.Atoms(job.Price.MaxTotalAtoms), nil
	}
	terms := payment.Terms{Tariff: tariff, Devices: devices}
	most, err := terms.TimeCost(time.Duration(min(job.Limits.MaxDurationMs, 1<<40)) * time.Millisecond)
	if err != nil {
		return 0, fmt.Errorf("the job's cost: %w", err)
	}
	return min(most, souk.Atoms(job.Price.MaxTotalAtoms)), nil
}

// Authorize signs an ERC-3009 authorization, if the wallet has the tokens beside
// those that it signed away already.
func (d *Dealer) Authorize(ch payment.Channel, amount, away souk.Atoms) (chain.Deposit, error) {
	if have := d.cfg.Ledger.Balance(ledger.Wallet) - away; have < amount {
		return chain.Deposit{}, &money.FundsError{Need: amount, Have: have}
	}
	var salt [32]byte
	rand.Read(salt[:])
	return d.cfg.Chain.SignDeposit(ch, amount, depositValid, time.Now(), salt)
}

// Countersign asks the provider to sign the lease too.
func (d *Dealer) Countersign(ctx context.Context, s *Proposal) (*market.Refusal, error) {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.Waits.Lease) // the provider's own limit
	defer cancel()
	var reply leasev1.LeaseReply
	if err := network.Exchange(ctx, d.cfg.Host, s.Peer, network.LeaseProtocol, s.Request, &reply, network.MaxLeaseBytes); err != nil {
		return nil, err
	}
	if env := reply.GetDecline(); env != nil {
		return OpenDecline(env, s.ID.Digest, s.Terms.ProviderKey)
	}
	payload, signer, err := wire.Open(souk.DomainLease, reply.GetLease(), network.MaxLeaseBytes)
	if err != nil {
		return nil, fmt.Errorf("countersigned lease: %w", err)
	}
	if signer != s.Terms.ProviderKey || sha256.Sum256(payload) != s.ID.Digest {
		return nil, fmt.Errorf("the provider signed another lease")
	}
	d.cfg.Log.Info("lease", "lease", s.ID.Short(), "peer", s.Peer, "price", souk.Atoms(s.Lease.PriceAtomsPerHour))
	return nil, nil
}

// CloseLease gives back what a lease reserved and did not use: nothing more becomes due
// on it. Where nothing came of it, the provider may hold its first voucher: the next lease with it is paid by that one first,
// so a provider that takes vouchers and declines never holds more than one.
func (d *Dealer) CloseLease(ctx context.Context, ch souk.ChannelID, lease souk.LeaseID) error {
	return d.cfg.Channels.Update(ctx, ch, func(rec *money.Channel) (ledger.Batch, error) {
		rec.Close(lease)
		return ledger.Batch{}, nil
	})
}

// signed reads from the ledger what was signed for a lease.
func (d *Dealer) signed(id souk.LeaseID) (*Proposal, error) {
	payload, err := d.cfg.Ledger.Get("signed/" + id.String())
	if err != nil || payload == nil {
		return nil, fmt.Errorf("lease %s is not in the ledger: %w", id.Short(), err)
	}
	var l leasev1.Lease
	if err := proto.Unmarshal(payload, &l); err != nil {
		return nil, fmt.Errorf("lease %s: %w", id.Short(), err)
	}
	s := &Proposal{ID: id, Payload: payload, Lease: &l}
	if s.Terms, s.Channel, err = money.LeaseTerms(payload, &l); err != nil {
		return nil, fmt.Errorf("lease %s: %w", id.Short(), err)
	}
	if s.Peer, err = network.PeerID(s.Terms.ProviderKey); err != nil {
		return nil, fmt.Errorf("lease %s: %w", id.Short(), err)
	}
	return s, nil
}

// signedAway is what deposits on other channels will take of the wallet, that
// were signed for leases and that the chain has not shown yet.
func (d *Dealer) signedAway(but souk.ChannelID) (sum souk.Atoms) {
	for _, rec := range d.cfg.Channels.All() {
		if rec.Paying && rec.ID() != but {
			sum += rec.PendingDeposits()
		}
	}
	return sum
}
