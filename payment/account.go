package payment

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/souk-market/souk"
)

var (
	// ErrNoLease is returned for a lease that has no share of the account.
	ErrNoLease = errors.New("the lease has no share of the channel")
	// ErrOpen is returned for a lease that has a share of the account already.
	ErrOpen = errors.New("the lease has a share of the channel already")
	// ErrWithdrawing is returned for a new lease while a withdrawal is pending.
	ErrWithdrawing = errors.New("a withdrawal from the channel is pending")
	// ErrRefunding is returned for a new lease while a refund is under way.
	ErrRefunding = errors.New("a refund of the channel is under way; if that stays so, ask for the refund again")
)

// ReserveError is returned for a lease that may cost more than is free.
type ReserveError struct{ Short souk.Atoms }

func (e *ReserveError) Error() string {
	return fmt.Sprintf("the channel is %s short of the lease's reserve", e.Short)
}

// OnChain is what the contract holds for a channel, as it was last read.
type OnChain struct {
	Balance       souk.Atoms `json:"balance"`        // deposited less refunded, over the channel's life
	Claimed       souk.Atoms `json:"claimed"`        // claimed by the receiver, over the channel's life
	Withdrawing   souk.Atoms `json:"withdrawing"`    // what the payer has started to withdraw
	WithdrawReady time.Time  `json:"withdraw_ready"` // when a withdrawal can be finished; zero: none is pending
	RefundNonce   uint64     `json:"refund_nonce"`   // of the next refund
}

// Same tells whether o and p hold the same amounts and allow the same refund.
func (o OnChain) Same(p OnChain) bool {
	return o.Balance == p.Balance && o.Claimed == p.Claimed && o.Withdrawing == p.Withdrawing && o.RefundNonce == p.RefundNonce
}

// Share is one lease's part of an account.
type Share struct {
	Paid    souk.Atoms `json:"paid"`    // vouched for this lease, in all
	Due     souk.Atoms `json:"due"`     // by countersigned receipts
	Reserve souk.Atoms `json:"reserve"` // the most it may cost
	Deposit souk.Atoms `json:"deposit"` // came with it and may not be relied on yet
	Live    bool       `json:"live"`    // whether more may become due
}

// most is what the lease may still take of the channel in all.
func (s Share) most() souk.Atoms {
	if s.Live {
		return max(s.Paid, s.Reserve)
	}
	return s.Paid
}

// Account is one side of a channel: what the contract holds, what was vouched,
// and how the leases share it. The client and the provider each keep one and
// change it by the same methods.
//
// A method that returns an error has changed nothing. The fields are the stored
// form and are changed by methods alone. An Account has one owner.
type Account struct {
	Paying  bool                   `json:"paying"`  // whether this side is the payer
	Voucher Voucher                `json:"voucher"` // the highest one signed or seen
	Leases  map[souk.LeaseID]Share `json:"leases"`  // those that are not closed
	Past    souk.Atoms             `json:"past"`    // due on closed leases: both paid and due

	OnChain
	// DepositsSeen is the part of Balance that was deposited for leases and may
	// not be relied on yet, as their blocks could still be taken back.
	DepositsSeen souk.Atoms `json:"deposits_seen,omitempty"`
	Refunding    bool       `json:"refunding"` // a refund is under way: no lease may count on the balance
	Revision     uint64     `json:"revision"`  // counts the changes seen on chain

	ahead souk.Atoms // deposits ahead of any lease, sent since the last start, that may not be relied on yet
}

// NewAccount is an account of which nothing is known yet.
func NewAccount(channel souk.ChannelID, paying bool) Account {
	return Account{Paying: paying, Voucher: Voucher{Channel: channel}, Leases: map[souk.LeaseID]Share{}}
}

// Clone is a copy that shares nothing with a.
func (a Account) Clone() Account {
	a.Leases = maps.Clone(a.Leases)
	if a.Leases == nil {
		a.Leases = map[souk.LeaseID]Share{}
	}
	a.Voucher.Signature = slices.Clone(a.Voucher.Signature)
	return a
}

// Vouched is the sum over all leases of what was vouched for each.
func (a *Account) Vouched() souk.Atoms {
	return a.sum(a.Past, func(s Share) souk.Atoms { return s.Paid })
}

// Due is the sum over all leases of what countersigned receipts say.
func (a *Account) Due() souk.Atoms {
	return a.sum(a.Past, func(s Share) souk.Atoms { return s.Due })
}

// Reserved is what live leases may still cost beyond what was vouched for them.
func (a *Account) Reserved() souk.Atoms {
	return a.sum(0, func(s Share) souk.Atoms { return s.most() - s.Paid })
}

// Live tells whether more may become due on any lease.
func (a *Account) Live() bool {
	for _, s := range a.Leases {
		if s.Live {
			return true
		}
	}
	return false
}

// Unconfirmed is the sum of the deposits that may not be relied on yet, on chain
// or not.
func (a *Account) Unconfirmed() souk.Atoms { return a.ahead + a.leaseDeposits() }

// PendingDeposits is what was signed for leases and not yet seen on chain.
func (a *Account) PendingDeposits() souk.Atoms { return max(0, a.leaseDeposits()-a.DepositsSeen) }

func (a *Account) leaseDeposits() souk.Atoms {
	return a.sum(0, func(s Share) souk.Atoms { return s.Deposit })
}

// Free is what a new lease may reserve: vouchers and live reserves stay within
// the balance less a pending withdrawal. Pending deposits count, because the
// leases that they came with count too. It may be negative.
func (a *Account) Free() souk.Atoms {
	return a.Balance + a.PendingDeposits() - a.Withdrawing - a.Vouched() - a.Reserved()
}

// Backing is what the chain holds for good beyond what every lease may cost that
// does not wait for a deposit of its own: while it is negative none of those may
// run. An unconfirmed deposit backs the lease that it came with and no other,
// since it may never arrive.
func (a *Account) Backing() souk.Atoms {
	needed := a.sum(a.Past, func(s Share) souk.Atoms { return max(0, s.most()-s.Deposit) })
	return a.Balance - min(a.DepositsSeen, a.Unconfirmed()) - a.Withdrawing - needed
}

// Overdrawn tells whether a withdrawal takes what was promised: then no more
// work is done on the channel's vouchers.
func (a *Account) Overdrawn() bool {
	return a.Withdrawing > 0 && a.Vouched() > a.Balance-a.Withdrawing
}

// Claimable is what the receiver may claim in all, what was claimed included:
// what is due, as far as the voucher and the balance go.
func (a *Account) Claimable() souk.Atoms {
	return min(a.Due(), a.Voucher.MaxClaimable, a.Balance)
}

// Left is what a refund or a withdrawal of everything takes.
func (a *Account) Left() souk.Atoms { return a.Balance - a.Claimed }

// Open gives a lease a share of the account. Deposit is what came with it, or 0.
// The errors are [ErrOpen], [*ReserveError], [ErrWithdrawing], [ErrRefunding],
// [ErrMalformed] and [souk.ErrOverflow].
func (a *Account) Open(l souk.LeaseID, reserve, deposit souk.Atoms) error {
	if _, ok := a.Leases[l]; ok {
		return fmt.Errorf("open lease %s: %w", l.Short(), ErrOpen)
	}
	if reserve < 0 || deposit < 0 {
		return fmt.Errorf("open lease %s with a reserve of %d and a deposit of %d: %w", l.Short(), reserve, deposit, ErrMalformed)
	}
	_, promised := (a.Vouched() + a.Reserved()).Add(reserve)
	_, held := (max(0, a.Balance) + a.Unconfirmed()).Add(deposit)
	if err := errors.Join(promised, held); err != nil {
		return fmt.Errorf("open lease %s: %w", l.Short(), err)
	}
	switch short := reserve - a.Free() - deposit; {
	case short > 0:
		return &ReserveError{short}
	case a.Withdrawing > 0:
		return ErrWithdrawing
	case a.Refunding:
		return ErrRefunding
	}
	a.trimSeen()
	a.put(l, Share{Reserve: reserve, Deposit: deposit, Live: true})
	return nil
}

// Promise raises what is vouched for a lease to paid, at the client, and returns
// what the channel's next voucher must say: the sum over all leases, never below
// a voucher already signed. A share that is higher already, or is settled, stays.
// The errors are [ErrNoLease] and [souk.ErrOverflow].
func (a *Account) Promise(l souk.LeaseID, paid souk.Atoms) (channelTotal souk.Atoms, err error) {
	total, err := a.raise(l, paid)
	if err != nil {
		return 0, fmt.Errorf("promise %s for lease %s: %w", paid, l.Short(), err)
	}
	return max(total, a.Voucher.MaxClaimable), nil
}

// Show raises what is vouched for a lease to paid, at the provider, who was shown
// the verified voucher v with it. The errors are those of [Account.Promise], and
// [ErrShort] where no voucher covers the sum over all leases.
func (a *Account) Show(l souk.LeaseID, paid souk.Atoms, v Voucher) error {
	before := a.Leases[l]
	total, err := a.raise(l, paid)
	if err != nil {
		return fmt.Errorf("show %s for lease %s: %w", paid, l.Short(), err)
	}
	if most := max(v.MaxClaimable, a.Voucher.MaxClaimable); total > most {
		a.put(l, before)
		return fmt.Errorf("vouchers over %s, %s promised on the channel: %w", most, total, ErrShort)
	}
	a.Take(v)
	return nil
}

// Take keeps the higher of two vouchers.
func (a *Account) Take(v Voucher) {
	if v.MaxClaimable >= a.Voucher.MaxClaimable {
		a.Voucher = v
	}
}

// Post enters a receipt that both sides signed, and the voucher v that the client
// answered it with, which makes paid of the lease. It returns by how much the
// receipt raises what is due: nothing where it was posted before. At the provider
// the final receipt settles the lease. The errors are those of [Account.Show].
func (a *Account) Post(r Receipt, paid souk.Atoms, v Voucher) (usage souk.Atoms, err error) {
	if paid < r.CumulativeDue {
		return 0, fmt.Errorf("receipt %d of lease %s: paid %s of %s: %w", r.Seq, r.Lease.Short(), paid, r.CumulativeDue, ErrShort)
	}
	if err := a.Show(r.Lease, paid, v); err != nil {
		return 0, fmt.Errorf("receipt %d: %w", r.Seq, err)
	}
	s := a.Leases[r.Lease]
	usage = max(0, r.CumulativeDue-s.Due)
	s.Due += usage
	a.put(r.Lease, s)
	if r.Kind == KindFinal && !a.Paying {
		a.Settle(r.Lease)
	}
	return usage, nil
}

// Cap says that a lease costs no more than most in the end, once its run is over
// and until the last receipt is posted: what was reserved and vouched beyond that
// serves the channel's other leases.
func (a *Account) Cap(l souk.LeaseID, most souk.Atoms) {
	if s, ok := a.Leases[l]; ok {
		s.Paid, s.Reserve = max(s.Due, min(s.Paid, most)), 0
		a.put(l, s)
	}
}

// Settle says that nothing more becomes due on a lease: what was vouched beyond
// what is due serves the channel's other leases. The provider does it when the
// final receipt is countersigned, the client no earlier than it knows of that,
// when it closes the lease: so the client's sum is never the lower one.
func (a *Account) Settle(l souk.LeaseID) {
	if s, ok := a.Leases[l]; ok {
		a.put(l, Share{Paid: s.Due, Due: s.Due, Reserve: s.Reserve})
		a.trimSeen()
	}
}

// Close takes a lease off the books, settled or not: what is due on it joins
// Past, so that an account does not grow with its leases.
func (a *Account) Close(l souk.LeaseID) {
	a.Settle(l)
	a.Past += a.Leases[l].Due
	delete(a.Leases, l)
}

// Movement is what changed on chain between two readings of a channel.
type Movement struct {
	Deposited, Refunded souk.Atoms
	Claimed             souk.Atoms // of what the books had as due and not claimed
	Unbooked            souk.Atoms // claimed beyond that
}

// Read takes what the chain says of the channel now. Booked is what the ledger
// has as due and not claimed. What a provider claimed beyond that was due by receipts
// that its books have lost: it counts as due, since otherwise the same amount of what
// becomes due next would never be claimed. The deposits among what changed cannot be
// relied on yet.
func (a *Account) Read(now OnChain, booked souk.Atoms) Movement {
	grown, taken := now.Balance-a.Balance, now.Claimed-a.Claimed
	m := Movement{Deposited: max(0, grown), Refunded: max(0, -grown), Claimed: max(0, min(taken, booked))}
	m.Unbooked = max(0, taken-m.Claimed)
	if !a.Paying {
		a.Past += m.Unbooked
	}
	seen := m.Deposited
	if m.Refunded > 0 || now.RefundNonce != a.RefundNonce || now.Withdrawing < a.Withdrawing {
		seen = a.Unconfirmed() // what left the channel meanwhile may hide what came: it must not count twice
	}
	if now.RefundNonce != a.RefundNonce {
		a.Refunding = false
	}
	a.OnChain = now
	a.Revision++
	a.DepositConfirmed(max(seen, m.Deposited))
	return m
}

// DepositExpected says that a deposit that comes ahead of any lease was sent to
// the chain: its amount may not be relied on before [Account.DepositCounted].
func (a *Account) DepositExpected(amount souk.Atoms) {
	a.trimSeen()
	a.ahead += amount
}

// DepositConfirmed reduces pending deposits by amount, which the chain has in a
// block. Money that nobody waits for counts at once.
func (a *Account) DepositConfirmed(amount souk.Atoms) {
	a.DepositsSeen += amount
	a.trimSeen()
}

// DepositCounted says that nobody waits any more for the deposit of amount that
// came with a lease, or, where that is zero, ahead of any. Arrived tells whether
// it is in the balance for good; nothing comes of one whose authorization was
// used before.
func (a *Account) DepositCounted(l souk.LeaseID, amount souk.Atoms, arrived bool) {
	s, ok := a.Leases[l]
	switch {
	case l.IsZero():
		amount = min(amount, a.ahead)
		a.ahead -= amount
	case ok:
		amount = min(amount, s.Deposit)
		s.Deposit -= amount
		a.put(l, s)
	default:
		return
	}
	if arrived {
		a.DepositsSeen -= min(amount, a.DepositsSeen)
	}
	a.trimSeen()
}

// trimSeen keeps what was seen of unconfirmed deposits within their sum.
func (a *Account) trimSeen() { a.DepositsSeen = min(a.DepositsSeen, a.Unconfirmed()) }

// raise sets a live share to paid if that is more, and returns the sum over all.
func (a *Account) raise(l souk.LeaseID, paid souk.Atoms) (souk.Atoms, error) {
	s, ok := a.Leases[l]
	if !ok {
		return 0, ErrNoLease
	}
	total := a.Vouched()
	if paid <= s.Paid || !s.Live {
		return total, nil
	}
	total, err := total.Add(paid - s.Paid)
	if err != nil {
		return 0, err
	}
	s.Paid = paid
	a.put(l, s)
	return total, nil
}

func (a *Account) put(l souk.LeaseID, s Share) {
	if a.Leases == nil {
		a.Leases = map[souk.LeaseID]Share{}
	}
	a.Leases[l] = s
}

func (a *Account) sum(start souk.Atoms, of func(Share) souk.Atoms) souk.Atoms {
	for _, s := range a.Leases {
		start += of(s)
	}
	return start
}
