package money

import (
	"context"
	"encoding/binary"
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

// Channel is what this node knows of one channel: its config and account,
// and the transactions that were last sent on it.
type Channel struct {
	Config payment.Channel      `json:"config"`
	Domain payment.EIP712Domain `json:"domain"`
	Peer   string               `json:"peer"` // the other side's peer id

	payment.Account

	DepositTx string `json:"deposit_tx"`
	ClaimTx   string `json:"claim_tx"`
	RefundTx  string `json:"refund_tx"`
}

// ID is the channel's x402 id.
func (r *Channel) ID() souk.ChannelID { return r.Config.ID(r.Domain) }

func (r *Channel) clone() *Channel {
	c := *r
	c.Account = r.Account.Clone()
	return &c
}

func channelKey(id souk.ChannelID) string { return "channel/" + id.String() }

// Channels is the index of this node's channels. A change is in the ledger
// before it is here, and one channel changes one step at a time: that order is
// what makes a cumulative voucher safe.
type Channels struct {
	ledger *ledger.Ledger

	mu    sync.Mutex // guards slots
	slots map[souk.ChannelID]*channelSlot
}

type channelSlot struct {
	mu    sync.Mutex // held while the channel changes; guards what follows
	rec   *Channel
	saved bool // it is in the ledger
	gone  bool // it was dropped: nothing may be kept in it
}

// LoadChannels reads every channel from the ledger.
func LoadChannels(l *ledger.Ledger) (*Channels, error) {
	c := &Channels{ledger: l, slots: map[souk.ChannelID]*channelSlot{}}
	err := l.Scan("channel/", func(key string, value []byte) error {
		var rec Channel
		if err := json.Unmarshal(value, &rec); err != nil {
			return fmt.Errorf("record %s: %w", key, err)
		}
		c.slots[rec.ID()] = &channelSlot{rec: &rec, saved: true}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("load channels: %w", err)
	}
	return c, nil
}

// Open makes the channel known; nothing is written before its first update. One
// that a peer named, and nothing came of, is dropped again.
func (c *Channels) Open(cfg payment.Channel, d payment.EIP712Domain, peer string, paying bool) souk.ChannelID {
	id := cfg.ID(d)
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.slots[id]; !ok {
		c.slots[id] = &channelSlot{rec: &Channel{Config: cfg, Domain: d, Peer: peer, Account: payment.NewAccount(id, paying)}}
	}
	return id
}

// Drop forgets a channel of which nothing was ever written, unless a deposit is on
// its way to it: peers can name more channels than a node could read from the chain.
func (c *Channels) Drop(id souk.ChannelID) {
	s := c.slot(id)
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.saved || s.rec.Unconfirmed() > 0 {
		return
	}
	s.gone = true
	c.mu.Lock()
	delete(c.slots, id)
	c.mu.Unlock()
}

// note changes what is not stored of a channel's account.
func (c *Channels) note(id souk.ChannelID, change func(*payment.Account)) {
	s := c.slot(id)
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	rec := s.rec.clone()
	change(&rec.Account)
	s.rec = rec
}

func (c *Channels) slot(id souk.ChannelID) *channelSlot {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.slots[id]
}

// Get returns a copy of what is known of a channel.
func (c *Channels) Get(id souk.ChannelID) (*Channel, bool) {
	s := c.slot(id)
	if s == nil {
		return nil, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rec.clone(), true
}

// All returns copies of all channels, ordered by id.
func (c *Channels) All() []*Channel {
	c.mu.Lock()
	ids := slices.Collect(maps.Keys(c.slots))
	c.mu.Unlock()
	slices.SortFunc(ids, func(a, b souk.ChannelID) int { return slices.Compare(a.Digest[:], b.Digest[:]) })
	recs := make([]*Channel, 0, len(ids))
	for _, id := range ids {
		if rec, ok := c.Get(id); ok {
			recs = append(recs, rec)
		}
	}
	return recs
}

// With returns the channel with a peer in one direction.
func (c *Channels) With(peer string, paying bool) (*Channel, bool) {
	for _, rec := range c.All() {
		if rec.Peer == peer && rec.Paying == paying {
			return rec, true
		}
	}
	return nil, false
}

// Update changes one channel: fn edits a copy and may add what else must become
// durable in the same transaction. Nothing has changed when it returns an error.
// Once it writes it does not stop for ctx: what the ledger took must be here too.
func (c *Channels) Update(ctx context.Context, id souk.ChannelID, fn func(*Channel) (ledger.Batch, error)) error {
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

// Enter posts a receipt that both sides signed, with the voucher that the client
// answered it with, and returns what else becomes durable with that: the receipt,
// and the transfer of what it adds to what is due.
func (r *Channel) Enter(receipt payment.Receipt, paid souk.Atoms, v payment.Voucher, now time.Time) (ledger.Batch, error) {
	usage, err := r.Post(receipt, paid, v)
	if err != nil {
		return ledger.Batch{}, err
	}
	b := ledger.Batch{Records: []ledger.Record{ReceiptRecord(receipt.Lease, receipt.Seq, receipt.Proto())}}
	if usage > 0 {
		debit, credit := ledger.Receivable(receipt.Channel), ledger.Earned
		if r.Paying {
			debit, credit = ledger.Spent, ledger.Owed(receipt.Channel)
		}
		digest := receipt.Digest(r.Domain)
		b.Transfers = []ledger.Transfer{{ID: ledger.TransferID("usage", digest[:]), Debit: debit, Credit: credit,
			Amount: usage, Kind: "usage", Ref: receipt.Lease.String(), At: now}}
	}
	return b, nil
}

// read takes what the chain now says of the channel and returns the transfers
// that explain what has changed. Booked is the ledger's balance of what is due on
// the channel and not claimed, wallet whose address claims are paid to there.
func (r *Channel) read(now payment.OnChain, booked souk.Atoms, wallet payment.Address, at time.Time) (b ledger.Batch) {
	id, moved := r.ID(), r.Read(now, booked)
	var revision [8]byte
	binary.BigEndian.PutUint64(revision[:], r.Revision)
	post := func(kind string, debit, credit ledger.Account, amount souk.Atoms) {
		if amount > 0 {
			b.Transfers = append(b.Transfers, ledger.Transfer{ID: ledger.TransferID(kind, id.Digest[:], revision[:]),
				Debit: debit, Credit: credit, Amount: amount, Kind: kind, Ref: id.String(), At: at})
		}
	}
	if r.Paying {
		post("deposit", ledger.Channel(id), ledger.Wallet, moved.Deposited)
		post("claim", ledger.Owed(id), ledger.Channel(id), moved.Claimed)
		post("overclaim", ledger.Spent, ledger.Channel(id), moved.Unbooked) // within what was vouched, beyond what was due
		post("refund", ledger.Wallet, ledger.Channel(id), moved.Refunded)
		return b
	}
	to := Claimed
	if r.Config.Receiver != wallet {
		to = ledger.External // a payout address of another wallet
	}
	post("claim", to, ledger.Receivable(id), moved.Claimed)
	post("unbooked", to, ledger.Earned, moved.Unbooked) // claimed by this node at a time that its ledger has lost
	return b
}
