package payment_test

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
)

// A lease at 0.36 tokens an hour for one device, with a receipt every ten seconds of
// running time. The provider's meter cuts the receipts, the client's payer checks
// them and says what the vouchers of the lease must then be worth.
func Example() {
	provider := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize))
	terms := payment.Terms{
		ProviderKey: souk.NodeKey(provider.Public().(ed25519.PublicKey)),
		Domain:      payment.EIP712Domain{ChainID: 1337},
		Version:     2,
		Tariff:      payment.HourlyTariff(360_000),
		Devices:     []payment.ClassCount{{Class: "CPU", Count: 1}},
		Interval:    10 * time.Second,
		Grace:       2 * time.Second,
		HoldPaused:  30 * time.Second,
		MaxDuration: 10 * time.Minute,
		Reserve:     60_000,
	}
	if err := terms.Validate(); err != nil {
		fmt.Println(err)
		return
	}
	meter, payer := payment.NewMeter(terms), payment.NewPayer(terms)
	fmt.Println("with the lease:", terms.First())

	now := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	meter.Start(now)
	payer.Start(now)

	now = now.Add(10 * time.Second)
	receipt, _ := meter.Tick(now, payment.Usage{})
	receipt.SignProvider(terms.Domain, provider)

	paid, err := payer.Check(now, *receipt)
	if err != nil {
		fmt.Println(err)
		return
	}
	payer.Accept(*receipt)
	fmt.Printf("receipt %d: due %s, vouchers for %s\n", receipt.Seq, receipt.CumulativeDue, paid)

	action, err := meter.Countersigned(now, receipt.Seq, paid)
	fmt.Println("goes on:", action.Do == payment.Continue, err)

	final := meter.Finish(now.Add(3*time.Second), souk.Digest{}, payment.Usage{})
	fmt.Printf("receipt %d, the last: due %s\n", final.Seq, final.CumulativeDue)
	// Output:
	// with the lease: 0.001
	// receipt 1: due 0.001, vouchers for 0.001
	// goes on: true <nil>
	// receipt 2, the last: due 0.0013
}

// A channel at its provider: two leases share its balance, and one voucher covers
// what is promised on both.
func ExampleAccount() {
	key, err := crypto.ToECDSA(bytes.Repeat([]byte{3}, 32)) // the client's voucher key
	if err != nil {
		fmt.Println(err)
		return
	}
	domain := payment.EIP712Domain{ChainID: 1337}
	channel := souk.ChannelID{Digest: souk.Digest{1}}
	first, second := souk.LeaseID{Digest: souk.Digest{1}}, souk.LeaseID{Digest: souk.Digest{2}}

	account := payment.NewAccount(channel, false)
	account.Read(payment.OnChain{Balance: 100_000}, 0)
	account.DepositCounted(souk.LeaseID{}, 100_000, true)
	fmt.Println("free:", account.Free())

	// Each lease reserves the most that it may cost.
	fmt.Println(account.Open(first, 60_000, 0), account.Open(second, 60_000, 0))
	fmt.Println(account.Open(second, 40_000, 0), "free:", account.Free())

	voucher := payment.Voucher{Channel: channel, MaxClaimable: 1_500}
	if err := voucher.Sign(domain, key); err != nil {
		fmt.Println(err)
		return
	}
	if err := voucher.Verify(domain, crypto.PubkeyToAddress(key.PublicKey)); err != nil {
		fmt.Println(err)
		return
	}
	// The voucher is for the channel: it must cover the sum over its leases.
	fmt.Println(account.Show(first, 1_000, voucher))
	fmt.Println(account.Show(second, 500, voucher))
	fmt.Println(account.Show(second, 1_000, voucher))
	fmt.Println("vouched:", account.Vouched())
	// Output:
	// free: 0.1
	// <nil> the channel is 0.02 short of the lease's reserve
	// <nil> free: 0
	// <nil>
	// <nil>
	// vouchers over 0.0015, 0.002 promised on the channel: payment is short
	// vouched: 0.0015
}
