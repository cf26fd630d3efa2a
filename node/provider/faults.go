package provider

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/gpu/inventory"
	"github.com/souk-market/souk/gpu/runner"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/payment/ledger"
	leasev1 "github.com/souk-market/souk/proto/souk/lease/v1"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"github.com/souk-market/souk/scheduler"
)

const (
	blameWithin = time.Minute             // from an incident to the end of a job that it may have ended
	readWithin  = 2500 * time.Millisecond // for the reading that tells of what ended a job
	lookEvery   = 100 * time.Millisecond
	checkWithin = 30 * time.Second // for one check of a device: its driver may have to translate the kernels first
)

// Faults is what the inventory knows of what went wrong on devices.
type Faults interface {
	// Incidents returns what was noticed on a device later than after, oldest first.
	Incidents(device string, after time.Time) []inventory.Seen
	// Sampled tells whether a device was read later than after, or never is.
	Sampled(device string, after time.Time) bool
}

// broken says which device of a lease has failed, for its machine, and when to look
// again; nil: none has.
func (p *Provider) broken(l *leasev1.Lease) (e *scheduler.DeviceFailed, changed <-chan struct{}) {
	changed = p.restocked.Next()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, id := range l.Devices {
		i := slices.IndexFunc(p.devices, func(d gpu.Device) bool { return d.ID == id })
		if i >= 0 && !p.devices[i].Failed {
			continue
		}
		if seen := p.lastFault(id); seen != nil {
			return failureOf(*seen), changed
		}
		if i >= 0 {
			n := gpu.IncidentOf(cmp.Or(p.devices[i].Fault, gpu.KindLost))
			n.What = p.devices[i].Health
			return failureOf(inventory.Seen{Incident: n, Device: id}), changed
		}
	}
	return nil, changed
}

// lastFault is the newest incident of a device that ends what runs on it and is not a
// job's own; nil: there is none.
func (p *Provider) lastFault(device string) *inventory.Seen {
	if p.cfg.Faults == nil {
		return nil
	}
	for _, s := range slices.Backward(p.cfg.Faults.Incidents(device, time.Time{})) {
		if s.Fatal && !s.Echo && s.Blame != gpu.BlameJob {
			return &s
		}
	}
	return nil
}

// failureOf is what a lease's machine is told of an incident.
func failureOf(s inventory.Seen) *scheduler.DeviceFailed {
	return &scheduler.DeviceFailed{Reason: reasonOf(s.Incident), Detail: faultDetail(s), Until: s.Well}
}

func reasonOf(n gpu.Incident) runv1.EndReason {
	if n.Blame == gpu.BlameHost {
		return runv1.EndReason_END_REASON_PROVIDER_FAILED
	}
	return runv1.EndReason_END_REASON_DEVICE_FAILED
}

// faultDetail names an incident, whom it is blamed on, and what of it is billed.
func faultDetail(s inventory.Seen) string {
	text := s.Kind
	if s.Device != "" {
		text += " on " + s.Device
	}
	text += ", blamed on " + string(s.Blame)
	switch {
	case s.Blame == gpu.BlameJob:
		text += ", billed to its end"
	case !s.Well.IsZero():
		text += ", not billed after " + s.Well.UTC().Format("15:04:05Z")
	}
	return network.Clip(text+": "+s.What, runner.MaxDetail)
}

// judge tells what a job's end was, where something went wrong on its devices in the
// last minute: the first incident counts, as others follow from it.
func judge(over scheduler.RunOver, ended time.Time, seen []inventory.Seen) (scheduler.RunOver, *inventory.Seen) {
	if over.Reason != runv1.EndReason_END_REASON_COMPLETED || over.Exit == 0 {
		return over, nil
	}
	slices.SortStableFunc(seen, func(a, b inventory.Seen) int { return a.At.Compare(b.At) })
	for _, s := range seen {
		if s.Echo || !s.Fatal || ended.Sub(s.At) > blameWithin {
			continue
		}
		over.Detail = faultDetail(s)
		if s.Blame != gpu.BlameJob {
			over.Reason = reasonOf(s.Incident)
			if over.Until = ended; !s.Well.IsZero() && s.Well.Before(ended) {
				over.Until = s.Well
			}
		}
		return over, &s
	}
	return over, nil
}

// ended judges how a lease's run ended by what its devices told since it began. A
// job's error is read up to a second after it ended the job: that is waited for, and
// not billed.
func (p *Provider) ended(ctx context.Context, t *tenancy, began time.Time, result runner.Result) scheduler.RunOver {
	ended := time.Now()
	over := scheduler.RunOver{Reason: result.Reason, Exit: int32(result.ExitCode), Detail: result.Detail, Usage: measured(result.Usage), Until: result.UsableUntil}
	gpus := p.gpusOf(t.lease)
	if result.Fault != "" && result.Reason == runv1.EndReason_END_REASON_PROVIDER_FAILED {
		p.hostFailed(ctx, t, gpus, result, &over)
	}
	if len(gpus) == 0 || p.cfg.Faults == nil || over.Reason != runv1.EndReason_END_REASON_COMPLETED {
		return over
	}
	if over.Exit == 0 {
		p.clean(ctx, gpus)
		return over
	}
	if over.Until.IsZero() {
		over.Until = ended
	}
	for time.Since(ended) < readWithin && !p.sampled(gpus, ended) && network.Sleep(ctx, lookEvery) {
	}
	var seen []inventory.Seen
	for _, id := range gpus {
		seen = append(seen, p.cfg.Faults.Incidents(id, began)...)
	}
	judged, culprit := judge(over, ended, seen)
	if culprit == nil {
		p.clean(ctx, gpus)
		return judged
	}
	return p.blame(ctx, t, judged, *culprit, ended)
}

// gpusOf is the devices of a lease that are not the processor.
func (p *Provider) gpusOf(l *leasev1.Lease) (ids []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, id := range l.Devices {
		if !slices.ContainsFunc(p.devices, func(d gpu.Device) bool { return d.ID == id && d.CPU }) {
			ids = append(ids, id)
		}
	}
	return ids
}

// hostFailed says what failed, and keeps devices off sale whose container its engine
// may not have ended: nobody else gets them while it is there.
func (p *Provider) hostFailed(ctx context.Context, t *tenancy, gpus []string, result runner.Result, over *scheduler.RunOver) {
	n := gpu.IncidentOf(result.Fault)
	n.What = result.Detail
	over.Detail = faultDetail(inventory.Seen{Incident: n, Well: result.UsableUntil})
	if result.Fault != gpu.KindStuck && result.Fault != gpu.KindEngine {
		return
	}
	for _, id := range gpus {
		p.keepOff(ctx, id, n, t.id.String())
	}
}

func (p *Provider) sampled(devices []string, after time.Time) bool {
	return !slices.ContainsFunc(devices, func(id string) bool { return !p.cfg.Faults.Sampled(id, after) })
}

// blame keeps a device off sale that ended a job. An error that is a job's own is the
// device's when it comes to jobs of several clients in a row.
func (p *Provider) blame(ctx context.Context, t *tenancy, over scheduler.RunOver, s inventory.Seen, ended time.Time) scheduler.RunOver {
	p.mu.Lock()
	if s.Blame == gpu.BlameJob {
		if !p.off.strike(s.Device, strike{s.Kind, t.client.String()}) {
			p.mu.Unlock()
			p.persist(ctx, s.Device)
			return over
		}
		kind := s.Kind
		s.Incident = gpu.IncidentOf(gpu.KindRepeated)
		s.What += " (" + kind + ")"
		over.Reason, over.Detail, over.Until = reasonOf(s.Incident), faultDetail(s), ended
		if !s.Well.IsZero() && s.Well.Before(ended) {
			over.Until = s.Well
		}
	}
	p.mu.Unlock()
	p.keepOff(ctx, s.Device, s.Incident, "")
	return over
}

// clean notes that a job met no error that is a job's own.
func (p *Provider) clean(ctx context.Context, devices []string) {
	for _, id := range devices {
		p.mu.Lock()
		changed := p.off.clean(id)
		p.mu.Unlock()
		if changed {
			p.persist(ctx, id)
		}
	}
}

// keepOff takes a device off sale until it passes its check.
func (p *Provider) keepOff(ctx context.Context, device string, n gpu.Incident, lease string) {
	p.mu.Lock()
	news := p.off.take(time.Now(), device, p.cfg.Boot, n, lease)
	p.floor.Restock(p.floorConfig().Devices)
	p.mu.Unlock()
	if news {
		p.cfg.Log.Warn("a device is off sale", "gpu", device, "kind", n.Kind, "blame", n.Blame, "what", n.What)
	}
	p.persist(ctx, device)
	p.Changed()
}

// persist makes durable why a device is off sale. A ledger that cannot be written
// changes nothing in this life.
func (p *Provider) persist(ctx context.Context, device string) {
	p.mu.Lock()
	records := p.off.record(device)
	p.mu.Unlock()
	if err := p.cfg.Ledger.Commit(context.WithoutCancel(ctx), ledger.Batch{Records: records}); err != nil {
		p.cfg.Log.Error("a device that is off sale was not written down", "gpu", device, "err", err)
	}
}

// OffSale is why a device is not for sale after a fault, and what to do; empty: it is.
func (p *Provider) OffSale(device string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.off.why(time.Now(), device, p.cfg.Boot, p.devices)
}

// noteFaults keeps off sale what has a fault that asks for it.
func (p *Provider) noteFaults(ctx context.Context, since time.Time) (latest time.Time) {
	latest = since
	if p.cfg.Faults == nil {
		return latest
	}
	p.mu.Lock()
	devices := slices.Clone(p.devices)
	p.mu.Unlock()
	for _, d := range devices {
		for _, s := range p.cfg.Faults.Incidents(d.ID, since) {
			if s.At.After(latest) {
				latest = s.At
			}
			if s.OffSale {
				p.keepOff(ctx, d.ID, s.Incident, "")
			}
		}
	}
	return latest
}

// watchFaults takes devices with faults off sale until ctx ends.
func (p *Provider) watchFaults(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	noted := time.Time{}
	for {
		changed := p.restocked.Next()
		noted = p.noteFaults(ctx, noted)
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-tick.C:
		}
	}
}

// rechecking puts devices back on sale that pass their check, until ctx ends. A check
// takes a while, and must not keep others' faults from being noted.
func (p *Provider) rechecking(ctx context.Context) error {
	for network.Sleep(ctx, time.Second) {
		p.recheck(ctx, time.Now())
	}
	return nil
}

// recheck checks the devices that may be well again.
func (p *Provider) recheck(ctx context.Context, now time.Time) {
	p.mu.Lock()
	due, devices := p.off.due(now, p.cfg.Boot, p.devices), slices.Clone(p.devices)
	p.mu.Unlock()
	for _, id := range due {
		p.mu.Lock()
		f := *p.off.rows[id]
		p.mu.Unlock()
		wants := p.check(ctx, f, id, devices)
		if ctx.Err() != nil {
			return // the next start does it
		}
		last := f.Last
		p.mu.Lock()
		f, still := *p.off.rows[id], wants
		if still == "" && f.Last.After(last) {
			wants, still = "it failed again meanwhile", "-"
		}
		if f.tried = now; still == "" && f.Lease != "" { // the container is gone, and the device has yet to be checked
			f.Lease, f.tried = "", time.Time{}
			still = "-"
		}
		f.wants = wants
		p.off.rows[id] = &f
		if still == "" {
			delete(p.off.rows, id)
			p.off.clean(id)
			p.floor.Restock(p.floorConfig().Devices)
		}
		p.mu.Unlock()
		if still == "" || still == "-" {
			p.persist(ctx, id)
		}
		if still == "" {
			p.cfg.Log.Info("a device is for sale again", "gpu", id, "after", now.Sub(f.Since).Round(time.Second).String())
			p.Changed()
		}
	}
}

// check is what keeps a device off sale; empty: nothing.
func (p *Provider) check(ctx context.Context, f fault, id string, devices []gpu.Device) string {
	ctx, cancel := context.WithTimeout(ctx, checkWithin)
	defer cancel()
	if f.Lease != "" {
		return p.left(ctx, f.Lease)
	}
	i := slices.IndexFunc(devices, func(d gpu.Device) bool { return d.ID == id })
	if p.cfg.Check == nil || i < 0 {
		return ""
	}
	if why := p.keepForCheck(time.Now(), id); why != "" {
		return why
	}
	defer p.uncheck(id)
	if err := p.cfg.Check(ctx, devices[i]); err != nil {
		return err.Error()
	}
	return ""
}

// keepForCheck keeps a device for its check alone: no wipe, challenge or lease may be
// beside it. It returns why it cannot.
func (p *Provider) keepForCheck(now time.Time, id string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.unclean[id] != "" {
		return "its memory has yet to be wiped"
	}
	if refused := p.floor.Keep(now, "check "+id, []string{id}, now.Add(checkWithin+time.Minute)); refused != nil {
		return "it is still in use"
	}
	return ""
}

func (p *Provider) uncheck(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.floor.Unkeep("check " + id)
}

// left is why something of a lease may still run; empty: nothing does.
func (p *Provider) left(ctx context.Context, lease string) string {
	for _, r := range p.cfg.Runners {
		l, ok := r.(runner.Leftover)
		if !ok {
			continue
		}
		left, err := l.Left(ctx, lease)
		if err != nil {
			return fmt.Sprintf("the container engine does not say what is left: %v", err)
		}
		if left {
			return "its container is still there"
		}
	}
	return ""
}
