package payment

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/souk-market/souk"
)

var (
	seeds = flag.Uint64("seeds", 100_000, "channels on which one side lies, from -seed on")
	seed  = flag.Uint64("seed", 1, "the first of them")
)

// realEvery is how seldom signatures are real. Who lies holds its own keys and
// signs what it likes, so that signatures bound no loss here: what another signs
// is refused, as TestPayerRefuses and node's tests of forgeries show.
const realEvery = 1 << 10

// side is who lies.
type side uint8

const (
	nobody side = iota
	theClient
	theProvider
)

// word is a message on its way: a receipt, or the answer to one.
type word struct {
	deal    int
	receipt *Receipt // nil: an answer
	seq     uint64
	digest  souk.Digest
	paid    souk.Atoms
	voucher souk.Atoms // over the channel
}

// deal is one lease, at both of its sides.
type deal struct {
	terms Terms

	meter   *Meter
	signed  []Receipt // durable; ClientSig is set once it is countersigned
	digests []souk.Digest
	running bool
	ran     int64 // milliseconds
	fast    int64 // of a lying provider's clock, in hundredths
	base    time.Time

	payer    *Payer
	began    time.Time // on the client's clock
	accepted []Receipt
	refused  bool // the client caught the provider at a lie, and pays nothing more
}

// channelOfLies is one channel with its leases, a bad network and, on one side,
// a liar. Both sides crash, and go on from what was durable.
type channelOfLies struct {
	rng     *rand.Rand
	now     time.Time
	liar    side
	real    bool
	deposit souk.Atoms
	deals   []*deal
	words   []word

	theirs, ours Account // the provider's and the client's, durable

	worst losses
}

// losses are the largest seen, in atoms and as part of their bounds.
type losses struct {
	unpaid, prepaid         float64
	unpaidAtoms, unpaidMost souk.Atoms
	prepaidAtoms, prepMost  souk.Atoms
	deals, receipts, lies   int
	crashes                 int
}

func (l *losses) add(o losses) {
	if o.unpaid > l.unpaid {
		l.unpaid, l.unpaidAtoms, l.unpaidMost = o.unpaid, o.unpaidAtoms, o.unpaidMost
	}
	if o.prepaid > l.prepaid {
		l.prepaid, l.prepaidAtoms, l.prepMost = o.prepaid, o.prepaidAtoms, o.prepMost
	}
	l.deals, l.receipts, l.lies, l.crashes = l.deals+o.deals, l.receipts+o.receipts, l.lies+o.lies, l.crashes+o.crashes
}

func newChannelOfLies(seed uint64) *channelOfLies {
	rng := rand.New(rand.NewPCG(seed, 3))
	w := &channelOfLies{rng: rng, now: epoch, liar: side(seed % 3), real: seed%realEvery == 0,
		theirs: NewAccount(someTerms().Channel, false), ours: NewAccount(someTerms().Channel, true)}
	for i := range 1 + rng.IntN(3) {
		t := someTerms()
		t.Lease.Digest[1] = byte(i)
		t.Tariff = HourlyTariff(1 << rng.IntN(34))
		t.Devices[0].Count = 1 + rng.IntN(4)
		t.Interval = time.Duration(500+rng.IntN(4000)) * time.Millisecond
		t.Grace = time.Duration(100+rng.IntN(4000)) * time.Millisecond
		t.HoldPaused = time.Duration(rng.IntN(6000)) * time.Millisecond
		if rng.IntN(3) == 0 {
			t.PayAhead = time.Duration(rng.IntN(5000)) * time.Millisecond
		}
		t.MaxDuration = time.Duration(1000+rng.IntN(20_000)) * time.Millisecond
		t.Reserve = min(t.Reserve, t.price(time.Duration(rng.IntN(25_000))*time.Millisecond)) // it may end before the time does
		w.deposit += t.Reserve
		w.deals = append(w.deals, &deal{terms: t, fast: []int64{100, 101, 150, 1000, 100_000}[rng.IntN(5)]})
	}
	w.theirs.Read(OnChain{Balance: w.deposit}, 0)
	w.ours.Read(OnChain{Balance: w.deposit}, 0)
	return w
}

// crash restarts one side from what is durable; the words on the way stay.
func (w *channelOfLies) crash() error {
	w.worst.crashes++
	if w.rng.IntN(2) == 0 {
		for i, d := range w.deals {
			if d.payer == nil {
				continue
			}
			paid := d.payer.Paid()
			p, err := RestorePayer(d.terms, d.accepted)
			if err != nil {
				return fmt.Errorf("restore the payer of lease %d: %w", i, err)
			}
			if p.Paid() != paid {
				return fmt.Errorf("paid %d before the crash, %d after", paid, p.Paid())
			}
			p.Start(d.began)
			d.payer = p
		}
		return nil
	}
	for i, d := range w.deals {
		if d.meter == nil {
			continue
		}
		m, err := RestoreMeter(d.terms, d.signed, w.theirs.Leases[d.terms.Lease].Paid)
		if err != nil {
			return fmt.Errorf("restore the meter of lease %d: %w", i, err)
		}
		if len(d.signed) > 0 && m.prev != d.digests[len(d.digests)-1] {
			return fmt.Errorf("lease %d goes on from another receipt", i)
		}
		d.meter, d.running = m, false // what ran is gone with its process
		for _, r := range d.signed {
			if r.ClientSig == nil {
				w.send(word{deal: i, receipt: &r})
			}
		}
	}
	return nil
}

// check holds both sides to their bounds.
func (w *channelOfLies) check() error {
	for i, d := range w.deals {
		t := d.terms
		if d.meter != nil && w.liar != theProvider {
			most := t.price(t.Interval+t.Grace) + 1
			loss := t.price(time.Duration(d.ran)*time.Millisecond) - w.theirs.Leases[t.Lease].Paid
			if loss > most {
				return fmt.Errorf("lease %d: %d of unpaid work, at most %d", i, loss, most)
			}
			if part := float64(loss) / float64(most); part > w.worst.unpaid && most > 1000 {
				w.worst.unpaid, w.worst.unpaidAtoms, w.worst.unpaidMost = part, loss, most
			}
		}
		if d.payer != nil && w.liar != theClient {
			done := w.now.Sub(d.began) // all that a provider can have worked
			if w.liar == nobody {
				done = time.Duration(d.ran) * time.Millisecond
			}
			most := t.price(max(t.Interval, Slack)+t.PayAhead) + 1
			if w.liar == nobody {
				most = t.price(t.Interval+t.PayAhead) + 1
			}
			loss := d.payer.Paid() - t.price(done)
			if loss > most || d.payer.Paid() > t.Reserve {
				return fmt.Errorf("lease %d: prepaid %d, at most %d; in all %d of a reserve of %d", i, loss, most, d.payer.Paid(), t.Reserve)
			}
			if part := float64(loss) / float64(most); part > w.worst.prepaid && most > 1000 {
				w.worst.prepaid, w.worst.prepaidAtoms, w.worst.prepMost = part, loss, most
			}
		}
	}
	theirMax, ourMax := w.theirs.Voucher.MaxClaimable, w.ours.Voucher.MaxClaimable
	switch {
	case w.theirs.Vouched() > theirMax || w.theirs.Claimable() < w.theirs.Due():
		return fmt.Errorf("the provider counts on %d of vouchers over %d, %d is due", w.theirs.Vouched(), theirMax, w.theirs.Due())
	case w.liar != theProvider && w.theirs.Vouched() > w.deposit:
		return fmt.Errorf("the provider counts on %d of a deposit of %d", w.theirs.Vouched(), w.deposit)
	case w.liar != theClient && (ourMax > w.deposit || theirMax > ourMax || w.ours.Vouched() > ourMax):
		return fmt.Errorf("vouchers over %d (%d shown) of a deposit of %d", ourMax, theirMax, w.deposit)
	}
	return nil
}

// price is what a time on all devices costs, whatever the reserve.
func (t Terms) price(d time.Duration) souk.Atoms {
	due, err := t.Tariff[0].Due(uint64(t.DeviceCount()) * uint64(d.Milliseconds()))
	if err != nil {
		panic(err) // the amounts here are far from overflow
	}
	return due
}

// play takes a channel from its first lease to its end.
func (w *channelOfLies) play() (err error) {
	next := 0
	for range 40 + w.rng.IntN(40) {
		switch k := w.rng.IntN(32); {
		case next < len(w.deals) && (k < 4 || next == 0):
			err = w.lease(next)
			next++
		case k < 14:
			w.pass()
		case k < 26:
			err = w.deliver()
		case k == 26 && w.rng.IntN(3) == 0:
			err = w.crash()
		case k == 27 && w.rng.IntN(2) == 0:
			w.finish(w.rng.IntN(len(w.deals)))
		case w.liar == theClient:
			w.lieAbout(w.rng.IntN(next))
		case w.liar == theProvider && next > 0:
			w.lieInReceipt()
		}
		if err = errors.Join(err, w.check()); err != nil {
			return err
		}
	}
	return nil
}

// firstSeeds is how many seeds are played: those asked for by the flag, or fewer of
// the many that it has by default in a short run.
func firstSeeds() uint64 {
	if testing.Short() {
		return min(*seeds, 2000)
	}
	return *seeds
}

// TestBoundUnderLies plays channels of one to three leases on which one side
// lies, or neither, on a network that loses, repeats and reorders, with crashes
// of both sides, and prints the largest loss of either beside its bound.
func TestBoundUnderLies(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var all losses
	var workers sync.WaitGroup
	n, count := uint64(runtime.GOMAXPROCS(0)), firstSeeds()
	for k := range n {
		workers.Go(func() {
			var mine losses
			for s := *seed + k; s < *seed+count; s += n {
				w := newChannelOfLies(s)
				if err := w.play(); err != nil {
					t.Errorf("replay with -run=TestBoundUnderLies -seed=%d -seeds=1: %v", s, err)
					return
				}
				mine.add(w.worst)
			}
			mu.Lock()
			defer mu.Unlock()
			all.add(mine)
		})
	}
	workers.Wait()
	t.Logf("%d channels, %d leases, %d receipts, %d lies, %d crashes", count, all.deals, all.receipts, all.lies, all.crashes)
	t.Logf("largest unpaid work: %d of at most %d atoms (%.4f)", all.unpaidAtoms, all.unpaidMost, all.unpaid)
	t.Logf("largest prepayment: %d of at most %d atoms (%.4f)", all.prepaidAtoms, all.prepMost, all.prepaid)
	if count >= 1000 && (all.unpaid < 0.9 || all.prepaid < 0.9) {
		t.Error("the bounds were never near")
	}
}
