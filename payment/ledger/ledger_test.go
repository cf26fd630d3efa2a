package ledger

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
)

var (
	at      = time.UnixMilli(1_700_000_000_123).UTC()
	channel = souk.ChannelID{Digest: souk.Digest{1}}
)

// start opens a ledger on s and runs it until the test ends.
func start(t testing.TB, s payment.Store) *Ledger {
	t.Helper()
	l, err := Open(Config{Store: s})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, ErrBroken) {
			t.Error(err)
		}
	})
	return l
}

func transfer(kind, ref string, debit, credit Account, amount souk.Atoms) Transfer {
	return Transfer{TransferID(kind, []byte(ref)), debit, credit, amount, kind, ref, at}
}

func TestBothSidesOfALease(t *testing.T) {
	l := start(t, newMapStore())
	for _, tt := range []struct {
		name    string
		move    Transfer
		on      Account
		balance souk.Atoms
	}{
		{"faucet", transfer("faucet", "1", Wallet, External, 100), External, 100},
		{"deposit", transfer("deposit", "1", Channel(channel), Wallet, 60), Wallet, 40},
		{"client's usage", transfer("usage", "1", Spent, Owed(channel), 25), Owed(channel), 25},
		{"claim seen", transfer("claim", "1", Owed(channel), Channel(channel), 25), Channel(channel), 35},
		{"refund", transfer("refund", "1", Wallet, Channel(channel), 35), Wallet, 75},
		{"provider's usage", transfer("usage", "2", Receivable(channel), Earned, 25), Earned, 25},
		{"claim paid", transfer("claim", "2", Wallet, Receivable(channel), 25), Receivable(channel), 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := l.Commit(t.Context(), Batch{Transfers: []Transfer{tt.move}}); err != nil {
				t.Fatal(err)
			}
			if got := l.Balance(tt.on); got != tt.balance {
				t.Errorf("%s = %d, want %d", tt.on, got, tt.balance)
			}
		})
	}
	want := map[Account]souk.Atoms{
		Wallet: 100, External: 100, Channel(channel): 0, Spent: 25, Owed(channel): 0, Receivable(channel): 0, Earned: 25,
	}
	if got := l.Balances(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("Balances() = %v, want %v", got, want)
	}
	if err := l.Verify(); err != nil {
		t.Error(err)
	}
}

func TestRefusedBatchesLeaveNothing(t *testing.T) {
	good := transfer("faucet", "1", Wallet, External, 100)
	late := good
	late.At = at.Add(time.Hour)
	changed := good
	changed.Amount++
	guard := errors.New("guard")
	for _, tt := range []struct {
		name  string
		batch Batch
		want  error
	}{
		{"a retry", Batch{Transfers: []Transfer{late}}, nil},
		{"a retry and more", Batch{Transfers: []Transfer{late, transfer("x", "1", Spent, Wallet, 1)}}, nil},
		{"other content", Batch{Transfers: []Transfer{changed}}, ErrConflict},
		{"zero", Batch{Transfers: []Transfer{transfer("x", "1", Spent, Wallet, 0)}}, ErrBatch},
		{"negative", Batch{Transfers: []Transfer{transfer("x", "1", Spent, Wallet, -1)}}, ErrBatch},
		{"one account", Batch{Transfers: []Transfer{transfer("x", "1", Wallet, Wallet, 1)}}, ErrBatch},
		{"no account", Batch{Transfers: []Transfer{transfer("x", "1", Wallet, "", 1)}}, ErrBatch},
		{"long text", Batch{Transfers: []Transfer{transfer("x", string(make([]byte, 513)), Wallet, External, 1)}}, ErrBatch},
		{"no key", Batch{Records: []Record{{"", []byte("x")}}}, ErrBatch},
		{"large value", Batch{Records: []Record{{"k", make([]byte, maxValue+1)}}}, ErrBatch},
		{"large batch", Batch{Records: []Record{{"a", make([]byte, maxValue)}, {"b", make([]byte, maxValue)}}}, ErrBatch},
		{"overflow", Batch{Transfers: []Transfer{
			transfer("x", "1", Wallet, External, math.MaxInt64-50),
		}}, souk.ErrOverflow},
		{"conflict within", Batch{Transfers: []Transfer{
			transfer("x", "1", Wallet, External, 1), transfer("x", "1", Wallet, External, 2),
		}}, ErrConflict},
		{"guard", Batch{
			Transfers: []Transfer{transfer("x", "1", Wallet, External, 1)},
			Records:   []Record{{"k", []byte("new")}},
			Check:     func(func(string) ([]byte, error)) error { return guard },
		}, guard},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := start(t, newMapStore())
			if err := l.Commit(t.Context(), Batch{Transfers: []Transfer{good}, Records: []Record{{"k", []byte("old")}}}); err != nil {
				t.Fatal(err)
			}
			err := l.Commit(t.Context(), tt.batch)
			if !errors.Is(err, tt.want) {
				t.Fatalf("Commit = %v, want %v", err, tt.want)
			}
			history, err := l.History(0, 10)
			if err != nil {
				t.Fatal(err)
			}
			value, err := l.Get("k")
			if err != nil || string(value) != "old" {
				t.Errorf("record = %q, %v", value, err)
			}
			if tt.want != nil && (len(history) != 1 || l.Balance(Wallet) != 100) {
				t.Errorf("%d entries, wallet has %d", len(history), l.Balance(Wallet))
			}
			if err := l.Verify(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestFloors(t *testing.T) {
	l := start(t, newMapStore())
	// The second half of this batch has no cover, so the first must not stay.
	err := l.Commit(t.Context(), Batch{Transfers: []Transfer{
		transfer("faucet", "1", Wallet, External, 100),
		transfer("deposit", "1", Channel(channel), Wallet, 101),
	}})
	var floor *FloorError
	if !errors.As(err, &floor) || *floor != (FloorError{Wallet, 100, 101}) {
		t.Fatalf("Commit = %v", err)
	}
	if got := l.Balances(); len(got) != 0 {
		t.Errorf("Balances() = %v", got)
	}
	for _, move := range []Transfer{
		transfer("claim", "1", Owed(channel), Wallet, 1),         // a debt paid that is not owed
		transfer("claim", "2", External, Receivable(channel), 1), // a claim of what is not receivable
		transfer("refund", "1", External, Channel(channel), 1),
	} {
		if err := l.Commit(t.Context(), Batch{Transfers: []Transfer{move}}); !errors.As(err, &floor) {
			t.Errorf("%s: %v", move.Debit, err)
		}
	}
	if err := l.Commit(t.Context(), Batch{Transfers: []Transfer{transfer("burn", "1", Spent, Earned, 5)}}); err != nil {
		t.Errorf("accounts without a floor: %v", err)
	}
}

func TestRecords(t *testing.T) {
	l := start(t, newMapStore())
	commit := func(rs ...Record) {
		t.Helper()
		if err := l.Commit(t.Context(), Batch{Records: rs}); err != nil {
			t.Fatal(err)
		}
	}
	commit(Record{"lease/a", []byte("1")}, Record{"lease/b", []byte("2")}, Record{"leaseless", []byte("3")})
	commit(Record{"lease/b", nil}, Record{"lease/c", []byte("4")}, Record{"lease/d", []byte{}})
	var got []string
	err := l.Scan("lease/", func(key string, value []byte) error {
		got = append(got, key+"="+string(value))
		return nil
	})
	if err != nil || fmt.Sprint(got) != "[lease/a=1 lease/c=4]" {
		t.Errorf("Scan = %v, %v", got, err)
	}
	if v, err := l.Get("lease/b"); v != nil || err != nil {
		t.Errorf("Get of a deleted record = %q, %v", v, err)
	}
	stop := errors.New("stop")
	if err := l.Scan("", func(string, []byte) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("Scan = %v, want %v", err, stop)
	}
}

func TestBatchesWaitingAreFolded(t *testing.T) {
	s := newMapStore()
	l, err := Open(Config{Store: s})
	if err != nil {
		t.Fatal(err)
	}
	// Queue before the writer runs, each guard expecting all batches before it.
	const n = 100
	rs := make([]*request, n)
	for i := range rs {
		rs[i] = &request{Batch{
			Transfers: []Transfer{transfer("faucet", fmt.Sprint(i), Wallet, External, 1)},
			Records:   []Record{{"count", []byte(fmt.Sprint(i + 1))}},
			Check: func(get func(string) ([]byte, error)) error {
				if v, err := get("count"); err != nil || i > 0 && string(v) != fmt.Sprint(i) {
					return fmt.Errorf("batch %d sees %q, %v", i, v, err)
				}
				return nil
			},
		}, make(chan error, 1)}
		l.in <- rs[i]
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	for i, r := range rs {
		if err := <-r.done; err != nil {
			t.Errorf("batch %d: %v", i, err)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if s.updates != 1 || l.Balance(Wallet) != n {
		t.Errorf("%d transactions, wallet has %d", s.updates, l.Balance(Wallet))
	}
	if err := l.Commit(t.Context(), Batch{}); !errors.Is(err, ErrStopped) {
		t.Errorf("Commit after Run = %v", err)
	}
}

func TestStoreThatRefusesToBeginBreaksNothing(t *testing.T) {
	s := newMapStore()
	l := start(t, s)
	full := errors.New("disk is full")
	b := Batch{Transfers: []Transfer{transfer("faucet", "1", Wallet, External, 7)}}
	for _, refuse := range []error{full, nil} {
		s.mu.Lock()
		s.refuse = refuse
		s.mu.Unlock()
		if err := l.Commit(t.Context(), b); !errors.Is(err, refuse) {
			t.Errorf("Commit = %v, want %v", err, refuse)
		}
	}
	if l.Balance(Wallet) != 7 {
		t.Errorf("wallet has %d", l.Balance(Wallet))
	}
}

func TestStoreFailureBreaksTheLedger(t *testing.T) {
	s := newMapStore()
	l := start(t, s)
	if err := l.Commit(t.Context(), Batch{Transfers: []Transfer{transfer("faucet", "1", Wallet, External, 7)}}); err != nil {
		t.Fatal(err)
	}
	disk := errors.New("disk on fire")
	s.mu.Lock()
	s.fail = disk
	s.mu.Unlock()
	err := l.Commit(t.Context(), Batch{Transfers: []Transfer{transfer("faucet", "2", Wallet, External, 7)}})
	if !errors.Is(err, ErrBroken) || !errors.Is(err, disk) {
		t.Errorf("Commit = %v", err)
	}
	s.mu.Lock()
	s.fail = nil
	s.mu.Unlock()
	if err := l.Commit(t.Context(), Batch{}); !errors.Is(err, ErrBroken) && !errors.Is(err, ErrStopped) {
		t.Errorf("Commit after a failure = %v", err)
	}
	if again := start(t, s); again.Balance(Wallet) != 7 || l.Balance(Wallet) != 7 {
		t.Errorf("wallet has %d, reopened %d", l.Balance(Wallet), again.Balance(Wallet))
	}
}

func TestCommitEndsWithItsContext(t *testing.T) {
	l, err := Open(Config{Store: newMapStore()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Commit(ctx, Batch{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Commit = %v", err)
	}
}

func TestHistory(t *testing.T) {
	s := newMapStore()
	l := start(t, s)
	const n = 1000 // several blocks in one transaction
	var all []Transfer
	for i := range n {
		all = append(all, transfer("faucet", fmt.Sprint(i), Wallet, External, souk.Atoms(i+1)))
	}
	if err := l.Commit(t.Context(), Batch{Transfers: all}); err != nil {
		t.Fatal(err)
	}
	var got []Entry
	for {
		var after uint64
		if len(got) > 0 {
			after = got[len(got)-1].Seq
		}
		more, err := l.History(after, 37)
		if err != nil {
			t.Fatal(err)
		}
		if len(more) == 0 {
			break
		}
		got = append(got, more...)
	}
	sum := souk.Atoms(0)
	for i, e := range got {
		sum += all[i].Amount
		if want := (Entry{uint64(i + 1), all[i], sum, sum}); e != want {
			t.Fatalf("entry %d = %+v, want %+v", i, e, want)
		}
	}
	if len(got) != n {
		t.Errorf("%d entries, want %d", len(got), n)
	}
	// A retry finds its transfer in the middle of a block.
	if err := l.Commit(t.Context(), Batch{Transfers: all[500:501]}); err != nil || l.Balance(Wallet) != sum {
		t.Errorf("retry: %v, wallet has %d, want %d", err, l.Balance(Wallet), sum)
	}
}
