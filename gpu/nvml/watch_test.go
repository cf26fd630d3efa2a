package nvml_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/gpu/nvml"
	"github.com/souk-market/souk/gpu/nvml/nvmltest"
)

// seen is one word of a watching probe.
type seen struct {
	devices []gpu.Device
	err     error
}

func (s seen) String() string {
	text := ""
	for _, d := range s.devices {
		text += d.Class + ":" + d.Health + " "
	}
	if s.err != nil {
		text += s.err.Error()
	}
	return text
}

// watch watches until the test ends, and returns what is seen. What nobody takes is
// dropped, the oldest first.
func watch(t *testing.T, p nvml.Probe) <-chan seen {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	words, done := make(chan seen, 1), make(chan error, 1)
	go func() {
		done <- p.Watch(ctx, func(devices []gpu.Device, err error) {
			select {
			case <-words:
			default:
			}
			words <- seen{devices, err}
		})
	}()
	t.Cleanup(func() {
		stop()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(3 * time.Second):
			t.Error("the probe does not stop within 3 s")
		}
	})
	return words
}

// until waits for a word that holds want, and returns it.
func until(t *testing.T, words <-chan seen, want string, within time.Duration) seen {
	t.Helper()
	late := time.After(within)
	last := seen{}
	for {
		select {
		case last = <-words:
			if strings.Contains(last.String(), want) {
				return last
			}
		case <-late:
			t.Fatalf("no %q within %s; the last word is %s", want, within, last)
		}
	}
}

// TestWatchSeesChanges changes a machine under a probe that watches it. The bounds
// are wide for loaded machines; a reading is due each second.
func TestWatchSeesChanges(t *testing.T) {
	path := machine(t, "rtx4090")
	text, err := nvmltest.Scenario("rtx4090")
	if err != nil {
		t.Fatal(err)
	}
	words := watch(t, probe)
	first := until(t, words, "RTX_4090:ok", 20*time.Second).devices[0]
	second := until(t, words, "RTX_4090:ok", 10*time.Second).devices[0]
	if gap := second.Now.At.Sub(first.Now.At); gap < 500*time.Millisecond || gap > 8*time.Second {
		t.Errorf("%s from one sample to the next", gap)
	}
	from, to := first.Now.EnergyMillijoules.Or(0), second.Now.EnergyMillijoules.Or(0)
	if watts := float64(to-from) / 1000 / second.Now.At.Sub(first.Now.At).Seconds(); to <= from || watts > 100 {
		t.Errorf("energy goes from %d to %d mJ on a card that draws 22 W", from, to)
	}
	play(t, path, text, "temperature 97")
	until(t, words, "97 °C", 10*time.Second)
	play(t, path, text)
	until(t, words, "RTX_4090:ok ", 10*time.Second)
	play(t, path, text, "gpu GPU-2", "name NVIDIA L4", "memory_total 24152899584")
	until(t, words, "RTX_4090:ok L4:ok", 10*time.Second)
	play(t, path, text, "fail * 15")
	if d := until(t, words, "fell off the bus", 10*time.Second).devices[0]; d.ID != first.ID || d.Model != first.Model {
		t.Errorf("a lost card is forgotten: %+v", d)
	}
}

// TestWatchAHangingDriver has a driver that answers twice and then never: the child
// is killed, the reason told, and another asks again.
func TestWatchAHangingDriver(t *testing.T) {
	machine(t, "hung")
	p := probe
	p.Silence = 3 * time.Second
	words := watch(t, p)
	until(t, words, "L4:ok", 20*time.Second)
	if s := until(t, words, "did not answer for 3s", 20*time.Second); s.devices != nil || s.err == nil {
		t.Errorf("%s", s)
	}
	until(t, words, "L4:ok", 20*time.Second)
}

// TestChildEndsWithUs closes the input of a child that hangs inside the library, as
// the end of the process that started it does.
func TestChildEndsWithUs(t *testing.T) {
	machine(t, "rtx4090", "hang nvmlDeviceGetPowerUsage")
	cmd := exec.Command(probe.Command[0], probe.Command[1:]...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stdin.Close()
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		cmd.Process.Kill()
		t.Error("the child outlives us")
	}
}

// TestRestarts counts how often a child that fails at once is started in ten
// minutes, in virtual time: children take none of it.
func TestRestarts(t *testing.T) {
	for _, tt := range []struct {
		name, script string
		least, most  int
		want         string
	}{
		{"fails", "echo broken >&2; exit 1", 12, 16, "broken"},
		{"is killed", "kill -9 $$", 12, 16, "signal: killed"},
		{"finds no driver", `echo '{"absent":true,"gpus":[]}'`, 9, 11, "<nil>"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			starts := filepath.Join(t.TempDir(), "starts")
			p := nvml.Probe{Command: []string{"/bin/sh", "-c", "echo x >>" + starts + "; " + tt.script}}
			synctest.Test(t, func(t *testing.T) {
				ctx, stop := context.WithTimeout(t.Context(), 10*time.Minute)
				defer stop()
				if err := p.Watch(ctx, func(devices []gpu.Device, err error) {
					if len(devices) > 0 || !strings.Contains(fmt.Sprint(err), tt.want) {
						t.Errorf("%v, %v", devices, err)
					}
				}); err != nil {
					t.Error(err)
				}
			})
			text, err := os.ReadFile(starts)
			if n := strings.Count(string(text), "x"); err != nil || n < tt.least || n > tt.most {
				t.Errorf("%d starts in ten minutes, %v", n, err)
			}
		})
	}
}

// TestIdleCost bounds what watching eight cards costs: it goes on for as long as a
// node sells. What a real driver takes for its answers comes on top.
func TestIdleCost(t *testing.T) {
	machine(t, "dgxh100")
	cmd := exec.Command(probe.Command[0], probe.Command[1:]...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, lines := make([]byte, 1<<20), 0
	for lines < 4 {
		n, err := stdout.Read(line)
		if err != nil {
			t.Fatal(err)
		}
		lines += strings.Count(string(line[:n]), "\n")
	}
	stdin.Close()
	if err := cmd.Wait(); err != nil && !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
	used := cmd.ProcessState.SystemTime() + cmd.ProcessState.UserTime()
	rss := cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss >> 10
	t.Logf("4 readings of 8 cards and the start: %s of processor time, %d MiB resident", used, rss)
	if used > 2*time.Second {
		t.Errorf("%s of processor time in four seconds", used)
	}
}
