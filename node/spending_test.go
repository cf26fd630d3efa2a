package node_test

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/market"
	"github.com/souk-market/souk/node"
	"github.com/souk-market/souk/node/client"
	"github.com/souk-market/souk/node/money"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/node/network/networktest"
	"github.com/souk-market/souk/payment/ledger"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"github.com/souk-market/souk/proto/wire"
	"github.com/souk-market/souk/storage"
	storemem "github.com/souk-market/souk/storage/mem"
	"google.golang.org/protobuf/proto"
)

// TestOneChannelManyLeases shows one voucher, on one funded channel, for as many
// leases as the deposit has room for, by real streams at once: the first is
// taken, and each other is told how much is missing.
func TestOneChannelManyLeases(t *testing.T) {
	s := newStall(t, 8, nil)
	c := s.hand(t)
	if _, _, err := c.Fund(t.Context(), s.provider.id, souk.AtomsPerToken); err != nil {
		t.Fatal(err)
	}
	var asks []*client.Proposal
	var first souk.Atoms
	for range 6 {
		g := c.draftLong(t)
		first = g.Terms.First()
		g.Request.Voucher = c.voucher(t, g, first)
		asks = append(asks, g)
	}
	var mu sync.Mutex
	var taken, short, other int
	var wg sync.WaitGroup
	for _, g := range asks {
		wg.Go(func() {
			decline, err := c.Countersign(t.Context(), g)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil && decline == nil:
				taken++
			case err == nil && decline.Reason == marketv1.DeclineReason_DECLINE_REASON_PAYMENT && decline.Shortfall == uint64(first),
				err == nil && decline.Reason == marketv1.DeclineReason_DECLINE_REASON_TAKEN: // the bid held the same device
				short++
			default:
				other++
				t.Errorf("lease: %v, %v", decline, err)
			}
		})
	}
	wg.Wait()
	if taken != 1 || short != 5 {
		t.Errorf("one voucher bought %d leases, %d were short", taken, short)
	}
}

// TestManyClientsOneDevice has many clients ask at once for the only device there
// is: one lease at a time, and every other client reads that it is taken.
func TestManyClientsOneDevice(t *testing.T) {
	s := newStall(t, 1, nil)
	var clients []*hand
	for range 6 {
		clients = append(clients, s.hand(t))
	}
	type got struct {
		g       *client.Proposal
		decline *market.Refusal
		err     error
	}
	var asks []*client.Proposal
	for _, c := range clients { // strangers all: each gets a bid for the same device
		g := c.draftLong(t)
		g.Request.Voucher, g.Request.Deposit = c.voucher(t, g, 1000), c.deposit(t, g, souk.AtomsPerToken)
		asks = append(asks, g)
	}
	results := make(chan got, len(asks))
	for i, g := range asks {
		go func() {
			decline, err := clients[i].Countersign(t.Context(), g)
			results <- got{g, decline, err}
		}()
	}
	var winner *client.Proposal
	for range asks {
		switch r := <-results; {
		case r.err != nil:
			t.Error(r.err)
		case r.decline == nil && winner != nil:
			t.Error("the device is in two leases")
		case r.decline == nil:
			winner = r.g
		case r.decline.Reason != marketv1.DeclineReason_DECLINE_REASON_TAKEN:
			t.Errorf("declined with %s", r.decline.Reason)
		}
	}
	if winner == nil {
		t.Fatal("nobody has the device")
	}
	if id := s.provider.holder(t, winner.Lease.Devices[0]); id != winner.ID.String() {
		t.Errorf("the device is held by %s, leased by %s", id, winner.ID)
	}
}

// TestRunWithoutLease opens run streams without a lease, with one that does not
// exist, and with another's: all are told the same, and nothing is shown or run.
func TestRunWithoutLease(t *testing.T) {
	s := newStall(t, 2, nil)
	owner, thief := s.client(t, &networktest.Liar{}), s.hand(t)
	j := owner.submit(t, stallJob(testJob(t, owner, "long")))
	theirs, err := souk.ParseDigest(j.running(t).Lease)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		first *runv1.ToProvider
		told  bool // whether an answer comes; else the stream is reset
	}{
		{"another's lease", &runv1.ToProvider{Message: &runv1.ToProvider_Attach{Attach: &runv1.Attach{Lease: theirs[:], Job: []byte("x")}}}, true},
		{"no such lease", &runv1.ToProvider{Message: &runv1.ToProvider_Attach{Attach: &runv1.Attach{Lease: make([]byte, 32)}}}, true},
		{"half an id", &runv1.ToProvider{Message: &runv1.ToProvider_Attach{Attach: &runv1.Attach{Lease: theirs[:16]}}}, false},
		{"no attach", &runv1.ToProvider{Message: &runv1.ToProvider_Release{Release: &runv1.Release{}}}, false},
		{"no message", &runv1.ToProvider{}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			st := thief.open(t, tt.first)
			release := &runv1.ToProvider{Message: &runv1.ToProvider_Release{Release: &runv1.Release{DiscardOutputs: true}}}
			wire.Write(st, release) // a provider that has answered already takes no more
			st.SetReadDeadline(time.Now().Add(10 * time.Second))
			var f runv1.ToClient
			frames := wire.NewReader(st, network.MaxRunBytes)
			err = frames.Read(&f)
			if (err == nil) != tt.told || tt.told && f.GetState().GetDetail() != "no such lease of yours" {
				t.Errorf("told %v, %v", &f, err)
			}
			if err := frames.Read(&f); err == nil {
				t.Errorf("told more: %v", &f)
			}
		})
	}
	if end := j.finished(t); end.State != "done" {
		t.Errorf("the owner's job ended as %v", end)
	}
}

// TestWalletOfManyFirstJobs takes leases with two providers at once, from a
// wallet that can fund one: the second is refused before anybody is asked.
func TestWalletOfManyFirstJobs(t *testing.T) {
	s := newStall(t, 2, nil)
	c := s.hand(t)
	have := c.ledger.Balance(ledger.Wallet)
	msg := stallJob(c.job(t, "forever"))
	msg.Price.MaxTotalAtoms, msg.Limits.MaxDurationMs = uint64(have), 3_600_000*uint64(have)*2/3/2/uint64(souk.AtomsPerToken)
	bid := c.bid(t, msg)
	elsewhere := *bid // another provider's: another channel
	elsewhere.Bid = proto.CloneOf(bid.Bid)
	elsewhere.Settlement.Receiver = slices.Repeat([]byte{7}, 20)
	startBy := time.Now().Add(time.Minute)
	first, err := c.Propose(t.Context(), souk.JobID{}, msg, s.provider.id, bid, startBy)
	if err != nil || first.Deposits == 0 {
		t.Fatalf("the first deposit: %v", err)
	}
	var refused *money.FundsError
	if _, err := c.Propose(t.Context(), souk.JobID{Digest: souk.Digest{1}}, msg, s.provider.id, &elsewhere, startBy); !errors.As(err, &refused) {
		t.Fatalf("the wallet of %s signed away more than it has: %v", have, err)
	}
	if refused.Have != have-first.Deposits {
		t.Errorf("short by another sum: %v", refused)
	}
}

// gateStore holds every write until it is let through, or fails it.
type gateStore struct {
	keptStore
	shut chan struct{} // a write waits until it can receive; nil: none waits
	mu   sync.Mutex    // guards shut and seen
	seen int           // writes that began while it was shut
}

// Update implements [node.Store].
func (g *gateStore) Update(fn func(storage.Txn) error) error {
	g.mu.Lock()
	shut := g.shut
	if shut != nil {
		g.seen++
	}
	g.mu.Unlock()
	if shut != nil {
		<-shut
	}
	return g.keptStore.Update(fn)
}

func (g *gateStore) close() (open func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut, g.seen = make(chan struct{}), 0
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.shut != nil {
			close(g.shut)
			g.shut = nil
		}
	}
}

func (g *gateStore) waiting() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.seen > 0
}

// TestBytesWaitForTheirWrite stops the disk of the provider, and then of the
// client, before a lease, a receipt and a voucher: nothing of them leaves before
// its write, and all of it after.
func TestBytesWaitForTheirWrite(t *testing.T) {
	theirs, ours := &gateStore{keptStore: keptStore{storemem.New()}}, &gateStore{keptStore: keptStore{storemem.New()}}
	s := newStall(t, 2, func(c *node.Config) { c.Store, c.Waits.Lease = theirs, 20*time.Second })
	lies := &networktest.Liar{}
	c := s.clientWith(t, lies, func(c *node.Config) {
		c.Store, c.Waits.Lease = ours, 20*time.Second
		c.Waits.Job.LeaseWithin, c.Waits.Job.Reconnect = 20*time.Second, 20*time.Second
	})
	left := func(l *networktest.Liar, to *daemon, id spot) (sent func() int) {
		var mu sync.Mutex
		n := 0
		d := &networktest.Deed{Protocol: id.protocol, Step: func(b []byte) bool {
			if id.is(b) {
				mu.Lock()
				n++
				mu.Unlock()
			}
			return false
		}}
		l.Lie(to.id, d)
		return func() int { mu.Lock(); defer mu.Unlock(); return n }
	}
	hold := func(what string, g *gateStore, sent func() int, act func()) {
		t.Helper()
		open := g.close()
		defer open()
		act()
		networktest.Eventually(t, "a write of "+what, g.waiting)
		quiet := time.NewTimer(300 * time.Millisecond)
		<-quiet.C
		if sent() != 0 {
			t.Errorf("a %s left before it was written", what)
		}
		open()
		networktest.Eventually(t, what, func() bool { return sent() > 0 })
	}
	msg := stallJob(testJob(t, c, "long"))
	var j *job
	request := left(lies, s.provider, clientSpots[1])
	reply := left(s.liar, c, providerSpots[1])
	hold("lease", theirs, reply, func() { j = c.submit(t, msg) })
	if request() == 0 {
		t.Error("no lease was asked for")
	}
	j.running(t)
	receipt := left(s.liar, c, providerSpots[4])
	hold("receipt", theirs, receipt, func() {})
	n := receipt()
	voucher := left(lies, s.provider, clientSpots[3])
	networktest.Eventually(t, "a voucher and the next receipt", func() bool { return voucher() > 0 && receipt() > n })
	voucher = left(lies, s.provider, clientSpots[3])
	hold("voucher", ours, voucher, func() {})
	if end := j.finished(t); end.State != "done" {
		t.Errorf("after the disk's rest the job ended as %v", end)
	}
}

// TestLateCommitIsKept lets a lease's stream end while its write waits: what the
// ledger takes in the end is in the index too, and the device is not given twice.
func TestLateCommitIsKept(t *testing.T) {
	disk := &gateStore{keptStore: keptStore{storemem.New()}}
	s := newStall(t, 1, func(c *node.Config) { c.Store = disk })
	c := s.hand(t)
	g := c.draftLong(t)
	g.Request.Voucher, g.Request.Deposit = c.voucher(t, g, 1000), c.deposit(t, g, souk.AtomsPerToken)
	open := disk.close()
	defer open()
	if decline, err := c.Countersign(t.Context(), g); err == nil {
		t.Fatalf("a lease from a disk that hangs: %v", decline)
	}
	if !disk.waiting() {
		t.Fatal("nothing was written")
	}
	open()
	s.taken(t, g.ID)
	networktest.Eventually(t, "the lease in the index of channels", func() bool {
		ch := s.provider.channel(t, c.host.ID(), false)
		return ch != nil && souk.Atoms(ch.ReservedAtoms) == g.Terms.Reserve-g.Terms.First()
	})
	if id := s.provider.holder(t, g.Lease.Devices[0]); id != g.ID.String() {
		t.Errorf("the device of lease %s is held by %q", g.ID, id)
	}
	// The client asks again, as after any silence, and gets the same lease.
	if decline, err := c.Countersign(t.Context(), g); err != nil || decline != nil {
		t.Errorf("the same request again: %v, %v", decline, err)
	}
}
