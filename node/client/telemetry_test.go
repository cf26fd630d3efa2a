package client

import (
	"bytes"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/node/money/moneytest"
	"github.com/souk-market/souk/payment"
	jobv1 "github.com/souk-market/souk/proto/souk/job/v1"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"github.com/souk-market/souk/scheduler"
	"google.golang.org/protobuf/proto"
)

// telemetryOf is a sample of a leased device at a time of its run.
func telemetryOf(t *testing.T, device string, at int64) []byte {
	t.Helper()
	b, err := proto.Marshal(&runv1.Sample{Device: device, AtMs: at, CpuMilli: proto.Uint32(1000)})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// hearSamples says a piece of telemetry, and returns what the client says of it.
func (h *hearing) hearSamples(first uint64, list ...[]byte) error {
	return h.l.heard(h.t.Context(), h, &runv1.ToClient{Message: &runv1.ToClient_Telemetry{Telemetry: &runv1.Telemetry{First: first, Samples: list}}})
}

// rooted is the receipt that is due now, over such samples.
func (h *hearing) rooted(list [][]byte) payment.Receipt {
	<-time.After(h.Terms.Interval)
	r := h.next(payment.KindInterval)
	var leaves []souk.Digest
	for _, b := range list {
		leaves = append(leaves, payment.SampleLeaf(b))
	}
	r.TelemetryRoot = payment.TelemetryRoot(leaves)
	return r
}

// TestTelemetry has an honest provider send samples and receipts, before and after a
// restart of its client, and looks at what the client keeps.
func TestTelemetry(t *testing.T) {
	tree := moneytest.NewTree(t)
	synctest.Test(t, func(t *testing.T) { testTelemetry(t, newHearing(t, tree)) })
}

func testTelemetry(t *testing.T, h *hearing) {
	device, began := h.Lease.Devices[0], time.Now().UnixMilli()
	list := [][]byte{telemetryOf(t, device, began+1), telemetryOf(t, device, began+2), telemetryOf(t, device, began+3)}
	if err := h.hearSamples(0, list[:2]...); err != nil {
		t.Fatal(err)
	}
	h.start() // another life of the client: it goes on from its file
	if h.l.telemetry.have != 2 {
		t.Fatalf("a restarted client has %d samples", h.l.telemetry.have)
	}
	if err := h.hearSamples(2, list[2]); err != nil {
		t.Fatal(err)
	}
	h.show(h.rooted(list))
	if h.l.over || len(h.Signed(t)) != 1 {
		t.Fatalf("an honest receipt is not countersigned: over %v, %d signed", h.l.over, len(h.Signed(t)))
	}
	h.start()
	h.show(h.rooted(nil)) // without telemetry since: an older provider sends none at all
	if h.l.over || len(h.Signed(t)) != 2 {
		t.Fatal("a receipt without telemetry is not countersigned")
	}
	var kept [][]byte
	if err := h.l.with.telemetry().Read(h.Terms.Lease, func(b []byte) error { kept = append(kept, b); return nil }); err != nil || !slices.EqualFunc(kept, list, bytes.Equal) {
		t.Errorf("%d samples are kept, %v", len(kept), err)
	}
}

// TestTelemetryOfIdleJob has a job use its GPU less than its owner wants, over a restart of
// the client: its machine is told once in each life, and not before the time is over.
func TestTelemetryOfIdleJob(t *testing.T) {
	tree := moneytest.NewTree(t)
	synctest.Test(t, func(t *testing.T) {
		h := newHearing(t, tree)
		h.l.j.msg = &jobv1.Job{Limits: &jobv1.Limits{MinGpuUtil: 20, MinGpuUtilOverMs: 60_000}}
		h.start()
		for n := range uint64(65) {
			if n == 30 {
				h.start()
			}
			time.Sleep(time.Second)
			b, err := proto.Marshal(&runv1.Sample{Device: h.Lease.Devices[0], AtMs: time.Now().UnixMilli(), GpuUtil: proto.Uint32(3)})
			if err == nil {
				err = h.hearSamples(n, b)
			}
			if err != nil {
				t.Fatal(err)
			}
			if told := len(h.l.j.events); n < 60 && told > 0 || n >= 60 && told != 1 {
				t.Fatalf("after %d samples the machine was told %d times", n+1, told)
			}
		}
		want := scheduler.JobIdle{Lease: h.Terms.Lease, Detail: "its GPUs were used 3.0% over 1m0s, less than 20%"}
		if got := <-h.l.j.events; got != want {
			t.Errorf("told %+v, want %+v", got, want)
		}
	})
}

// TestTelemetryLies has a provider lie about what the devices measured: the run ends
// as cheated, and no receipt with a wrong root is ever countersigned.
func TestTelemetryLies(t *testing.T) {
	for _, tt := range []struct {
		name string
		// lie changes what is sent; list is what was hashed into the receipt.
		lie func(t *testing.T, device string, list [][]byte) (sent [][]byte, first uint64)
	}{
		{"another sample than was hashed", func(t *testing.T, d string, l [][]byte) ([][]byte, uint64) {
			l[1] = slices.Clone(l[1])
			l[1][len(l[1])-1] ^= 1
			return l, 0
		}},
		{"one dropped", func(t *testing.T, d string, l [][]byte) ([][]byte, uint64) { return l[1:], 0 }},
		{"none sent", func(t *testing.T, d string, l [][]byte) ([][]byte, uint64) { return nil, 0 }},
		{"another order", func(t *testing.T, d string, l [][]byte) ([][]byte, uint64) { return [][]byte{l[1], l[0], l[2]}, 0 }},
		{"one twice", func(t *testing.T, d string, l [][]byte) ([][]byte, uint64) { return append(l, l[2]), 0 }},
		{"a gap", func(t *testing.T, d string, l [][]byte) ([][]byte, uint64) { return l, 1 }},
		{"a flood", func(t *testing.T, d string, l [][]byte) ([][]byte, uint64) {
			for i := range int64(1000) {
				l = append(l, telemetryOf(t, d, time.Now().UnixMilli()+10+i))
			}
			return l, 0
		}},
		{"too many at once", func(t *testing.T, d string, l [][]byte) ([][]byte, uint64) {
			return slices.Repeat(l, maxSamplesAtOnce), 0
		}},
		{"a device that is not leased", func(t *testing.T, d string, l [][]byte) ([][]byte, uint64) {
			return append(l, telemetryOf(t, "GPU-another", time.Now().UnixMilli()+10)), 0
		}},
		{"from tomorrow", func(t *testing.T, d string, l [][]byte) ([][]byte, uint64) {
			return append(l, telemetryOf(t, d, time.Now().Add(24*time.Hour).UnixMilli())), 0
		}},
		{"a number that cannot be", func(t *testing.T, d string, l [][]byte) ([][]byte, uint64) {
			b, err := proto.Marshal(&runv1.Sample{Device: d, AtMs: time.Now().UnixMilli() + 10, PowerMw: proto.Uint64(1 << 63)})
			if err != nil {
				t.Fatal(err)
			}
			return append(l, b), 0
		}},
		{"not a sample", func(t *testing.T, d string, l [][]byte) ([][]byte, uint64) { return append(l, []byte{0xff}), 0 }},
		{"an empty sample", func(t *testing.T, d string, l [][]byte) ([][]byte, uint64) { return append(l, nil), 0 }},
		{"a large sample", func(t *testing.T, d string, l [][]byte) ([][]byte, uint64) {
			return append(l, make([]byte, 100_000)), 0
		}},
	} {
		tree := moneytest.NewTree(t)
		hears := func(t *testing.T) {
			h := newHearing(t, tree)
			device, began := h.Lease.Devices[0], time.Now().UnixMilli()
			list := [][]byte{telemetryOf(t, device, began+1), telemetryOf(t, device, began+2), telemetryOf(t, device, began+3)}
			hashed := slices.Clone(list)
			sent, first := tt.lie(t, device, list)
			if len(sent) > 0 {
				h.answered(h.hearSamples(first, sent...))
			}
			if !h.l.over {
				h.show(h.rooted(hashed))
			}
			if !h.l.over || len(h.Signed(t)) > 0 {
				t.Errorf("over %v, %d receipts are countersigned", h.l.over, len(h.Signed(t)))
			}
		}
		t.Run(tt.name, func(t *testing.T) { synctest.Test(t, hears) })
	}
}

// TestTelemetryOfPausedJob has a run that used its GPU paused, so that it uses nothing
// for as long as its owner would let it be idle: that is no idleness.
func TestTelemetryOfPausedJob(t *testing.T) {
	tree := moneytest.NewTree(t)
	synctest.Test(t, func(t *testing.T) {
		h := newHearing(t, tree)
		h.l.j.msg = &jobv1.Job{Limits: &jobv1.Limits{MinGpuUtil: 50, MinGpuUtilOverMs: 60_000}}
		h.start()
		for n := range uint64(200) {
			time.Sleep(time.Second)
			used, paused := uint32(90), n >= 30 && n < 120
			if h.l.telemetry.pause(paused); paused {
				used = 0
			}
			b, err := proto.Marshal(&runv1.Sample{Device: h.Lease.Devices[0], AtMs: time.Now().UnixMilli(), GpuUtil: proto.Uint32(used)})
			if err == nil {
				err = h.hearSamples(n, b)
			}
			if err != nil {
				t.Fatal(err)
			}
			if told := len(h.l.j.events); told > 0 {
				t.Fatalf("after %d samples: %v", n+1, <-h.l.j.events)
			}
		}
	})
}
