//go:build linux && cgo

package nvml

import (
	"context"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock/dgxa100"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock/dgxb200"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock/dgxh100"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock/dgxh200"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock/server"

	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/gpu/gputest"
)

// unsupported gives each function that a mock lacks one that says so: without it,
// the mock panics.
func unsupported(mock any) {
	v := reflect.ValueOf(mock).Elem()
	for i := range v.NumField() {
		f := v.Field(i)
		if f.Kind() != reflect.Func || !f.CanSet() || !f.IsNil() {
			continue
		}
		f.Set(reflect.MakeFunc(f.Type(), func([]reflect.Value) []reflect.Value {
			var out []reflect.Value
			for j := range f.Type().NumOut() {
				out = append(out, reflect.Zero(f.Type().Out(j)))
				if f.Type().Out(j) == reflect.TypeFor[nvml.Return]() {
					out[j] = reflect.ValueOf(nvml.ERROR_NOT_SUPPORTED)
				}
			}
			return out
		}))
	}
}

// mocked is a probe of a mock, in this process.
type mocked struct{ session *session }

func newMocked(s *server.Server) mocked {
	unsupported(&s.Interface)
	for _, d := range s.Devices {
		unsupported(&d.(*server.Device).Device)
	}
	return mocked{newSession(s, func(string) bool { return true })}
}

func (m mocked) Devices(context.Context) ([]gpu.Device, error) {
	l, err := m.session.read(time.Now())
	if err != nil {
		return nil, err
	}
	return l.devices(time.Now()), nil
}

// TestMocks holds NVIDIA's own mocks to the contract that the stand-in passes.
func TestMocks(t *testing.T) {
	for _, tt := range []struct {
		name   string
		server *server.Server
		class  string
		gib    uint64
		cap    uint32
	}{
		{"DGX A100", dgxa100.New(), "A100", 40, 80},
		{"DGX H100", dgxh100.New(), "H100", 80, 90},
		{"DGX H200", dgxh200.New(), "H200", 141, 90},
		{"DGX B200", dgxb200.New(), "B200", 180, 100},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newMocked(tt.server)
			devices := gputest.Run(t, m)
			if len(devices) != 8 {
				t.Fatalf("%d devices", len(devices))
			}
			for _, d := range devices {
				if !strings.HasSuffix(d.Class, tt.class) || d.MemoryBytes>>30 != tt.gib || d.ComputeCap != tt.cap || d.Driver == "" || d.CUDA == 0 || d.Health != gpu.Healthy {
					t.Errorf("%+v", d)
				}
			}
			lost := tt.server.Devices[3].(*server.Device)
			lost.GetMemoryInfoFunc = func() (nvml.Memory, nvml.Return) { return nvml.Memory{}, nvml.ERROR_GPU_IS_LOST }
			if again, err := m.Devices(t.Context()); err != nil || again[3].ID != devices[3].ID || again[3].Health == gpu.Healthy || again[2].Health != gpu.Healthy {
				t.Errorf("a lost card: %+v, %v", again[3], err)
			}
		})
	}
}

// TestEvents has cards with Xids: each counts for its own card.
func TestEvents(t *testing.T) {
	s := dgxh100.New()
	m := newMocked(s)
	queue := []nvml.EventData{
		{Device: s.Devices[1], EventType: nvml.EventTypeXidCriticalError, EventData: 13},
		{Device: s.Devices[2], EventType: nvml.EventTypePState, EventData: 79},
		{Device: s.Devices[4], EventType: nvml.EventTypeXidCriticalError, EventData: 95},
		{Device: s.Devices[4], EventType: nvml.EventTypeXidCriticalError, EventData: 45}, // follows, and hides nothing
		{Device: s.Devices[4], EventType: nvml.EventTypeXidCriticalError, EventData: 45},
	}
	s.EventSetCreateFunc = func() (nvml.EventSet, nvml.Return) { return nil, nvml.SUCCESS }
	s.EventSetWaitFunc = func(nvml.EventSet, uint32) (nvml.EventData, nvml.Return) {
		if len(queue) == 0 {
			return nvml.EventData{}, nvml.ERROR_TIMEOUT
		}
		e := queue[0]
		queue = queue[1:]
		return e, nvml.SUCCESS
	}
	m.session.events = struct{ nvml.EventSet }{}
	for reading := range 2 { // the second reading has no new event, and forgets none
		devices, err := m.Devices(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for i, d := range devices {
			want := map[int]gpu.Reading{1: gpu.Known(13), 4: gpu.Known(95)}[i]
			if d.Errors.Xid != want || (d.Health == gpu.Healthy) == (i == 4) {
				t.Errorf("card %d: Xid %v, health %s", i, d.Errors.Xid, d.Health)
			}
			if fresh := map[int]int{1: 1, 4: 3}[i]; reading == 0 && len(d.Now.Xids) != fresh || reading == 1 && len(d.Now.Xids) != 0 {
				t.Errorf("card %d, reading %d: Xids %v", i, reading, d.Now.Xids)
			}
		}
	}
}

// TestFollowReopens has a machine in which a card is plugged: the library counts it
// when it is started anew, which must happen at the next reading.
func TestFollowReopens(t *testing.T) {
	m := newMocked(dgxh100.New())
	var emitted int
	slots := "0000:01:00.0 "
	ticks := make(chan time.Time, 3)
	for range 3 {
		ticks <- time.Time{}
	}
	w := watcher{ticks: ticks, attached: func() string { return slots }, emit: func(l listing) error {
		if emitted++; emitted == 2 {
			slots += "0000:02:00.0 "
		}
		return nil
	}}
	if err := w.follow(m.session); err != nil || emitted != 2 {
		t.Errorf("%d readings, %v; want the library opened anew after two", emitted, err)
	}
}
