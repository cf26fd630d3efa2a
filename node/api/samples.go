package api

import (
	"errors"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
)

// maxExportedSamples bounds the telemetry in one answer, in bytes: what is read
// offline has a bound too.
const maxExportedSamples = 24 << 20

// sampleFiles is the telemetry of leases.
type sampleFiles interface {
	Read(lease souk.LeaseID, fn func(b []byte) error) error
}

// errEnough ends a read.
var errEnough = errors.New("enough")

// addSamples puts to receipts, which stand by lease and sequence, the samples that
// their telemetry roots are over. Where not all of them are here, a receipt has none.
func (s *logService) addSamples(rows []*apiv1.ProvedReceipt) error {
	room := maxExportedSamples
	for len(rows) > 0 && room > 0 {
		n := 1
		for n < len(rows) && string(rows[n].Receipt.Lease) == string(rows[0].Receipt.Lease) {
			n++
		}
		id, err := souk.DigestFrom(rows[0].Receipt.Lease)
		if err != nil {
			return err
		}
		if err := s.samplesOf(souk.LeaseID{Digest: id}, rows[:n], &room); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

// samplesOf does it for the receipts of one lease.
func (s *logService) samplesOf(lease souk.LeaseID, rows []*apiv1.ProvedReceipt, room *int) error {
	at := 0
	err := s.samples.Read(lease, func(b []byte) error {
		sample, err := payment.OpenSample(b)
		if err != nil {
			return errEnough // damaged: what stands before it is good
		}
		for at < len(rows) && sample.AtMs > rows[at].Receipt.EndMs {
			at++
		}
		if *room -= len(b); at == len(rows) || *room < 0 {
			return errEnough
		}
		rows[at].Samples = append(rows[at].Samples, b)
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return err
	}
	for _, row := range rows {
		var leaves []souk.Digest
		for _, b := range row.Samples {
			leaves = append(leaves, payment.SampleLeaf(b))
		}
		if root := payment.TelemetryRoot(leaves); string(root[:]) != string(row.Receipt.TelemetryRoot) {
			row.Samples = nil
		}
	}
	return nil
}
