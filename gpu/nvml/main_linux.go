//go:build cgo

package nvml

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/dl"
	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/gpu/child"
)

// library is where the driver puts it.
const library = "libnvidia-ml.so.1"

// reopenEvery is how often the library is started anew while a card is in trouble:
// a card that was reset shows only then.
const reopenEvery = 30 * time.Second

// errAbsent is a machine without a driver.
var errAbsent = errors.New("no driver")

// Main is the body of the child process. It writes the devices to stdout each
// second, as one line of JSON, until stdin ends; or why there is no list to
// stderr. It returns the exit code.
func Main(stdin io.Reader, stdout, stderr io.Writer) int {
	go func() { // the call that hangs may be one of ours: only an exit ends it
		_, _ = io.Copy(io.Discard, stdin)
		os.Exit(0)
	}()
	lines := json.NewEncoder(stdout)
	w := watcher{emit: func(l listing) error { return lines.Encode(l) }, ticks: time.Tick(Every), attached: attached}
	for {
		s, closed, err := open(os.Getenv(LibraryVariable))
		switch {
		case errors.Is(err, errAbsent):
			err = w.emit(listing{Absent: true, Cards: []card{}})
			if err == nil {
				return 0
			}
		case err == nil:
			err = w.follow(s)
			closed()
		}
		if err != nil {
			fmt.Fprintln(stderr, err)
			return child.Failed
		}
	}
}

// open starts the library at path, or the system's own if path is empty.
func open(path string) (s *session, closed func(), err error) {
	named := path != ""
	if !named {
		path = library
	}
	symbols := dl.New(path, dl.RTLD_LAZY|dl.RTLD_GLOBAL)
	if err := symbols.Open(); err != nil {
		if !named && strings.Contains(err.Error(), "No such file") {
			return nil, nil, errAbsent
		}
		return nil, nil, fmt.Errorf("open %s: %w", path, err)
	}
	s = newSession(nvml.New(nvml.WithLibraryPath(path)), func(name string) bool { return symbols.Lookup(name) == nil })
	if err := s.start(); err != nil {
		return nil, nil, errors.Join(err, symbols.Close())
	}
	return s, func() { s.api.Shutdown(); _ = symbols.Close() }, nil
}

// start looks for the functions without which there is no list, and starts the
// library. A call to a function that is not there would end this process.
func (s *session) start() error {
	for _, names := range [][]string{
		{"nvmlInit_v2", "nvmlInit"},
		{"nvmlShutdown"},
		{"nvmlDeviceGetCount_v2", "nvmlDeviceGetCount"},
		{"nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetHandleByIndex"},
		{"nvmlDeviceGetName"},
		{"nvmlDeviceGetUUID"},
		{"nvmlDeviceGetMemoryInfo"},
	} {
		if !s.has(names...) {
			return fmt.Errorf("the driver's library has no function %s: install the driver again", names[0])
		}
	}
	if ret := s.api.Init(); ret != nvml.SUCCESS {
		return fmt.Errorf("start the driver's library: %s", answered(int32(ret), gpu.Device{}))
	}
	s.listen()
	return nil
}

// watcher writes what sessions read.
type watcher struct {
	emit     func(listing) error
	ticks    <-chan time.Time // closed: after one reading
	attached func() string    // names what is in the machine's slots
}

// follow reads s at each tick, until it is to be opened anew: the library counts
// cards only when it starts.
func (w watcher) follow(s *session) error {
	had, opened := w.attached(), time.Now()
	for {
		l, err := s.read(time.Now())
		if err != nil {
			return err
		}
		if err := w.emit(l); err != nil {
			return err
		}
		if _, ok := <-w.ticks; !ok {
			return nil
		}
		if w.attached() != had || l.troubled() && time.Since(opened) > reopenEvery {
			return nil
		}
	}
}

// troubled tells whether a card does not answer.
func (l listing) troubled() bool {
	for _, c := range l.Cards {
		if c.Return != 0 {
			return true
		}
	}
	return false
}

// attached names the cards that the kernel's driver has, in /proc. In a container
// there may be none, and it never changes.
func attached() string {
	entries, err := fs.ReadDir(os.DirFS("/proc/driver/nvidia"), "gpus")
	if err != nil {
		return ""
	}
	var names strings.Builder
	for _, e := range entries {
		names.WriteString(e.Name() + " ")
	}
	return names.String()
}
