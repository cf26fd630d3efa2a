package payment

import (
	"slices"
	"sort"

	"github.com/souk-market/souk"
)

// hold counts held time, as far as the reserve pays for it and no more of it
// than an interval and grace is unpaid.
func (m *Meter) hold(ms int64) {
	ms = min(ms, m.heldAccepted+m.terms.Interval.Milliseconds()+m.terms.Grace.Milliseconds()-m.held)
	if ms > 0 {
		m.held += m.longest(ms, func(ms int64) bool { return m.pays(0, ms) })
	}
}

// spare is for how long of the next ms milliseconds the run may go on before
// the reserve is spent.
func (m *Meter) spare(ms int64) int64 {
	return m.longest(ms, func(ms int64) bool { return m.pays(ms, ms) })
}

// longest is the longest time up to ms that fits, where every shorter one does.
func (m *Meter) longest(ms int64, fits func(int64) bool) int64 {
	if ms <= 0 || fits(ms) {
		return ms
	}
	return int64(sort.Search(int(ms), func(n int) bool { return !fits(int64(n) + 1) }))
}

// pays tells whether the reserve pays for what was used and so many more
// milliseconds, each line rounded up.
func (m *Meter) pays(run, held int64) bool {
	_, ok := m.left(-1, run, held)
	return ok
}

// left is what the reserve has left for line but, once all others are paid, each
// rounded up, for what was used and so many more milliseconds; false where it
// does not pay for them.
func (m *Meter) left(but int, run, held int64) (souk.Atoms, bool) {
	left := m.terms.Reserve
	for i, l := range m.lines {
		if i == but {
			continue
		}
		most, err := l.Most(m.quantity(i, run, held))
		if err != nil || most > left {
			return 0, false
		}
		left -= most
	}
	return left, true
}

// count takes over what counters have reached, as far as the reserve pays for
// it, and tells whether more was used than that.
func (m *Meter) count(u Usage) (spent bool) {
	if m.phase == finished {
		return false
	}
	for i, l := range m.lines {
		reached := u.Counters[l.Unit]
		if l.kind != counter || reached <= m.counts[i] {
			continue
		}
		left, _ := m.left(i, 0, 0)
		most := max(m.counts[i], min(reached, l.affords(left)))
		spent = spent || most < reached
		m.counts = slices.Clone(m.counts)
		m.counts[i] = most
	}
	return spent
}

// quantity is what was used of line i, and will have been in so many more
// milliseconds.
func (m *Meter) quantity(i int, run, held int64) uint64 {
	switch l := m.lines[i]; l.kind {
	case deviceTime, classTime:
		return l.speed * uint64(m.run+run)
	case reservedTime:
		return l.speed * uint64(m.held+held)
	default:
		return m.counts[i]
	}
}

// quantities are what was used of each line.
func (m *Meter) quantities() []uint64 {
	out := make([]uint64, len(m.lines))
	for i := range out {
		out[i] = m.quantity(i, 0, 0)
	}
	return out
}

// usageOf are the usage lines of quantities that are within the reserve.
func usageOf(t Tariff, quantities []uint64) []UsageLine {
	out := make([]UsageLine, len(t))
	for i, l := range t {
		due, _ := l.Due(quantities[i]) // what the reserve pays for does not overflow
		out[i] = UsageLine{l, quantities[i], due}
	}
	return out
}
