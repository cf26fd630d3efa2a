package node

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

// signing is a lease the client signed, with what it became known with.
type signing struct {
	id       souk.LeaseID
	peer     peer.ID
	lease    *leasev1.Lease
	payload  []byte
	terms    payment.Terms
	channel  payment.Channel
	request  *leasev1.LeaseRequest
	deposits souk.Atoms
}

// signed returns what was signed for a lease, from the ledger after a restart.
func (j *job) signed(id souk.LeaseID) (*signing, error) {
	j.mu.Lock()
	s := j.signs[id]
	j.mu.Unlock()
	if s != nil {
		return s, nil
	}
	s, err := j.c.signed(id)
	if err != nil {
		return nil, err
	}
	j.mu.Lock()
	j.signs[id] = s
	j.mu.Unlock()
	return s, nil
}

// propose builds the lease on a bid and makes the promise in it durable: its
// first voucher is in the ledger before any byte of it leaves.
func (c *client) propose(ctx context.Context, jobID souk.JobID, job *jobv1.Job, to peer.ID, bid *market.Bid, startBy time.Time) (*signing, error) {
	s, err := c.draft(jobID, job, to, bid, startBy)
	if err != nil {
		return nil, err
	}
	c.cfg.Channels.Open(s.channel, s.terms.Domain, to.String(), true)
	c.proposing.Lock() // of two leases at once, the second sees what the first takes of the wallet
	defer c.proposing.Unlock()
	elsewhere := c.signedAway(s.terms.Channel)
	err = c.cfg.Channels.Update(ctx, s.terms.Channel, func(rec *money.Channel) (ledger.Batch, error) {
		if short := s.terms.Reserve - rec.Free(); short > 0 {
			dep, err := c.deposit(s.channel, max(short, souk.Atoms(bid.Settlement.MinDepositAtoms)), elsewhere+rec.PendingDeposits())
			if err != nil {
				return ledger.Batch{}, err
			}
			s.request.Deposit, s.deposits = dep.Proto(), dep.Amount
		}
		if err := rec.Open(s.id, s.terms.Reserve, s.deposits); err != nil {
			return ledger.Batch{}, err
		}
		total, err := rec.Promise(s.id, s.terms.First())
		if err != nil {
			return ledger.Batch{}, err
		}
		v := payment.Voucher{Channel: s.terms.Channel, MaxClaimable: total}
		if err := v.Sign(s.terms.Domain, c.cfg.VoucherKey); err != nil {
			return ledger.Batch{}, err
		}
		s.request.Voucher = v.Proto()
		rec.Take(v)
		return ledger.Batch{Records: []ledger.Record{{Key: "signed/" + s.id.String(), Value: s.payload}}}, nil
	})
	if err != nil {
		return nil, fmt.Errorf("lease with %s: %w", to, err)
	}
	return s, nil
}

// draft fills in a lease; it promises nothing yet.
func (c *client) draft(jobID souk.JobID, job *jobv1.Job, to peer.ID, bid *market.Bid, startBy time.Time) (*signing, error) {
	keys, err := payment.OpenKeys(bid.Keys, time.Now())
	if err != nil {
		return nil, fmt.Errorf("provider keys: %w", err)
	}
	key, err := network.PeerKey(to)
	if err != nil {
		return nil, err
	}
	ch, d, err := c.channelFor(bid.Settlement, keys)
	if err != nil {
		return nil, err
	}
	tariff, err := money.BidTariff(bid.Bid)
	if err != nil {
		return nil, fmt.Errorf("bid: %w", err)
	}
	most, err := Reserve(job, tariff, len(bid.Devices))
	if err != nil {
		return nil, err
	}
	startBy = startBy.Add(c.cfg.Waits.Start)
	if most := time.Now().Add(money.MaxStart); startBy.After(most) {
		startBy = most
	}
	me := souk.NodeKey(c.key)
	l := &leasev1.Lease{Job: jobID.Digest[:], Bid: bid.Digest[:], ProviderKey: key[:], ClientKey: me[:], Devices: bid.Devices,
		PriceAtomsPerHour: bid.PriceAtomsPerHour, IntervalMs: max(job.Price.PayEveryMs, bid.MinIntervalMs),
		GraceMs: uint64(paymentGrace.Milliseconds()), HoldPausedMs: job.Limits.HoldPausedMs, MaxDurationMs: job.Limits.MaxDurationMs,
		ReserveAtoms: uint64(most), PayAheadMs: job.Price.PayAheadMs, Channel: ch.Proto(), ChainId: d.ChainID, Settlement: d.Settlement[:],
		Resources: job.Resources, Runner: bid.Runner, ClientKeys: c.cfg.Keys.At(time.Now()), ProviderKeys: bid.Keys,
		SignedMs: time.Now().UnixMilli(), StartByMs: startBy.UnixMilli(), Version: bid.Version, MustUnderstand: market.JobExtensions(job)}
	if l.Version >= 2 {
		l.Tariff = tariff.Proto()
	}
	if in, err := money.InputDigest(job.Input); err != nil {
		return nil, fmt.Errorf("inputs: %w", err)
	} else if !in.IsZero() {
		l.InputDigest = in[:]
	}
	s := &signing{peer: to, lease: l, payload: network.MustMarshal(l), channel: ch}
	if s.terms, _, err = money.LeaseTerms(s.payload, l); err != nil {
		return nil, fmt.Errorf("lease: %w", err)
	}
	s.id = s.terms.Lease
	s.request = &leasev1.LeaseRequest{Lease: wire.Seal(c.cfg.Key, souk.DomainLease, s.payload), Version: market.Version}
	return s, nil
}

// channelFor is the one channel from this client to a provider.
func (c *client) channelFor(st *marketv1.Settlement, provider payment.Keys) (payment.Channel, payment.EIP712Domain, error) {
	ours := c.cfg.Chain.Domain()
	d := payment.EIP712Domain{ChainID: st.GetChainId(), Settlement: payment.Address(st.GetContract())}
	token := payment.Address(st.GetToken())
	if d != ours || token != c.cfg.Contracts.Token || payment.Address(st.GetCollector()) != c.cfg.Contracts.Collector {
		return payment.Channel{}, d, fmt.Errorf("the provider is paid on chain %d at %s, this node is on chain %d at %s",
			d.ChainID, d.Settlement, ours.ChainID, ours.Settlement)
	}
	if withdrawDelay < st.WithdrawDelayMinS || withdrawDelay > st.WithdrawDelayMaxS {
		return payment.Channel{}, d, fmt.Errorf("the provider wants a withdrawal delay of %d to %d s", st.WithdrawDelayMinS, st.WithdrawDelayMaxS)
	}
	return payment.Channel{Payer: c.cfg.Chain.Address(), PayerAuthorizer: c.authorizer, Receiver: payment.Address(st.Receiver),
		ReceiverAuthorizer: provider.Authorizer, Token: token, WithdrawDelay: withdrawDelay}, d, nil
}

// Reserve is the most a job may cost by a tariff on n devices: what its lease
// sets aside. Where the tariff counts what no time bounds, that is the job's cap.
func Reserve(job *jobv1.Job, tariff payment.Tariff, n int) (souk.Atoms, error) {
	if tariff.Counts() {
		return souk.Atoms(job.Price.MaxTotalAtoms), nil
	}
	terms := payment.Terms{Tariff: tariff, Devices: []payment.ClassCount{{Count: n}}}
	most, err := terms.TimeCost(time.Duration(min(job.Limits.MaxDurationMs, 1<<40)) * time.Millisecond)
	if err != nil {
		return 0, fmt.Errorf("the job's cost: %w", err)
	}
	return min(most, souk.Atoms(job.Price.MaxTotalAtoms)), nil
}

// deposit signs an ERC-3009 authorization, if the wallet has the tokens beside
// those that it signed away already.
func (c *client) deposit(ch payment.Channel, amount, away souk.Atoms) (chain.Deposit, error) {
	if have := c.cfg.Ledger.Balance(ledger.Wallet) - away; have < amount {
		return chain.Deposit{}, &money.FundsError{Need: amount, Have: have}
	}
	var salt [32]byte
	rand.Read(salt[:])
	return c.cfg.Chain.SignDeposit(ch, amount, depositValid, time.Now(), salt)
}

// countersign asks the provider to sign the lease too.
func (c *client) countersign(ctx context.Context, s *signing) (*market.Refusal, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Waits.Lease) // the provider's own limit
	defer cancel()
	var reply leasev1.LeaseReply
	if err := network.Exchange(ctx, c.cfg.Host, s.peer, network.LeaseProtocol, s.request, &reply, network.MaxLeaseBytes); err != nil {
		return nil, err
	}
	if env := reply.GetDecline(); env != nil {
		return openDecline(env, s.id.Digest, s.terms.ProviderKey)
	}
	payload, signer, err := wire.Open(souk.DomainLease, reply.GetLease(), network.MaxLeaseBytes)
	if err != nil {
		return nil, fmt.Errorf("countersigned lease: %w", err)
	}
	if signer != s.terms.ProviderKey || sha256.Sum256(payload) != s.id.Digest {
		return nil, fmt.Errorf("the provider signed another lease")
	}
	c.cfg.Log.Info("lease", "lease", s.id.Short(), "peer", s.peer, "price", souk.Atoms(s.lease.PriceAtomsPerHour))
	return nil, nil
}

// abandon gives back what a lease reserved when nothing came of it. The provider
// may hold its first voucher: the next lease with it is paid by that one first,
// so a provider that takes vouchers and declines never holds more than one.
func (c *client) abandon(ctx context.Context, ch souk.ChannelID, lease souk.LeaseID) error {
	return c.cfg.Channels.Update(ctx, ch, func(rec *money.Channel) (ledger.Batch, error) {
		rec.Close(lease)
		return ledger.Batch{}, nil
	})
}

func (j *job) lastSigned(peer souk.NodeKey) souk.LeaseID {
	j.mu.Lock()
	defer j.mu.Unlock()
	var last souk.LeaseID
	var at int64
	for id, s := range j.signs {
		if s.terms.ProviderKey == peer && s.lease.SignedMs >= at {
			last, at = id, s.lease.SignedMs
		}
	}
	return last
}

// signed reads from the ledger what was signed for a lease.
func (c *client) signed(id souk.LeaseID) (*signing, error) {
	payload, err := c.cfg.Ledger.Get("signed/" + id.String())
	if err != nil || payload == nil {
		return nil, fmt.Errorf("lease %s is not in the ledger: %w", id.Short(), err)
	}
	var l leasev1.Lease
	if err := proto.Unmarshal(payload, &l); err != nil {
		return nil, fmt.Errorf("lease %s: %w", id.Short(), err)
	}
	s := &signing{id: id, payload: payload, lease: &l}
	if s.terms, s.channel, err = money.LeaseTerms(payload, &l); err != nil {
		return nil, fmt.Errorf("lease %s: %w", id.Short(), err)
	}
	if s.peer, err = network.PeerID(s.terms.ProviderKey); err != nil {
		return nil, fmt.Errorf("lease %s: %w", id.Short(), err)
	}
	return s, nil
}

// signedAway is what deposits on other channels will take of the wallet, that
// were signed for leases and that the chain has not shown yet.
func (c *client) signedAway(but souk.ChannelID) (sum souk.Atoms) {
	for _, rec := range c.cfg.Channels.All() {
		if rec.Paying && rec.ID() != but {
			sum += rec.PendingDeposits()
		}
	}
	return sum
}
