package sim

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/market"
	"github.com/souk-market/souk/payment"
	jobv1 "github.com/souk-market/souk/proto/souk/job/v1"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"github.com/souk-market/souk/scheduler"
)

// habit is how a client pays.
type habit uint8

const (
	honest         habit = iota
	stopsPaying          // answers a few receipts of a lease, then none
	withholdsLast        // never lets the last voucher go
	underpays            // names less than is due
	paysArrears          // pays what is due, never ahead
	forgesReceipts       // countersigns with another key
	neverSends           // takes a lease and never sends its job
	overdraws            // authorizes deposits that its wallet does not hold, and counts on them for more leases
)

// client submits the jobs of a node.
type client struct {
	n     *node
	habit habit
	count int

	// Durable.
	live     []*job   // not ended, in the order they came
	jobs     []*job   // all of them
	papers   []*paper // leases signed whose end at the provider is not known
	settled  []*paper // the others
	accounts map[int]*account
}

// job is one job and what its client knows of it.
type job struct {
	c         *client
	id        souk.JobID
	cfg       scheduler.JobConfig
	resources *marketv1.Resources
	interval  time.Duration
	ahead     time.Duration
	maxTotal  souk.Atoms
	twin      bool // of a job that overdraws

	// What it will do, which shows only when it runs.
	runFor time.Duration
	ending runv1.EndReason
	exit   int32
	output string

	snapshot scheduler.Snapshot // durable

	machine  *scheduler.Job // nil while its node is down
	offers   []offered
	wake     time.Duration // when the machine's next tick is due
	deadline time.Duration // by which it must have ended
	finished int           // how often Finish came in this life
}

// offered is a bid that came.
type offered struct {
	id  int
	bid scheduler.FloorBid
	to  *node
}

func newClient(n *node) *client {
	c := &client{n: n, accounts: map[int]*account{}}
	if n.w.mishap(0.25) {
		c.habit = habit(1 + n.w.rng.IntN(int(overdraws)))
	}
	purse := souk.Atoms(40_000_000)
	if n.w.chance(0.1) {
		purse = 400_000 // soon spent
	}
	n.w.chain.mint(n.index, purse)
	return c
}

func (c *client) plan() { c.n.plan("submit", c.n.w.cfg.Submit, c.submit) }

// submit draws a job and sets its machine going.
func (c *client) submit() {
	if !c.n.up {
		return
	}
	w := c.n.w
	c.count++
	most := w.between(time.Minute, w.cfg.Longest)
	gpus := uint32(1)
	if w.chance(0.3) {
		gpus = 2 + uint32(w.rng.IntN(3))
	}
	j := &job{c: c, id: souk.JobID{Digest: w.digest("job %d %d", c.n.index, c.count)},
		resources: &marketv1.Resources{GpuCount: gpus, CpuMilli: 1000 * gpus, MemoryBytes: 8 << 30, DiskBytes: 10 << 30,
			Runners: []marketv1.Runner{marketv1.Runner_RUNNER_WASM}, MinEvidence: marketv1.Evidence_EVIDENCE_NONE},
		interval: w.between(10*time.Second, 40*time.Second),
		runFor:   w.upTo(most) + most/20, ending: runv1.EndReason_END_REASON_COMPLETED, maxTotal: 10_000_000,
		cfg: scheduler.JobConfig{MaxDuration: most, MaxPrice: 1_000_000 + uint64(w.rng.IntN(4_000_000)),
			HoldPaused: w.between(10*time.Second, time.Minute), FetchFor: 10 * time.Minute}}
	if w.chance(0.5) {
		j.ahead = w.upTo(30 * time.Second)
	}
	if w.chance(0.5) {
		j.resources.Models = []string{"RTX_4090"}
	}
	if w.chance(0.3) {
		j.resources.Mixed, j.resources.Models, j.resources.GpuCount = true, nil, max(2, gpus)
	}
	if w.chance(0.7) {
		j.cfg.Retry = &jobv1.Retry{Max: 1 + uint32(w.rng.IntN(3)), On: []jobv1.RetryCause{jobv1.RetryCause_RETRY_CAUSE_PROVIDER_LOST}}
	}
	switch p := w.rng.Float64(); {
	case p < 0.05:
		j.exit = 3
	case p < 0.10:
		j.ending = runv1.EndReason_END_REASON_JOB_MEMORY
	case p < 0.15:
		j.runFor = 2 * most // past its limit
	case p < 0.20:
		j.maxTotal = 5_000 // soon reserved in full
	}
	if w.chance(0.8) {
		j.output = j.id.String()
	}
	c.begin(j)
}

// again submits another job of the same kind.
func (c *client) again(j *job) {
	twin := *j
	twin.twin = true
	c.count++
	twin.id.Digest = c.n.w.digest("job %d %d", c.n.index, c.count)
	c.begin(&twin)
}

// begin sets the machine of a new job going.
func (c *client) begin(j *job) {
	w := c.n.w
	c.jobs, c.live = append(c.jobs, j), append(c.live, j)
	j.snapshot, j.machine, j.offers = scheduler.Snapshot{}, nil, nil
	j.begin(scheduler.NewJob(j.cfg, c.n.now()))
	if w.chance(0.05) {
		w.after(w.upTo(15*time.Minute), "stop asked", c.n, -1, func() { j.step(scheduler.StopAsked{}) })
	}
}

// begin drives a machine in this life of the node.
func (j *job) begin(a *scheduler.Job) {
	c, tries := j.cfg, time.Duration(1+j.cfg.Retry.GetMax())
	perTry := 5*time.Minute + 2*c.MaxDuration + 10*c.HoldPaused + c.FetchFor + 3*time.Minute
	j.machine, j.finished, j.wake, j.deadline = a, 0, 0, j.c.n.w.now+tries*perTry
	j.step(scheduler.Tick{})
}

// step gives the machine an event, makes what came of it durable and does it.
func (j *job) step(e scheduler.Event) {
	n := j.c.n
	if j.machine == nil || !n.up {
		return
	}
	actions := j.machine.Step(n.now(), e)
	j.snapshot = j.machine.Snapshot()
	if len(actions) > 0 && n.w.mishap(0.001) {
		n.crash() // what is durable was not said yet
		return
	}
	for _, a := range actions {
		j.do(a)
		if !n.up {
			return
		}
	}
	next, ok := j.machine.Next()
	if !ok || n.w.cfg.fault == sleepsThrough {
		return
	}
	if at := n.w.now + max(0, next.Sub(n.now())); at != j.wake {
		j.wake = at
		n.after(at-n.w.now, "attempt", func() {
			if j.wake == at {
				j.wake = -1
				j.step(scheduler.Tick{})
			}
		})
	}
}

func (j *job) do(a scheduler.Action) {
	switch a := a.(type) {
	case scheduler.FindCandidates:
		j.find()
	case scheduler.Dial:
		for _, p := range a.Peers {
			j.dial(p)
		}
	case scheduler.Ask:
		j.ask(a)
	case scheduler.SignLease:
		j.sign(a)
	case scheduler.Attach:
		j.c.paper(a.Lease).attach()
	case scheduler.FetchOutputs:
		j.fetch(a)
	case scheduler.SettleUp:
		if p := j.c.paper(a.Lease); p != nil {
			p.allowed = j.c.habit != withholdsLast
			p.poll()
		}
	case scheduler.Release:
		j.release(a)
	case scheduler.Finish:
		j.finish(a.End)
	}
}

// find looks in the book, best first.
func (j *job) find() {
	n := j.c.n
	var peers []souk.NodeKey
	ms := uint64(j.cfg.MaxDuration.Milliseconds())
	query := market.RequestQuery(j.resources, j.cfg.MaxPrice, ms)
	for _, c := range market.Candidates(n.book.Match(n.now(), query), j.resources, ms) {
		if c.Provider != n.id && !slices.Contains(peers, c.Provider) {
			peers = append(peers, c.Provider)
		}
	}
	n.after(0, "candidates", func() { j.step(scheduler.Candidates{Peers: peers}) })
}

func (j *job) finish(end scheduler.End) {
	w := j.c.n.w
	if j.finished++; j.finished > 1 {
		w.failf("job %s finishes twice", j.id.Short())
	}
	if !end.State.Ended() || !reasons[end.Reason] {
		w.failf("job %s ends in state %s without a reason we know: %q", j.id.Short(), end.State, end.Reason)
	}
	for _, t := range j.snapshot.Over {
		if !reasons[t.Reason] || t.Lease.IsZero() {
			w.failf("a try of job %s ends without a reason or lease: %+v", j.id.Short(), t)
		}
	}
	w.stats.Ends[end.State.String()+" "+string(end.Reason)]++
	w.stats.Retries += len(j.snapshot.Over)
	j.c.live = slices.DeleteFunc(j.c.live, func(o *job) bool { return o == j })
	for _, p := range j.c.papers {
		if p.job == j && !p.allowed {
			p.drop()
		}
	}
}

// start goes on with what is durable.
func (c *client) start() {
	for _, i := range sortedKeys(c.accounts) {
		c.accounts[i].restore()
	}
	for _, j := range slices.Clone(c.live) {
		j.begin(scheduler.ResumeJob(j.cfg, j.snapshot, c.n.now()))
		if !c.n.up {
			return
		}
	}
	for _, p := range slices.Clone(c.papers) {
		if !p.open {
			p.drop()
		}
	}
}

func (c *client) crash() {
	for _, j := range c.jobs {
		j.machine, j.offers = nil, nil
	}
	for _, p := range c.papers {
		p.open, p.allowed, p.lost, p.dropped, p.releasing, p.payer = false, false, false, false, false, nil
	}
}

// paper is a lease signed whose end is not known yet; nil for any other.
func (c *client) paper(id souk.LeaseID) *paper {
	for _, p := range c.papers {
		if p.terms.Lease == id {
			return p
		}
	}
	return nil
}

func (c *client) account(provider *node) *account {
	a := c.accounts[provider.index]
	if a == nil {
		a = newAccount(c.n, provider, true)
		c.accounts[provider.index] = a
	}
	return a
}

// pending is what was authorized for deposits that the chain does not have.
func (c *client) pending() (sum souk.Atoms) {
	for _, p := range c.papers {
		if !c.n.w.chain.deposited[p.terms.Lease] {
			sum += p.deposit
		}
	}
	return sum
}

// reserve is the most a job may cost by a bid.
func (j *job) reserve(bid scheduler.FloorBid) souk.Atoms {
	most, err := payment.Terms{Tariff: bid.Tariff, Devices: classesOf(bid)}.TimeCost(j.cfg.MaxDuration)
	if err != nil {
		panic(err) // the amounts here are far from overflow
	}
	return min(most, j.maxTotal)
}

// classesOf counts the devices of a bid as the terms of a lease on it do.
func classesOf(bid scheduler.FloorBid) (classes []payment.ClassCount) {
	for _, g := range bid.Groups {
		classes = append(classes, payment.ClassCount{Class: g.Class, Count: len(g.Devices)})
	}
	if len(classes) == 0 {
		classes = []payment.ClassCount{{Count: len(bid.Devices)}}
	}
	return classes
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
