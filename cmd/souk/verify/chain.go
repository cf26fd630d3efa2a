package verify

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
)

// chain verifies what the receipts of one lease show together: none is missing,
// each holds the digest of the one before, and the amount due is exact.
func (r *Report) chain(rs []payment.Receipt, all []*apiv1.ProvedReceipt) {
	slices.SortFunc(rs, func(a, b payment.Receipt) int { return cmp.Compare(a.Seq, b.Seq) })
	domain, err := domainOfLease(rs[0].Lease, all)
	if err != nil {
		r.fault("lease %s: %v", rs[0].Lease.Short(), err)
		return
	}
	var h history
	for i, receipt := range rs {
		if err := h.follows(receipt, domain, uint64(i+1)); err != nil {
			r.fault("receipt %d of lease %s: %v", receipt.Seq, receipt.Lease.Short(), err)
			return
		}
		h.before = receipt
	}
	if sum, err := r.Due.Add(h.before.CumulativeDue); err == nil {
		r.Due = sum
	}
}

// domainOfLease is the one domain that all receipts of a lease are signed under.
func domainOfLease(lease souk.LeaseID, all []*apiv1.ProvedReceipt) (payment.EIP712Domain, error) {
	var domain payment.EIP712Domain
	for _, p := range all {
		if string(p.GetReceipt().GetLease()) != string(lease.Digest[:]) {
			continue
		}
		d, err := domainOf(p)
		if err != nil {
			return domain, err
		}
		if domain != (payment.EIP712Domain{}) && d != domain {
			return domain, errors.New("its receipts are under two contracts")
		}
		domain = d
	}
	return domain, nil
}

// history is what the receipts of one lease have shown so far.
type history struct {
	before payment.Receipt
	ran    uint64 // device milliseconds; in version 1
}

// follows checks receipt number seq against the one before it.
func (h *history) follows(r payment.Receipt, d payment.EIP712Domain, seq uint64) error {
	before := h.before
	switch {
	case r.Seq != seq:
		return fmt.Errorf("receipt %d is missing before it", seq)
	case before.Kind == payment.KindFinal:
		return errors.New("comes after the final one")
	}
	if err := h.adds(r); err != nil {
		return err
	}
	switch {
	case seq == 1 && !r.PrevReceipt.IsZero():
		return errors.New("is the first and names one before it")
	case seq == 1:
		return nil
	case r.PrevReceipt != before.Digest(d):
		return errors.New("does not hold the digest of the one before")
	case r.StartMs < before.EndMs:
		return errors.New("starts before the one before has ended")
	case r.Job != before.Job || r.Channel != before.Channel || r.ProviderKey != before.ProviderKey ||
		r.ClientKey != before.ClientKey || !sameTariff(r, before):
		return errors.New("is of another job, channel, party or price than the one before")
	}
	return grows(r, before)
}

// adds checks that what is due is the exact price of what was used.
func (h *history) adds(r payment.Receipt) error {
	tariff, quantities := payment.Tariff{}, []uint64{}
	if r.Version == 1 {
		if h.ran > math.MaxUint64-r.DeviceMilliseconds {
			return fmt.Errorf("amount due: %w", souk.ErrOverflow)
		}
		h.ran += r.DeviceMilliseconds
		tariff, quantities = payment.HourlyTariff(r.PriceAtomsPerHour), []uint64{h.ran}
	}
	for _, line := range r.Usage {
		due, err := line.Line.Due(line.Quantity)
		if err != nil {
			return fmt.Errorf("amount due for %q: %w", line.Unit, err)
		}
		if line.Due != due {
			return fmt.Errorf("says that %s is due for %d %q; at %s for %d they are %s", line.Due, line.Quantity, line.Unit,
				souk.Atoms(line.Price), line.Per, due)
		}
		tariff, quantities = append(tariff, line.Line), append(quantities, line.Quantity)
	}
	due, err := tariff.Due(quantities)
	if err != nil {
		return fmt.Errorf("amount due: %w", err)
	}
	if r.CumulativeDue == due {
		return nil
	}
	if r.Version == 1 {
		return fmt.Errorf("says that %s is due; %d device-milliseconds at %s per hour are %s", r.CumulativeDue, h.ran,
			souk.Atoms(r.PriceAtomsPerHour), due)
	}
	return fmt.Errorf("says that %s is due; its lines add up to %s", r.CumulativeDue, due)
}

// sameTariff tells whether two receipts price the same units alike, in the same
// order and version.
func sameTariff(a, b payment.Receipt) bool {
	return a.Version == b.Version && a.PriceAtomsPerHour == b.PriceAtomsPerHour &&
		slices.EqualFunc(a.Usage, b.Usage, func(x, y payment.UsageLine) bool { return x.Line == y.Line })
}

// grows checks that no quantity is below what it was; both are of one tariff.
func grows(r, before payment.Receipt) error {
	for i, line := range r.Usage {
		if line.Quantity < before.Usage[i].Quantity {
			return fmt.Errorf("has %d %q after %d", line.Quantity, line.Unit, before.Usage[i].Quantity)
		}
	}
	return nil
}
