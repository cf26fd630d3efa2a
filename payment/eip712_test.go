package payment

import (
	"encoding/hex"
	"fmt"
	"math/big"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/common/math"
	"github.com/ethereum/go-ethereum/signer/core/apitypes"
	"github.com/souk-market/souk"
	"pgregory.net/rapid"
)

// typedHash hashes a message as wallets do, from the types alone.
func typedHash(t *rapid.T, d EIP712Domain, name, primary string, fields []apitypes.Type, msg apitypes.TypedDataMessage) souk.Digest {
	h, _, err := apitypes.TypedDataAndHash(apitypes.TypedData{
		Types: apitypes.Types{
			"EIP712Domain": {{Name: "name", Type: "string"}, {Name: "version", Type: "string"}, {Name: "chainId", Type: "uint256"}, {Name: "verifyingContract", Type: "address"}},
			primary:        fields,
		},
		PrimaryType: primary,
		Domain: apitypes.TypedDataDomain{
			Name: name, Version: "1", ChainId: (*math.HexOrDecimal256)(new(big.Int).SetUint64(d.ChainID)), VerifyingContract: d.Settlement.Hex(),
		},
		Message: msg,
	})
	if err != nil {
		t.Fatal(err)
	}
	return souk.Digest(h)
}

func drawBytes(t *rapid.T, n int, label string) []byte {
	return rapid.SliceOfN(rapid.Byte(), n, n).Draw(t, label)
}

func drawDigest(t *rapid.T, label string) souk.Digest { return souk.Digest(drawBytes(t, 32, label)) }

func drawAddress(t *rapid.T, label string) Address {
	return common.BytesToAddress(drawBytes(t, 20, label))
}

func drawAtoms(t *rapid.T, label string) souk.Atoms {
	return souk.Atoms(rapid.Int64Min(0).Draw(t, label))
}

func hexOf[T ~[32]byte](b T) string { return hexutil.Encode(b[:]) }

func decimal(n uint64) string { return new(big.Int).SetUint64(n).String() }

func TestHashesAreTheWallets(t *testing.T) {
	const settlement = "x402 Batch Settlement"
	rapid.Check(t, func(t *rapid.T) {
		d := EIP712Domain{uint64(rapid.Int64Min(1).Draw(t, "chain")), drawAddress(t, "settlement")}
		id := souk.ChannelID{Digest: drawDigest(t, "channel")}

		c := Channel{
			drawAddress(t, "payer"), drawAddress(t, "authorizer"), drawAddress(t, "receiver"), drawAddress(t, "receiver authorizer"),
			drawAddress(t, "token"), rapid.Uint64Max(1<<40-1).Draw(t, "delay"), drawDigest(t, "salt"),
		}
		if want := typedHash(t, d, settlement, "ChannelConfig", []apitypes.Type{
			{Name: "payer", Type: "address"}, {Name: "payerAuthorizer", Type: "address"}, {Name: "receiver", Type: "address"},
			{Name: "receiverAuthorizer", Type: "address"}, {Name: "token", Type: "address"}, {Name: "withdrawDelay", Type: "uint40"}, {Name: "salt", Type: "bytes32"},
		}, apitypes.TypedDataMessage{
			"payer": c.Payer.Hex(), "payerAuthorizer": c.PayerAuthorizer.Hex(), "receiver": c.Receiver.Hex(), "receiverAuthorizer": c.ReceiverAuthorizer.Hex(),
			"token": c.Token.Hex(), "withdrawDelay": decimal(c.WithdrawDelay), "salt": hexOf(c.Salt),
		}); c.ID(d).Digest != want {
			t.Errorf("channel %s, want %s", c.ID(d), want)
		}

		v := Voucher{Channel: id, MaxClaimable: drawAtoms(t, "claimable")}
		if want := typedHash(t, d, settlement, "Voucher", []apitypes.Type{
			{Name: "channelId", Type: "bytes32"}, {Name: "maxClaimableAmount", Type: "uint128"},
		}, apitypes.TypedDataMessage{"channelId": hexOf(id.Digest), "maxClaimableAmount": decimal(uint64(v.MaxClaimable))}); v.Digest(d) != want {
			t.Errorf("voucher %s, want %s", v.Digest(d), want)
		}

		r := Refund{id, rapid.Uint64().Draw(t, "nonce"), drawAtoms(t, "refund")}
		if want := typedHash(t, d, settlement, "Refund", []apitypes.Type{
			{Name: "channelId", Type: "bytes32"}, {Name: "nonce", Type: "uint256"}, {Name: "amount", Type: "uint128"},
		}, apitypes.TypedDataMessage{"channelId": hexOf(id.Digest), "nonce": decimal(r.Nonce), "amount": decimal(uint64(r.Amount))}); r.Digest(d) != want {
			t.Errorf("refund %s, want %s", r.Digest(d), want)
		}
		checkReceiptHash(t, d)
	})
}

func drawReceipt(t *rapid.T) Receipt {
	start := rapid.Int64Min(0).Draw(t, "start")
	return Receipt{
		Lease:              souk.LeaseID{Digest: drawDigest(t, "lease")},
		Job:                souk.JobID{Digest: drawDigest(t, "job")},
		Channel:            souk.ChannelID{Digest: drawDigest(t, "channel")},
		ProviderKey:        souk.NodeKey(drawDigest(t, "provider")),
		ClientKey:          souk.NodeKey(drawDigest(t, "client")),
		Seq:                rapid.Uint64Min(1).Draw(t, "seq"),
		Kind:               rapid.SampledFrom([]uint8{KindInterval, KindFinal}).Draw(t, "kind"),
		StartMs:            start,
		EndMs:              rapid.Int64Min(start).Draw(t, "end"),
		DeviceMilliseconds: rapid.Uint64().Draw(t, "device ms"),
		EnergyMillijoules:  rapid.Uint64().Draw(t, "energy"),
		PriceAtomsPerHour:  rapid.Uint64().Draw(t, "price"),
		CumulativeDue:      drawAtoms(t, "due"),
		InputDigest:        drawDigest(t, "input"),
		OutputDigest:       drawDigest(t, "output"),
		TelemetryRoot:      drawDigest(t, "telemetry"),
		PrevReceipt:        drawDigest(t, "previous"),
		ProviderSig:        drawBytes(t, 64, "provider signature"),
		ClientSig:          rapid.SampledFrom([][]byte{nil, make([]byte, 64)}).Draw(t, "client signature"),
	}
}

func checkReceiptHash(t *rapid.T, d EIP712Domain) {
	r := drawReceipt(t)
	want := typedHash(t, d, "souk", "Receipt", []apitypes.Type{
		{Name: "leaseId", Type: "bytes32"}, {Name: "jobId", Type: "bytes32"}, {Name: "channelId", Type: "bytes32"},
		{Name: "providerKey", Type: "bytes32"}, {Name: "clientKey", Type: "bytes32"}, {Name: "seq", Type: "uint64"}, {Name: "kind", Type: "uint8"},
		{Name: "startMs", Type: "uint64"}, {Name: "endMs", Type: "uint64"}, {Name: "deviceMilliSeconds", Type: "uint64"},
		{Name: "energyMilliJoules", Type: "uint64"}, {Name: "priceAtomsPerHour", Type: "uint64"}, {Name: "cumulativeDueAtoms", Type: "uint128"},
		{Name: "inputDigest", Type: "bytes32"}, {Name: "outputDigest", Type: "bytes32"}, {Name: "telemetryRoot", Type: "bytes32"}, {Name: "prevReceipt", Type: "bytes32"},
	}, apitypes.TypedDataMessage{
		"leaseId": hexOf(r.Lease.Digest), "jobId": hexOf(r.Job.Digest), "channelId": hexOf(r.Channel.Digest),
		"providerKey": hexOf(r.ProviderKey), "clientKey": hexOf(r.ClientKey), "seq": decimal(r.Seq), "kind": fmt.Sprint(r.Kind),
		"startMs": decimal(uint64(r.StartMs)), "endMs": decimal(uint64(r.EndMs)), "deviceMilliSeconds": decimal(r.DeviceMilliseconds),
		"energyMilliJoules": decimal(r.EnergyMillijoules), "priceAtomsPerHour": decimal(r.PriceAtomsPerHour), "cumulativeDueAtoms": decimal(uint64(r.CumulativeDue)),
		"inputDigest": hexOf(r.InputDigest), "outputDigest": hexOf(r.OutputDigest), "telemetryRoot": hexOf(r.TelemetryRoot), "prevReceipt": hexOf(r.PrevReceipt),
	})
	if r.Digest(d) != want {
		t.Errorf("receipt %s, want %s", r.Digest(d), want)
	}
}

// TestReceiptType holds the type to what is published, character by character.
func TestReceiptType(t *testing.T) {
	const published = "Receipt(bytes32 leaseId,bytes32 jobId,bytes32 channelId,bytes32 providerKey,bytes32 clientKey,uint64 seq,uint8 kind,uint64 " +
		"startMs,uint64 endMs,uint64 deviceMilliSeconds,uint64 energyMilliJoules,uint64 priceAtomsPerHour,uint128 " +
		"cumulativeDueAtoms,bytes32 inputDigest,bytes32 outputDigest,bytes32 telemetryRoot,bytes32 prevReceipt)"
	if receiptType != published {
		t.Errorf("type is %s\nwant    %s", receiptType, published)
	}
	if got := hex.EncodeToString(receiptTypeHash[:]); got != keccak([]byte(published)).String() {
		t.Errorf("type hash %s", got)
	}
}
