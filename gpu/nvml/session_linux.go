//go:build cgo

package nvml

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/souk-market/souk/gpu"
)

// factsEvery is how often what hardly changes is read.
const factsEvery = time.Minute

// maxEvents bounds the events that are taken in one reading.
const maxEvents = 64

// session is a library that has been started. It belongs to one goroutine.
type session struct {
	api    nvml.Interface
	lookup func(symbol string) bool
	looked map[string]bool
	events nvml.EventSet // nil: the driver has none
	known  map[int]*known
}

// known is what is remembered of a card, by its index.
type known struct {
	handle nvml.Device
	facts  facts
	read   time.Time // when the facts were
	listed bool      // its events are asked for
	xids   []uint64  // since the reading before
	seen   []uint64  // since the library was started, each once
}

func newSession(api nvml.Interface, lookup func(string) bool) *session {
	return &session{api: api, lookup: lookup, looked: map[string]bool{}, known: map[int]*known{}}
}

// has tells whether the library has one of the functions.
func (s *session) has(names ...string) bool {
	for _, name := range names {
		there, known := s.looked[name]
		if !known {
			there = s.lookup(name)
			s.looked[name] = there
		}
		if there {
			return true
		}
	}
	return false
}

// listen makes a set of events, from which Xids are read.
func (s *session) listen() {
	for _, name := range []string{"nvmlEventSetCreate", "nvmlEventSetWait_v2", "nvmlDeviceRegisterEvents"} {
		if !s.has(name) {
			return
		}
	}
	if set, ret := s.api.EventSetCreate(); ret == nvml.SUCCESS {
		s.events = set
	}
}

// read reads all cards.
func (s *session) read(now time.Time) (listing, error) {
	count, ret := s.api.DeviceGetCount()
	if ret != nvml.SUCCESS {
		return listing{}, fmt.Errorf("count GPUs: %s", answered(int32(ret), gpu.Device{}))
	}
	if count < 0 || count > maxCards {
		return listing{}, fmt.Errorf("the driver's library counts %d GPUs", count)
	}
	l := s.system()
	l.Cards = make([]card, 0, count)
	for i := range count {
		l.Cards = append(l.Cards, s.card(i, now))
	}
	s.takeEvents()
	for i := range l.Cards {
		k := s.known[i]
		l.Cards[i].Xids, l.Cards[i].Seen = k.xids, slices.Clone(k.seen)
		k.xids = nil
	}
	return l, nil
}

// system is what is said of the machine as a whole.
func (s *session) system() (l listing) {
	if s.has("nvmlSystemGetDriverVersion") {
		l.Driver, _ = s.api.SystemGetDriverVersion()
	}
	if s.has("nvmlSystemGetNVMLVersion") {
		l.Library, _ = s.api.SystemGetNVMLVersion()
	}
	if l.CUDA = ask(s, nil, s.api.SystemGetCudaDriverVersion_v2, "nvmlSystemGetCudaDriverVersion_v2"); l.CUDA == (gpu.Reading{}) {
		l.CUDA = ask(s, nil, s.api.SystemGetCudaDriverVersion, "nvmlSystemGetCudaDriverVersion")
	}
	if s.has("nvmlSystemGetConfComputeState") {
		if state, ret := s.api.SystemGetConfComputeState(); ret == nvml.SUCCESS {
			l.CCEnv, l.CCFeature, l.CCTools = number(state.Environment), number(state.CcFeature), number(state.DevToolsMode)
			l.CCReady = ask(s, nil, s.api.SystemGetConfComputeGpusReadyState, "nvmlSystemGetConfComputeGpusReadyState")
		}
	}
	return l
}

// takeEvents remembers the Xids that came since the last reading.
func (s *session) takeEvents() {
	if s.events == nil {
		return
	}
	for range maxEvents {
		e, ret := s.api.EventSetWait(s.events, 0)
		if ret != nvml.SUCCESS {
			return // a timeout: there is no more
		}
		for _, k := range s.known {
			if e.EventType == nvml.EventTypeXidCriticalError && e.Device == k.handle {
				k.note(e.EventData)
			}
		}
	}
}

// note remembers an Xid. What is too much is dropped: a card in such trouble shows it
// in other ways.
func (k *known) note(xid uint64) {
	if len(k.xids) < maxXids {
		k.xids = append(k.xids, xid)
	}
	if len(k.seen) < maxXids && !slices.Contains(k.seen, xid) {
		k.seen = append(k.seen, xid)
	}
}

// card reads one card. Of one that does not answer, what was known is told again.
func (s *session) card(i int, now time.Time) card {
	c := card{Index: uint32(i)}
	k := s.known[i]
	if k == nil {
		k = &known{}
		s.known[i] = k
	}
	handle, ret := s.api.DeviceGetHandleByIndex(i)
	var id string
	if c.must(ret) {
		id, ret = handle.GetUUID()
		c.must(ret)
	}
	if c.Return == 0 && (k.handle != handle || k.facts.UUID != id || now.Sub(k.read) >= factsEvery) {
		if k.facts.UUID != id {
			*k = known{}
		}
		k.handle, k.read = handle, now
		k.facts = s.facts(&c, handle, id)
		s.subscribe(k)
	}
	if c.Return == 0 {
		c.vitals = s.vitals(&c, handle)
	}
	if c.Return == 0 && c.sliced() {
		c.Slices = s.slices(handle)
	}
	c.facts = k.facts
	return c
}

// must notes the answer of a call without which a card is no card.
func (c *card) must(ret nvml.Return) bool {
	if ret != nvml.SUCCESS && c.Return == 0 {
		c.Return = int32(ret)
	}
	return ret == nvml.SUCCESS
}

// subscribe asks for the events of a card.
func (s *session) subscribe(k *known) {
	if s.events != nil && !k.listed {
		k.listed = k.handle.RegisterEvents(nvml.EventTypeXidCriticalError, s.events) == nvml.SUCCESS
	}
}

// ask is a number that a card may not have, by the first of the functions that the
// library has. An answer that the card is in trouble is noted in c, which may be nil.
func ask[N ~int | ~int32 | ~uint32 | ~uint64](s *session, c *card, call func() (N, nvml.Return), symbols ...string) gpu.Reading {
	if !s.has(symbols...) {
		return gpu.Reading{}
	}
	n, ret := call()
	if c != nil && (ret == nvml.ERROR_GPU_IS_LOST || ret == nvml.ERROR_RESET_REQUIRED) {
		c.must(ret)
	}
	if ret != nvml.SUCCESS || n < 0 {
		return gpu.Reading{}
	}
	return gpu.Known(uint64(n))
}

// with turns a function that takes one argument into one that takes none.
func with[A any, N any](call func(A) (N, nvml.Return), a A) func() (N, nvml.Return) {
	return func() (N, nvml.Return) { return call(a) }
}

func number[N ~int32 | ~uint32 | ~uint64](n N) gpu.Reading { return gpu.Known(uint64(n)) }

func flag(b bool) gpu.Reading {
	if b {
		return gpu.Known(1)
	}
	return gpu.Known(0)
}

// fields reads numbers that have no function of their own, by their ids.
func (s *session) fields(h nvml.Device, ids ...uint32) map[uint32]gpu.Reading {
	found := map[uint32]gpu.Reading{}
	if !s.has("nvmlDeviceGetFieldValues") {
		return found
	}
	values := make([]nvml.FieldValue, len(ids))
	for i, id := range ids {
		values[i].FieldId = id
	}
	if h.GetFieldValues(values) != nvml.SUCCESS {
		return found
	}
	for _, v := range values {
		if v.NvmlReturn != uint32(nvml.SUCCESS) {
			continue
		}
		switch nvml.ValueType(v.ValueType) {
		case nvml.VALUE_TYPE_UNSIGNED_INT:
			found[v.FieldId] = gpu.Known(uint64(binary.NativeEndian.Uint32(v.Value[:])))
		case nvml.VALUE_TYPE_SIGNED_INT:
			if n := int32(binary.NativeEndian.Uint32(v.Value[:])); n >= 0 {
				found[v.FieldId] = gpu.Known(uint64(n))
			}
		case nvml.VALUE_TYPE_UNSIGNED_LONG, nvml.VALUE_TYPE_UNSIGNED_LONG_LONG:
			found[v.FieldId] = gpu.Known(binary.NativeEndian.Uint64(v.Value[:]))
		}
	}
	return found
}
