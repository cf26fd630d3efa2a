package market

import (
	"slices"
	"strings"

	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
)

// A fact is one thing that a query can ask of an offer.
type fact uint8

const (
	// Numbers of the offer that columns narrow down.
	ofVRAM fact = iota
	ofComputeCap
	ofCount
	ofFree
	ofCPU
	ofMemory
	ofDisk
	ofDuration
	ofPrice // by which the pages of a segment are ordered too
	// Numbers that are not the offer's own, and may change under it.
	ofEvidence
	ofScore
	// Words.
	ofClass
	ofRegion
	ofRunner
	ofProvider
	ofExtension
	ofSlice // which the class decides

	sizes = ofPrice + 1 // how many numbers have columns
)

// facts are what queries ask of an offer, side by side in memory. The message of an
// offer has them in four places.
type facts struct {
	number  [sizes]uint64
	region  uint8 // its column, if the segment has columns; 0 for none
	runners uint8 // bit r stands for runner r; none for those of a later version
}

func factsOf(o *Offer) (f facts) {
	m := o.Offer
	f.number = [sizes]uint64{ofVRAM: m.MemoryBytes, ofComputeCap: uint64(m.ComputeCap), ofCount: uint64(m.Count), ofFree: uint64(m.Free),
		ofCPU: uint64(m.CpuMilli), ofMemory: m.RamBytes, ofDisk: m.DiskBytes,
		ofDuration: o.duration(), ofPrice: m.PriceAtomsPerHour}
	for _, r := range m.Runners {
		if isKnownRunner(r) {
			f.runners |= 1 << r
		}
	}
	return f
}

// knownEvidence is a level of evidence as far as it is understood: one of a later
// version proves nothing to this one.
func knownEvidence(e marketv1.Evidence) marketv1.Evidence {
	if e > marketv1.Evidence_EVIDENCE_ATTESTED {
		return marketv1.Evidence_EVIDENCE_NONE
	}
	return e
}

// row is an offer in a segment, and the book, which knows more of its provider.
type row struct {
	*lane
	offer *Offer
	book  *Book
}

func (r row) numberOf(f fact) uint64 {
	switch f {
	case ofScore:
		return uint64(r.book.Score(r.offer.Provider))
	case ofEvidence:
		return uint64(r.book.Evidence(r.offer))
	}
	return r.number[f]
}

func (r row) hasWord(f fact, w string) bool {
	switch f {
	case ofClass:
		return r.offer.Class == w
	case ofRegion:
		return r.offer.Region == w
	case ofRunner:
		return r.runners>>runnerNamed(w)&1 != 0
	case ofSlice:
		return sliceWord(r.offer.Class) == w
	case ofExtension:
		return slices.Contains(r.offer.Extensions, w)
	default:
		k := r.offer.Provider
		return strings.HasPrefix(r.book.cfg.Name(k), w) || strings.HasPrefix(k.String(), w)
	}
}

// runnerNamed reads what [RunnerName] writes of the runners that are known.
func runnerNamed(name string) marketv1.Runner {
	switch name {
	case "wasm":
		return marketv1.Runner_RUNNER_WASM
	case "gvisor":
		return marketv1.Runner_RUNNER_GVISOR
	case "oci":
		return marketv1.Runner_RUNNER_OCI
	default:
		return marketv1.Runner_RUNNER_UNSPECIFIED
	}
}
