package payment

import (
	"container/heap"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/souk-market/souk"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"pgregory.net/rapid"
)

// event is something that happens at a time; equal times go by sequence.
type event struct {
	at  time.Time
	seq int
	do  func(now time.Time)
}

type queue []event

func (q queue) Len() int      { return len(q) }
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q queue) Less(i, j int) bool {
	return q[i].at.Before(q[j].at) || q[i].at.Equal(q[j].at) && q[i].seq < q[j].seq
}
func (q *queue) Push(x any) { *q = append(*q, x.(event)) }
func (q *queue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

// world is a Meter and a Payer with a bad network between them.
type world struct {
	t     *rapid.T
	rng   *rand.Rand
	terms Terms
	now   time.Time
	q     queue
	seq   int

	meter *Meter
	payer *Payer
	skew  time.Duration // of the client's clock
	late  time.Duration // by up to which a tick comes late
	delay time.Duration // of a message, up to
	loss  float64       // chance that a message is lost; as many come twice
	away  float64       // chance that the client does not answer
	rate  uint64        // what the job counts in a millisecond, of each counter
	ends  time.Time     // when the job is done
	limit time.Time     // when the simulation gives up

	out      []Receipt // signed, not known to be countersigned
	running  bool
	since    time.Time
	ran      int64  // milliseconds that the job ran, by the provider's own doing
	deviceMs uint64 // in the last receipt
	done     bool   // the final receipt was signed
	ended    runv1.EndReason

	exposure, prepaid souk.Atoms // the largest seen
}

func (w *world) after(d time.Duration, do func(time.Time)) {
	w.seq++
	heap.Push(&w.q, event{w.now.Add(d), w.seq, do})
}

func (w *world) upTo(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(w.rng.Int64N(int64(d)))
}

// send delivers a message late, out of order, twice, or not at all.
func (w *world) send(deliver func(time.Time)) {
	switch p := w.rng.Float64(); {
	case p < w.loss:
		return
	case p < 2*w.loss:
		w.after(w.upTo(w.delay), deliver)
	}
	w.after(w.upTo(w.delay), deliver)
}

// act is what a provider does with the job.
func (w *world) act(now time.Time, a Action) {
	switch a.Do {
	case Pause, Stop:
		w.halt(now)
		if a.Do == Stop {
			w.ended = a.Reason
			w.finish(now)
		}
	case Resume:
		w.running, w.since = true, now
	}
}

// halt counts what ran, in the whole milliseconds that receipts have.
func (w *world) halt(now time.Time) {
	if w.running {
		w.ran += now.Sub(epoch).Milliseconds() - w.since.Sub(epoch).Milliseconds()
	}
	w.running = false
}

// usage is what was measured up to now.
func (w *world) usage(now time.Time) Usage {
	ran := w.ran
	if w.running {
		ran += now.Sub(epoch).Milliseconds() - w.since.Sub(epoch).Milliseconds()
	}
	n := w.rate * uint64(ran)
	return Usage{Counters: map[string]uint64{UnitTokenOut: n, UnitEgressByte: n, UnitRequest: n}}
}

func (w *world) finish(now time.Time) {
	w.halt(now)
	if r := w.meter.Finish(now, souk.Digest{5}, w.usage(now)); !w.done {
		w.done = true
		w.emit(r)
	}
}

// emit signs a receipt and sends it until it is countersigned.
func (w *world) emit(r Receipt) {
	r.SignProvider(domain, providerKey)
	w.deviceMs = r.Usage[0].Quantity
	w.out = append(w.out, r)
	var resend func(time.Time)
	resend = func(time.Time) {
		if len(w.out) == 0 || r.Seq < w.out[0].Seq || w.now.After(w.limit) {
			return
		}
		w.send(func(now time.Time) { w.receive(now, r) })
		w.after(w.terms.Grace/3+50*time.Millisecond, resend)
	}
	resend(w.now)
}

// receive is the client's side.
func (w *world) receive(now time.Time, r Receipt) {
	if w.rng.Float64() < w.away {
		return
	}
	paid, err := w.payer.Check(now.Add(w.skew), r)
	var refused *ReceiptError
	if errors.As(err, &refused) && refused.Reason == BadSequence {
		return
	}
	if err != nil {
		w.t.Fatalf("an honest receipt is refused: %v\n%+v", err, r)
	}
	w.payer.Accept(r)
	w.send(func(now time.Time) {
		a, err := w.meter.Countersigned(now, r.Seq, paid)
		if err != nil && !errors.Is(err, ErrSequence) {
			w.t.Fatalf("an honest countersignature is refused: %v", err)
		}
		for err == nil && len(w.out) > 0 && w.out[0].Seq <= r.Seq {
			w.out = w.out[1:]
		}
		w.act(now, a)
		w.tick(now)
	})
}

// tick lets the meter say what is due, and asks to be woken for the next time.
func (w *world) tick(now time.Time) {
	r, a := w.meter.Tick(now, w.usage(now))
	if r != nil {
		w.emit(*r)
	}
	w.act(now, a)
	if next, ok := w.meter.Next(); ok {
		w.after(max(0, next.Sub(now))+w.upTo(w.late), w.tick)
	}
}

// check holds both sides to their bounds, at every event.
func (w *world) check() {
	w.meter.advance(w.now)
	exposure, prepaid := w.meter.Due()-w.meter.Paid(), w.payer.Paid()-w.meter.Due()
	w.exposure, w.prepaid = max(w.exposure, exposure), max(w.prepaid, prepaid)
	// A tick that comes late bills no time, but what was counted was used.
	most := w.price(w.terms.Interval+w.terms.Grace, 0) + w.price(0, w.terms.Interval+w.terms.Grace+3*w.late)
	if exposure > most {
		w.t.Fatalf("the provider's unpaid work is %d, at most %d", exposure, most)
	}
	if most := w.price(w.terms.Interval+w.terms.PayAhead, 0); prepaid > most {
		w.t.Fatalf("the client's prepayment is %d, at most %d", prepaid, most)
	}
	if w.meter.Paid() > w.payer.Paid() {
		w.t.Fatalf("paid %d by the meter, %d by the payer", w.meter.Paid(), w.payer.Paid())
	}
	if w.payer.Paid() > w.terms.Reserve || w.meter.Due() > w.terms.Reserve {
		w.t.Fatalf("paid %d, due %d of a reserve of %d", w.payer.Paid(), w.meter.Due(), w.terms.Reserve)
	}
}

// price is what a time costs, with what the job counts in another, and an atom
// for each line: of two sums each is rounded down.
func (w *world) price(running, counting time.Duration) (sum souk.Atoms) {
	for _, l := range w.terms.measures() {
		n := l.speed * uint64(running.Milliseconds())
		if l.kind == counter {
			n = w.rate * uint64(counting.Milliseconds())
		}
		due, err := l.Due(n)
		if err != nil {
			w.t.Fatal(err)
		}
		sum += due + 1
	}
	return sum
}

func (w *world) run() {
	w.meter, w.payer = NewMeter(w.terms), NewPayer(w.terms)
	w.payer.Start(w.now.Add(w.skew))
	w.meter.Start(w.now)
	w.running, w.since = true, w.now
	w.tick(w.now)
	w.after(w.ends.Sub(w.now), w.finish)
	for len(w.q) > 0 && w.q[0].at.Before(w.limit) {
		e := heap.Pop(&w.q).(event)
		w.now = e.at
		e.do(w.now)
		w.check()
	}
}

// drawWorld draws a world, half of the time from the middle of what is possible,
// as rapid likes the edges.
func drawWorld(t *rapid.T) *world {
	rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
	middle := rapid.Bool().Draw(t, "middle")
	between := func(label string, from, to int64) int64 {
		if middle {
			return from + rng.Int64N(to-from+1)
		}
		return rapid.Int64Range(from, to).Draw(t, label)
	}
	ms := func(label string, from, to int64) time.Duration {
		return time.Duration(between(label, from, to)) * time.Millisecond
	}
	w := &world{
		t:     t,
		rng:   rng,
		terms: someTerms(),
		now:   epoch,
		skew:  ms("skew", -25_000, 3_600_000),
		late:  ms("late", 0, 1) * ms("late by", 0, 500) / time.Millisecond,
		delay: ms("delay", 1, 4000),
		loss:  float64(between("loss", 0, 45)) / 100,
		away:  rapid.SampledFrom([]float64{0, 0, 0.5, 0.9, 1}).Draw(t, "away"),
	}
	w.terms.Tariff = HourlyTariff(uint64(between("price", 0, 10_000_000_000)))
	w.terms.Devices[0].Count = int(between("devices", 1, 8))
	w.terms.Interval, w.terms.Grace = ms("interval", 100, 12_000), ms("grace", 0, 15_000)
	w.terms.HoldPaused, w.terms.PayAhead = ms("hold", 0, 40_000), ms("ahead", 0, 1)*ms("ahead by", 0, 20_000)/time.Millisecond
	w.terms.MaxDuration = ms("duration", 1, 120_000)
	w.terms.Reserve = souk.Atoms(between("reserve", 0, 10_000_000_000))
	w.drawLines(between)
	w.ends = epoch.Add(ms("job", 1, 150_000))
	w.limit = w.ends.Add(10 * time.Minute)
	return w
}

// drawLines makes the lease one of several classes, with held time and counters,
// half of the time.
func (w *world) drawLines(between func(label string, from, to int64) int64) {
	if between("lines", 0, 1) == 0 {
		return
	}
	price := w.terms.Tariff[0].Price
	w.rate = uint64(between("rate", 0, 1000))
	if between("classes", 0, 1) == 1 {
		w.terms.Devices = append(w.terms.Devices, ClassCount{"B", 3})
		w.terms.Tariff = Tariff{{"device-ms/A", price, 3_600_000}, {"device-ms/B", price / 7, 3_600_000}}
	}
	w.terms.Tariff = append(w.terms.Tariff, Line{UnitReservedMs, price / 11, 3_600_001},
		Line{UnitTokenOut, uint64(between("token", 0, 1000)), 1_000}, Line{UnitEgressByte, 1, uint64(between("egress per", 1, 1<<30))})
}

// TestLossIsBounded plays leases on networks that delay, repeat, drop and
// reorder, with clients that answer seldom and providers that tick late.
func TestLossIsBounded(t *testing.T) {
	var exposure, prepaid float64 // the largest, as part of their bounds
	ends := make(map[runv1.EndReason]int)
	settled, runs := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		w.run()
		runs++
		ends[w.ended]++
		if w.price(time.Millisecond, 0) > 100 { // below it the floor of a sum shows
			exposure = max(exposure, float64(w.exposure)/float64(w.price(w.terms.Interval+w.terms.Grace, w.terms.Interval+w.terms.Grace+3*w.late)))
			prepaid = max(prepaid, float64(w.prepaid)/float64(w.price(w.terms.Interval+w.terms.PayAhead, 0)))
		}
		if got := int64(w.deviceMs / w.terms.measures()[0].speed); got != w.meter.run || got > w.ran {
			t.Fatalf("receipts over %d ms, the meter has %d, the job ran %d", got, w.meter.run, w.ran)
		}
		if w.late == 0 && w.meter.run != w.ran {
			t.Fatalf("billed %d ms of %d that ran, with every tick in time", w.meter.run, w.ran)
		}
		if w.meter.Settled() {
			settled++
			if w.payer.Due() != w.meter.Due() || !w.payer.Done() || w.meter.Paid() < w.meter.Due() {
				t.Fatalf("settled: due %d and %d, paid %d", w.payer.Due(), w.meter.Due(), w.meter.Paid())
			}
		}
	})
	t.Logf("%d leases, %d settled, ended %v", runs, settled, ends)
	t.Logf("largest unpaid work %.4f of one interval and grace, largest prepayment %.4f of one interval and what is paid ahead", exposure, prepaid)
	if exposure > 1.0001 || prepaid > 1.0001 || exposure < 0.5 || prepaid < 0.5 {
		t.Error("the bounds are passed, or were never near")
	}
}
