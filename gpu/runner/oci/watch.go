package oci

import (
	"context"
	"encoding/json"
	"io"
	"time"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
)

// demultiplex copies what a container prints. A writer that fails loses the rest;
// the job is not stopped for that.
func demultiplex(from io.Reader, stdout, stderr *sink) {
	_, _ = stdcopy.StdCopy(stdout, stderr, from)
	_, _ = io.Copy(io.Discard, from)
}

// sink writes until its writer fails, and takes all. It is for one goroutine.
type sink struct {
	to   io.Writer
	head []byte // how it began
	more bool   // there is more than that
}

// maxHead bounds what is kept of how an output began.
const maxHead = 256

func (s *sink) Write(b []byte) (int, error) {
	keep := min(len(b), maxHead-len(s.head))
	s.head, s.more = append(s.head, b[:keep]...), s.more || keep < len(b)
	if s.to != nil {
		if _, err := s.to.Write(b); err != nil {
			s.to = nil
		}
	}
	return len(b), nil
}

const (
	sampleFirst = 100 * time.Millisecond
	sampleEvery = time.Second
)

// sample is what a container has used so far.
type sample struct {
	cpu    time.Duration
	now    uint64 // memory at its last sample
	memory uint64 // the most at one time
}

// measure asks the engine what the container uses until ctx ends.
func (u *run) measure(ctx context.Context) {
	for pause := sampleFirst; sleep(ctx, pause); pause = sampleEvery {
		now, ok := u.stats(ctx)
		if !ok {
			continue
		}
		u.mu.Lock()
		u.used.now = min(now.now, u.spec.Memory)
		u.used.cpu = max(u.used.cpu, now.cpu)
		u.used.memory = max(u.used.memory, min(now.memory, u.spec.Memory)) // an engine may say more: it counts itself
		u.mu.Unlock()
	}
}

// stats is one sample; engines answer with nothing where the container has ended.
func (u *run) stats(ctx context.Context) (sample, bool) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	got, err := u.cli.ContainerStats(ctx, u.id, client.ContainerStatsOptions{})
	if err != nil {
		return sample{}, false
	}
	defer got.Body.Close()
	var s container.StatsResponse
	if err := json.NewDecoder(io.LimitReader(got.Body, 1<<20)).Decode(&s); err != nil {
		return sample{}, false
	}
	return sample{cpu: time.Duration(s.CPUStats.CPUUsage.TotalUsage), now: s.MemoryStats.Usage, memory: max(s.MemoryStats.Usage, s.MemoryStats.MaxUsage)}, true
}

// guardDisk measures /out until ctx ends, and ends the run that is past its disk.
// The pause grows with the time that looking takes, so that many small files do
// not keep a core busy.
func (u *run) guardDisk(ctx context.Context) {
	pause := measureEvery
	for sleep(ctx, pause) {
		began := time.Now()
		if full, err := measureFolder(u.spec.Out, u.spec.Disk); full && err == nil {
			u.end(cause{reason: runv1.EndReason_END_REASON_JOB_DISK, detail: pastDisk(u.spec.Disk), now: true})
			return
		}
		pause = min(max(measureEvery, 5*time.Since(began)), measureAtMost)
	}
}
