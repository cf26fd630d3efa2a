package scheduler

import (
	"strings"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
)

// TenancyState is what of a tenancy must be durable, beside its lease and its
// receipts: what [StoreTenancy] and [EndTenancy] carry.
type TenancyState struct {
	Phase     runv1.Phase     `json:"phase"`
	Reason    runv1.EndReason `json:"reason"`           // once the run is over
	Detail    string          `json:"detail,omitempty"` // one line for people, at most 200 bytes
	DepositTx string          `json:"deposit_tx,omitempty"`
	ExitCode  int32           `json:"exit_code"`
	Output    string          `json:"output,omitempty"` // the CID of /out
	Ended     time.Time       `json:"ended"`            // zero while it has not
}

// Snapshot is the state as the driver should have it in its store once the actions
// of the last [Tenancy.Step] are done.
func (t *Tenancy) Snapshot() TenancyState { return t.state }

// TenancyHistory is what [RestoreTenancy] goes on from.
type TenancyHistory struct {
	State    TenancyState      // as last stored
	Receipts []payment.Receipt // all that were stored, in order, with the client's signatures
	Paid     souk.Atoms        // what the lease's vouchers have reached
	Devices  bool              // whether the lease has its devices again
}

// RestoreTenancy goes on after a restart. What ran is gone with its process; what
// was receipted is still collected. Its first [Tenancy.Step] is due at once. An
// error means that the receipts are not those of the lease.
func RestoreTenancy(cfg TenancyConfig, h TenancyHistory, now time.Time) (*Tenancy, error) {
	t := NewTenancy(cfg, now)
	t.restored, t.holding, t.gone = true, h.Devices, !h.Devices
	t.state, t.stored = h.State, h.State
	var err error
	if t.meter, err = payment.RestoreMeter(cfg.Terms, h.Receipts, h.Paid); err != nil {
		return nil, err
	}
	for _, r := range h.Receipts {
		if len(r.ClientSig) == 0 {
			t.owed = append(t.owed, r)
		}
	}
	t.ranUntil = now
	if h.State.Phase == runv1.Phase_PHASE_FUNDING {
		t.ranUntil = time.Time{}
	}
	return t, nil
}

// clipDetail cuts a line for people to what its message may carry.
func clipDetail(s string) string {
	if len(s) > 200 {
		s = s[:200]
	}
	return strings.ToValidUTF8(s, "") // a cut may fall inside a letter
}
