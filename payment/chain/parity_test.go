package chain_test

import (
	"crypto/rand"
	"fmt"
	"math/big"
	mrand "math/rand/v2"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/math"
	"github.com/ethereum/go-ethereum/signer/core/apitypes"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/chain"
	"github.com/souk-market/souk/payment/chain/chaintest"
	"github.com/souk-market/souk/payment/chain/contracts/settlement"
)

// What Go signs is what the contract hashes, over random values.
func TestDigestsMatchTheContract(t *testing.T) {
	w := newWorld(t)
	dom, at := w.payer.Domain(), w.payer.Contracts.Settlement
	hash := func(data []byte, err error) souk.Digest {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		out, err := w.payer.View(t.Context(), at, data)
		if err != nil || len(out) != 32 {
			t.Fatalf("%x, %v; want 32 bytes", out, err)
		}
		return souk.Digest(out)
	}
	for range 50 {
		ch := randomChannel(t)
		id := ch.ID(dom)
		if got := hash(w.settle.TryPackGetChannelId(chain.ChannelConfig(ch))); got != id.Digest {
			t.Errorf("channel %+v has id %s, the contract says %s", ch, id, got)
		}
		amount, nonce := randomAtoms(), mrand.Uint64()
		v := payment.Voucher{Channel: id, MaxClaimable: amount}
		if got := hash(w.settle.TryPackGetVoucherDigest(id.Digest, atoms(amount))); got != v.Digest(dom) {
			t.Errorf("voucher %+v has digest %s, the contract says %s", v, v.Digest(dom), got)
		}
		r := payment.Refund{Channel: id, Nonce: nonce, Amount: amount}
		if got := hash(w.settle.TryPackGetRefundDigest(id.Digest, new(big.Int).SetUint64(nonce), atoms(amount))); got != r.Digest(dom) {
			t.Errorf("refund %+v has digest %s, the contract says %s", r, r.Digest(dom), got)
		}
	}
	for n := range 4 {
		claims := make([]chain.Claim, n)
		rows := make([]settlement.SettlementVoucherClaim, n)
		for i := range claims {
			claims[i] = chain.Claim{Channel: randomChannel(t), Voucher: payment.Voucher{MaxClaimable: randomAtoms()}, Total: randomAtoms()}
			rows[i].Voucher.Channel = chain.ChannelConfig(claims[i].Channel)
			rows[i].Voucher.MaxClaimableAmount, rows[i].TotalClaimed = atoms(claims[i].Voucher.MaxClaimable), atoms(claims[i].Total)
		}
		if got, want := hash(w.settle.TryPackGetClaimBatchDigest(rows)), chain.ClaimDigest(dom, claims); got != want {
			t.Errorf("batch of %d has digest %s, the contract says %s", n, want, got)
		}
	}
}

// The domain in the contract's code is that of its address and chain, and not of
// where its code was made.
func TestDomainsOfTheContracts(t *testing.T) {
	w := newWorld(t)
	out, err := w.payer.View(t.Context(), w.payer.Contracts.Settlement, w.settle.PackEip712Domain())
	if err != nil {
		t.Fatal(err)
	}
	d, err := w.settle.UnpackEip712Domain(out)
	if err != nil || d.Name != "x402 Batch Settlement" || d.Version != "1" ||
		d.ChainId.Uint64() != chain.DevnetChainID || d.VerifyingContract != w.payer.Contracts.Settlement {
		t.Errorf("settlement's domain is %+v, %v", d, err)
	}
}

// The deposit's digest against go-ethereum's own EIP-712 code.
func TestDepositDigestByTypedData(t *testing.T) {
	key := chaintest.NewKey(t)
	at, dom := chain.DevnetContracts(), payment.EIP712Domain{ChainID: 1337, Settlement: chain.DevnetContracts().Settlement}
	for range 20 {
		ch := randomChannel(t)
		ch.Payer, ch.Token, ch.WithdrawDelay = addressOf(key), at.Token, chain.MinWithdrawDelay
		d, err := chain.SignDeposit(key, at, dom, ch, 1+randomAtoms()>>1, time.Hour, time.Unix(mrand.Int64N(1<<40), 0), chaintest.NewWord())
		if err != nil {
			t.Fatal(err)
		}
		nonce := chain.DepositNonce(d, ch.ID(dom))
		data := apitypes.TypedData{
			Types: apitypes.Types{
				"EIP712Domain": {{Name: "name", Type: "string"}, {Name: "version", Type: "string"}, {Name: "chainId", Type: "uint256"}, {Name: "verifyingContract", Type: "address"}},
				"ReceiveWithAuthorization": {
					{Name: "from", Type: "address"}, {Name: "to", Type: "address"}, {Name: "value", Type: "uint256"},
					{Name: "validAfter", Type: "uint256"}, {Name: "validBefore", Type: "uint256"}, {Name: "nonce", Type: "bytes32"},
				},
			},
			PrimaryType: "ReceiveWithAuthorization",
			Domain: apitypes.TypedDataDomain{
				Name: at.TokenName, Version: at.TokenVersion, ChainId: math.NewHexOrDecimal256(1337), VerifyingContract: at.Token.Hex(),
			},
			Message: apitypes.TypedDataMessage{
				"from": ch.Payer.Hex(), "to": at.Collector.Hex(), "value": fmt.Sprint(int64(d.Amount)),
				"validAfter": fmt.Sprint(d.ValidAfter), "validBefore": fmt.Sprint(d.ValidBefore), "nonce": nonce[:],
			},
		}
		want, _, err := apitypes.TypedDataAndHash(data)
		if err != nil {
			t.Fatal(err)
		}
		if got := chain.DepositDigest(d, at, dom, ch); got != souk.Digest(want) {
			t.Errorf("deposit %+v has digest %s, want %x", d, got, want)
		}
	}
}

func randomChannel(t *testing.T) payment.Channel {
	t.Helper()
	var a [5]common.Address
	for i := range a {
		if _, err := rand.Read(a[i][:]); err != nil {
			t.Fatal(err)
		}
	}
	return payment.Channel{
		Payer: a[0], PayerAuthorizer: a[1], Receiver: a[2], ReceiverAuthorizer: a[3], Token: a[4],
		WithdrawDelay: mrand.Uint64N(1 << 40), Salt: chaintest.NewWord(),
	}
}

func randomAtoms() souk.Atoms { return souk.Atoms(mrand.Int64()) }
