package payment

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/souk-market/souk"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"google.golang.org/protobuf/proto"
)

const (
	// MaxSampleBytes bounds one encoded sample, and so what is hashed and kept of it.
	MaxSampleBytes = 512
	// MaxSamples bounds the samples that one receipt covers, and so what a payer
	// remembers of them: four hours of eight devices.
	MaxSamples = 1 << 17

	telemetryDomain = souk.Domain("souk/telemetry/1")

	spareSamples = 5                      // of one device, beyond one a second
	sampleEvery  = 900 * time.Millisecond // the shortest second of a provider's clock

	maxSampleDevice = 128      // bytes of a device's id
	maxXids         = 16       // in one sample
	maxPercent      = 100      // of time
	maxSampleMemory = 1 << 50  // bytes
	maxSamplePower  = 10 << 20 // milliwatts: ten kilowatts
	maxSampleEnergy = 1 << 62  // millijoules
	maxSampleHeat   = 1000     // degrees Celsius
	maxSampleClock  = 1 << 20  // megahertz
	maxSampleCores  = 1 << 24  // thousandths of a core
)

// OpenSample decodes a sample as it travelled. Fields of a later version may be in
// it. The error is [ErrMalformed], also for a number that no device can measure.
func OpenSample(b []byte) (*runv1.Sample, error) {
	if len(b) == 0 || len(b) > MaxSampleBytes {
		return nil, fmt.Errorf("a sample of %d bytes, not 1 to %d: %w", len(b), MaxSampleBytes, ErrMalformed)
	}
	s := new(runv1.Sample)
	if err := proto.Unmarshal(b, s); err != nil {
		return nil, fmt.Errorf("sample: %w: %w", ErrMalformed, err)
	}
	switch {
	case s.Device == "" || len(s.Device) > maxSampleDevice:
		return nil, fmt.Errorf("sample: a device's id of %d bytes: %w", len(s.Device), ErrMalformed)
	case s.AtMs <= 0:
		return nil, fmt.Errorf("sample: taken at %d: %w", s.AtMs, ErrMalformed)
	case len(s.Xids) > maxXids:
		return nil, fmt.Errorf("sample: %d errors: %w", len(s.Xids), ErrMalformed)
	}
	for _, f := range []struct {
		what      string
		got, most uint64
	}{
		{"utilisation", uint64(s.GetGpuUtil()), maxPercent}, {"memory utilisation", uint64(s.GetMemCopyUtil()), maxPercent},
		{"memory", s.GetMemoryUsedBytes(), maxSampleMemory}, {"power", s.GetPowerMw(), maxSamplePower},
		{"energy", s.GetTotalEnergyMj(), maxSampleEnergy}, {"temperature", uint64(s.GetGpuTempC()), maxSampleHeat},
		{"memory temperature", uint64(s.GetMemoryTempC()), maxSampleHeat}, {"clock", uint64(s.GetSmClockMhz()), maxSampleClock},
		{"memory clock", uint64(s.GetMemClockMhz()), maxSampleClock}, {"processor use", uint64(s.GetCpuMilli()), maxSampleCores},
	} {
		if f.got > f.most {
			return nil, fmt.Errorf("sample: %s of %d, more than can be: %w", f.what, f.got, ErrMalformed)
		}
	}
	return s, nil
}

// SampleLeaf is the leaf of an encoded sample: the RFC 6962 leaf hash of
// souk/telemetry/1, a zero byte and the bytes as they travelled.
func SampleLeaf(b []byte) souk.Digest {
	return sha256.Sum256(slices.Concat([]byte{0}, telemetryDomain.Message(b)))
}

// TelemetryRoot is the RFC 6962 tree hash over leaves; zero where there are none.
func TelemetryRoot(leaves []souk.Digest) souk.Digest {
	switch n := len(leaves); n {
	case 0:
		return souk.Digest{}
	case 1:
		return leaves[0]
	default:
		left := 1
		for 2*left < n {
			left *= 2
		}
		a, b := TelemetryRoot(leaves[:left]), TelemetryRoot(leaves[left:])
		return sha256.Sum256(slices.Concat([]byte{1}, a[:], b[:]))
	}
}

// samples are those of a lease that no receipt covers yet, in the order of their
// times.
type samples struct {
	times  []int64
	leaves []souk.Digest
	last   int64
}

func (s *samples) add(at int64, leaf souk.Digest) {
	s.times, s.leaves, s.last = append(s.times, at), append(s.leaves, leaf), at
}

// upTo is how many are not later than end.
func (s *samples) upTo(end int64) int {
	n, _ := slices.BinarySearch(s.times, end+1)
	return n
}

// root is that of a receipt which ends then.
func (s *samples) root(end int64) souk.Digest { return TelemetryRoot(s.leaves[:s.upTo(end)]) }

// cover forgets what a receipt covers that ends then.
func (s *samples) cover(end int64) {
	n := s.upTo(end)
	s.times, s.leaves = slices.Clone(s.times[n:]), slices.Clone(s.leaves[n:])
}

// TakesSample tells whether a sample of that time, in Unix milliseconds, can still
// be in a receipt: the lease runs, no receipt covers the time, and no later sample
// was taken.
func (m *Meter) TakesSample(at int64) bool {
	return m.phase != waiting && m.phase != finished && at > m.end && at >= m.samples.last && len(m.samples.times) < MaxSamples
}

// Sample adds the leaf of a sample that [Meter.TakesSample]; the receipt that
// covers its time has it in its telemetry root.
func (m *Meter) Sample(at int64, leaf souk.Digest) {
	if m.TakesSample(at) {
		m.samples.add(at, leaf)
	}
}

// Sample tells the payer of a sample as the provider sent it, by its leaf and its
// time in Unix milliseconds. Receipts are held against those since the receipt
// before. The error is for one that an honest provider does not send: older than
// the sample before, within a time that a receipt covers already, or one too many.
func (p *Payer) Sample(at int64, leaf souk.Digest) error {
	switch {
	case at <= p.end && p.resumed:
		return nil // from before a restart, and sent again
	case at <= p.end:
		return fmt.Errorf("a sample of %d comes after receipt %d, which covers that time", at, p.seq)
	case at < p.samples.last:
		return fmt.Errorf("a sample of %d comes after one of %d", at, p.samples.last)
	case len(p.samples.times) >= MaxSamples:
		return fmt.Errorf("more than %d samples without a receipt", MaxSamples)
	}
	p.resumed = false
	p.samples.add(at, leaf)
	return nil
}

// checkTelemetry holds the telemetry root against the samples that came.
func (p *Payer) checkTelemetry(r Receipt) *ReceiptError {
	if want := p.samples.root(r.EndMs); r.TelemetryRoot != want {
		return &ReceiptError{Reason: BadTelemetry, Detail: fmt.Sprintf("root %s, want %s of the %d samples that came",
			r.TelemetryRoot.Short(), want.Short(), p.samples.upTo(r.EndMs))}
	}
	return nil
}

// SampleCheck holds what a provider sends as telemetry of one lease against what an
// honest one can send. It has one owner.
type SampleCheck struct {
	devices map[string]*pace
	last    int64
}

// pace is how often a device was sampled.
type pace struct {
	first, last int64
	count       int64
}

// NewSampleCheck is for a lease of such devices.
func NewSampleCheck(devices []string) *SampleCheck {
	c := &SampleCheck{devices: map[string]*pace{}}
	for _, id := range devices {
		c.devices[id] = &pace{}
	}
	return c
}

// Open decodes the next sample and checks that it is of a device of the lease, not
// ahead of the client's clock by more than [Skew], later than the last of its
// device, in the order of time, and not more than about one a second. After an
// error the check is as before.
func (c *SampleCheck) Open(now time.Time, b []byte) (*runv1.Sample, error) {
	s, err := OpenSample(b)
	if err != nil {
		return nil, err
	}
	d := c.devices[s.Device]
	switch {
	case d == nil:
		return nil, fmt.Errorf("a sample of %.48q, which is not leased", s.Device)
	case s.AtMs > now.Add(Skew).UnixMilli():
		return nil, errors.New("a sample from the future")
	case s.AtMs < c.last:
		return nil, fmt.Errorf("a sample of %d comes after one of %d", s.AtMs, c.last)
	case d.count > 0 && s.AtMs <= d.last:
		return nil, fmt.Errorf("a second sample of one moment of %s", s.Device)
	case d.count > 0 && d.count >= spareSamples+(s.AtMs-d.first)/sampleEvery.Milliseconds():
		return nil, fmt.Errorf("%d samples of %s within %d ms, more than one a second", d.count+1, s.Device, s.AtMs-d.first)
	}
	if d.count == 0 {
		d.first = s.AtMs
	}
	d.last, c.last = s.AtMs, s.AtMs
	d.count++
	return s, nil
}
