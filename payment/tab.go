package payment

import (
	"fmt"
	"maps"

	"github.com/souk-market/souk"
)

// Tab adds up what the leases of one channel share of its vouchers. The client
// keeps one to know what to sign, the provider one to know what it was shown.
//
// A lease's share only grows, until [Tab.Settle] fixes it. A Tab has one owner.
type Tab struct {
	max   souk.Atoms
	total souk.Atoms
	lease map[souk.LeaseID]souk.Atoms
	ended map[souk.LeaseID]bool
}

// NewTab continues a tab: max is the highest voucher signed or seen, perLease
// each lease's share of it, and may be nil. Which leases were settled is not
// told: whoever stores a tab folds those that are over into one share.
func NewTab(max souk.Atoms, perLease map[souk.LeaseID]souk.Atoms) *Tab {
	t := &Tab{max: max, lease: make(map[souk.LeaseID]souk.Atoms), ended: make(map[souk.LeaseID]bool)}
	maps.Copy(t.lease, perLease)
	for _, paid := range t.lease {
		t.total += paid
	}
	return t
}

// Promise raises a lease's share to paid, at the client, and returns what the
// channel's next voucher must say: the sum of the shares, never below a voucher
// already signed. A share already higher stays. The error is [souk.ErrOverflow].
func (t *Tab) Promise(l souk.LeaseID, paid souk.Atoms) (channelTotal souk.Atoms, err error) {
	total, err := t.with(l, paid)
	if err != nil {
		return 0, fmt.Errorf("promise %s for lease %s: %w", paid, l.Short(), err)
	}
	t.set(l, paid, total)
	t.max = max(t.max, t.total)
	return t.max, nil
}

// Show raises a lease's share to paid, at the provider, who was shown a verified
// voucher over voucherMax with it. A voucher that does not cover the sum of all
// shares is remembered, but the share stays: the error is [ErrShort].
func (t *Tab) Show(l souk.LeaseID, paid, voucherMax souk.Atoms) error {
	t.max = max(t.max, voucherMax)
	total, err := t.with(l, paid)
	if err != nil {
		return fmt.Errorf("show %s for lease %s: %w", paid, l.Short(), err)
	}
	if total > t.max {
		return fmt.Errorf("vouchers over %s, %s promised on the channel: %w", t.max, total, ErrShort)
	}
	t.set(l, paid, total)
	return nil
}

// Settle fixes the share of an ended lease at what was due in the end, which may
// be less than was promised; the rest is there for the channel's other leases.
// The provider calls it when the final receipt is countersigned, the client
// later, when it knows that the provider has: so the client's sum is never the
// lower one.
func (t *Tab) Settle(l souk.LeaseID, due souk.Atoms) {
	if share := t.lease[l]; due < share {
		t.total -= share - due
		t.lease[l] = due
	}
	t.ended[l] = true
}

// Total is the sum of all shares.
func (t *Tab) Total() souk.Atoms { return t.total }

// Max is the highest voucher signed or seen.
func (t *Tab) Max() souk.Atoms { return t.max }

// with is the total if l's share were at least paid.
func (t *Tab) with(l souk.LeaseID, paid souk.Atoms) (souk.Atoms, error) {
	if paid <= t.lease[l] || t.ended[l] {
		return t.total, nil
	}
	return t.total.Add(paid - t.lease[l])
}

func (t *Tab) set(l souk.LeaseID, paid, total souk.Atoms) {
	if total != t.total {
		t.lease[l], t.total = paid, total
	}
}
