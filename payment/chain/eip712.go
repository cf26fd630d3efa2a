package chain

import (
	"bytes"
	"fmt"
	"math/big"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
)

// The EIP-712 types that are signed here; vouchers and refunds are in payment.
const (
	domainType  = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
	receiveType = "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
	entryType   = "ClaimEntry(bytes32 channelId,uint128 maxClaimableAmount,uint128 totalClaimed)"
	batchType   = "ClaimBatch(ClaimEntry[] claims)" + entryType
)

func keccak(parts ...[]byte) souk.Digest { return souk.Digest(crypto.Keccak256Hash(parts...)) }

func typeHash(t string) []byte { return crypto.Keccak256([]byte(t)) }

// typedHash is the EIP-712 hash of a struct whose own hash is h.
func typedHash(name, version string, chainID uint64, contract common.Address, h souk.Digest) souk.Digest {
	domain := keccak(
		typeHash(domainType), typeHash(name), typeHash(version),
		common.LeftPadBytes(new(big.Int).SetUint64(chainID).Bytes(), 32),
		common.LeftPadBytes(contract[:], 32),
	)
	return keccak([]byte{0x19, 0x01}, domain[:], h[:])
}

// verifySignature takes what OpenZeppelin's ECDSA does: 65 bytes, low s, v 27 or 28.
func verifySignature(digest souk.Digest, sig []byte, want payment.Address) error {
	if len(sig) != crypto.SignatureLength {
		return fmt.Errorf("%d bytes: %w", len(sig), payment.ErrSignature)
	}
	rsv := bytes.Clone(sig)
	rsv[64] -= 27
	if !crypto.ValidateSignatureValues(rsv[64], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:64]), true) {
		return fmt.Errorf("r, s or v: %w", payment.ErrSignature)
	}
	key, err := crypto.SigToPub(digest[:], rsv)
	if err != nil || crypto.PubkeyToAddress(*key) != want {
		return fmt.Errorf("not by %s: %w", want, payment.ErrSignature)
	}
	return nil
}
