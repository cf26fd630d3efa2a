package node

import (
	"bytes"
	"context"
	"crypto/ecdsa"
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
	storemem "github.com/souk-market/souk/storage/mem"
)

// books are one side of one lease without a network: its ledger, its channel with
// that lease and another on it, and the keys of all. They belong into a bubble.
type books struct {
	client, provider []byte // ed25519 keys
	voucherKey       *ecdsa.PrivateKey
	home             string
	ledger           *ledger.Ledger
	channels         *money.Channels
	receipts         *money.Receipts
	space            *disk.Space
	log              *slog.Logger

	payload []byte
	lease   *leasev1.Lease
	terms   payment.Terms
	channel payment.Channel
}

// otherShare is what the channel's other lease was paid.
const otherShare souk.Atoms = 700

// fuzzTree is a log of receipts that many books share: it costs a disk.
func fuzzTree(t testing.TB) *log.Log {
	t.Helper()
	tree, err := log.Open(log.Config{Dir: t.TempDir(), Origin: "souk/fuzz", Key: fuzzKey(9)})
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// newBooks opens the books of one side, as they are once the lease is signed and
// its first voucher shown. change may edit the lease.
func newBooks(t *testing.T, tree *log.Log, paying bool, change func(*leasev1.Lease)) *books {
	t.Helper()
	b := &books{client: fuzzKey(1), provider: fuzzKey(2), home: t.TempDir(), log: slog.New(slog.DiscardHandler)}
	var err error
	if b.voucherKey, err = crypto.ToECDSA(bytes.Repeat([]byte{3}, 32)); err != nil {
		t.Fatal(err)
	}
	b.lease = fuzzLease(b.client, b.provider)
	now := time.Now()
	b.lease.SignedMs, b.lease.StartByMs = now.UnixMilli(), now.Add(time.Minute).UnixMilli()
	b.lease.Channel.PayerAuthorizer = crypto.PubkeyToAddress(b.voucherKey.PublicKey).Bytes()
	b.lease.PayAheadMs, b.lease.ReserveAtoms = 2000, 4_000 // 40 s at 100 atoms each
	if change != nil {
		change(b.lease)
	}
	b.payload = network.MustMarshal(b.lease)
	if b.terms, b.channel, err = money.LeaseTerms(b.payload, b.lease); err != nil {
		t.Fatal(err)
	}
	if b.ledger, err = ledger.Open(ledger.Config{Store: storemem.New()}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.ledger.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	if b.channels, err = money.LoadChannels(b.ledger); err != nil {
		t.Fatal(err)
	}
	b.receipts = money.NewReceipts(b.ledger, b.channels, tree)
	b.receipts.SetDomain(b.terms.Domain)
	b.space = disk.NewSpace(b.home, b.log)
	b.space.Free = func(string) (uint64, error) { return 1 << 40, nil }
	b.openChannel(t, paying)
	return b
}

func (b *books) openChannel(t *testing.T, paying bool) {
	t.Helper()
	b.channels.Open(b.channel, b.terms.Domain, "the other", paying)
	err := b.channels.Update(t.Context(), b.terms.Channel, func(r *money.Channel) (ledger.Batch, error) {
		r.Balance = 1_000_000
		r.Leases[b.terms.Lease] = payment.Share{Paid: b.terms.First(), Reserve: b.terms.Reserve, Live: true}
		r.Leases[souk.LeaseID{Digest: souk.Digest{7}}] = payment.Share{Paid: otherShare, Reserve: 5000, Live: true}
		r.Voucher = b.voucher(t, b.terms.Channel, otherShare+b.terms.First())
		return ledger.Batch{}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// voucher is one that the client's key has signed.
func (b *books) voucher(t *testing.T, channel souk.ChannelID, total souk.Atoms) payment.Voucher {
	t.Helper()
	v := payment.Voucher{Channel: channel, MaxClaimable: total}
	if err := v.Sign(b.terms.Domain, b.voucherKey); err != nil {
		t.Fatal(err)
	}
	return v
}

// cost is the price of running time under the lease, rounded up.
func (b *books) cost(t *testing.T, d time.Duration) souk.Atoms {
	t.Helper()
	due, err := b.terms.Tariff[0].Due(uint64(b.terms.DeviceCount()) * uint64(d.Milliseconds()))
	if err != nil {
		t.Fatal(err)
	}
	return due + 1
}

// record is the channel as it is now, checked against the ledger.
func (b *books) record(t *testing.T) *money.Channel {
	t.Helper()
	rec, ok := b.channels.Get(b.terms.Channel)
	if !ok {
		t.Fatal("the channel is gone")
	}
	account := ledger.Receivable(b.terms.Channel)
	if rec.Paying {
		account = ledger.Owed(b.terms.Channel)
	}
	if have := b.ledger.Balance(account); have != rec.Due() {
		t.Fatalf("%s is due by the channel, %s by the ledger", rec.Due(), have)
	}
	if err := rec.Voucher.Verify(b.terms.Domain, b.channel.PayerAuthorizer); err != nil {
		t.Fatal(err)
	}
	return rec
}

// signed are the receipts in the ledger that both sides signed, whole and in order.
func (b *books) signed(t *testing.T) (rs []payment.Receipt) {
	t.Helper()
	had, err := b.receipts.Of(b.terms.Lease)
	if err != nil {
		t.Fatal(err)
	}
	for i, msg := range had {
		r, err := payment.ReceiptFromProto(msg)
		if err != nil || r.Seq != uint64(i+1) {
			t.Fatalf("receipt %d is %v, %v", i+1, r, err)
		}
		if err := r.VerifyProvider(b.terms.Domain); err != nil {
			t.Fatal(err)
		}
		if len(r.ClientSig) == 0 {
			continue
		}
		if err := r.VerifyClient(b.terms.Domain); err != nil {
			t.Fatal(err)
		}
		rs = append(rs, r)
	}
	return rs
}

// script is what a fuzzer wrote, read as a list of deeds.
type script struct{ b []byte }

func (s *script) done() bool { return len(s.b) == 0 }

// next is the next byte; past the end it is nought.
func (s *script) next() byte {
	if len(s.b) == 0 {
		return 0
	}
	c := s.b[0]
	s.b = s.b[1:]
	return c
}

// take is the next n bytes, or what is left.
func (s *script) take(n int) []byte {
	n = min(n, len(s.b))
	b := s.b[:n]
	s.b = s.b[n:]
	return b
}
