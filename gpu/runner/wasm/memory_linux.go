package wasm

import (
	"fmt"
	"syscall"

	"github.com/tetratelabs/wazero/experimental"
)

// What this process may have beside the module's memory, in bytes: the Go runtime
// reserves about 2 GiB of addresses, and uses little of them.
const (
	addresses = 3 << 30
	data      = 512 << 20
)

// bound makes the kernel refuse this process more than it needs: a module can
// make wazero allocate outside of the module's own memory.
func bound(memory uint64) error {
	for _, limit := range []struct {
		what  int
		value uint64
	}{
		{syscall.RLIMIT_AS, memory + addresses},
		{syscall.RLIMIT_DATA, memory + data},
		{syscall.RLIMIT_CORE, 0}, // a core file could fill the disk
		{syscall.RLIMIT_NOFILE, 1024},
	} {
		// Not above what we are allowed already.
		var have syscall.Rlimit
		if err := syscall.Getrlimit(limit.what, &have); err != nil {
			return fmt.Errorf("limit %d: %w", limit.what, err)
		}
		want := min(limit.value, have.Max)
		if err := syscall.Setrlimit(limit.what, &syscall.Rlimit{Cur: want, Max: want}); err != nil {
			return fmt.Errorf("limit %d to %d: %w", limit.what, want, err)
		}
	}
	return nil
}

// memory gives a module its linear memory up to a limit, and notes when it was
// refused more: the module itself only sees that it got none.
type memory struct {
	limit    uint64
	refused  bool
	tooSmall func(need uint64) // the limit is below what a module starts with; does not return
}

// Allocate implements [experimental.MemoryAllocator].
func (m *memory) Allocate(_, most uint64) experimental.LinearMemory {
	return &linear{memory: m, most: most}
}

// linear is one module's memory. It is reserved once and never moves, so growing
// copies nothing; pages that are never touched cost nothing.
type linear struct {
	*memory
	most  uint64
	pages []byte
}

// Reallocate implements [experimental.LinearMemory].
func (l *linear) Reallocate(size uint64) []byte {
	if size > l.limit {
		l.refused = true
		if l.pages == nil {
			l.tooSmall(size)
		}
		return nil
	}
	if l.pages == nil {
		reserve := max(min(l.most, l.limit), 1)
		pages, err := syscall.Mmap(-1, 0, int(reserve), syscall.PROT_READ|syscall.PROT_WRITE,
			syscall.MAP_ANON|syscall.MAP_PRIVATE|syscall.MAP_NORESERVE)
		if err != nil {
			l.tooSmall(size)
			return nil
		}
		l.pages = pages
	}
	return l.pages[:size]
}

// Free implements [experimental.LinearMemory].
func (l *linear) Free() {
	if l.pages != nil {
		_ = syscall.Munmap(l.pages) // the process ends soon anyway
		l.pages = nil
	}
}
