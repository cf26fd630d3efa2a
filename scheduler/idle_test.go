package scheduler

import (
	"testing"

	jobv1 "github.com/souk-market/souk/proto/souk/job/v1"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
)

// TestIdle gives each second a sample of each device, and looks when the first idleness
// is told.
func TestIdle(t *testing.T) {
	const none = 1000 // what a device does not tell
	steady := func(use ...uint32) func(int) []uint32 { return func(int) []uint32 { return use } }
	for _, tt := range []struct {
		name   string
		least  uint32
		use    func(second int) []uint32 // of each device; nil: nothing comes
		want   int                       // second; 0: never
		detail string
	}{
		{"no limit", 0, steady(0), 0, ""},
		{"idle from the start", 20, steady(0), 600, "its GPUs were used 0.0% over 10m0s, less than 20%"},
		{"as much as is wanted", 20, steady(20), 0, ""},
		{"a little less", 20, steady(19), 600, "its GPUs were used 19.0% over 10m0s, less than 20%"},
		{"one of four works", 20, steady(100, 0, 0, 0), 0, ""},
		{"one of eight works", 20, steady(100, 0, 0, 0, 0, 0, 0, 0), 600, "its GPUs were used 12.5% over 10m0s, less than 20%"},
		{"in bursts", 20, func(s int) []uint32 { return []uint32{100 * uint32(s%4/3)} }, 0, ""},
		{"first work, then idle", 50, func(s int) []uint32 {
			if s < 1000 {
				return []uint32{100}
			}
			return []uint32{0}
		}, 1290, ""},
		{"it does not tell", 20, steady(none), 0, ""},
		{"one does not tell, the other is idle", 20, steady(none, 5), 600, ""},
		{"half of the time is missing", 20, func(s int) []uint32 {
			if s%600 > 300 {
				return nil
			}
			return []uint32{0}
		}, 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			i := NewIdle(&jobv1.Limits{MinGpuUtil: tt.least, MinGpuUtilOverMs: 600_000})
			got, detail := 0, ""
			for s := 0; s < 3000 && got == 0; s++ {
				for _, use := range tt.use(s) {
					sample := &runv1.Sample{AtMs: start.UnixMilli() + int64(s)*1000, GpuUtil: &use}
					if use == none {
						sample.GpuUtil = nil
					}
					if text, idle := i.Add(sample); idle {
						got, detail = s, text
					}
				}
			}
			if got < tt.want || got > tt.want+30 || tt.want == 0 && got != 0 || tt.detail != "" && detail != tt.detail {
				t.Errorf("idle after %d s, %q; want %d, %q", got, detail, tt.want, tt.detail)
			}
		})
	}
}

// TestIdleJob releases the run of a job that is idle, collects what it wrote, and says
// why it ended, whatever its provider says of that.
func TestIdleJob(t *testing.T) {
	w := newWalk(t, testConfig()).do(toRunning...)
	w.do(JobIdle{leaseID(9), "another lease"}).wants().in(Running)
	w.do(JobIdle{leaseID(1), "3% over 10m"}).wants(Release{Peer: key(1), Lease: leaseID(1)}).in(Collecting)
	w.do(JobIdle{leaseID(1), "2% over 10m"}).wants()
	w.do(over(runv1.EndReason_END_REASON_CLIENT_RELEASED, 0, "cid")).wants(FetchOutputs{leaseID(1), "cid"})
	w.do(OutputsVerified{leaseID(1)}, Settled{leaseID(1)}).ends(Failed, ReasonJobIdle)
	if end, _ := w.a.End(); end.Detail != "3% over 10m" || end.Output != "cid" {
		t.Errorf("ended as %+v", end)
	}
	w = newWalk(t, testConfig()).do(toRunning...).do(JobIdle{leaseID(1), "3% over 10m"})
	w.wait().ends(Failed, ReasonJobIdle) // its provider says nothing
	w = newWalk(t, testConfig()).do(toPaused...)
	w.do(JobIdle{leaseID(1), "3% over 10m"}).wants().in(Paused)
}
