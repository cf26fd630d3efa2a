package crash

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The sides of a moment, as they are written in the table: provider<lease is the
// provider about to make its lease durable, provider>lease is when it just was.
const (
	before = "before"
	after  = "after"
)

// moment is a point in a daemon's life. What the points are called, node/crash.go
// says; those of transactions are seen on their way to the chain.
type moment struct {
	at    string // whose: client, provider or chain
	side  string
	point string
	count int // at the countth such moment
}

func (m moment) String() string {
	s := m.at + map[string]string{before: "<", after: ">"}[m.side] + m.point
	if m.count > 1 {
		s += "#" + strconv.Itoa(m.count)
	}
	return s
}

// parseMoment reads what String writes.
func parseMoment(text string) (moment, error) {
	m := moment{side: before, count: 1}
	i := strings.IndexAny(text, "<>")
	if i < 0 {
		return m, fmt.Errorf("moment %q has no side", text)
	}
	if text[i] == '>' {
		m.side = after
	}
	m.at = text[:i]
	point, count, counted := strings.Cut(text[i+1:], "#")
	m.point = point
	if counted {
		n, err := strconv.Atoi(count)
		if err != nil {
			return m, fmt.Errorf("moment %q: %w", text, err)
		}
		m.count = n
	}
	return m, nil
}

// The phases in which something is asked for that is no part of a job.
const (
	claim, anchor, refund = "claim", "anchor", "refund"
	hold                  = "hold" // a provider holds devices only for a client with money in a channel
)

// cases is where daemons die: in each phase each of them, on both sides of what
// the phase makes durable. Where the phase makes nothing durable at the victim,
// the sides are those of what it waits for. One of the moments in a field is
// taken by the round's seed.
var cases = []struct{ phase, victim, before, after string }{
	{"bid", "client", "client<job client<order-sent", "client>job provider<bid-sent"},
	{"bid", "provider", "client<order-sent provider<bid-sent", "provider>bid-sent client<signed"},
	{"bid", "chain", "client<order-sent provider<bid-sent", "provider>bid-sent client<signed"},
	{hold, "client", "client<order-sent provider<bid-sent", "provider>bid-sent client<signed"},
	{hold, "provider", "provider<bid-sent", "provider>bid-sent client<signed"},
	{hold, "chain", "provider<bid-sent", "provider>bid-sent"},
	{"lease", "client", "client<signed client<lease-sent client<job-lease provider<lease", "client>signed client>lease-sent client>job-lease provider>lease"},
	{"lease", "provider", "provider<lease client<lease-sent", "provider>lease client<job-lease client>job-lease"},
	{"lease", "chain", "provider<lease client<signed", "provider>lease client>job-lease"},
	{"funding", "client", "client<job-deposit client<channel-deposit", "client>job-deposit client>channel-deposit"},
	{"funding", "provider", "provider<tx-deposit provider<lease-deposit provider<channel-deposit", "provider>tx-deposit provider>lease-deposit provider>channel-deposit"},
	{"funding", "chain", "provider<tx-deposit chain<block", "chain>block provider>lease-deposit"},
	{"stage", "client", "client<job-staging client<attach-sent provider<lease-staging", "client>job-staging client>attach-sent provider>lease-staging"},
	{"stage", "provider", "provider<lease-staging client<job-staging", "provider>lease-staging client>job-staging"},
	{"stage", "chain", "provider<lease-staging", "provider>lease-staging"},
	{"run", "client", "client<job-running provider<lease-running", "client>job-running provider>lease-running"},
	{"run", "provider", "provider<lease-running client<job-running", "provider>lease-running client>job-running"},
	{"run", "chain", "provider<lease-running", "provider>lease-running"},
	{"receipt sent", "client", "provider<receipt provider<receipt#2", "provider>receipt provider>receipt#2"},
	{"receipt sent", "provider", "provider<receipt provider<receipt#2", "provider>receipt provider>receipt#2 client<receipt-signed"},
	{"receipt sent", "chain", "provider<receipt", "provider>receipt"},
	{"receipt signed", "client", "client<receipt-signed client<receipt-signed#2", "client>receipt-signed client>receipt-signed#2"},
	{"receipt signed", "provider", "client<receipt-signed client<receipt-signed#2", "client>receipt-signed client>receipt-signed#2"},
	{"receipt signed", "chain", "client<receipt-signed", "client>receipt-signed"},
	{"voucher sent", "client", "client<voucher-sent client<voucher-sent#2 provider<receipt-signed", "client>voucher-sent client>voucher-sent#2 provider>receipt-signed"},
	{"voucher sent", "provider", "client<voucher-sent provider<receipt-signed provider<receipt-signed#2", "client>voucher-sent provider>receipt-signed provider>receipt-signed#2"},
	{"voucher sent", "chain", "provider<receipt-signed", "provider>receipt-signed"},
	{"outputs", "client", "client<job-collecting client<final-signed client<job-ended", "client>job-collecting client>final-signed client>job-ended"},
	{"outputs", "provider", "provider<lease-collecting provider<final-signed provider<lease-ended client<job-collecting", "provider>lease-collecting provider>final-signed provider>lease-ended client>job-collecting"},
	{"outputs", "chain", "provider<lease-collecting", "provider>lease-collecting client>final-signed"},
	{claim, "client", "client<channel-claim provider<tx-claim", "client>channel-claim provider>tx-claim"},
	{claim, "provider", "provider<tx-claim provider<claim-tx provider<channel-claim", "provider>tx-claim provider>claim-tx provider>channel-claim"},
	{claim, "chain", "provider<tx-claim chain<block", "chain>block provider>claim-tx"},
	{anchor, "client", "client<tx-anchor client<anchor", "client>tx-anchor client>anchor"},
	{anchor, "provider", "provider<tx-anchor provider<anchor", "provider>tx-anchor provider>anchor"},
	{anchor, "chain", "provider<tx-anchor chain<block", "chain>block provider>anchor"},
	{refund, "client", "client<refund-sent client<refund-tx client<channel-refund provider<channel-refunding", "client>refund-sent client>refund-tx client>channel-refund provider>channel-refunding"},
	{refund, "provider", "provider<channel-refunding provider<tx-refund provider<refund-tx provider<channel-refund", "provider>channel-refunding provider>tx-refund provider>refund-tx provider>channel-refund"},
	{refund, "chain", "provider<tx-refund chain<block#2", "chain>block#2 provider>refund-tx"},
}

// plan is a round, all of which follows from its seed.
type plan struct {
	seed   uint64
	phase  string
	victim string
	moment moment
	down   time.Duration // from the kill to the restart
}

// combinations is how many rounds it takes to see each phase, victim and side once.
func combinations() int { return 2 * len(cases) }

// planOf makes each run of as many seeds as there are combinations meet them all.
func planOf(seed uint64) (plan, error) {
	r := rand.New(rand.NewPCG(seed, 0x736f756b))
	n := plan{seed: seed}.number()
	c := cases[n/2]
	moments := strings.Fields(c.before)
	if n%2 == 1 {
		moments = strings.Fields(c.after)
	}
	m, err := parseMoment(moments[r.IntN(len(moments))])
	return plan{seed: seed, phase: c.phase, victim: c.victim, moment: m, down: time.Duration(r.Int64N(int64(400 * time.Millisecond)))}, err
}

// number is the plan's combination: a case, and in it before or after.
func (p plan) number() int { return int(p.seed % uint64(combinations())) }

// side is of what the phase is about, which the sides of moments elsewhere only
// come near: provider<bid-sent is after the client's order.
func (p plan) side() string {
	if p.number()%2 == 1 {
		return after
	}
	return before
}

func (p plan) String() string {
	return fmt.Sprintf("seed %d: in phase %s the %s dies at %s, and is down for %s", p.seed, p.phase, p.victim, p.moment, p.down.Round(time.Millisecond))
}

func TestPlans(t *testing.T) {
	met := map[string]bool{}
	for seed := range uint64(combinations()) {
		p, err := planOf(seed)
		if err != nil {
			t.Fatal(err)
		}
		if again, _ := planOf(seed); again != p {
			t.Errorf("seed %d makes %v and then %v", seed, p, again)
		}
		met[fmt.Sprint(p.phase, p.victim, p.side())] = true
	}
	if len(met) != combinations() {
		t.Errorf("%d seeds meet %d combinations", combinations(), len(met))
	}
	for _, c := range cases {
		for _, text := range strings.Fields(c.before + " " + c.after) {
			if m, err := parseMoment(text); err != nil || m.String() != text {
				t.Errorf("%q is read as %v: %v", text, m, err)
			}
		}
	}
}
