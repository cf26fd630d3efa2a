package scheduler

import (
	"fmt"
	"time"

	jobv1 "github.com/souk-market/souk/proto/souk/job/v1"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
)

// The bounds of limits.min_gpu_util: the shortest time has many samples in each part.
const (
	MinIdleOver = time.Minute
	MaxIdleOver = 24 * time.Hour

	idleParts = 20 // of the time; what is measured in fewer than idleTold says nothing
	idleTold  = 18
)

// Idle watches whether the GPUs of one lease are used as much as their job's owner
// wants. What a device does not tell does not count as idleness. It has one owner, and
// the same size for every length of time; nil watches nothing.
type Idle struct {
	least uint32 // percent
	over  time.Duration
	first int64 // Unix milliseconds of the first sample
	parts [idleParts]idlePart
}

// idlePart is what was measured in one part of the time.
type idlePart struct {
	at     int64 // counts parts since 1970
	n, sum uint64
}

// NewIdle watches for what limits ask; nil where they ask for nothing.
func NewIdle(limits *jobv1.Limits) *Idle {
	if limits.GetMinGpuUtil() == 0 {
		return nil
	}
	return &Idle{least: limits.MinGpuUtil, over: time.Duration(limits.MinGpuUtilOverMs) * time.Millisecond}
}

// Add takes the next sample of a device. It tells whether the mean of all samples
// over the time is below the least, and in words by how much: not before the time is
// over, and not when less than nine tenths of it were measured.
func (i *Idle) Add(s *runv1.Sample) (detail string, idle bool) {
	if i == nil || s.GpuUtil == nil {
		return "", false
	}
	if i.first == 0 {
		i.first = s.AtMs
	}
	at := s.AtMs / max(i.over.Milliseconds()/idleParts, 1)
	part := &i.parts[at%idleParts]
	if part.at != at {
		*part = idlePart{at: at}
	}
	part.n, part.sum = part.n+1, part.sum+uint64(*s.GpuUtil)
	if s.AtMs-i.first < i.over.Milliseconds() {
		return "", false
	}
	var told, n, sum uint64
	for _, p := range i.parts {
		if p.n > 0 && at-p.at < idleParts {
			told, n, sum = told+1, n+p.n, sum+p.sum
		}
	}
	if told < idleTold || sum >= n*uint64(i.least) {
		return "", false
	}
	return fmt.Sprintf("its GPUs were used %.1f%% over %s, less than %d%%", float64(sum)/float64(n), i.over, i.least), true
}
