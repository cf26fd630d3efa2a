package node_test

import (
	"context"
	"slices"
	"testing"

	"github.com/souk-market/souk/gpu/runner"
	"github.com/souk-market/souk/node"
	"github.com/souk-market/souk/node/network/networktest"
	"github.com/souk-market/souk/payment"
	jobv1 "github.com/souk-market/souk/proto/souk/job/v1"
	leasev1 "github.com/souk-market/souk/proto/souk/lease/v1"
	"google.golang.org/protobuf/proto"
)

// reaching is a runner that stands in for containers: it takes jobs that reach hosts, and
// counts bytes that it says have passed.
type reaching struct {
	runner.Runner
	hosts chan []string
}

func (r reaching) Plan(job *jobv1.Job, dir string) (runner.Plan, error) {
	alone := proto.CloneOf(job)
	alone.Network = nil
	return r.Runner.Plan(alone, dir)
}

func (r reaching) Start(ctx context.Context, s runner.Spec) (runner.Run, error) {
	r.hosts <- s.Hosts
	u, err := r.Runner.Start(ctx, s)
	return passing{u}, err
}

// passing is a run of which so many bytes have passed.
type passing struct{ runner.Run }

const passed = 3_000_000

func (p passing) Usage() runner.Usage { return counted(p.Run.Usage()) }

func (p passing) Wait() runner.Result {
	r := p.Run.Wait()
	r.Usage = counted(r.Usage)
	return r
}

func counted(u runner.Usage) runner.Usage {
	u.Counters = map[string]uint64{runner.EgressByte: passed}
	return u
}

// TestEgress leases a device to a job that reaches a host, at a provider whose owner wants
// that and prices the bytes: the runner is told of the host, and the bill has the bytes. A
// host that none can declare is refused before anything runs.
func TestEgress(t *testing.T) {
	hosts := make(chan []string, 4)
	s := newStall(t, 1, func(c *node.Config) {
		c.Egress, c.Runners = true, []runner.Runner{reaching{c.Runners[0], hosts}}
		c.Lines = map[string]payment.Tariff{testDevice: {{Unit: payment.UnitEgressByte, Price: 1, Per: 1000}}}
	})
	client := s.client(t, &networktest.Liar{})
	msg := stallJob(testJob(t, client, "brief"))
	msg.Network = &leasev1.Network{Hosts: []string{"example.org:443"}}
	j := client.submit(t, msg)
	if end := j.finished(t); end.State != "done" {
		t.Fatalf("the job ended as %v", end)
	}
	if got := <-hosts; !slices.Equal(got, msg.Network.Hosts) {
		t.Errorf("the runner is told of %q", got)
	}
	receipts := j.get(t).Receipts
	if len(receipts) == 0 {
		t.Fatal("no receipts")
	}
	last := receipts[len(receipts)-1].Usage
	if len(last) != 2 || last[1].Unit != payment.UnitEgressByte || last[1].Quantity != passed || last[1].DueAtoms != passed/1000 {
		t.Errorf("the last receipt: %v", last)
	}
	bad := stallJob(testJob(t, client, "brief"))
	bad.Network = &leasev1.Network{Hosts: []string{"localhost:80"}}
	if end := client.submit(t, bad).finished(t); end.State == "done" {
		t.Errorf("a host that none can declare: %v", end)
	}
	if len(hosts) > 0 {
		t.Errorf("it was started with %q", <-hosts)
	}
}
