package node_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/souk-market/souk/gpu/runner"
	"github.com/souk-market/souk/node"
	"github.com/souk-market/souk/node/network/networktest"
)

// unproved is a runner whose containers show another device than the leased one.
type unproved struct{ runner.Runner }

func (unproved) Start(context.Context, runner.Spec) (runner.Run, error) {
	return nil, fmt.Errorf("start: %w", &runner.UnprovedError{Detail: "it shows the node /dev/other, which was not leased"})
}

// TestUnproved leases a device that the container does not prove from inside: the job is
// not started, the end has a name of its own, and the bill is 0 on both sides.
func TestUnproved(t *testing.T) {
	s := newStall(t, 1, func(c *node.Config) { c.Runners = []runner.Runner{unproved{c.Runners[0]}} })
	client := s.client(t, &networktest.Liar{})
	j := client.submit(t, stallJob(testJob(t, client, "brief")))
	end := j.finished(t)
	if end.State != "failed" || end.Reason != "devices-unproved" || !strings.Contains(end.Detail, "/dev/other") || end.PaidAtoms != 0 {
		t.Errorf("the job ended as %v", end)
	}
	if got := j.get(t); len(got.Receipts) != 0 {
		t.Errorf("receipts of a job that never ran: %v", got.Receipts)
	}
	if due := agree(t, s.provider, client.id, client); due != 0 {
		t.Errorf("%s is due", due)
	}
}
