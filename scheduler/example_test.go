package scheduler_test

import (
	"fmt"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"github.com/souk-market/souk/scheduler"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// The client's machine of a job is told what happened and says what to do. Here its
// driver is the example: it answers each action as a network with two providers would.
func Example() {
	cheap, dear := souk.NodeKey{1}, souk.NodeKey{2}
	lease := souk.LeaseID{Digest: souk.Digest{7}}
	job := scheduler.NewJob(scheduler.JobConfig{MaxDuration: time.Hour, MaxPrice: 500_000}, noon)
	for i, event := range []scheduler.Event{
		scheduler.Tick{},
		scheduler.Candidates{Peers: []souk.NodeKey{dear, cheap}},
		scheduler.Dialed{Peer: cheap, RTT: 20 * time.Millisecond},
		scheduler.Dialed{Peer: dear, RTT: 20 * time.Millisecond},
		scheduler.BidArrived{Peer: dear, Bid: 0, Price: 400_000, Cost: 400_000},
		scheduler.BidArrived{Peer: cheap, Bid: 1, Price: 300_000, Cost: 300_000},
		scheduler.LeaseSigned{Peer: cheap, Lease: lease},
		scheduler.RunState{Lease: lease, Phase: runv1.Phase_PHASE_STAGING},
		scheduler.RunState{Lease: lease, Phase: runv1.Phase_PHASE_RUNNING},
		scheduler.RunState{Lease: lease, Phase: runv1.Phase_PHASE_COLLECTING, Reason: runv1.EndReason_END_REASON_COMPLETED, Output: "bafy"},
		scheduler.OutputsVerified{Lease: lease},
		scheduler.Settled{Lease: lease},
	} {
		now := noon.Add(time.Duration(i) * 10 * time.Millisecond)
		for _, action := range job.Step(now, event) {
			if sign, ok := action.(scheduler.SignLease); ok {
				fmt.Println("take bid", sign.Bid)
				continue
			}
			fmt.Printf("%T\n", action)
		}
	}
	end, _ := job.End()
	fmt.Println(end.State, end.Reason)
	// Output:
	// scheduler.FindCandidates
	// scheduler.Dial
	// scheduler.Ask
	// scheduler.Ask
	// take bid 1
	// scheduler.Attach
	// scheduler.FetchOutputs
	// scheduler.SettleUp
	// scheduler.Finish
	// done completed
}

// The provider's machine of a lease goes by the same rules: events in, actions out,
// and [scheduler.Tenancy.Next] says when time alone is an event.
func ExampleTenancy() {
	tenancy := scheduler.NewTenancy(scheduler.TenancyConfig{
		Terms: payment.Terms{
			Version: 2, Tariff: payment.HourlyTariff(360_000), Devices: []payment.ClassCount{{Class: "CPU", Count: 1}},
			Interval: 10 * time.Second, Grace: 2 * time.Second, HoldPaused: 30 * time.Second, MaxDuration: time.Minute, Reserve: 6_000,
		},
		StartBy: noon.Add(time.Minute),
	}, noon)
	now := noon
	step := func(event scheduler.TenancyEvent) {
		for _, action := range tenancy.Step(now, event) {
			if store, ok := action.(scheduler.StoreTenancy); ok {
				fmt.Printf("store %s, %d receipts\n", store.State.Phase, len(store.Receipts))
				continue
			}
			fmt.Printf("%T\n", action)
		}
	}
	step(scheduler.Tick{})
	step(scheduler.BackingIs{Enough: true})
	step(scheduler.JobReceived{})
	step(scheduler.InputsStaged{})
	step(scheduler.RunStarted{})
	now, _ = tenancy.Next()
	step(scheduler.Tick{}) // the first interval is over
	now, _ = tenancy.Next()
	step(scheduler.Tick{}) // the client has not countersigned within the grace
	fmt.Println("due:", tenancy.Due(), "after", now.Sub(noon))
	// Output:
	// scheduler.CheckBacking
	// store PHASE_STAGING, 0 receipts
	// scheduler.StageInputs
	// scheduler.StartRun
	// store PHASE_RUNNING, 0 receipts
	// store PHASE_RUNNING, 1 receipts
	// store PHASE_PAUSED, 0 receipts
	// scheduler.PauseRun
	// due: 0.0012 after 12s
}
