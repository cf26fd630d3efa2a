package vectors

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/common/math"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/signer/core/apitypes"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/chain"
	"google.golang.org/protobuf/proto"
)

// The types, as they are published.
const (
	domainType  = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
	channelType = "ChannelConfig(address payer,address payerAuthorizer,address receiver,address receiverAuthorizer,address token,uint40 withdrawDelay,bytes32 salt)"
	voucherType = "Voucher(bytes32 channelId,uint128 maxClaimableAmount)"
	refundType  = "Refund(bytes32 channelId,uint256 nonce,uint128 amount)"
	depositType = "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
	claimType   = "ClaimBatch(ClaimEntry[] claims)ClaimEntry(bytes32 channelId,uint128 maxClaimableAmount,uint128 totalClaimed)"

	receiptOneType = "Receipt(bytes32 leaseId,bytes32 jobId,bytes32 channelId,bytes32 providerKey,bytes32 clientKey,uint64 seq,uint8 kind,uint64 startMs,uint64 endMs,uint64 deviceMilliSeconds,uint64 energyMilliJoules,uint64 priceAtomsPerHour,uint128 cumulativeDueAtoms,bytes32 inputDigest,bytes32 outputDigest,bytes32 telemetryRoot,bytes32 prevReceipt)"
	receiptTwoType = "Receipt(bytes32 leaseId,bytes32 jobId,bytes32 channelId,bytes32 providerKey,bytes32 clientKey,uint64 seq,uint8 kind,uint64 startMs,uint64 endMs,UsageLine[] usage,uint64 energyMilliJoules,uint128 cumulativeDueAtoms,bytes32 inputDigest,bytes32 outputDigest,bytes32 telemetryRoot,bytes32 prevReceipt)UsageLine(string unit,uint64 quantity,uint64 priceAtoms,uint64 per,uint128 dueAtoms)"
)

// typedData is a struct under EIP-712, and its hash.
type typedData struct {
	Name        string                    `json:"name"`
	Domain      apitypes.TypedDataDomain  `json:"domain"`
	Types       apitypes.Types            `json:"types"`
	PrimaryType string                    `json:"primaryType"`
	EncodedType string                    `json:"encoded_type"`
	Message     apitypes.TypedDataMessage `json:"message"`
	Digest      string                    `json:"digest"` // what is signed; of a channel: its id
}

// typedVector is one that a secp256k1 key signs. A channel id is not signed.
type typedVector struct {
	typedData
	PrivateKey string `json:"private_key,omitempty"`
	Address    string `json:"address,omitempty"`
	Signature  string `json:"signature,omitempty"` // r, s, v
	Salt       string `json:"salt,omitempty"`      // of a deposit: its nonce is keccak256(channel id, salt)
	ChannelID  string `json:"channel_id,omitempty"`
}

// typed hashes a message from its type alone, as wallets do.
func typed(t *testing.T, name string, d apitypes.TypedDataDomain, encoded string, msg apitypes.TypedDataMessage) typedData {
	t.Helper()
	types, primary := typesOf(encoded)
	known := apitypes.Types{}
	for k, v := range types {
		known[k] = v
	}
	known["EIP712Domain"] = mustTypes(domainType)["EIP712Domain"]
	h, _, err := apitypes.TypedDataAndHash(apitypes.TypedData{Types: known, PrimaryType: primary, Domain: d, Message: msg})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return typedData{name, d, types, primary, encoded, msg, hexutil.Encode(h)}
}

func mustTypes(encoded string) apitypes.Types {
	types, _ := typesOf(encoded)
	return types
}

// typesOf reads an encoded type.
func typesOf(encoded string) (types apitypes.Types, primary string) {
	types = apitypes.Types{}
	for _, one := range strings.SplitAfter(encoded, ")") {
		name, fields, ok := strings.Cut(strings.TrimSuffix(one, ")"), "(")
		if !ok {
			continue
		}
		if primary == "" {
			primary = name
		}
		for _, f := range strings.Split(fields, ",") {
			kind, field, _ := strings.Cut(f, " ")
			types[name] = append(types[name], apitypes.Type{Name: field, Type: kind})
		}
	}
	return types, primary
}

func domainOf(name, version string, contract payment.Address) apitypes.TypedDataDomain {
	return apitypes.TypedDataDomain{Name: name, Version: version, ChainId: math.NewHexOrDecimal256(int64(domain.ChainID)), VerifyingContract: contract.Hex()}
}

func x402() apitypes.TypedDataDomain {
	return domainOf("x402 Batch Settlement", "1", domain.Settlement)
}

func decimal[N ~int64 | ~uint64](n N) string { return new(big.Int).SetUint64(uint64(n)).String() }

func x(d [32]byte) string { return hexutil.Encode(d[:]) }

// is checks that souk hashes a struct as its type says.
func is(t *testing.T, v typedData, digest souk.Digest) {
	t.Helper()
	if v.Digest != x(digest) {
		t.Errorf("%s: souk has %s, its type %s", v.Name, x(digest), v.Digest)
	}
}

func by(v typedData, key *ecdsa.PrivateKey, sig []byte) typedVector {
	return typedVector{typedData: v, PrivateKey: hexutil.Encode(crypto.FromECDSA(key)), Address: addressOf(key).Hex(), Signature: hexutil.Encode(sig)}
}

func TestTyped(t *testing.T) {
	id := channel.ID(domain)
	ch := typed(t, "channel id", x402(), channelType, apitypes.TypedDataMessage{
		"payer": channel.Payer.Hex(), "payerAuthorizer": channel.PayerAuthorizer.Hex(), "receiver": channel.Receiver.Hex(),
		"receiverAuthorizer": channel.ReceiverAuthorizer.Hex(), "token": channel.Token.Hex(), "withdrawDelay": decimal(channel.WithdrawDelay), "salt": x(channel.Salt),
	})
	is(t, ch, id.Digest)

	voucher := payment.Voucher{Channel: id, MaxClaimable: 123_456_789}
	if err := voucher.Sign(domain, voucherKey); err != nil {
		t.Fatal(err)
	}
	v := typed(t, "voucher", x402(), voucherType, apitypes.TypedDataMessage{"channelId": x(id.Digest), "maxClaimableAmount": decimal(voucher.MaxClaimable)})
	is(t, v, voucher.Digest(domain))

	refund := payment.Refund{Channel: id, Nonce: 3, Amount: 1_000_000}
	refundSig, err := refund.Sign(domain, receiverKey)
	if err != nil {
		t.Fatal(err)
	}
	r := typed(t, "refund", x402(), refundType, apitypes.TypedDataMessage{"channelId": x(id.Digest), "nonce": decimal(refund.Nonce), "amount": decimal(refund.Amount)})
	is(t, r, refund.Digest(domain))

	c := typed(t, "claim batch", x402(), claimType, apitypes.TypedDataMessage{"claims": []any{apitypes.TypedDataMessage{
		"channelId": x(id.Digest), "maxClaimableAmount": decimal(voucher.MaxClaimable), "totalClaimed": "100000000"}}})
	claimSig, err := crypto.Sign(hexutil.MustDecode(c.Digest), receiverKey)
	if err != nil {
		t.Fatal(err)
	}
	claimSig[64] += 27
	compare(t, "eip712.json", []typedVector{{typedData: ch}, by(v, voucherKey, voucher.Signature), by(r, receiverKey, refundSig), by(c, receiverKey, claimSig), deposit(t, id)})
}

// deposit is an ERC-3009 authorization that only the collector can use.
func deposit(t *testing.T, id souk.ChannelID) typedVector {
	t.Helper()
	at := chain.DevnetContracts()
	d, err := chain.SignDeposit(walletKey, at, domain, channel, 5_000_000, 30*time.Minute, issued, [32]byte{11})
	if err != nil {
		t.Fatal(err)
	}
	if err := chain.VerifyDeposit(d, channel, at, domain); err != nil {
		t.Fatal(err)
	}
	nonce := crypto.Keccak256Hash(id.Digest[:], d.Salt[:])
	v := by(typed(t, "deposit", domainOf(at.TokenName, at.TokenVersion, at.Token), depositType, apitypes.TypedDataMessage{
		"from": channel.Payer.Hex(), "to": at.Collector.Hex(), "value": decimal(d.Amount), "validAfter": decimal(d.ValidAfter),
		"validBefore": decimal(d.ValidBefore), "nonce": nonce.Hex(),
	}), walletKey, d.Signature)
	if pub, err := crypto.SigToPub(hexutil.MustDecode(v.Digest), append(d.Signature[:64:64], d.Signature[64]-27)); err != nil || crypto.PubkeyToAddress(*pub) != channel.Payer {
		t.Errorf("the deposit is signed over another digest: %v", err)
	}
	v.Salt, v.ChannelID = x(d.Salt), x(id.Digest)
	return v
}

// receiptVector is one that two Ed25519 keys sign.
type receiptVector struct {
	typedData
	Preimage string      `json:"preimage"` // souk/receipt/1, a zero byte, digest
	Body     string      `json:"body"`     // souk.run.v1.Receipt, as it travels
	Provider nodeVector  `json:"provider"`
	Client   *nodeVector `json:"client,omitempty"`
}

type nodeVector struct {
	PrivateKey string `json:"private_key"` // the Ed25519 seed
	PublicKey  string `json:"public_key"`
	Signature  string `json:"signature"`
}

func TestReceipts(t *testing.T) {
	var vectors []receiptVector
	for _, version := range []int{1, 2} {
		var prev souk.Digest
		for seq := uint64(1); seq <= 2; seq++ {
			r := receipt(t, version, seq, prev)
			v := receiptVectorOf(t, fmt.Sprintf("version %d, receipt %d", version, seq), r)
			vectors, prev = append(vectors, v), r.Digest(domain)
		}
	}
	compare(t, "receipts.json", vectors)
}

// receipt is the interval receipt of a lease, or its final one.
func receipt(t *testing.T, version int, seq uint64, prev souk.Digest) payment.Receipt {
	t.Helper()
	r := payment.Receipt{Version: version, Lease: souk.LeaseID{Digest: souk.Digest{byte(version)}}, Job: souk.JobID{Digest: souk.Digest{9}}, Channel: channel.ID(domain),
		ProviderKey: nodeKey(providerKey), ClientKey: nodeKey(clientKey), Seq: seq, Kind: payment.KindInterval, StartMs: issued.UnixMilli() + int64(seq-1)*10_000,
		EndMs: issued.UnixMilli() + int64(seq)*10_000, EnergyMillijoules: 3_500_000, InputDigest: souk.Digest{10}, TelemetryRoot: souk.Digest{12}, PrevReceipt: prev}
	if seq == 2 {
		r.Kind, r.OutputDigest = payment.KindFinal, souk.Digest{13}
	}
	tariff := payment.HourlyTariff(400_000)
	if version == 2 {
		tariff = payment.Tariff{{Unit: "device-ms/CPU", Price: 50_000, Per: souk.MillisPerHour}, {Unit: "device-ms/RTX_4090", Price: 400_000, Per: souk.MillisPerHour},
			{Unit: payment.UnitTokenOut, Price: 15, Per: 1000}}
	} else {
		r.DeviceMilliseconds, r.PriceAtomsPerHour = 10_000, 400_000
	}
	for i, l := range tariff {
		quantity := []uint64{10_000, 20_000, 123_456}[i] * seq
		due, err := l.Due(quantity)
		if err != nil {
			t.Fatal(err)
		}
		r.CumulativeDue += due
		if version == 2 {
			r.Usage = append(r.Usage, payment.UsageLine{Line: l, Quantity: quantity, Due: due})
		}
	}
	r.SignProvider(domain, providerKey)
	r.SignClient(domain, clientKey)
	return r
}

func receiptVectorOf(t *testing.T, name string, r payment.Receipt) receiptVector {
	t.Helper()
	msg := apitypes.TypedDataMessage{
		"leaseId": x(r.Lease.Digest), "jobId": x(r.Job.Digest), "channelId": x(r.Channel.Digest), "providerKey": x(r.ProviderKey), "clientKey": x(r.ClientKey),
		"seq": decimal(r.Seq), "kind": strconv.Itoa(int(r.Kind)), "startMs": decimal(r.StartMs), "endMs": decimal(r.EndMs),
		"energyMilliJoules": decimal(r.EnergyMillijoules), "cumulativeDueAtoms": decimal(r.CumulativeDue), "inputDigest": x(r.InputDigest),
		"outputDigest": x(r.OutputDigest), "telemetryRoot": x(r.TelemetryRoot), "prevReceipt": x(r.PrevReceipt),
	}
	encoded := receiptOneType
	if r.Version == 1 {
		msg["deviceMilliSeconds"], msg["priceAtomsPerHour"] = decimal(r.DeviceMilliseconds), decimal(r.PriceAtomsPerHour)
	} else {
		encoded = receiptTwoType
		lines := make([]any, len(r.Usage))
		for i, l := range r.Usage {
			lines[i] = apitypes.TypedDataMessage{"unit": l.Unit, "quantity": decimal(l.Quantity), "priceAtoms": decimal(l.Price), "per": decimal(l.Per), "dueAtoms": decimal(l.Due)}
		}
		msg["usage"] = lines
	}
	v := typed(t, name, domainOf("souk", strconv.Itoa(r.Version), domain.Settlement), encoded, msg)
	digest := r.Digest(domain)
	is(t, v, digest)
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(r.Proto())
	if err != nil {
		t.Fatal(err)
	}
	if err := r.VerifyProvider(domain); err != nil {
		t.Error(err)
	}
	if err := r.VerifyClient(domain); err != nil {
		t.Error(err)
	}
	return receiptVector{v, hexOf(souk.DomainReceipt.Message(digest[:])), hexOf(body), node(providerKey, r.ProviderSig), new(node(clientKey, r.ClientSig))}
}

func node(key ed25519.PrivateKey, sig []byte) nodeVector {
	public := nodeKey(key)
	return nodeVector{hexOf(key.Seed()), hexOf(public[:]), hexOf(sig)}
}
