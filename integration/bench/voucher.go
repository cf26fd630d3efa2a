package main

import (
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
)

// voucherVerify measures what a provider does with each voucher it is shown,
// beside the one operation in it that cannot be avoided.
func voucherVerify() bench {
	return bench{
		row:     "voucher verify",
		against: "raw secp256k1 recover of the same signatures",
		unit:    "vouchers/s on one core",
		goal:    "≥ 0.9 of it",
		prepare: prepareVouchers,
	}
}

func prepareVouchers(string) (*subject, error) {
	key, err := crypto.GenerateKey()
	if err != nil {
		return nil, err
	}
	domain := payment.EIP712Domain{ChainID: 1337, Settlement: payment.Address{0x40}}
	authorizer := crypto.PubkeyToAddress(key.PublicKey)
	vouchers := make([]payment.Voucher, 2000)
	digests := make([]souk.Digest, len(vouchers))
	raw := make([][]byte, len(vouchers)) // as secp256k1 wants them: v of 0 or 1
	for i := range vouchers {
		v := payment.Voucher{Channel: souk.ChannelID{Digest: souk.Digest{1, 2, 3}}, MaxClaimable: souk.Atoms(i + 1)}
		if err := v.Sign(domain, key); err != nil {
			return nil, err
		}
		vouchers[i], digests[i] = v, v.Digest(domain)
		raw[i] = append([]byte(nil), v.Signature...)
		raw[i][64] -= 27
	}
	return &subject{
		met: func(ours, limit figure) bool { return ours.median >= 0.9*limit.median },
		ours: func() (float64, error) {
			return rate(len(vouchers), func() error {
				for _, v := range vouchers {
					if err := v.Verify(domain, authorizer); err != nil {
						return err
					}
				}
				return nil
			})
		},
		limit: func() (float64, error) {
			return rate(len(vouchers), func() error {
				for i := range raw {
					if pub, err := crypto.Ecrecover(digests[i][:], raw[i]); err != nil || len(pub) != 65 {
						return fmt.Errorf("recover: %w", err)
					}
				}
				return nil
			})
		},
	}, nil
}

// rate is how many of n things a second fn does.
func rate(n int, fn func() error) (float64, error) {
	start := time.Now()
	err := fn()
	return float64(n) / time.Since(start).Seconds(), err
}
