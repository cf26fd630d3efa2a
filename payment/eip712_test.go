package payment

import (
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/common/math"
	"github.com/ethereum/go-ethereum/signer/core/apitypes"
	"github.com/souk-market/souk"
	"pgregory.net/rapid"
)

// typedHash hashes a message as wallets do, from the types alone.
func typedHash(t *rapid.T, d EIP712Domain, name, version, primary string, types apitypes.Types, msg apitypes.TypedDataMessage) souk.Digest {
	types["EIP712Domain"] = []apitypes.Type{{Name: "name", Type: "string"}, {Name: "version", Type: "string"}, {Name: "chainId", Type: "uint256"}, {Name: "verifyingContract", Type: "address"}}
	h, _, err := apitypes.TypedDataAndHash(apitypes.TypedData{
		Types:       types,
		PrimaryType: primary,
		Domain: apitypes.TypedDataDomain{
			Name: name, Version: version, ChainId: (*math.HexOrDecimal256)(new(big.Int).SetUint64(d.ChainID)), VerifyingContract: d.Settlement.Hex(),
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
		if want := typedHash(t, d, settlement, "1", "ChannelConfig", apitypes.Types{"ChannelConfig": {
			{Name: "payer", Type: "address"}, {Name: "payerAuthorizer", Type: "address"}, {Name: "receiver", Type: "address"},
			{Name: "receiverAuthorizer", Type: "address"}, {Name: "token", Type: "address"}, {Name: "withdrawDelay", Type: "uint40"}, {Name: "salt", Type: "bytes32"},
		}}, apitypes.TypedDataMessage{
			"payer": c.Payer.Hex(), "payerAuthorizer": c.PayerAuthorizer.Hex(), "receiver": c.Receiver.Hex(), "receiverAuthorizer": c.ReceiverAuthorizer.Hex(),
			"token": c.Token.Hex(), "withdrawDelay": decimal(c.WithdrawDelay), "salt": hexOf(c.Salt),
		}); c.ID(d).Digest != want {
			t.Errorf("channel %s, want %s", c.ID(d), want)
		}

		v := Voucher{Channel: id, MaxClaimable: drawAtoms(t, "claimable")}
		if want := typedHash(t, d, settlement, "1", "Voucher", apitypes.Types{"Voucher": {
			{Name: "channelId", Type: "bytes32"}, {Name: "maxClaimableAmount", Type: "uint128"},
		}}, apitypes.TypedDataMessage{"channelId": hexOf(id.Digest), "maxClaimableAmount": decimal(uint64(v.MaxClaimable))}); v.Digest(d) != want {
			t.Errorf("voucher %s, want %s", v.Digest(d), want)
		}

		r := Refund{id, rapid.Uint64().Draw(t, "nonce"), drawAtoms(t, "refund")}
		if want := typedHash(t, d, settlement, "1", "Refund", apitypes.Types{"Refund": {
			{Name: "channelId", Type: "bytes32"}, {Name: "nonce", Type: "uint256"}, {Name: "amount", Type: "uint128"},
		}}, apitypes.TypedDataMessage{"channelId": hexOf(id.Digest), "nonce": decimal(r.Nonce), "amount": decimal(uint64(r.Amount))}); r.Digest(d) != want {
			t.Errorf("refund %s, want %s", r.Digest(d), want)
		}
		checkReceiptHash(t, d)
	})
}

// drawReceipt draws a receipt of either version.
func drawReceipt(t *rapid.T) Receipt {
	start := rapid.Int64Min(0).Draw(t, "start")
	r := Receipt{
		Version:           rapid.IntRange(1, 2).Draw(t, "version"),
		Lease:             souk.LeaseID{Digest: drawDigest(t, "lease")},
		Job:               souk.JobID{Digest: drawDigest(t, "job")},
		Channel:           souk.ChannelID{Digest: drawDigest(t, "channel")},
		ProviderKey:       souk.NodeKey(drawDigest(t, "provider")),
		ClientKey:         souk.NodeKey(drawDigest(t, "client")),
		Seq:               rapid.Uint64Min(1).Draw(t, "seq"),
		Kind:              rapid.SampledFrom([]uint8{KindInterval, KindFinal}).Draw(t, "kind"),
		StartMs:           start,
		EndMs:             rapid.Int64Min(start).Draw(t, "end"),
		EnergyMillijoules: rapid.Uint64().Draw(t, "energy"),
		CumulativeDue:     drawAtoms(t, "due"),
		InputDigest:       drawDigest(t, "input"),
		OutputDigest:      drawDigest(t, "output"),
		TelemetryRoot:     drawDigest(t, "telemetry"),
		PrevReceipt:       drawDigest(t, "previous"),
		ProviderSig:       drawBytes(t, 64, "provider signature"),
		ClientSig:         rapid.SampledFrom([][]byte{nil, make([]byte, 64)}).Draw(t, "client signature"),
	}
	if r.Version == 1 {
		r.DeviceMilliseconds, r.PriceAtomsPerHour = rapid.Uint64().Draw(t, "device ms"), rapid.Uint64().Draw(t, "price")
		return r
	}
	r.Usage = make([]UsageLine, rapid.IntRange(1, MaxLines).Draw(t, "lines"))
	for i := range r.Usage {
		r.Usage[i] = UsageLine{
			Line:     Line{rapid.StringN(1, maxUnitBytes, maxUnitBytes).Draw(t, "unit"), rapid.Uint64().Draw(t, "price"), rapid.Uint64Min(1).Draw(t, "per")},
			Quantity: rapid.Uint64().Draw(t, "quantity"), Due: drawAtoms(t, "line due"),
		}
	}
	return r
}

func checkReceiptHash(t *rapid.T, d EIP712Domain) {
	r := drawReceipt(t)
	msg := apitypes.TypedDataMessage{
		"leaseId": hexOf(r.Lease.Digest), "jobId": hexOf(r.Job.Digest), "channelId": hexOf(r.Channel.Digest),
		"providerKey": hexOf(r.ProviderKey), "clientKey": hexOf(r.ClientKey), "seq": decimal(r.Seq), "kind": fmt.Sprint(r.Kind),
		"startMs": decimal(uint64(r.StartMs)), "endMs": decimal(uint64(r.EndMs)),
		"energyMilliJoules": decimal(r.EnergyMillijoules), "cumulativeDueAtoms": decimal(uint64(r.CumulativeDue)),
		"inputDigest": hexOf(r.InputDigest), "outputDigest": hexOf(r.OutputDigest), "telemetryRoot": hexOf(r.TelemetryRoot), "prevReceipt": hexOf(r.PrevReceipt),
	}
	version, published := "1", publishedOne
	if r.Version == 1 {
		msg["deviceMilliSeconds"], msg["priceAtomsPerHour"] = decimal(r.DeviceMilliseconds), decimal(r.PriceAtomsPerHour)
	} else {
		version, published = "2", publishedTwo
		lines := make([]any, len(r.Usage))
		for i, l := range r.Usage {
			lines[i] = apitypes.TypedDataMessage{"unit": l.Unit, "quantity": decimal(l.Quantity), "priceAtoms": decimal(l.Price), "per": decimal(l.Per), "dueAtoms": decimal(uint64(l.Due))}
		}
		msg["usage"] = lines
	}
	if want := typedHash(t, d, "souk", version, "Receipt", typesOf(published), msg); r.Digest(d) != want {
		t.Errorf("receipt %s, want %s", r.Digest(d), want)
	}
}

// typesOf reads an encoded type as EIP-712 writes it.
func typesOf(encoded string) apitypes.Types {
	types := apitypes.Types{}
	for _, one := range strings.SplitAfter(encoded, ")") {
		name, fields, ok := strings.Cut(strings.TrimSuffix(one, ")"), "(")
		if !ok {
			continue
		}
		for _, f := range strings.Split(fields, ",") {
			kind, field, _ := strings.Cut(f, " ")
			types[name] = append(types[name], apitypes.Type{Name: field, Type: kind})
		}
	}
	return types
}

// The types as they are published.
const (
	publishedOne = "Receipt(bytes32 leaseId,bytes32 jobId,bytes32 channelId,bytes32 providerKey,bytes32 clientKey,uint64 seq,uint8 kind,uint64 " +
		"startMs,uint64 endMs,uint64 deviceMilliSeconds,uint64 energyMilliJoules,uint64 priceAtomsPerHour,uint128 " +
		"cumulativeDueAtoms,bytes32 inputDigest,bytes32 outputDigest,bytes32 telemetryRoot,bytes32 prevReceipt)"
	publishedTwo = "Receipt(bytes32 leaseId,bytes32 jobId,bytes32 channelId,bytes32 providerKey,bytes32 clientKey,uint64 seq,uint8 kind,uint64 " +
		"startMs,uint64 endMs,UsageLine[] usage,uint64 energyMilliJoules,uint128 cumulativeDueAtoms,bytes32 inputDigest,bytes32 " +
		"outputDigest,bytes32 telemetryRoot,bytes32 prevReceipt)UsageLine(string unit,uint64 quantity,uint64 priceAtoms,uint64 " +
		"per,uint128 dueAtoms)"
)

// TestReceiptType holds the types to what is published, character by character.
func TestReceiptType(t *testing.T) {
	for _, tt := range []struct {
		typ, published string
		hash           souk.Digest
	}{{receiptOne, publishedOne, receiptOneHash}, {receiptTwo, publishedTwo, receiptTwoHash}} {
		if tt.typ != tt.published || tt.hash != keccak([]byte(tt.published)) {
			t.Errorf("type is %s\nwant    %s\ntype hash %s", tt.typ, tt.published, tt.hash)
		}
	}
}
