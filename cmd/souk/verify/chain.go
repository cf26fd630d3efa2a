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
	var before payment.Receipt
	var ran uint64
	for i, receipt := range rs {
		if ran > math.MaxUint64-receipt.DeviceMilliseconds {
			ran = math.MaxUint64 // no amount is exact then, and Due says so
		} else {
			ran += receipt.DeviceMilliseconds
		}
		if err := follows(receipt, before, domain, uint64(i+1), ran); err != nil {
			r.fault("receipt %d of lease %s: %v", receipt.Seq, receipt.Lease.Short(), err)
			return
		}
		before = receipt
	}
	if sum, err := r.Due.Add(before.CumulativeDue); err == nil {
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

// follows checks receipt number seq against the one before it.
func follows(r, before payment.Receipt, d payment.EIP712Domain, seq, ran uint64) error {
	due, err := payment.Due(r.PriceAtomsPerHour, ran)
	switch {
	case r.Seq != seq:
		return fmt.Errorf("receipt %d is missing before it", seq)
	case before.Kind == payment.KindFinal:
		return errors.New("comes after the final one")
	case err != nil:
		return fmt.Errorf("amount due: %w", err)
	case r.CumulativeDue != due:
		return fmt.Errorf("says that %s is due; %d device-milliseconds at %s per hour are %s", r.CumulativeDue, ran,
			souk.Atoms(r.PriceAtomsPerHour), due)
	case seq == 1 && !r.PrevReceipt.IsZero():
		return errors.New("is the first and names one before it")
	case seq == 1:
		return nil
	case r.PrevReceipt != before.Digest(d):
		return errors.New("does not hold the digest of the one before")
	case r.StartMs < before.EndMs:
		return errors.New("starts before the one before has ended")
	case r.Job != before.Job || r.Channel != before.Channel || r.ProviderKey != before.ProviderKey ||
		r.ClientKey != before.ClientKey || r.PriceAtomsPerHour != before.PriceAtomsPerHour:
		return errors.New("is of another job, channel, party or price than the one before")
	}
	return nil
}
