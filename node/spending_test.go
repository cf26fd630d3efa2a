package node

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/market"
	role "github.com/souk-market/souk/node/client"
	"github.com/souk-market/souk/node/money"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/node/network/networktest"
	"github.com/souk-market/souk/payment"
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
	c := s.client(t, &networktest.Liar{})
	if _, _, err := c.dealer.Fund(t.Context(), s.provider.host.ID(), souk.AtomsPerToken); err != nil {
		t.Fatal(err)
	}
	var asks []*role.Proposal
	var first souk.Atoms
	for range 6 {
		g := leaseFor(t, s, c, 0, nil)
		first = g.Terms.First()
		v := payment.Voucher{Channel: g.Terms.Channel, MaxClaimable: first}
		if err := v.Sign(g.Terms.Domain, c.cfg.VoucherKey); err != nil {
			t.Fatal(err)
		}
		g.Request.Voucher = v.Proto()
		asks = append(asks, g)
	}
	var mu sync.Mutex
	var taken, short, other int
	var wg sync.WaitGroup
	for _, g := range asks {
		wg.Go(func() {
			decline, err := c.dealer.Countersign(t.Context(), g)
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
	var clients []*Node
	for range 6 {
		clients = append(clients, s.client(t, &networktest.Liar{}))
	}
	type got struct {
		g       *role.Proposal
		decline *market.Refusal
		err     error
	}
	var asks []*role.Proposal
	for _, c := range clients { // strangers all: each gets a bid for the same device
		g := leaseFor(t, s, c, 1000, nil)
		d, err := c.dealer.Authorize(g.Channel, souk.AtomsPerToken, 0)
		if err != nil {
			t.Fatal(err)
		}
		g.Request.Deposit = d.Proto()
		asks = append(asks, g)
	}
	results := make(chan got, len(asks))
	for i, g := range asks {
		go func() {
			decline, err := clients[i].dealer.Countersign(t.Context(), g)
			results <- got{g, decline, err}
		}()
	}
	var winner *role.Proposal
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
	if id, ok := s.provider.provider.Holder(winner.Lease.Devices[0]); !ok || id != winner.ID {
		t.Errorf("the device is held by %s, leased by %s", id.Short(), winner.ID.Short())
	}
}

// TestRunWithoutLease opens run streams without a lease, with one that does not
// exist, and with another's: all are told the same, and nothing is shown or run.
func TestRunWithoutLease(t *testing.T) {
	s := newStall(t, 2, nil)
	owner, thief := s.client(t, &networktest.Liar{}), s.client(t, &networktest.Liar{})
	j := submit(t, owner, stallJob(t, owner, "long"))
	networktest.Eventually(t, "the run", func() bool { return j.Summary().State == "running" })
	theirs, err := souk.ParseDigest(j.Summary().Lease)
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
			st, release, err := network.OpenStream(t.Context(), thief.host, s.provider.host.ID(), network.RunProtocol)
			if err != nil {
				t.Fatal(err)
			}
			defer release()
			release2 := &runv1.ToProvider{Message: &runv1.ToProvider_Release{Release: &runv1.Release{DiscardOutputs: true}}}
			if err := wire.Write(st, tt.first); err != nil {
				t.Fatal(err)
			}
			wire.Write(st, release2) // a provider that has answered already takes no more
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
	if end := finished(t, j); end.State != "done" {
		t.Errorf("the owner's job ended as %v", end)
	}
}

// TestWalletOfManyFirstJobs takes leases with two providers at once, from a
// wallet that can fund one: the second is refused before anybody is asked.
func TestWalletOfManyFirstJobs(t *testing.T) {
	s := newStall(t, 2, nil)
	c := s.client(t, &networktest.Liar{})
	have := c.ledger.Balance(ledger.Wallet)
	msg := stallJob(t, c, "forever")
	msg.Price.MaxTotalAtoms, msg.Limits.MaxDurationMs = uint64(have), 3_600_000*uint64(have)*2/3/2/uint64(souk.AtomsPerToken)
	bid, decline, err := c.dealer.Ask(t.Context(), s.provider.host.ID(), c.book.Offers(), msg, time.Now().Add(5*time.Second))
	if err != nil || decline != nil {
		t.Fatalf("ask: %v, %v", decline, err)
	}
	elsewhere := *bid // another provider's: another channel
	elsewhere.Bid = proto.CloneOf(bid.Bid)
	elsewhere.Settlement.Receiver = slices.Repeat([]byte{7}, 20)
	var refused *money.FundsError
	for i, b := range []*market.Bid{bid, &elsewhere} {
		g, err := c.dealer.Propose(t.Context(), souk.JobID{Digest: souk.Digest{byte(i)}}, msg, s.provider.host.ID(), b, time.Now().Add(time.Minute))
		switch {
		case i == 0 && (err != nil || g.Deposits == 0):
			t.Fatalf("the first deposit: %v", err)
		case i == 1 && !errors.As(err, &refused):
			t.Errorf("the wallet of %s signed away more than it has: %v", have, err)
		case i == 1 && refused.Have != have-c.dealer.SignedAway(souk.ChannelID{}):
			t.Errorf("short by another sum: %v", refused)
		}
	}
}

// gateStore holds every write until it is let through, or fails it.
type gateStore struct {
	*storemem.Store
	shut chan struct{} // a write waits until it can receive; nil: none waits
	mu   sync.Mutex    // guards shut and seen
	seen int           // writes that began while it was shut
}

// Update implements [payment.Store].
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
	return g.Store.Update(fn)
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
	theirs, ours := &gateStore{Store: storemem.New()}, &gateStore{Store: storemem.New()}
	s := newStall(t, 2, func(c *Config) { c.Store, c.Waits.Lease = theirs, 20*time.Second })
	lies := &networktest.Liar{}
	c := s.start(t, lies, func(c *Config) {
		c.Bootstrap, c.Store, c.Waits.Lease = []string{address(s.provider)}, ours, 20*time.Second
		c.Waits.Job.LeaseWithin, c.Waits.Job.Reconnect = 20*time.Second, 20*time.Second
	})
	networktest.Eventually(t, "the offer", func() bool { return c.book.Len() == 1 })
	left := func(l *networktest.Liar, to *Node, id spot) (sent func() int) {
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
		l.Lie(to.host.ID(), d)
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
	var j *role.Job
	request := left(lies, s.provider, clientSpots[1])
	reply := left(s.liar, c, providerSpots[1])
	hold("lease", theirs, reply, func() { j = submit(t, c, stallJob(t, c, "long")) })
	if request() == 0 {
		t.Error("no lease was asked for")
	}
	networktest.Eventually(t, "the run", func() bool { return j.Summary().State == "running" })
	receipt := left(s.liar, c, providerSpots[4])
	hold("receipt", theirs, receipt, func() {})
	n := receipt()
	voucher := left(lies, s.provider, clientSpots[3])
	networktest.Eventually(t, "a voucher and the next receipt", func() bool { return voucher() > 0 && receipt() > n })
	voucher = left(lies, s.provider, clientSpots[3])
	hold("voucher", ours, voucher, func() {})
	if end := finished(t, j); end.State != "done" {
		t.Errorf("after the disk's rest the job ended as %v", end)
	}
}

// TestLateCommitIsKept lets a lease's stream end while its write waits: what the
// ledger takes in the end is in the index too, and the device is not given twice.
func TestLateCommitIsKept(t *testing.T) {
	disk := &gateStore{Store: storemem.New()}
	s := newStall(t, 1, func(c *Config) { c.Store = disk })
	c := s.client(t, &networktest.Liar{})
	g := leaseFor(t, s, c, 1000, nil)
	d, err := c.dealer.Authorize(g.Channel, souk.AtomsPerToken, 0)
	if err != nil {
		t.Fatal(err)
	}
	g.Request.Deposit = d.Proto()
	open := disk.close()
	defer open()
	if decline, err := c.dealer.Countersign(t.Context(), g); err == nil {
		t.Fatalf("a lease from a disk that hangs: %v", decline)
	}
	if !disk.waiting() {
		t.Fatal("nothing was written")
	}
	open()
	networktest.Eventually(t, "the lease", func() bool { _, ok := s.provider.provider.Lease(g.ID); return ok })
	rec, ok := s.provider.channels.Get(g.Terms.Channel)
	if _, has := rec.Leases[g.ID]; !ok || !has {
		t.Error("the ledger has a lease that the index of channels has not")
	}
	// The client asks again, as after any silence, and gets the same lease.
	if decline, err := c.dealer.Countersign(t.Context(), g); err != nil || decline != nil {
		t.Errorf("the same request again: %v, %v", decline, err)
	}
}
