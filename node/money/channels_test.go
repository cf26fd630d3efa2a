package money

import (
	"encoding/json"
	"testing"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
)

// oldChannel is a channel as the ledgers of earlier versions hold it.
const oldChannel = `{"config":{"Payer":"0x0100000000000000000000000000000000000000",
"PayerAuthorizer":"0x0200000000000000000000000000000000000000","Receiver":"0x0300000000000000000000000000000000000000",
"ReceiverAuthorizer":"0x0400000000000000000000000000000000000000","Token":"0x0500000000000000000000000000000000000000",
"WithdrawDelay":86400,"Salt":[6,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]},
"domain":{"ChainID":1337,"Settlement":"0x0700000000000000000000000000000000000000"},"peer":"12D3KooW","paying":true,
"voucher":{"Channel":"0300000000000000000000000000000000000000000000000000000000000000","MaxClaimable":50,"Signature":"AQI="},
"leases":{"0100000000000000000000000000000000000000000000000000000000000000":{"paid":40,"due":35,"reserve":60,"deposit":20,"live":true}},
"past":10,"balance":100,"claimed":5,"withdrawing":0,"withdraw_ready":"0001-01-01T00:00:00Z","refund_nonce":2,"refunding":false,
"revision":3,"deposit_tx":"0xd","claim_tx":"0xc","refund_tx":"0xr"}`

// TestChannelOfEarlierVersions reads a channel as earlier versions stored it, and
// keeps the names of its fields: homes outlive programs.
func TestChannelOfEarlierVersions(t *testing.T) {
	var rec Channel
	if err := json.Unmarshal([]byte(oldChannel), &rec); err != nil {
		t.Fatal(err)
	}
	share := payment.Share{Paid: 40, Due: 35, Reserve: 60, Deposit: 20, Live: true}
	if rec.Config.WithdrawDelay != 86400 || rec.Domain.ChainID != 1337 || rec.Peer != "12D3KooW" || !rec.Paying || rec.DepositTx != "0xd" ||
		rec.ClaimTx != "0xc" || rec.RefundTx != "0xr" || rec.Leases[souk.LeaseID{Digest: souk.Digest{1}}] != share || rec.Due() != 45 ||
		rec.Vouched() != 50 || rec.Reserved() != 20 || rec.PendingDeposits() != 20 || rec.Free() != 50 || rec.Claimable() != 45 ||
		rec.RefundNonce != 2 || rec.Revision != 3 {
		t.Errorf("read as %+v", rec)
	}
	stored, err := json.Marshal(&rec)
	var before, after map[string]any
	if err == nil {
		err = json.Unmarshal(stored, &after)
	}
	if err == nil {
		err = json.Unmarshal([]byte(oldChannel), &before)
	}
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range before {
		if b, _ := json.Marshal(value); !equalJSON(t, b, after[name]) {
			t.Errorf("%s was %s and is written as %v", name, b, after[name])
		}
	}
}

func equalJSON(t *testing.T, want []byte, have any) bool {
	t.Helper()
	b, err := json.Marshal(have)
	if err != nil {
		t.Fatal(err)
	}
	return string(b) == string(want)
}
