package client

import (
	"fmt"
	"time"

	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
	jobv1 "github.com/souk-market/souk/proto/souk/job/v1"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/market"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/scheduler"
)

// Record is what a client must not forget of a job.
type Record struct {
	Message  []byte             `json:"message"` // the job, as its id was computed
	SaveTo   []string           `json:"save_to,omitempty"`
	Started  time.Time          `json:"started"`
	Ended    time.Time          `json:"ended"`
	State    string             `json:"state"`
	Reason   string             `json:"reason,omitempty"`
	Detail   string             `json:"detail,omitempty"`
	ExitCode int32              `json:"exit_code"`
	Outputs  map[string]string  `json:"outputs,omitempty"`
	Attempts []AttemptRecord    `json:"attempts,omitempty"`
	Removals []market.Removal   `json:"removals,omitempty"` // what ruled offers out, when none was left
	Snapshot scheduler.Snapshot `json:"snapshot"`
}

// AttemptRecord is one try at one provider.
type AttemptRecord struct {
	Provider  string            `json:"provider,omitempty"`
	Lease     string            `json:"lease,omitempty"`
	Reason    string            `json:"reason,omitempty"`
	Started   time.Time         `json:"started"`
	Ended     time.Time         `json:"ended"`
	Declines  []DeclineRecord   `json:"declines,omitempty"`
	DepositTx string            `json:"deposit_tx,omitempty"`
	Price     uint64            `json:"price_atoms_per_hour,omitempty"`
	Classes   []ClassRecord     `json:"classes,omitempty"` // the leased devices
	Reserve   souk.Atoms        `json:"reserve_atoms,omitempty"`
	Paid      souk.Atoms        `json:"paid_atoms"` // due by the receipts we countersigned
	Receipts  uint32            `json:"receipts"`
	LogBase   map[string]uint64 `json:"log_base,omitempty"` // bytes of log that earlier attempts left
}

// ClassRecord is so many leased devices of one class.
type ClassRecord struct {
	Class string `json:"class"`
	Count uint32 `json:"count"`
	Price uint64 `json:"price_atoms_per_hour"` // of one device
}

// DeclineRecord is one provider's refusal, as souk job shows it.
type DeclineRecord struct {
	Provider  string `json:"provider"`
	Reason    string `json:"reason"`
	Shortfall uint64 `json:"shortfall,omitempty"`
	Detail    string `json:"detail,omitempty"`
}

// What keeps a job's record below what the ledger takes, whatever peers say.
const (
	maxJobBytes = 64 << 10 // of the job message
	maxDeclines = 96       // over all attempts
)

func jobKey(id souk.JobID) string { return "job/" + id.String() }

// current is the attempt under way; note must hold the record.
func (r *Record) current() *AttemptRecord {
	if len(r.Attempts) == 0 || !r.Attempts[len(r.Attempts)-1].Ended.IsZero() {
		r.Attempts = append(r.Attempts, AttemptRecord{Started: time.Now().UTC()})
	}
	return &r.Attempts[len(r.Attempts)-1]
}

// adopt goes on with a lease that was countersigned when the node ended, before
// the job's attempt heard of it: its devices wait for nobody else.
func (r *Record) adopt() error {
	s := &r.Snapshot
	if !r.Ended.IsZero() || s.State != scheduler.Leasing || len(r.Attempts) == 0 {
		return nil
	}
	last := r.Attempts[len(r.Attempts)-1]
	asked, err := network.PeerID(s.Provider)
	if err != nil || last.Lease == "" || !last.Ended.IsZero() || last.Provider != asked.String() {
		return err
	}
	lease, err := souk.ParseDigest(last.Lease)
	if err != nil {
		return fmt.Errorf("lease of an attempt: %w", err)
	}
	s.State, s.Lease = scheduler.Funding, souk.LeaseID{Digest: lease}
	s.Attempts++
	return nil
}

func (r *Record) byLease(lease string) *AttemptRecord {
	for i := range r.Attempts {
		if r.Attempts[i].Lease == lease {
			return &r.Attempts[i]
		}
	}
	return nil
}

// Summary is a job in a line, with its money over all attempts.
func (r *Record) Summary(id souk.JobID, msg *jobv1.Job) *apiv1.JobSummary {
	s := &apiv1.JobSummary{Job: id.String(), Name: msg.Name, State: r.State, ExitCode: r.ExitCode, Outputs: r.Outputs,
		Started: Stamp(r.Started), Ended: Stamp(r.Ended), Reason: r.Reason, Detail: r.Detail}
	for _, a := range r.Attempts {
		if a.Lease == "" {
			continue
		}
		s.Attempts++
		s.PaidAtoms += uint64(a.Paid)
		s.Receipts += a.Receipts
		s.Provider, s.Lease = a.Provider, a.Lease
		s.PriceAtomsPerHour, s.ReserveAtoms = a.Price, uint64(a.Reserve)
		s.Devices = a.Devices()
	}
	return s
}

// Devices is what was leased, class by class; nothing of an attempt that came to no
// lease, or is from before classes were kept.
func (a *AttemptRecord) Devices() (rows []*apiv1.DeviceClass) {
	for _, c := range a.Classes {
		rows = append(rows, &apiv1.DeviceClass{Class: c.Class, Count: c.Count, PriceAtomsPerHour: c.Price})
	}
	return rows
}

// classesOf is what a bid leases, class by class.
func classesOf(bid *market.Bid) (classes []ClassRecord) {
	for _, p := range bid.Parts() {
		classes = append(classes, ClassRecord{p.Class, uint32(p.Count), p.Price})
	}
	return classes
}

// Stamp shows a time as the API does; the zero time is empty.
func Stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
