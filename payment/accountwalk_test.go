package payment

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/souk-market/souk"
)

// walkLease is one lease of a walk, as both of its sides know it.
type walkLease struct {
	id               souk.LeaseID
	reserve, deposit souk.Atoms
	due, seq         souk.Atoms // of the provider's last receipt
	final            bool       // that was the last one
	posted           souk.Atoms // due by the receipts that the provider has countersigned
	atProvider       bool
	deposited        bool // the chain has its deposit
	counted          bool // and the provider relies on it
	closed, gone     bool // at the provider, at the client
}

// walk is one channel between two accounts: a random sequence of all that can
// happen to it, with messages lost, repeated and out of order in between, and
// restarts of both sides. What it expects of them it keeps as plain sums.
type walk struct {
	rng              *rand.Rand
	client, provider Account
	leases           []*walkLease
	chain            OnChain
	ahead            souk.Atoms // deposited ahead of any lease and not counted
	deposits         souk.Atoms // all that ever came
	refunds          souk.Atoms
	mail             []func() error
	signed, shown    souk.Atoms // the highest voucher of each side
}

func newWalk(seed uint64) *walk {
	return &walk{rng: rand.New(rand.NewPCG(seed, 9)), client: NewAccount(someTerms().Channel, true), provider: NewAccount(someTerms().Channel, false)}
}

// send delivers a message later, never, or twice.
func (w *walk) send(deliver func() error) {
	for range []int{1, 1, 1, 2, 0}[w.rng.IntN(5)] {
		w.mail = append(w.mail, deliver)
	}
}

func (w *walk) any(of func(*walkLease) bool) *walkLease {
	var fit []*walkLease
	for _, l := range w.leases {
		if of(l) {
			fit = append(fit, l)
		}
	}
	if len(fit) == 0 {
		return nil
	}
	return fit[w.rng.IntN(len(fit))]
}

// sign is the client's durable promise of paid for a lease.
func (w *walk) sign(l *walkLease, paid souk.Atoms) (Voucher, error) {
	total, err := w.client.Promise(l.id, paid)
	if err != nil {
		return Voucher{}, err
	}
	v := voucherOver(total)
	w.client.Take(v)
	return v, nil
}

// open has the client sign a lease, with a deposit where the channel is short.
func (w *walk) open() error {
	l := &walkLease{id: souk.LeaseID{Digest: souk.Digest{byte(len(w.leases)), byte(len(w.leases) >> 8), 1}}, reserve: souk.Atoms(1 + w.rng.IntN(100))}
	w.read(&w.client)
	if short := l.reserve - w.client.Free(); short > 0 {
		l.deposit = short + souk.Atoms(w.rng.IntN(3)*20)
	}
	if err := w.client.Open(l.id, l.reserve, l.deposit); err != nil {
		if w.chain.Withdrawing > 0 && errors.Is(err, ErrWithdrawing) {
			return nil
		}
		return err
	}
	first := min(l.reserve, souk.Atoms(w.rng.IntN(20)))
	v, err := w.sign(l, first)
	if err != nil {
		return err
	}
	w.leases = append(w.leases, l)
	w.send(func() error {
		if l.atProvider || l.closed || l.gone {
			return nil
		}
		next := w.provider.Clone()
		err := next.Open(l.id, l.reserve, l.deposit)
		if err == nil {
			err = next.Show(l.id, first, v)
		}
		if err != nil {
			return w.declined(l, err)
		}
		w.provider, l.atProvider = next, true
		return nil
	})
	return nil
}

// declined is a lease that the provider does not take, as its last reading of the
// chain is older than the client's, or a voucher after this one was lost.
func (w *walk) declined(l *walkLease, err error) error {
	_, short := errors.AsType[*ReserveError](err)
	if !short && !errors.Is(err, ErrShort) && !errors.Is(err, ErrWithdrawing) {
		return fmt.Errorf("an honest lease is refused: %w", err)
	}
	l.closed = true
	return nil
}

// work cuts a receipt at the provider and has the client answer it.
func (w *walk) work() {
	l := w.any(func(l *walkLease) bool {
		return l.atProvider && !l.closed && !l.final && l.due == l.posted && (l.counted || l.deposit == 0)
	})
	if l == nil {
		return
	}
	r := Receipt{Lease: l.id, Kind: KindInterval, Seq: uint64(l.seq + 1), CumulativeDue: min(l.reserve, l.due+souk.Atoms(1+w.rng.IntN(15)))}
	if w.rng.IntN(4) == 0 {
		r.Kind, l.final = KindFinal, true
		w.provider.Cap(l.id, r.CumulativeDue)
	}
	l.seq, l.due = l.seq+1, r.CumulativeDue
	ahead := souk.Atoms(w.rng.IntN(10))
	for range 3 {
		w.send(func() error { return w.answer(l, r, min(l.reserve, r.CumulativeDue+ahead)) })
	}
}

// answer is the client with a receipt: posted, then answered.
func (w *walk) answer(l *walkLease, r Receipt, paid souk.Atoms) error {
	if l.gone {
		return nil
	}
	if r.Kind == KindFinal {
		paid = r.CumulativeDue
	}
	v, err := w.sign(l, paid)
	if err == nil {
		_, err = w.client.Post(r, paid, v)
	}
	if err != nil {
		return fmt.Errorf("the client posts receipt %d: %w", r.Seq, err)
	}
	w.send(func() error { return w.countersigned(l, r, paid, v) })
	return nil
}

// countersigned is the provider with an answer.
func (w *walk) countersigned(l *walkLease, r Receipt, paid souk.Atoms, v Voucher) error {
	if !l.atProvider || l.closed || r.CumulativeDue <= l.posted {
		return nil // answered before
	}
	usage, err := w.provider.Post(r, paid, v)
	if errors.Is(err, ErrShort) {
		return nil // of two vouchers the later may come first, and leases were settled in between
	}
	if err != nil || usage != r.CumulativeDue-l.posted {
		return fmt.Errorf("the provider posts receipt %d: usage %d of %d, %w", r.Seq, usage, r.CumulativeDue-l.posted, err)
	}
	l.posted = r.CumulativeDue
	return nil
}

// end closes a lease at the provider, paid or not, and tells the client.
func (w *walk) end() {
	if l := w.any(func(l *walkLease) bool { return l.atProvider && !l.closed && l.final && w.rng.IntN(2) == 0 }); l != nil {
		w.provider.Close(l.id)
		l.closed = true
	}
	if l := w.any(func(l *walkLease) bool { return l.closed && !l.gone }); l != nil {
		w.client.Close(l.id)
		l.gone = true
	}
}

// fund moves a deposit on chain, or makes one final.
func (w *walk) fund() {
	if l := w.any(func(l *walkLease) bool { return l.atProvider && !l.closed && l.deposit > 0 && !l.deposited }); l != nil && w.rng.IntN(2) == 0 {
		l.deposited = true
		w.chain.Balance, w.deposits = w.chain.Balance+l.deposit, w.deposits+l.deposit
		return
	}
	if l := w.any(func(l *walkLease) bool { return l.deposited && !l.closed && !l.counted }); l != nil {
		w.read(&w.provider) // whoever waited for it reads the chain then
		w.provider.DepositCounted(l.id, l.deposit, true)
		l.counted = true
	}
	switch {
	case w.ahead > 0 && w.rng.IntN(2) == 0:
		w.read(&w.provider)
		w.provider.DepositCounted(souk.LeaseID{}, w.ahead, true)
		w.ahead = 0
	case w.ahead == 0 && w.rng.IntN(8) == 0:
		w.ahead = souk.Atoms(1 + w.rng.IntN(100))
		w.provider.DepositExpected(w.ahead)
		w.chain.Balance, w.deposits = w.chain.Balance+w.ahead, w.deposits+w.ahead
	}
}

// read brings a side up to the chain.
func (w *walk) read(a *Account) {
	if !w.chain.Same(a.OnChain) {
		a.Read(w.chain, max(0, a.Due()-a.Claimed))
	}
}

// money claims, refunds and withdraws.
func (w *walk) money() {
	switch k := w.rng.IntN(8); {
	case k < 3:
		w.read(&w.provider)
		w.chain.Claimed = max(w.chain.Claimed, w.provider.Claimable())
	case k == 3 && !w.provider.Live() && w.ahead == 0:
		w.read(&w.provider)
		w.chain.Claimed = max(w.chain.Claimed, w.provider.Claimable())
		w.refunds += w.chain.Balance - w.chain.Claimed
		w.chain.Balance, w.chain.Withdrawing = w.chain.Claimed, 0
		w.chain.RefundNonce++
	case k == 4 && w.rng.IntN(4) == 0:
		w.chain.Withdrawing = w.chain.Balance - w.chain.Claimed
	case k == 5:
		w.read(&w.provider) // a provider claims before a withdrawal is over
		w.chain.Claimed = max(w.chain.Claimed, w.provider.Claimable())
		taken := min(w.chain.Withdrawing, w.chain.Balance-w.chain.Claimed)
		w.refunds += taken
		w.chain.Balance, w.chain.Withdrawing = w.chain.Balance-taken, 0
	}
}

// restart replaces a side by what it stored. A deposit that came ahead of any
// lease is not waited for any more then.
func (w *walk) restart() error {
	side := &w.client
	if w.rng.IntN(2) == 0 {
		if side = &w.provider; w.ahead > 0 {
			w.read(side)
			side.DepositCounted(souk.LeaseID{}, w.ahead, true)
			w.ahead = 0
		}
	}
	stored, err := json.Marshal(side)
	var back Account
	if err == nil {
		err = json.Unmarshal(stored, &back)
	}
	if err != nil || !reflect.DeepEqual(back.Clone(), side.Clone()) {
		return fmt.Errorf("stored as %s, read as %+v, %w", stored, back, err)
	}
	*side = back
	return nil
}

// check holds both accounts to what must always hold.
func (w *walk) check() error {
	var due, unconfirmed souk.Atoms
	for _, l := range w.leases {
		due += l.posted
		if l.atProvider && !l.closed && !l.counted {
			unconfirmed += l.deposit
		}
	}
	p, c := &w.provider, &w.client
	backed := p.Balance - p.Withdrawing - p.Past // what leases without a deposit on its way may take, at most
	for id, s := range p.Leases {
		if s.Paid < s.Due {
			return fmt.Errorf("lease %s: paid %d of %d due", id.Short(), s.Paid, s.Due)
		}
		backed -= max(0, s.most()-s.Deposit)
	}
	switch {
	case w.chain.Balance+w.refunds != w.deposits:
		return fmt.Errorf("the chain holds %d and refunded %d of %d", w.chain.Balance, w.refunds, w.deposits)
	case p.Due() != due || c.Due() < due:
		return fmt.Errorf("%d due by receipts, %d at the provider, %d at the client", due, p.Due(), c.Due())
	case p.Vouched() < due || p.Voucher.MaxClaimable < p.Vouched() || c.Vouched() < p.Vouched() || c.Voucher.MaxClaimable < c.Vouched():
		return fmt.Errorf("%d due, vouched %d by %d at the provider, %d by %d at the client", due, p.Vouched(), p.Voucher.MaxClaimable, c.Vouched(), c.Voucher.MaxClaimable)
	case c.Voucher.MaxClaimable < w.signed || p.Voucher.MaxClaimable < w.shown || w.shown > w.signed:
		return fmt.Errorf("a voucher falls: %d after %d at the client, %d after %d at the provider", c.Voucher.MaxClaimable, w.signed, p.Voucher.MaxClaimable, w.shown)
	case p.Claimable() < w.chain.Claimed && p.Same(w.chain):
		return fmt.Errorf("%d claimed of %d", w.chain.Claimed, p.Claimable())
	case p.Unconfirmed() != unconfirmed+w.ahead || p.DepositsSeen > p.Unconfirmed() || p.DepositsSeen < 0:
		return fmt.Errorf("%d unconfirmed, of it %d seen, want %d", p.Unconfirmed(), p.DepositsSeen, unconfirmed+w.ahead)
	case p.Free() > p.Balance+unconfirmed-p.Withdrawing-p.Vouched()-p.Reserved():
		return fmt.Errorf("%d free: a deposit counts twice", p.Free())
	case p.Backing() > backed-min(p.DepositsSeen, p.Unconfirmed()):
		return fmt.Errorf("backing %d of %d", p.Backing(), backed)
	}
	w.signed, w.shown = c.Voucher.MaxClaimable, p.Voucher.MaxClaimable
	return w.checkFree()
}

// checkFree holds what is free against what is there: of each deposit that was not
// counted, either the chain has it or it is still to come, never both.
func (w *walk) checkFree() error {
	p := &w.provider
	if !p.Same(w.chain) {
		return nil
	}
	var pending souk.Atoms
	for _, l := range w.leases {
		if l.atProvider && !l.closed && !l.deposited {
			pending += l.deposit
		}
	}
	if most := p.Balance + pending - p.Withdrawing - p.Vouched() - p.Reserved(); p.Free() > most {
		return fmt.Errorf("%d free, %d are there or to come", p.Free(), most)
	}
	return nil
}

func (w *walk) play() error {
	for i := range 60 {
		var err error
		switch k := w.rng.IntN(24); {
		case k < 3:
			err = w.open()
		case k < 8:
			w.work()
		case k < 15 && len(w.mail) > 0:
			n := w.rng.IntN(len(w.mail))
			deliver := w.mail[n]
			w.mail = append(w.mail[:n], w.mail[n+1:]...)
			err = deliver()
		case k < 18:
			w.fund()
		case k == 18:
			w.end()
		case k == 19:
			w.read(&w.client)
			w.read(&w.provider)
		case k == 20:
			err = w.restart()
		case k > 20:
			w.money()
		}
		if err = errors.Join(err, w.check()); err != nil {
			return fmt.Errorf("step %d: %w", i, err)
		}
	}
	return nil
}

// TestAccountWalk plays channels of an honest client and an honest provider.
func TestAccountWalk(t *testing.T) {
	t.Parallel()
	n := firstSeeds() / 20
	if *seeds == 1 {
		n = 1
	}
	for s := *seed; s < *seed+n; s++ {
		if err := newWalk(s).play(); err != nil {
			t.Fatalf("replay with -run=TestAccountWalk -seed=%d -seeds=1: %v", s, err)
		}
	}
}
