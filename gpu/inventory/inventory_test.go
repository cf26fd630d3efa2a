package inventory_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/gpu/fake"
	"github.com/souk-market/souk/gpu/inventory"
)

// cards is a driver whose cards come and go. Each second it says what there is.
type cards struct {
	mu sync.Mutex // guards what follows
	fake.Probe
	err error  // the driver does not answer
	hot bool   // the first card is not well
	use uint64 // programs that compute on the first card
}

// set changes the machine.
func (c *cards) set(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
}

func (c *cards) read(ctx context.Context) ([]gpu.Device, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return nil, c.err
	}
	devices, err := c.Probe.Devices(ctx)
	for i := range devices {
		devices[i].Now = gpu.Sample{At: time.Now(), PowerMilliwatts: gpu.Known(uint64(1000 * (i + 1)))}
	}
	if len(devices) > 0 {
		devices[0].Now.ComputeProcesses = gpu.Known(c.use)
	}
	if c.hot {
		devices[0].Health = "too hot"
	}
	return devices, err
}

// Devices implements [gpu.Probe].
func (c *cards) Devices(ctx context.Context) ([]gpu.Device, error) { return c.read(ctx) }

// Watch implements [inventory.Watcher].
func (c *cards) Watch(ctx context.Context, see func([]gpu.Device, error)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
			see(c.read(ctx))
		}
	}
}

// polled is the same without a word of its own.
type polled struct{ gpu.Probe }

func newCards(name string, count int) *cards {
	return &cards{Probe: fake.Probe{Name: name, Model: "NVIDIA L4", Count: count, MemoryBytes: 24 << 30, ComputeCap: 89}}
}

// TestWatch changes a machine and wants the market told once of each change, within
// a second or, where the probe must be polled, a minute.
func TestWatch(t *testing.T) {
	for _, tt := range []struct {
		name   string
		wrap   func(*cards) gpu.Probe
		within time.Duration
	}{
		{"a probe that watches", func(c *cards) gpu.Probe { return c }, time.Second},
		{"a probe that is polled", func(c *cards) gpu.Probe { return polled{c} }, time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCards("a", 2)
				v := inventory.New([]gpu.Probe{newCards("b", 1), tt.wrap(c)}, false, slog.New(slog.DiscardHandler))
				v.Read(t.Context())
				ctx, stop := context.WithCancel(t.Context())
				told, done := []string{}, make(chan error)
				go func() {
					done <- v.Watch(ctx, func(devices []gpu.Device) {
						text := ""
						for _, d := range devices {
							text += " " + d.ID[len("GPU-fake-"):] + ":" + d.Health
						}
						told = append(told, text)
					})
				}()
				for _, step := range []struct {
					name   string
					change func()
					want   string
				}{
					{"nothing", func() {}, ""},
					{"one is too hot", func() { c.hot = true }, " b-0:ok a-0:too hot a-1:ok"},
					{"it stays so", func() {}, ""},
					{"it is well again", func() { c.hot = false }, " b-0:ok a-0:ok a-1:ok"},
					{"one falls out", func() { c.Count = 1 }, " b-0:ok a-0:ok"},
					{"two are plugged", func() { c.Count = 3 }, " b-0:ok a-0:ok a-1:ok a-2:ok"},
					{"the driver hangs", func() { c.err = errors.New("no answer") }, " b-0:ok a-0:it cannot be asked: no answer a-1:it cannot be asked: no answer a-2:it cannot be asked: no answer"},
					{"it hangs on", func() {}, ""},
					{"it answers", func() { c.err = nil }, " b-0:ok a-0:ok a-1:ok a-2:ok"},
				} {
					c.set(step.change)
					time.Sleep(tt.within + time.Millisecond)
					synctest.Wait()
					if got := fmt.Sprint(told); step.want == "" && len(told) > 0 || step.want != "" && (len(told) != 1 || told[0] != step.want) {
						t.Errorf("%s: told %s, want %s", step.name, got, step.want)
					}
					told = nil
					if unknown := v.Unknown(); (unknown != nil) != (c.err != nil) {
						t.Errorf("%s: unknown: %v", step.name, unknown)
					}
				}
				stop()
				if err := <-done; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestSamples keeps a quarter of an hour of each device, also while it cannot be
// asked, and forgets devices that are gone.
func TestSamples(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCards("a", 2)
		v := inventory.New([]gpu.Probe{c}, false, slog.New(slog.DiscardHandler))
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- v.Watch(ctx, func([]gpu.Device) {}) }()
		began := time.Now()
		time.Sleep(10*time.Second + time.Millisecond)
		synctest.Wait()
		if got := v.Samples("GPU-fake-a-1", began.Add(4*time.Second)); len(got) != 6 || got[0].PowerMilliwatts != gpu.Known(2000) || !got[0].At.Equal(began.Add(5*time.Second)) {
			t.Errorf("%d samples: %+v", len(got), got)
		}
		if got := v.Samples("GPU-none", time.Time{}); got != nil {
			t.Errorf("%+v", got)
		}
		c.set(func() { c.err = errors.New("no answer") })
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got := v.Samples("GPU-fake-a-1", time.Time{}); len(got) != 10 {
			t.Errorf("%d samples while the device cannot be asked", len(got))
		}
		c.set(func() { c.err, c.Count = nil, 1 })
		time.Sleep(20 * time.Minute)
		synctest.Wait()
		if kept, gone := len(v.Samples("GPU-fake-a-0", time.Time{})), len(v.Samples("GPU-fake-a-1", time.Time{})); kept != inventory.KeepSamples || gone != 0 {
			t.Errorf("%d samples kept, %d of a device that is gone", kept, gone)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestUseIsNews has an owner that uses a card: that is told only where it is asked for.
func TestUseIsNews(t *testing.T) {
	for _, asked := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			c := newCards("a", 2)
			v := inventory.New([]gpu.Probe{c}, asked, slog.New(slog.DiscardHandler))
			v.Read(t.Context())
			ctx, stop := context.WithCancel(t.Context())
			told, done := 0, make(chan error)
			go func() { done <- v.Watch(ctx, func([]gpu.Device) { told++ }) }()
			for _, use := range []uint64{0, 2, 2, 0} {
				c.set(func() { c.use = use })
				time.Sleep(time.Second + time.Millisecond)
				synctest.Wait()
				if list := v.List(); (list[0].Used != "") != (use > 0) || list[1].Used != "" {
					t.Errorf("%d programs: used %q and %q", use, list[0].Used, list[1].Used)
				}
			}
			stop()
			if err := <-done; err != nil || told != map[bool]int{false: 0, true: 2}[asked] {
				t.Errorf("asked for: %v; told %d times, %v", asked, told, err)
			}
		})
	}
}
