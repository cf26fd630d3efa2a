package payment

import (
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/souk-market/souk"
)

func leaseNo(n byte) souk.LeaseID { return souk.LeaseID{Digest: souk.Digest{n}} }

func voucherOver(total souk.Atoms) Voucher {
	return Voucher{Channel: someTerms().Channel, MaxClaimable: total}
}

// twoSides are a client's and a provider's account of a channel that holds balance.
func twoSides(balance souk.Atoms) (client, provider *Account) {
	c, p := NewAccount(someTerms().Channel, true), NewAccount(someTerms().Channel, false)
	c.Read(OnChain{Balance: balance}, 0)
	p.Read(OnChain{Balance: balance}, 0)
	return &c, &p
}

// receiptOver says what is due on a lease.
func receiptOver(l souk.LeaseID, kind uint8, due souk.Atoms) Receipt {
	return Receipt{Lease: l, Kind: kind, Seq: 1, CumulativeDue: due}
}

func TestAccountPromisesAndShows(t *testing.T) {
	client, provider := twoSides(1000)
	for n := byte(1); n <= 3; n++ {
		if err := errors.Join(client.Open(leaseNo(n), 100, 0), provider.Open(leaseNo(n), 100, 0)); err != nil {
			t.Fatal(err)
		}
	}
	a, b, c := leaseNo(1), leaseNo(2), leaseNo(3)
	for i, s := range []struct {
		lease         souk.LeaseID
		paid, voucher souk.Atoms
	}{{a, 60, 60}, {b, 40, 100}, {a, 70, 110}, {b, 50, 120}, {a, 65, 120}, {c, 5, 125}, {c, -5, 125}, {a, 70, 125}} {
		total, err := client.Promise(s.lease, s.paid)
		if total != s.voucher || err != nil {
			t.Errorf("%d: Promise = %d, %v; want %d", i, total, err, s.voucher)
		}
		client.Take(voucherOver(total))
		if err := provider.Show(s.lease, s.paid, voucherOver(total)); err != nil {
			t.Errorf("%d: Show = %v", i, err)
		}
	}
	before := provider.Clone()
	for _, err := range []error{provider.Show(b, 51, voucherOver(125)), provider.Show(b, 90, voucherOver(130))} {
		if !errors.Is(err, ErrShort) || !reflect.DeepEqual(*provider, before) {
			t.Errorf("Show beyond the voucher = %v, %+v", err, provider)
		}
	}
	if err := provider.Show(leaseNo(4), 1, voucherOver(200)); !errors.Is(err, ErrNoLease) {
		t.Errorf("Show for a lease without a share = %v", err)
	}
	if _, err := client.Promise(leaseNo(4), 1); !errors.Is(err, ErrNoLease) {
		t.Errorf("Promise for a lease without a share = %v", err)
	}
	if _, err := client.Promise(b, 1<<62); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Promise(c, 1<<62); !errors.Is(err, souk.ErrOverflow) || client.Vouched() != 1<<62+75 {
		t.Errorf("overflow: %v, %d vouched", err, client.Vouched())
	}
}

// TestAccountSettle: what an ended lease did not use is there for the next, and a
// client cannot take it back from one lease to pay another with it.
func TestAccountSettle(t *testing.T) {
	client, provider := twoSides(100)
	a, b := leaseNo(1), leaseNo(2)
	for _, side := range []*Account{client, provider} {
		if err := errors.Join(side.Open(a, 50, 0), side.Open(b, 50, 0)); err != nil {
			t.Fatal(err)
		}
	}
	total, err := client.Promise(a, 10)
	if err != nil || provider.Show(a, 10, voucherOver(total)) != nil {
		t.Fatal(err)
	}
	client.Take(voucherOver(total))
	if err := provider.Show(a, 0, voucherOver(10)); err != nil || provider.Vouched() != 10 {
		t.Errorf("a lower share: %v, %d vouched", err, provider.Vouched())
	}
	if err := provider.Show(b, 5, voucherOver(10)); !errors.Is(err, ErrShort) {
		t.Errorf("a share taken from another lease: %v", err)
	}
	final := receiptOver(a, KindFinal, 3)
	for _, side := range []*Account{client, provider} {
		if usage, err := side.Post(final, 10, voucherOver(10)); usage != 3 || err != nil {
			t.Errorf("Post = %d, %v", usage, err)
		}
		if usage, err := side.Post(final, 10, voucherOver(10)); usage != 0 || err != nil {
			t.Errorf("the same receipt again: %d, %v", usage, err)
		}
	}
	if client.Vouched() != 10 || provider.Vouched() != 3 {
		t.Errorf("the client vouched %d before it knows that the lease is over, the provider %d after", client.Vouched(), provider.Vouched())
	}
	client.Close(a)
	if total, err = client.Promise(b, 5); total != 10 || err != nil {
		t.Errorf("Promise = %d, %v; the voucher over 10 covers it", total, err)
	}
	if err := provider.Show(b, 5, voucherOver(total)); err != nil || provider.Vouched() != 8 {
		t.Errorf("Show = %v, %d vouched", err, provider.Vouched())
	}
	if err := provider.Show(a, 9, voucherOver(20)); err != nil || provider.Vouched() != 8 {
		t.Errorf("a settled lease grows: %v, %d vouched", err, provider.Vouched())
	}
	provider.Close(a)
	if provider.Past != 3 || client.Past != 3 || provider.Claimable() != 3 || len(provider.Leases) != 1 {
		t.Errorf("after the end: %+v and %+v", client, provider)
	}
	if _, err := provider.Post(receiptOver(b, KindInterval, 6), 5, voucherOver(20)); !errors.Is(err, ErrShort) {
		t.Errorf("a receipt that is not paid: %v", err)
	}
}

// TestAccountFree counts deposits on their way once, and nothing of leases that ended.
func TestAccountFree(t *testing.T) {
	client, provider := twoSides(0)
	a, b := leaseNo(1), leaseNo(2)
	each := func(do func(*Account) error) func() error {
		return func() error { return errors.Join(do(client), do(provider)) }
	}
	read := func(balance souk.Atoms) func(*Account) error {
		return func(x *Account) error { x.Read(OnChain{Balance: balance}, 0); return nil }
	}
	for _, step := range []struct {
		name                   string
		do                     func() error
		free, backing, pending souk.Atoms
	}{
		{"the first is signed", each(func(x *Account) error { return x.Open(a, 100, 120) }), 20, 0, 120},
		{"and the second", each(func(x *Account) error { return x.Open(b, 50, 30) }), 0, -20, 150},
		{"the first's deposit is in a block", each(read(120)), 0, -20, 30},
		{"and is final", func() error { provider.DepositCounted(a, 120, true); return nil }, 0, 0, 30},
		{"the second is refused", each(func(x *Account) error { x.Close(b); return nil }), 20, 20, 0},
		{"the first ends", each(func(x *Account) error {
			_, err := x.Post(receiptOver(a, KindFinal, 35), 40, voucherOver(40))
			x.Close(a)
			return err
		}), 85, 85, 0},
	} {
		if err := step.do(); err != nil {
			t.Errorf("%s: %v", step.name, err)
		}
		if client.Free() != step.free || provider.Free() != step.free || provider.Backing() != step.backing || provider.PendingDeposits() != step.pending {
			t.Errorf("%s: %d and %d free, backing %d, %d pending; want %d, %d, %d", step.name, client.Free(), provider.Free(),
				provider.Backing(), provider.PendingDeposits(), step.free, step.backing, step.pending)
		}
	}
	if provider.Overdrawn() || provider.Vouched() != 35 || provider.Due() != 35 || provider.Live() {
		t.Errorf("in the end: %+v", provider)
	}
	provider.Read(OnChain{Balance: 120, Withdrawing: 100}, 0)
	if !provider.Overdrawn() || provider.Free() != -15 {
		t.Errorf("a withdrawal of all but 20 leaves %d free and 35 covered", provider.Free())
	}
	if err := provider.Open(a, 0, 15); !errors.Is(err, ErrWithdrawing) {
		t.Errorf("a lease while a withdrawal is pending: %v", err)
	}
}

// TestAccountDepositBacksItsLease: an unconfirmed deposit backs no lease but its
// own, whoever reads the chain meanwhile, and one authorization counts once.
func TestAccountDepositBacksItsLease(t *testing.T) {
	_, x := twoSides(0)
	a, b, c := leaseNo(1), leaseNo(2), leaseNo(3)
	if err := errors.Join(x.Open(a, 10, 50), x.Open(b, 10, 50), x.Open(c, 80, 0)); err != nil {
		t.Fatal(err)
	}
	backing := func(name string, want, unconfirmed souk.Atoms) {
		t.Helper()
		if x.Backing() != want || x.Unconfirmed() != unconfirmed || x.Free() != 0 {
			t.Errorf("%s: backing %d, %d unconfirmed, %d free; want %d, %d, 0", name, x.Backing(), x.Unconfirmed(), x.Free(), want, unconfirmed)
		}
	}
	backing("nothing on chain", -80, 100)
	x.Read(OnChain{Balance: 50}, 0) // b's, though no one here could tell
	backing("one in a block", -80, 100)
	x.DepositCounted(b, 50, true)
	backing("it is final", -40, 50)
	x.Read(OnChain{Balance: 100}, 0)
	backing("the other in a block", -40, 50)
	x.DepositCounted(a, 50, true)
	backing("it is final too", 0, 0)

	_, x = twoSides(0) // two leases with one authorization
	if err := errors.Join(x.Open(a, 50, 50), x.Open(b, 50, 50)); err != nil {
		t.Fatal(err)
	}
	x.Read(OnChain{Balance: 50}, 0)
	x.DepositCounted(b, 50, false)
	if x.Backing() != -50 || x.Free() != -50 {
		t.Errorf("one authorization at two leases: backing %d, %d free", x.Backing(), x.Free())
	}
	x.DepositCounted(a, 50, true)
	if x.Backing() != -50 || x.Free() != -50 || x.DepositsSeen != 0 {
		t.Errorf("and once it is final: backing %d, %d free", x.Backing(), x.Free())
	}

	_, x = twoSides(0) // ahead of any lease
	x.DepositExpected(70)
	x.Read(OnChain{Balance: 70}, 0)
	if x.Backing() != 0 || x.Free() != 70 {
		t.Errorf("a deposit ahead in a block: backing %d, %d free", x.Backing(), x.Free())
	}
	x.DepositCounted(souk.LeaseID{}, 70, true)
	if x.Backing() != 70 || x.Free() != 70 || x.Unconfirmed() != 0 {
		t.Errorf("a deposit ahead that is final: backing %d, %d free", x.Backing(), x.Free())
	}
}

func TestAccountOpenRefuses(t *testing.T) {
	for _, tt := range []struct {
		name             string
		reserve, deposit souk.Atoms
		change           func(*Account)
		want             error
	}{
		{"all that is free", 60, 0, func(*Account) {}, nil},
		{"with a deposit", 70, 10, func(*Account) {}, nil},
		{"open already", 1, 0, func(x *Account) { x.put(leaseNo(9), Share{}) }, ErrOpen},
		{"a negative reserve", -1, 0, func(*Account) {}, ErrMalformed},
		{"a negative deposit", 0, -1, func(*Account) {}, ErrMalformed},
		{"past all amounts", math.MaxInt64, 0, func(*Account) {}, souk.ErrOverflow},
		{"a deposit past all amounts", 1, math.MaxInt64, func(*Account) {}, souk.ErrOverflow},
		{"a withdrawal is pending", 1, 0, func(x *Account) { x.Withdrawing = 1 }, ErrWithdrawing},
		{"a refund is under way", 1, 0, func(x *Account) { x.Refunding = true }, ErrRefunding},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, x := twoSides(100)
			if err := x.Open(leaseNo(1), 40, 0); err != nil {
				t.Fatal(err)
			}
			tt.change(x)
			before := x.Clone()
			err := x.Open(leaseNo(9), tt.reserve, tt.deposit)
			if !errors.Is(err, tt.want) || (err != nil) != (tt.want != nil) || err != nil && !reflect.DeepEqual(*x, before) {
				t.Errorf("Open = %v, want %v; %+v", err, tt.want, x)
			}
		})
	}
	_, x := twoSides(100)
	if short, ok := errors.AsType[*ReserveError](x.Open(leaseNo(1), 130, 10)); !ok || short.Short != 20 {
		t.Errorf("a lease that is 20 short: %v", short)
	}
}

// TestAccountRead explains what changed on chain, and keeps in the books what a
// life of this node claimed that its ledger does not know.
func TestAccountRead(t *testing.T) {
	_, x := twoSides(100)
	if err := errors.Join(x.Open(leaseNo(1), 60, 0), x.Show(leaseNo(1), 30, voucherOver(30))); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Post(receiptOver(leaseNo(1), KindInterval, 20), 30, voucherOver(30)); err != nil {
		t.Fatal(err)
	}
	x.Refunding = true
	ready := time.UnixMilli(1_700_000_000_000)
	for _, step := range []struct {
		name   string
		now    OnChain
		booked souk.Atoms
		want   Movement
	}{
		{"a claim", OnChain{Balance: 100, Claimed: 15}, 20, Movement{Claimed: 15}},
		{"nothing", OnChain{Balance: 100, Claimed: 15}, 5, Movement{}},
		{"a deposit, and a claim by another life", OnChain{Balance: 150, Claimed: 27}, 5, Movement{Deposited: 50, Claimed: 5, Unbooked: 7}},
		{"a refund", OnChain{Balance: 40, Claimed: 27, RefundNonce: 1}, 0, Movement{Refunded: 110}},
		{"a withdrawal", OnChain{Balance: 40, Claimed: 27, RefundNonce: 1, Withdrawing: 13, WithdrawReady: ready}, 0, Movement{}},
	} {
		revision := x.Revision
		if m := x.Read(step.now, step.booked); m != step.want || x.OnChain != step.now || x.Revision != revision+1 {
			t.Errorf("%s: Read = %+v, want %+v; %+v", step.name, m, step.want, x)
		}
	}
	if x.Refunding || x.Past != 7 || x.Due() != 27 || x.Left() != 13 || x.Claimable() != 27 {
		t.Errorf("in the end: %+v", x)
	}
}

// TestAccountIsStored reads what is written, and what earlier versions wrote.
func TestAccountIsStored(t *testing.T) {
	_, x := twoSides(100)
	if err := errors.Join(x.Open(leaseNo(1), 120, 30), x.Show(leaseNo(1), 30, voucherOver(30))); err != nil {
		t.Fatal(err)
	}
	x.Read(OnChain{Balance: 130, Withdrawing: 1, WithdrawReady: time.UnixMilli(1_700_000_000_000).UTC()}, 0)
	stored, err := json.Marshal(x)
	if err != nil {
		t.Fatal(err)
	}
	var back Account
	if err := json.Unmarshal(stored, &back); err != nil || !reflect.DeepEqual(back, *x) {
		t.Errorf("%s reads as %+v, %v", stored, back, err)
	}
	const old = `{"paying":true,"voucher":{"Channel":"0300000000000000000000000000000000000000000000000000000000000000","MaxClaimable":50,"Signature":"AQI="},
		"leases":{"0100000000000000000000000000000000000000000000000000000000000000":{"paid":40,"due":35,"reserve":60,"deposit":20,"live":true}},
		"past":10,"balance":100,"claimed":5,"withdrawing":0,"withdraw_ready":"0001-01-01T00:00:00Z","refund_nonce":2,"refunding":true,"revision":3}`
	want := Account{Paying: true, Voucher: Voucher{Channel: someTerms().Channel, MaxClaimable: 50, Signature: []byte{1, 2}},
		Leases: map[souk.LeaseID]Share{leaseNo(1): {Paid: 40, Due: 35, Reserve: 60, Deposit: 20, Live: true}}, Past: 10,
		OnChain: OnChain{Balance: 100, Claimed: 5, RefundNonce: 2}, Refunding: true, Revision: 3}
	back = Account{}
	if err := json.Unmarshal([]byte(old), &back); err != nil || !reflect.DeepEqual(back, want) {
		t.Errorf("an old record reads as %+v, %v", back, err)
	}
}
