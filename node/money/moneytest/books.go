// Package moneytest has the books of one side of a lease, for tests of the roles:
// no network, no chain, and a client and a provider whose keys are always the same.
package moneytest

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"log/slog"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/node/disk"
	"github.com/souk-market/souk/node/money"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/ledger"
	"github.com/souk-market/souk/payment/log"
	leasev1 "github.com/souk-market/souk/proto/souk/lease/v1"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	storemem "github.com/souk-market/souk/storage/mem"
)

// Books are one side of one lease without a network: its ledger, its channel with
// that lease and another on it, and the keys of all. They belong into a bubble.
type Books struct {
	Client, Provider []byte // ed25519 keys
	VoucherKey       *ecdsa.PrivateKey
	Home             string
	Ledger           *ledger.Ledger
	Channels         *money.Channels
	Receipts         *money.Receipts
	Space            *disk.Space
	Log              *slog.Logger

	Payload []byte
	Lease   *leasev1.Lease
	Terms   payment.Terms
	Channel payment.Channel
}

// OtherShare is what the channel's other lease was paid.
const OtherShare souk.Atoms = 700

// NewTree is a log of receipts that many books share: it costs a disk.
func NewTree(t testing.TB) *log.Log {
	t.Helper()
	tree, err := log.Open(log.Config{Dir: t.TempDir(), Origin: "souk/fuzz", Key: Key(9)})
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// NewBooks opens the books of one side, as they are once the lease is signed and
// its first voucher shown. change may edit the lease.
func NewBooks(t *testing.T, tree *log.Log, paying bool, change func(*leasev1.Lease)) *Books {
	t.Helper()
	b := &Books{Client: Key(1), Provider: Key(2), Home: t.TempDir(), Log: slog.New(slog.DiscardHandler)}
	var err error
	if b.VoucherKey, err = crypto.ToECDSA(bytes.Repeat([]byte{3}, 32)); err != nil {
		t.Fatal(err)
	}
	b.Lease = Lease(b.Client, b.Provider)
	now := time.Now()
	b.Lease.SignedMs, b.Lease.StartByMs = now.UnixMilli(), now.Add(time.Minute).UnixMilli()
	b.Lease.Channel.PayerAuthorizer = crypto.PubkeyToAddress(b.VoucherKey.PublicKey).Bytes()
	b.Lease.PayAheadMs, b.Lease.ReserveAtoms = 2000, 4_000 // 40 s at 100 atoms each
	if change != nil {
		change(b.Lease)
	}
	b.Payload = network.MustMarshal(b.Lease)
	if b.Terms, b.Channel, err = money.LeaseTerms(b.Payload, b.Lease); err != nil {
		t.Fatal(err)
	}
	if b.Ledger, err = ledger.Open(ledger.Config{Store: storemem.New()}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Ledger.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	if b.Channels, err = money.LoadChannels(b.Ledger); err != nil {
		t.Fatal(err)
	}
	b.Receipts = money.NewReceipts(b.Ledger, b.Channels, tree)
	b.Receipts.SetDomain(b.Terms.Domain)
	b.Space = disk.NewSpace(b.Home, b.Log)
	b.Space.Free = func(string) (uint64, error) { return 1 << 40, nil }
	b.openChannel(t, paying)
	return b
}

func (b *Books) openChannel(t *testing.T, paying bool) {
	t.Helper()
	b.Channels.Open(b.Channel, b.Terms.Domain, "the other", paying)
	err := b.Channels.Update(t.Context(), b.Terms.Channel, func(r *money.Channel) (ledger.Batch, error) {
		r.Balance = 1_000_000
		r.Leases[b.Terms.Lease] = payment.Share{Paid: b.Terms.First(), Reserve: b.Terms.Reserve, Live: true}
		r.Leases[souk.LeaseID{Digest: souk.Digest{7}}] = payment.Share{Paid: OtherShare, Reserve: 5000, Live: true}
		r.Voucher = b.Voucher(t, b.Terms.Channel, OtherShare+b.Terms.First())
		return ledger.Batch{}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Voucher is one that the client's key has signed.
func (b *Books) Voucher(t *testing.T, channel souk.ChannelID, total souk.Atoms) payment.Voucher {
	t.Helper()
	v := payment.Voucher{Channel: channel, MaxClaimable: total}
	if err := v.Sign(b.Terms.Domain, b.VoucherKey); err != nil {
		t.Fatal(err)
	}
	return v
}

// Cost is the price of running time under the lease, rounded up.
func (b *Books) Cost(t *testing.T, d time.Duration) souk.Atoms {
	t.Helper()
	due, err := b.Terms.Tariff[0].Due(uint64(b.Terms.DeviceCount()) * uint64(d.Milliseconds()))
	if err != nil {
		t.Fatal(err)
	}
	return due + 1
}

// Record is the channel as it is now, checked against the ledger.
func (b *Books) Record(t *testing.T) *money.Channel {
	t.Helper()
	rec, ok := b.Channels.Get(b.Terms.Channel)
	if !ok {
		t.Fatal("the channel is gone")
	}
	account := ledger.Receivable(b.Terms.Channel)
	if rec.Paying {
		account = ledger.Owed(b.Terms.Channel)
	}
	if have := b.Ledger.Balance(account); have != rec.Due() {
		t.Fatalf("%s is due by the channel, %s by the ledger", rec.Due(), have)
	}
	if err := rec.Voucher.Verify(b.Terms.Domain, b.Channel.PayerAuthorizer); err != nil {
		t.Fatal(err)
	}
	return rec
}

// Signed are the receipts in the ledger that both sides signed, whole and in order.
func (b *Books) Signed(t *testing.T) (rs []payment.Receipt) {
	t.Helper()
	had, err := b.Receipts.Of(b.Terms.Lease)
	if err != nil {
		t.Fatal(err)
	}
	for i, msg := range had {
		r, err := payment.ReceiptFromProto(msg)
		if err != nil || r.Seq != uint64(i+1) {
			t.Fatalf("receipt %d is %v, %v", i+1, r, err)
		}
		if err := r.VerifyProvider(b.Terms.Domain); err != nil {
			t.Fatal(err)
		}
		if len(r.ClientSig) == 0 {
			continue
		}
		if err := r.VerifyClient(b.Terms.Domain); err != nil {
			t.Fatal(err)
		}
		rs = append(rs, r)
	}
	return rs
}

// Script is what a fuzzer wrote, read as a list of deeds.
type Script struct{ B []byte }

// Done tells whether all was read.
func (s *Script) Done() bool { return len(s.B) == 0 }

// Next is the next byte; past the end it is nought.
func (s *Script) Next() byte {
	if len(s.B) == 0 {
		return 0
	}
	c := s.B[0]
	s.B = s.B[1:]
	return c
}

// Take is the next n bytes, or what is left.
func (s *Script) Take(n int) []byte {
	n = min(n, len(s.B))
	b := s.B[:n]
	s.B = s.B[n:]
	return b
}

// Key is a node's key that is the same in every run.
func Key(b byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{b}, ed25519.SeedSize))
}

// Lease is a lease whose every field is in range.
func Lease(client, provider ed25519.PrivateKey) *leasev1.Lease {
	address := bytes.Repeat([]byte{1}, 20)
	return &leasev1.Lease{Job: make([]byte, 32), Bid: make([]byte, 32), ProviderKey: provider.Public().(ed25519.PublicKey),
		ClientKey: client.Public().(ed25519.PublicKey), Devices: []string{"cpu-1"}, PriceAtomsPerHour: 360_000, IntervalMs: 5000, GraceMs: 2000,
		HoldPausedMs: 30_000, MaxDurationMs: 600_000, ReserveAtoms: 60_000, ChainId: 1337, Settlement: address,
		Channel: &leasev1.Channel{Payer: address, PayerAuthorizer: address, Receiver: address, ReceiverAuthorizer: address,
			Token: address, WithdrawDelayS: 86_400, Salt: make([]byte, 32)},
		Resources: &marketv1.Resources{CpuMilli: 1000}, Runner: marketv1.Runner_RUNNER_WASM, SignedMs: 1_700_000_000_000, StartByMs: 1_700_000_060_000}
}
