package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// How long daemons are left alone before the first sample, and between samples.
const (
	settleFor   = 20 * time.Second
	sampleEvery = time.Second
)

// idleMemory measures what a provider's daemon holds while nobody wants anything
// of it.
func idleMemory() bench {
	return bench{
		row:     "idle daemon memory",
		against: "the IPFS reference node, same run",
		unit:    "MiB resident",
		goal:    "≤ 0.7×",
		prepare: prepareMemory,
	}
}

func prepareMemory(dir string) (_ *subject, err error) {
	s, err := openStage(dir)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	ipfs, err := openReference(dir)
	if err != nil {
		return nil, err
	}
	pause(settleFor)
	var ours, theirs memory
	subject := &subject{
		ours: func() (float64, error) {
			pause(sampleEvery)
			ours, err = memoryOf(s.provider.PID())
			return ours.resident, err
		},
		met: func(ours, limit figure) bool { return limit.median > 0 && ours.median <= 0.7*limit.median },
		note: func() string {
			note := fmt.Sprintf("a provider %s after its start, connected to two others; all but %s MiB are pages of the program's file, which the kernel can drop",
				settleFor, number(ours.anonymous))
			if ipfs.missing != "" {
				return note + "; reference not measured: " + ipfs.missing
			}
			return fmt.Sprintf("%s; the reference is %s, offline, connected to one other, and holds %s MiB of its own", note, ipfs.version, number(theirs.anonymous))
		},
		close: func() error { return errors.Join(s.Close(), ipfs.close()) },
	}
	if ipfs.missing == "" {
		subject.limit = func() (float64, error) {
			theirs, err = memoryOf(ipfs.nodes[0].cmd.Process.Pid)
			return theirs.resident, err
		}
	}
	return subject, nil
}

func pause(d time.Duration) { <-time.After(d) }

// memory is that of a process, in MiB.
type memory struct {
	resident  float64 // all that lies in memory, the pages of its program among it
	anonymous float64 // of that, what no file backs
}

func memoryOf(pid int) (h memory, err error) {
	f, err := os.Open(filepath.Join("/proc", strconv.Itoa(pid), "smaps_rollup"))
	if err != nil {
		return h, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var kib float64
		if n, _ := fmt.Sscanf(lines.Text(), "Rss: %f kB", &kib); n == 1 {
			h.resident = kib / 1024
		}
		if n, _ := fmt.Sscanf(lines.Text(), "Anonymous: %f kB", &kib); n == 1 {
			h.anonymous = kib / 1024
		}
	}
	if h.resident == 0 {
		return h, fmt.Errorf("the kernel does not say what process %d holds", pid)
	}
	return h, nil
}
