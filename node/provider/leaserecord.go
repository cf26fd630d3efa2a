package provider

import (
	"encoding/json"
	"fmt"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment/chain"
	"github.com/souk-market/souk/payment/ledger"
	"github.com/souk-market/souk/scheduler"
)

// leaseRecord is what a provider must not forget of a lease.
type leaseRecord struct {
	Payload       []byte         `json:"payload"`        // the lease, as both signed it
	ClientLease   []byte         `json:"client_lease"`   // signed by the client
	ProviderLease []byte         `json:"provider_lease"` // signed by us
	Deposit       *chain.Deposit `json:"deposit,omitempty"`
	scheduler.TenancyState
}

func leaseKey(id souk.LeaseID) string { return "lease/" + id.String() }

func (r *leaseRecord) ledgerRecord(id souk.LeaseID) ledger.Record {
	value, err := json.Marshal(r)
	if err != nil {
		panic(fmt.Sprintf("encode lease record: %v", err)) // plain fields: our bug
	}
	return ledger.Record{Key: leaseKey(id), Value: value}
}
