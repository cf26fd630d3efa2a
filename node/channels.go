package node

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/ledger"
)

// channelRecord is what this node knows of one channel: what was promised on
// it, lease by lease, and what the chain said when it was last read.
type channelRecord struct {
	Config  payment.Channel       `json:"config"`
	Domain  payment.EIP712Domain  `json:"domain"`
	Peer    string                `json:"peer"`   // the other side's peer id
	Paying  bool                  `json:"paying"` // whether this node is the payer
	Voucher payment.Voucher       `json:"voucher"`
	Leases  map[string]leaseMoney `json:"leases"` // by lease id; those that are not over
	Past    souk.Atoms            `json:"past"`   // due on leases that are over: both paid and due

	Balance       souk.Atoms `json:"balance"` // deposited less refunded, over the channel's life
	Claimed       souk.Atoms `json:"claimed"` // claimed by the receiver, over the channel's life
	Withdrawing   souk.Atoms `json:"withdrawing"`
	WithdrawReady time.Time  `json:"withdraw_ready"`
	RefundNonce   uint64     `json:"refund_nonce"`
	Refunding     bool       `json:"refunding"` // a refund is under way: no lease may count on the balance
	Revision      uint64     `json:"revision"`  // counts changes seen on chain; part of their transfer ids
	DepositTx     string     `json:"deposit_tx"`
	ClaimTx       string     `json:"claim_tx"`
	RefundTx      string     `json:"refund_tx"`
}

// leaseMoney is one lease's part of a channel.
type leaseMoney struct {
	Paid    souk.Atoms `json:"paid"`    // vouched for this lease, in all
	Due     souk.Atoms `json:"due"`     // by countersigned receipts
	Reserve souk.Atoms `json:"reserve"` // the most it may cost
	Deposit souk.Atoms `json:"deposit"` // signed for it and not yet seen on chain
	Live    bool       `json:"live"`    // whether more may become due
}

func (r *channelRecord) id() souk.ChannelID { return r.Config.ID(r.Domain) }

// vouched is the sum over leases of what was vouched for each.
func (r *channelRecord) vouched() souk.Atoms {
	sum := r.Past
	for _, l := range r.Leases {
		sum += l.Paid
	}
	return sum
}

// due is the sum over leases of what their receipts say: what is claimed.
func (r *channelRecord) due() souk.Atoms {
	sum := r.Past
	for _, l := range r.Leases {
		sum += l.Due
	}
	return sum
}

// reserved is what live leases may still cost beyond what was vouched.
func (r *channelRecord) reserved() (sum souk.Atoms) {
	for _, l := range r.Leases {
		if l.Live && l.Reserve > l.Paid {
			sum += l.Reserve - l.Paid
		}
	}
	return sum
}

// room is what a new lease may reserve: vouchers and live reserves stay within
// the balance less a pending withdrawal. A deposit on its way counts, for the
// lease that it came with counts too. It may be negative.
func (r *channelRecord) room() souk.Atoms {
	return r.Balance + r.coming() - r.Withdrawing - r.vouched() - r.reserved()
}

// covered is what the chain holds beyond what every lease may cost that does not
// wait for a deposit of its own: while it is below nothing, none of the others
// may run. A deposit on its way covers the lease that it came with and no other,
// since it may never arrive.
func (r *channelRecord) covered() souk.Atoms {
	left := r.Balance - r.Withdrawing - r.Past
	for _, l := range r.Leases {
		need := l.Paid
		if l.Live {
			need = max(l.Paid, l.Reserve)
		}
		left -= max(0, need-l.Deposit)
	}
	return left
}

// coming is what was signed for leases and not yet seen on chain.
func (r *channelRecord) coming() (sum souk.Atoms) {
	for _, l := range r.Leases {
		sum += l.Deposit
	}
	return sum
}

// landed says that nothing more will come of a lease's deposit: it is in the
// balance, or was before.
func (r *channelRecord) landed(lease souk.LeaseID) {
	if m, ok := r.Leases[lease.String()]; ok {
		m.Deposit = 0
		r.Leases[lease.String()] = m
	}
}

// arrived takes what was deposited on chain off what is on its way: the deposit
// of just that amount, or, where several came together, as much off each, as too
// little room does less harm than too much.
func (r *channelRecord) arrived(amount souk.Atoms) {
	if amount <= 0 {
		return
	}
	for id, l := range r.Leases {
		if l.Deposit == amount {
			l.Deposit = 0
			r.Leases[id] = l
			return
		}
	}
	for id, l := range r.Leases {
		l.Deposit -= min(l.Deposit, amount)
		r.Leases[id] = l
	}
}

// uncovered tells whether a withdrawal takes what was promised: then no more
// work is done on the channel's vouchers.
func (r *channelRecord) uncovered() bool {
	return r.Withdrawing > 0 && r.vouched() > r.Balance-r.Withdrawing
}

// live tells whether a lease on the channel may still cost something.
func (r *channelRecord) live() bool {
	for _, l := range r.Leases {
		if l.Live {
			return true
		}
	}
	return false
}

// settle says that nothing more becomes due on a lease: what was vouched beyond
// what is due serves the channel's other leases.
func (r *channelRecord) settle(lease souk.LeaseID) {
	if m, ok := r.Leases[lease.String()]; ok {
		m.Live, m.Paid, m.Deposit = false, m.Due, 0
		r.Leases[lease.String()] = m
	}
}

// end forgets a lease whose receipts are all in: its money joins the past, so
// that a channel's record does not grow with its leases.
func (r *channelRecord) end(lease souk.LeaseID) {
	r.Past += r.Leases[lease.String()].Due
	delete(r.Leases, lease.String())
}

// tab is the channel's arithmetic over its leases.
func (r *channelRecord) tab() *payment.Tab {
	paid := make(map[souk.LeaseID]souk.Atoms, len(r.Leases))
	for id, l := range r.Leases {
		d, err := souk.ParseDigest(id)
		if err != nil {
			continue // written by us; the ledger's hash chain vouches for it
		}
		paid[souk.LeaseID{Digest: d}] = l.Paid
	}
	paid[souk.LeaseID{}] = r.Past
	return payment.NewTab(r.Voucher.MaxClaimable, paid)
}

func (r *channelRecord) clone() *channelRecord {
	c := *r
	c.Leases = maps.Clone(r.Leases)
	if c.Leases == nil {
		c.Leases = map[string]leaseMoney{}
	}
	c.Voucher.Signature = slices.Clone(r.Voucher.Signature)
	return &c
}

func channelKey(id souk.ChannelID) string { return "channel/" + id.String() }

// channels is the index of this node's channels. A change is in the ledger
// before it is here, and one channel changes one step at a time: that order is
// what makes a cumulative voucher safe.
type channels struct {
	ledger *ledger.Ledger

	mu    sync.Mutex // guards slots
	slots map[souk.ChannelID]*channelSlot
}

type channelSlot struct {
	mu    sync.Mutex // held while the channel changes; guards what follows
	rec   *channelRecord
	saved bool // it is in the ledger
	gone  bool // it was dropped: nothing may be kept in it
}

// loadChannels reads every channel from the ledger.
func loadChannels(l *ledger.Ledger) (*channels, error) {
	c := &channels{ledger: l, slots: map[souk.ChannelID]*channelSlot{}}
	err := l.Scan("channel/", func(key string, value []byte) error {
		var rec channelRecord
		if err := json.Unmarshal(value, &rec); err != nil {
			return fmt.Errorf("record %s: %w", key, err)
		}
		c.slots[rec.id()] = &channelSlot{rec: &rec, saved: true}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("load channels: %w", err)
	}
	return c, nil
}

// open makes the channel known; nothing is written before its first update. One
// that a peer named, and nothing came of, is dropped again.
func (c *channels) open(cfg payment.Channel, d payment.EIP712Domain, peer string, paying bool) souk.ChannelID {
	id := cfg.ID(d)
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.slots[id]; !ok {
		c.slots[id] = &channelSlot{rec: &channelRecord{Config: cfg, Domain: d, Peer: peer, Paying: paying,
			Voucher: payment.Voucher{Channel: id}, Leases: map[string]leaseMoney{}}}
	}
	return id
}

// drop forgets a channel of which nothing was ever written: peers can name more
// channels than a node could read from the chain.
func (c *channels) drop(id souk.ChannelID) {
	s := c.slot(id)
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.saved {
		return
	}
	s.gone = true
	c.mu.Lock()
	delete(c.slots, id)
	c.mu.Unlock()
}

func (c *channels) slot(id souk.ChannelID) *channelSlot {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.slots[id]
}

// get returns a copy of what is known of a channel.
func (c *channels) get(id souk.ChannelID) (*channelRecord, bool) {
	s := c.slot(id)
	if s == nil {
		return nil, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rec.clone(), true
}

// all returns copies of all channels, ordered by id.
func (c *channels) all() []*channelRecord {
	c.mu.Lock()
	ids := slices.Collect(maps.Keys(c.slots))
	c.mu.Unlock()
	slices.SortFunc(ids, func(a, b souk.ChannelID) int { return slices.Compare(a.Digest[:], b.Digest[:]) })
	recs := make([]*channelRecord, 0, len(ids))
	for _, id := range ids {
		if rec, ok := c.get(id); ok {
			recs = append(recs, rec)
		}
	}
	return recs
}

// with returns the channel with a peer in one direction.
func (c *channels) with(peer string, paying bool) (*channelRecord, bool) {
	for _, rec := range c.all() {
		if rec.Peer == peer && rec.Paying == paying {
			return rec, true
		}
	}
	return nil, false
}

// update changes one channel: fn edits a copy and may add what else must become
// durable in the same transaction. Nothing has changed when it returns an error.
// Once it writes it does not stop for ctx: what the ledger took must be here too.
func (c *channels) update(ctx context.Context, id souk.ChannelID, fn func(*channelRecord) (ledger.Batch, error)) error {
	s := c.slot(id)
	if s == nil {
		return fmt.Errorf("channel %s is not known here", id.Short())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone {
		return fmt.Errorf("channel %s is not known here", id.Short())
	}
	rec := s.rec.clone()
	batch, err := fn(rec)
	if err != nil {
		return err
	}
	value, err := json.Marshal(rec)
	if err != nil {
		return fmt.Errorf("encode channel %s: %w", id.Short(), err)
	}
	batch.Records = append(batch.Records, ledger.Record{Key: channelKey(id), Value: value})
	if err := c.ledger.Commit(context.WithoutCancel(ctx), batch); err != nil {
		return fmt.Errorf("channel %s: %w", id.Short(), err)
	}
	s.rec, s.saved = rec, true
	return nil
}

// take keeps the higher of two vouchers.
func (r *channelRecord) take(v payment.Voucher) {
	if v.MaxClaimable >= r.Voucher.MaxClaimable {
		r.Voucher = v
	}
}
