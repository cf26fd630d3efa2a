package payment

import (
	"encoding/binary"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/souk-market/souk"
)

// EIP712Domain is where a signature counts: one settlement contract on one chain. The
// name and version beside them differ between vouchers and receipts.
type EIP712Domain struct {
	ChainID    uint64
	Settlement Address
}

// The EIP-712 types, and their hashes. The voucher types are x402's, unchanged.
const (
	domainType  = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
	channelType = "ChannelConfig(address payer,address payerAuthorizer,address receiver,address receiverAuthorizer,address token,uint40 withdrawDelay,bytes32 salt)"
	voucherType = "Voucher(bytes32 channelId,uint128 maxClaimableAmount)"
	refundType  = "Refund(bytes32 channelId,uint256 nonce,uint128 amount)"
	receiptOne  = "Receipt(bytes32 leaseId,bytes32 jobId,bytes32 channelId,bytes32 providerKey,bytes32 clientKey,uint64 seq,uint8 kind,uint64 startMs,uint64 endMs,uint64 deviceMilliSeconds,uint64 energyMilliJoules,uint64 priceAtomsPerHour,uint128 cumulativeDueAtoms,bytes32 inputDigest,bytes32 outputDigest,bytes32 telemetryRoot,bytes32 prevReceipt)"
	receiptTwo  = "Receipt(bytes32 leaseId,bytes32 jobId,bytes32 channelId,bytes32 providerKey,bytes32 clientKey,uint64 seq,uint8 kind,uint64 startMs,uint64 endMs,UsageLine[] usage,uint64 energyMilliJoules,uint128 cumulativeDueAtoms,bytes32 inputDigest,bytes32 outputDigest,bytes32 telemetryRoot,bytes32 prevReceipt)" + usageType
	usageType   = "UsageLine(string unit,uint64 quantity,uint64 priceAtoms,uint64 per,uint128 dueAtoms)"
)

var (
	domainTypeHash  = keccak([]byte(domainType))
	channelTypeHash = keccak([]byte(channelType))
	voucherTypeHash = keccak([]byte(voucherType))
	refundTypeHash  = keccak([]byte(refundType))
	receiptOneHash  = keccak([]byte(receiptOne))
	receiptTwoHash  = keccak([]byte(receiptTwo))
	usageTypeHash   = keccak([]byte(usageType))

	settlementName = keccak([]byte("x402 Batch Settlement"))
	soukName       = keccak([]byte("souk"))
	versionOne     = keccak([]byte("1"))
	versionTwo     = keccak([]byte("2"))
	deviceMsHash   = keccak([]byte(UnitDeviceMs))
)

func keccak(b []byte) souk.Digest { return souk.Digest(crypto.Keccak256Hash(b)) }

// words is the ABI encoding of a struct: 32 bytes for each field.
type words []byte

func newWords(n int, typeHash souk.Digest) words {
	return append(make(words, 0, 32*(n+1)), typeHash[:]...)
}

func (w *words) digest(d [32]byte) { *w = append(*w, d[:]...) }

func (w *words) uint(n uint64) {
	*w = append(*w, make([]byte, 24)...)
	*w = binary.BigEndian.AppendUint64(*w, n)
}

func (w *words) address(a Address) {
	*w = append(*w, make([]byte, 12)...)
	*w = append(*w, a[:]...)
}

// hash is the EIP-712 hash of the struct in w, in the domain of that name and
// version.
func (d EIP712Domain) hash(name, version souk.Digest, w words) souk.Digest {
	sep := newWords(4, domainTypeHash)
	sep.digest(name)
	sep.digest(version)
	sep.uint(d.ChainID)
	sep.address(d.Settlement)
	var msg [66]byte
	msg[0], msg[1] = 0x19, 0x01
	s, h := keccak(sep), keccak(w)
	copy(msg[2:], s[:])
	copy(msg[34:], h[:])
	return keccak(msg[:])
}
