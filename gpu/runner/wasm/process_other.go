//go:build !linux

package wasm

import (
	"errors"
	"os"
	"time"

	"github.com/tetratelabs/wazero/experimental"
)

// errSystem is why there is no run: elsewhere a module could outlive its daemon,
// and nothing but wazero would hold it.
var errSystem = errors.New("WebAssembly jobs run on Linux only")

type process struct {
	stdout, stderr, report *os.File
	exited                 chan exit
	reap                   chan struct{}
}

type exit struct {
	state string
	code  int
	cpu   time.Duration
	rss   uint64
}

func spawn([]string, order) (*process, error) { return nil, errSystem }

func (p *process) usage() (time.Duration, uint64) { return 0, 0 }

func (p *process) kill()                    {}
func (p *process) stop() error              { return errSystem }
func (p *process) resume() error            { return errSystem }
func (p *process) closeAfter(time.Duration) {}

func bound(uint64) error { return errSystem }

func confinement() string { return errSystem.Error() }

type memory struct {
	limit    uint64
	refused  bool
	tooSmall func(need uint64)
}

// Allocate implements [experimental.MemoryAllocator]; [bound] has ended the
// process before it could be called.
func (m *memory) Allocate(_, _ uint64) experimental.LinearMemory { panic(errSystem) }
