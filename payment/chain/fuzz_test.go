package chain_test

import (
	"errors"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/chain"
	leasev1 "github.com/souk-market/souk/proto/souk/lease/v1"
)

func FuzzDepositFromProto(f *testing.F) {
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		var m leasev1.Deposit
		if proto.Unmarshal(b, &m) != nil {
			return
		}
		d, err := chain.DepositFromProto(&m)
		if err != nil {
			if !errors.Is(err, payment.ErrMalformed) {
				t.Errorf("%v; want %v", err, payment.ErrMalformed)
			}
			return
		}
		again, err := chain.DepositFromProto(d.Proto())
		if err != nil || again.Amount != d.Amount || again.Salt != d.Salt || string(again.Signature) != string(d.Signature) ||
			again.ValidAfter != d.ValidAfter || again.ValidBefore != d.ValidBefore {
			t.Errorf("%+v becomes %+v, %v", d, again, err)
		}
		at := chain.DevnetContracts()
		dom := payment.EIP712Domain{ChainID: chain.DevnetChainID, Settlement: at.Settlement}
		if chain.VerifyDeposit(d, payment.Channel{Token: at.Token}, at, dom) == nil {
			t.Error("a deposit by nobody was taken")
		}
	})
}

// What a node gives as a contract's reason is only text.
func FuzzDecodeRevert(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{1, 2, 3, 4})
	f.Fuzz(func(t *testing.T, b []byte) {
		if r := chain.DecodeRevert(b); r.Error() == "" {
			t.Error("a revert without a text")
		}
	})
}
