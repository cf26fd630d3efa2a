package payment

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/souk-market/souk"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

func encoded(t testing.TB, s *runv1.Sample) []byte {
	t.Helper()
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestTelemetryRoot compares the root with RFC 6962's own definition, written out.
func TestTelemetryRoot(t *testing.T) {
	leaf := func(b string) souk.Digest { return sha256.Sum256([]byte("\x00souk/telemetry/1\x00" + b)) }
	node := func(a, b souk.Digest) souk.Digest {
		return sha256.Sum256(slices.Concat([]byte{1}, a[:], b[:]))
	}
	a, b, c, d, e := leaf("a"), leaf("b"), leaf("c"), leaf("d"), leaf("e")
	for _, tt := range []struct {
		samples string
		want    souk.Digest
	}{
		{"", souk.Digest{}}, {"a", a}, {"ab", node(a, b)}, {"abc", node(node(a, b), c)},
		{"abcd", node(node(a, b), node(c, d))}, {"abcde", node(node(node(a, b), node(c, d)), e)},
	} {
		var leaves []souk.Digest
		for _, s := range tt.samples {
			leaves = append(leaves, SampleLeaf([]byte(string(s))))
		}
		if got := TelemetryRoot(leaves); got != tt.want {
			t.Errorf("%q: %s, want %s", tt.samples, got, tt.want)
		}
	}
}

// TestOpenSample refuses what no device can measure, and reads what a later version
// may add.
func TestOpenSample(t *testing.T) {
	full := func() *runv1.Sample {
		return &runv1.Sample{Device: "GPU-1", AtMs: 1, GpuUtil: proto.Uint32(100), PowerMw: proto.Uint64(450_000), TotalEnergyMj: proto.Uint64(1 << 40),
			MemoryUsedBytes: proto.Uint64(80 << 30), GpuTempC: proto.Uint32(83), Xids: []uint64{79}, CpuMilli: proto.Uint32(0)}
	}
	for _, tt := range []struct {
		name   string
		change func(*runv1.Sample)
		ok     bool
	}{
		{"as it is", func(*runv1.Sample) {}, true},
		{"nothing measured", func(s *runv1.Sample) { *s = runv1.Sample{Device: "GPU-1", AtMs: 1} }, true},
		{"no device", func(s *runv1.Sample) { s.Device = "" }, false},
		{"a long device", func(s *runv1.Sample) { s.Device = string(make([]byte, 129)) }, false},
		{"no time", func(s *runv1.Sample) { s.AtMs = 0 }, false},
		{"before all time", func(s *runv1.Sample) { s.AtMs = math.MinInt64 }, false},
		{"busier than busy", func(s *runv1.Sample) { s.GpuUtil = proto.Uint32(101) }, false},
		{"memory of no machine", func(s *runv1.Sample) { s.MemoryUsedBytes = proto.Uint64(math.MaxUint64) }, false},
		{"a power plant", func(s *runv1.Sample) { s.PowerMw = proto.Uint64(math.MaxUint64) }, false},
		{"all energy", func(s *runv1.Sample) { s.TotalEnergyMj = proto.Uint64(math.MaxUint64) }, false},
		{"the sun", func(s *runv1.Sample) { s.GpuTempC = proto.Uint32(math.MaxUint32) }, false},
		{"a clock of light", func(s *runv1.Sample) { s.SmClockMhz = proto.Uint32(math.MaxUint32) }, false},
		{"cores of a city", func(s *runv1.Sample) { s.CpuMilli = proto.Uint32(math.MaxUint32) }, false},
		{"many errors", func(s *runv1.Sample) { s.Xids = make([]uint64, 17) }, false},
		{"a field of a later version", func(s *runv1.Sample) {
			s.ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 99, protowire.VarintType), 7))
		}, true},
		{"more than a sample takes", func(s *runv1.Sample) {
			s.ProtoReflect().SetUnknown(protowire.AppendBytes(protowire.AppendTag(nil, 99, protowire.BytesType), make([]byte, 512)))
		}, false},
	} {
		s := full()
		tt.change(s)
		_, err := OpenSample(encoded(t, s))
		if ok := err == nil; ok != tt.ok || !ok && !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if _, err := OpenSample(nil); !errors.Is(err, ErrMalformed) {
		t.Errorf("no bytes: %v", err)
	}
}

// FuzzOpenSample wants no panic, and whatever is opened within its bounds.
func FuzzOpenSample(f *testing.F) {
	f.Add(encoded(f, &runv1.Sample{Device: "GPU-1", AtMs: 1, GpuUtil: proto.Uint32(3), Xids: []uint64{13}}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := OpenSample(b)
		if err != nil {
			return
		}
		if len(b) > MaxSampleBytes || s.Device == "" || s.AtMs <= 0 || s.GetGpuUtil() > 100 || len(s.Xids) > maxXids {
			t.Errorf("%x opens as %v", b, s)
		}
	})
}

// TestSampleCheck holds hostile lists of samples against what an honest provider
// sends.
func TestSampleCheck(t *testing.T) {
	type at struct {
		device string
		ms     int64
	}
	start := epoch.UnixMilli()
	second := func(device string, n int, every int64) (list []at) {
		for i := range int64(n) {
			list = append(list, at{device, i * every})
		}
		return list
	}
	for _, tt := range []struct {
		name string
		list []at
		good int // that are taken
	}{
		{"one a second", second("a", 3600, 1000), 3600},
		{"a clock that is a little fast", second("a", 3600, 950), 3600},
		{"two devices at once", []at{{"a", 0}, {"b", 0}, {"a", 1000}, {"b", 1000}}, 4},
		{"one more at the end", append(second("a", 5, 1000), at{"a", 4010}), 6},
		{"a flood", second("a", 100, 1), 5},
		{"twice as many", second("a", 100, 500), 10},
		{"a device that is not leased", []at{{"a", 0}, {"c", 1000}}, 1},
		{"no device", []at{{"", 0}}, 0},
		{"repeated", []at{{"a", 1000}, {"a", 1000}}, 1},
		{"back in time", []at{{"a", 5000}, {"b", 4000}}, 1},
		{"from the future", []at{{"a", 0}, {"a", 24 * 3600 * 1000}}, 1},
	} {
		c := NewSampleCheck([]string{"a", "b"})
		good := 0
		for _, s := range tt.list {
			b := encoded(t, &runv1.Sample{Device: s.device, AtMs: start + s.ms})
			if _, err := c.Open(epoch.Add(time.Hour), b); err != nil {
				break
			}
			good++
		}
		if good != tt.good {
			t.Errorf("%s: %d of %d are taken, want %d", tt.name, good, len(tt.list), tt.good)
		}
	}
}

// TestTelemetryOnReceipts has a provider and a client agree on the root of every
// receipt, and refuses each list that is another than what was hashed.
func TestTelemetryOnReceipts(t *testing.T) {
	type sample struct {
		at   int64
		leaf souk.Digest
	}
	terms := someTerms()
	list := func() (all []sample) {
		for i := range int64(25) {
			all = append(all, sample{epoch.UnixMilli() + 1000*i + 500, souk.Digest{byte(i), 1}})
		}
		return all
	}
	// play bills 25 seconds, and tells the payer what change makes of the samples.
	play := func(change func([]sample) []sample) (roots []souk.Digest, err error) {
		m, p := NewMeter(terms), NewPayer(terms)
		p.Start(epoch)
		m.Start(epoch)
		sent := change(list())
		settle := func(now time.Time, r Receipt) error {
			for len(sent) > 0 && sent[0].at <= now.Add(time.Second).UnixMilli() { // some come before the receipt that does not cover them
				if err := p.Sample(sent[0].at, sent[0].leaf); err != nil {
					return err
				}
				sent = sent[1:]
			}
			if _, _, err := p.judge(now, r); err != nil {
				return err
			}
			p.Accept(r)
			roots = append(roots, r.TelemetryRoot)
			_, err := m.Countersigned(now, r.Seq, terms.Reserve)
			return err
		}
		for i, s := range list() {
			m.Sample(s.at, s.leaf)
			now := epoch.Add(time.Duration(i+1) * time.Second)
			if r, _ := m.Tick(now, Usage{}); r != nil {
				if err := settle(now, *r); err != nil {
					return roots, err
				}
			}
		}
		now := epoch.Add(25 * time.Second)
		return roots, settle(now, m.Finish(now, souk.Digest{}, Usage{}))
	}
	honest, err := play(func(s []sample) []sample { return s })
	if err != nil || len(honest) != 3 || honest[0].IsZero() || honest[0] == honest[1] || honest[2].IsZero() {
		t.Fatalf("roots %v, %v", honest, err)
	}
	for _, tt := range []struct {
		name   string
		change func([]sample) []sample
		good   int // receipts that are accepted
	}{
		{"another sample than was hashed", func(s []sample) []sample { s[12].leaf[0]++; return s }, 1},
		{"one dropped", func(s []sample) []sample { return slices.Delete(s, 3, 4) }, 0},
		{"all dropped", func([]sample) []sample { return nil }, 0},
		{"one more", func(s []sample) []sample { return slices.Insert(s, 4, sample{s[4].at, souk.Digest{9}}) }, 0},
		{"two in another order", func(s []sample) []sample { s[4].leaf, s[5].leaf = s[5].leaf, s[4].leaf; return s }, 0},
		{"one twice", func(s []sample) []sample { return slices.Insert(s, 15, s[14]) }, 1},
		{"one too late for its receipt", func(s []sample) []sample { return slices.Insert(s, 12, sample{s[9].at, souk.Digest{9}}) }, 1},
	} {
		roots, err := play(tt.change)
		if err == nil || len(roots) != tt.good {
			t.Errorf("%s: %d receipts are accepted, %v", tt.name, len(roots), err)
		}
		if e := (*ReceiptError)(nil); errors.As(err, &e) && e.Reason != BadTelemetry {
			t.Errorf("%s: refused for %s", tt.name, e.Reason)
		}
	}
}

// TestSamplesAfterRestart sends a restarted payer old samples again: those that a
// receipt covers are passed over, once.
func TestSamplesAfterRestart(t *testing.T) {
	terms := someTerms()
	m := NewMeter(terms)
	m.Start(epoch)
	first := epoch.UnixMilli() + 500
	m.Sample(first, souk.Digest{1})
	r, _ := m.Tick(epoch.Add(10*time.Second), Usage{})
	p, err := RestorePayer(terms, []Receipt{*r})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Sample(first, souk.Digest{1}); err != nil {
		t.Errorf("what was sent again: %v", err)
	}
	if err := p.Sample(r.EndMs+1, souk.Digest{2}); err != nil {
		t.Errorf("what comes next: %v", err)
	}
	if err := p.Sample(first, souk.Digest{1}); err == nil {
		t.Error("an old sample after new ones is taken")
	}
	if m.TakesSample(r.EndMs) || !m.TakesSample(r.EndMs+1) {
		t.Error("the meter takes a sample that its receipt should have had")
	}
}

// TestSampleTimes keeps both sides bounded, whatever times they are given.
func TestSampleTimes(t *testing.T) {
	p := NewPayer(someTerms())
	for i := range MaxSamples + 1 {
		if err := p.Sample(int64(i+1), souk.Digest{}); (err != nil) != (i == MaxSamples) {
			t.Fatalf("sample %d: %v", i, err)
		}
	}
	m := NewMeter(someTerms())
	if m.TakesSample(1) {
		t.Error("a meter that does not run takes samples")
	}
	var leaves []souk.Digest
	for i := range 100 {
		leaves = append(leaves, SampleLeaf(fmt.Append(nil, i)))
		if root := TelemetryRoot(leaves); bytes.Equal(root[:], leaves[i][:]) != (i == 0) {
			t.Errorf("%d leaves have the root %s", i+1, root)
		}
	}
}
