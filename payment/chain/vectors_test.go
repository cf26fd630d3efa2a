package chain_test

import (
	"encoding/json"
	"os"
	"strconv"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/chain"
)

// typedVector is a struct of docs/vectors/eip712.json.
type typedVector struct {
	Name    string         `json:"name"`
	Message map[string]any `json:"message"`
	Digest  hexutil.Bytes  `json:"digest"`
	Salt    hexutil.Bytes  `json:"salt"`
}

// text is a field of the message.
func (v typedVector) text(name string) string { return v.Message[name].(string) }

// TestVectors holds the published vectors of what only the chain's client hashes:
// claim batches and deposits.
func TestVectors(t *testing.T) {
	b, err := os.ReadFile("../../docs/vectors/eip712.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []typedVector
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	vectors := make(map[string]typedVector)
	for _, v := range all {
		vectors[v.Name] = v
	}
	atoms := func(s string) souk.Atoms {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return souk.Atoms(n)
	}
	at := chain.DevnetContracts()
	dom := payment.EIP712Domain{ChainID: 1337, Settlement: at.Settlement}
	m := vectors["channel id"]
	delay := atoms(m.text("withdrawDelay"))
	ch := payment.Channel{Payer: common.HexToAddress(m.text("payer")), PayerAuthorizer: common.HexToAddress(m.text("payerAuthorizer")),
		Receiver: common.HexToAddress(m.text("receiver")), ReceiverAuthorizer: common.HexToAddress(m.text("receiverAuthorizer")),
		Token: common.HexToAddress(m.text("token")), WithdrawDelay: uint64(delay), Salt: common.HexToHash(m.text("salt"))}

	claim := vectors["claim batch"].Message["claims"].([]any)[0].(map[string]any)
	got := chain.ClaimDigest(dom, []chain.Claim{{Channel: ch, Voucher: payment.Voucher{Channel: ch.ID(dom), MaxClaimable: atoms(claim["maxClaimableAmount"].(string))},
		Total: atoms(claim["totalClaimed"].(string))}})
	if want := souk.Digest(vectors["claim batch"].Digest); got != want {
		t.Errorf("claim batch %s, want %s", got, want)
	}

	v := vectors["deposit"]
	d := chain.Deposit{Amount: atoms(v.text("value")), ValidAfter: uint64(atoms(v.text("validAfter"))), ValidBefore: uint64(atoms(v.text("validBefore"))), Salt: [32]byte(v.Salt)}
	if got, want := chain.DepositDigest(d, at, dom, ch), souk.Digest(v.Digest); got != want {
		t.Errorf("deposit %s, want %s", got, want)
	}
}
