package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/souk-market/souk/cmd/souk/process"
	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/gpu/nvml"
	"github.com/souk-market/souk/gpu/runner"
	"github.com/souk-market/souk/gpu/runner/oci"
)

// goneWithin is how soon a stopped job must be gone, on the machine and on the card.
const goneWithin = 2 * time.Second

// stop ends a job whose kernels have no end, and has one make an error.
func stop(ctx context.Context, s site, n *notes) error {
	e, err := s.lookup(ctx)
	if err != nil {
		return err
	}
	image, err := os.ReadFile(filepath.Join(s.Work, imageName))
	if err != nil {
		return cannot("the stage container made no image")
	}
	d, err := s.card(ctx)
	if err != nil {
		return err
	}
	r, err := s.runner(e)
	if err != nil {
		return err
	}
	leased := []runner.Device{{ID: d.ID, Class: d.Class, Vendor: nvml.Vendor}}
	if err := s.endless(ctx, n, r, string(image), d, leased); err != nil {
		return err
	}
	if s.Dry {
		n.figure("illegal address", "skipped: the stand-in that containers get computes nothing")
		return nil
	}
	return s.faulty(ctx, n, r, string(image), d, leased)
}

// endless stops a job, and waits until the card knows nothing of it.
func (s site) endless(ctx context.Context, n *notes, r *oci.Runner, image string, d gpu.Device, leased []runner.Device) error {
	out := new(heard)
	run, err := s.begin(ctx, r, image, 3, leased, out, jobSpin)
	if err != nil {
		return err
	}
	if err := process.Until(ctx, func() (bool, error) { return out.has("spinning"), nil }); err != nil {
		run.Stop()
		return err
	}
	began := time.Now()
	run.Stop()
	got := run.Wait()
	container := time.Since(began)
	n.figure("container gone, s", container.Seconds())
	n.figure("reason", got.Reason.String())
	err = process.Until(ctx, func() (bool, error) {
		now, err := s.driver().Devices(ctx)
		if err != nil {
			return false, err
		}
		for _, other := range now {
			if other.ID == d.ID {
				return other.Now.ComputeProcesses.Or(0) <= d.Now.ComputeProcesses.Or(0), nil
			}
		}
		return false, nil
	})
	card := time.Since(began)
	n.figure("card free, s", card.Seconds())
	if !s.Dry && max(container, card) > goneWithin {
		n.problem("the job was gone from the machine after %v and from the card after %v", container, card)
	}
	return err
}

// faulty has a job write where it may not, and looks whom souk blames.
func (s site) faulty(ctx context.Context, n *notes, r *oci.Runner, image string, d gpu.Device, leased []runner.Device) error {
	watch, cancel := context.WithCancel(ctx)
	var mu sync.Mutex // guards xids
	var xids []uint64
	ended := make(chan error, 1)
	go func() {
		ended <- s.driver().Watch(watch, func(all []gpu.Device, _ error) {
			mu.Lock()
			defer mu.Unlock()
			for _, other := range all {
				if other.ID == d.ID {
					xids = append(xids, other.Now.Xids...)
				}
			}
		})
	}()
	seen := func() []uint64 {
		mu.Lock()
		defer mu.Unlock()
		return append([]uint64(nil), xids...)
	}
	defer func() { cancel(); <-ended }()
	out := new(heard)
	run, err := s.begin(ctx, r, image, 4, leased, out, jobIllegal)
	if err != nil {
		return err
	}
	got := run.Wait()
	n.figure("illegal address", lastLine([]byte(out.String())))
	n.figure("exit code", got.ExitCode)
	late, stopWaiting := context.WithTimeout(ctx, 5*time.Second)
	defer stopWaiting()
	_ = process.Until(late, func() (bool, error) { return len(seen()) > 0, nil }) // a driver may tell none
	n.figure("xids", seen())
	if got.ExitCode == 0 {
		n.problem("a job that writes to memory which is not its own ends well")
	}
	for _, x := range seen() {
		i := gpu.XidIncident(x)
		n.figure("incident", i)
	}
	return nil
}

// heard is what a job says, read while it runs.
type heard struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (h *heard) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.text.Write(p)
}

// String is all that was said.
func (h *heard) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.text.String()
}

func (h *heard) has(word string) bool { return bytes.Contains([]byte(h.String()), []byte(word)) }
