package verify_test

import (
	"crypto/ed25519"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	p2pcrypto "github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/cmd/souk/plainjson"
	"github.com/souk-market/souk/cmd/souk/verify"
	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/log"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"google.golang.org/protobuf/proto"
)

var domain = payment.EIP712Domain{ChainID: 1337, Settlement: common.HexToAddress("0x4020074e9dF2ce1deE5A9C1b5c3f541D02a10003")}

func key(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed([]byte(strings.Repeat(string(rune('a'+seed)), ed25519.SeedSize)))
}

// history is three receipts of one lease, in the provider's log, anchored when
// the log had another entry.
func history(t testing.TB) []*apiv1.ProvedReceipt { return historyOf(t, 2) }

// use fills in what was used up to a receipt, and what it costs.
func use(t testing.TB, r *payment.Receipt) {
	t.Helper()
	if r.Version == 1 {
		r.DeviceMilliseconds, r.PriceAtomsPerHour = 5001, 360_000
		due, err := payment.HourlyTariff(r.PriceAtomsPerHour)[0].Due(5001 * r.Seq)
		if err != nil {
			t.Fatal(err)
		}
		r.CumulativeDue = due
		return
	}
	for _, l := range []payment.UsageLine{
		{Line: payment.HourlyTariff(180_000)[0], Quantity: 5001 * r.Seq},
		{Line: payment.Line{Unit: payment.UnitTokenOut, Price: 5, Per: 1000}, Quantity: 50_000 * r.Seq},
	} {
		due, err := l.Line.Due(l.Quantity)
		if err != nil {
			t.Fatal(err)
		}
		l.Due = due
		r.Usage, r.CumulativeDue = append(r.Usage, l), r.CumulativeDue+due
	}
}

// historyOf is a history in receipts of a version.
func historyOf(t testing.TB, version int) []*apiv1.ProvedReceipt {
	t.Helper()
	provider, client := key(1), key(2)
	id, err := peer.IDFromPublicKey(mustPublic(t, provider))
	if err != nil {
		t.Fatal(err)
	}
	tree, err := log.Open(log.Config{Dir: t.TempDir(), Origin: "souk/" + id.String(), Key: provider})
	if err != nil {
		t.Fatal(err)
	}
	var out []*apiv1.ProvedReceipt
	var prev souk.Digest
	for seq := uint64(1); seq <= 3; seq++ {
		r := payment.Receipt{
			Version: version, Lease: souk.LeaseID{Digest: souk.Digest{1}}, Job: souk.JobID{Digest: souk.Digest{2}}, Channel: souk.ChannelID{Digest: souk.Digest{3}},
			ProviderKey: souk.NodeKey(provider.Public().(ed25519.PublicKey)), ClientKey: souk.NodeKey(client.Public().(ed25519.PublicKey)),
			Seq: seq, Kind: payment.KindInterval, StartMs: int64(seq) * 5000, EndMs: int64(seq)*5000 + 5000, PrevReceipt: prev,
		}
		if seq == 3 {
			r.Kind = payment.KindFinal
		}
		use(t, &r)
		sample, err := proto.Marshal(&runv1.Sample{Device: "cpu-1", AtMs: r.EndMs})
		if err != nil {
			t.Fatal(err)
		}
		r.TelemetryRoot = payment.TelemetryRoot([]souk.Digest{payment.SampleLeaf(sample)})
		r.SignProvider(domain, provider)
		r.SignClient(domain, client)
		prev = r.Digest(domain)
		out = append(out, &apiv1.ProvedReceipt{Receipt: r.Proto(), Digest: prev.String(), Logged: true, ChainId: 1337,
			Settlement: domain.Settlement.Hex(), Samples: [][]byte{sample}})
		if _, err := tree.Append(t.Context(), prev); err != nil {
			t.Fatal(err)
		}
	}
	prove(t, tree, out)
	return out
}

func mustPublic(t testing.TB, k ed25519.PrivateKey) p2pcrypto.PubKey {
	t.Helper()
	public, err := p2pcrypto.UnmarshalEd25519PublicKey(k.Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	return public
}

// prove fills in the proofs as a node does: under the head of now, and anchored
// at a later one.
func prove(t testing.TB, tree *log.Log, out []*apiv1.ProvedReceipt) {
	t.Helper()
	head, size := tree.Checkpoint(), tree.Size()
	for i, p := range out {
		p.Index, p.Checkpoint = uint64(i), string(head)
		p.Inclusion = texts(t)(tree.Inclusion(uint64(i), size))
	}
	if _, err := tree.Append(t.Context(), souk.Digest{9}); err != nil {
		t.Fatal(err)
	}
	origin, _, _ := strings.Cut(string(head), "\n")
	later, err := log.OpenCheckpoint(tree.Checkpoint(), origin, souk.NodeKey(out[0].Receipt.ProviderKey))
	if err != nil {
		t.Fatal(err)
	}
	leaves := [][]byte{later.Body(), []byte("another log's\n1\nroot\n")}
	index, proof, err := log.AnchorProof(leaves, later.Body())
	for _, p := range out {
		p.Consistency = texts(t)(tree.Consistency(size, tree.Size()))
		p.Anchor = &apiv1.Anchor{Checkpoint: string(tree.Checkpoint()), Root: log.AnchorRoot(leaves).String(), Count: 2, Index: index,
			Proof: texts(t)(proof, err), Tx: "0x" + strings.Repeat("ab", 32), ChainId: 1337, Size: tree.Size()}
	}
}

func texts(t testing.TB) func([]souk.Digest, error) []string {
	return func(ds []souk.Digest, err error) []string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		out := make([]string, len(ds))
		for i, d := range ds {
			out[i] = d.String()
		}
		return out
	}
}

func TestReceipts(t *testing.T) {
	for _, version := range []int{1, 2} {
		testReceipts(t, historyOf(t, version))
	}
}

func testReceipts(t *testing.T, rs []*apiv1.ProvedReceipt) {
	t.Helper()
	b, err := plainjson.Marshal(&apiv1.ReceiptsResponse{Receipts: rs})
	if err != nil {
		t.Fatal(err)
	}
	read, err := verify.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(read)
	r := verify.Receipts(read)
	if len(r.Faults) > 0 || r.Receipts != 3 || r.Leases != 1 || r.Signed != 3 || r.Included != 3 || r.Anchored != 3 || r.Telemetry != 3 || r.Due != 1500 ||
		len(r.Checkpoints) != 1 || len(r.Anchors) != 1 {
		t.Errorf("report = %+v", r)
	}
}

// Every field that a check rests on is spoiled once; each must be found.
func TestReceiptsFindsFaults(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(rs []*apiv1.ProvedReceipt) []*apiv1.ProvedReceipt
		want  string
	}{
		{"due", on(1, func(p *apiv1.ProvedReceipt) { p.Receipt.CumulativeDueAtoms++ }), "its digest is"},
		{"provider's signature", on(1, func(p *apiv1.ProvedReceipt) { p.Receipt.ProviderSignature[0] ^= 1 }), "signature"},
		{"client's signature", on(1, func(p *apiv1.ProvedReceipt) { p.Receipt.ClientSignature[0] ^= 1 }), "signature"},
		{"no client's signature", on(1, func(p *apiv1.ProvedReceipt) { p.Receipt.ClientSignature = nil }), "signature"},
		{"short key", on(1, func(p *apiv1.ProvedReceipt) { p.Receipt.ProviderKey = nil }), "provider key"},
		{"chain", on(1, func(p *apiv1.ProvedReceipt) { p.ChainId = 1 }), "its digest is"},
		{"settlement", on(1, func(p *apiv1.ProvedReceipt) { p.Settlement = "0x1" }), "name no contract"},
		{"digest", on(1, func(p *apiv1.ProvedReceipt) { p.Digest = "" }), "its digest is"},
		{"index", on(1, func(p *apiv1.ProvedReceipt) { p.Index = 2 }), "inclusion"},
		{"inclusion", on(1, func(p *apiv1.ProvedReceipt) { p.Inclusion[0] = p.Inclusion[1] }), "inclusion"},
		{"checkpoint", on(1, func(p *apiv1.ProvedReceipt) { p.Checkpoint = strings.Replace(p.Checkpoint, "\n3\n", "\n4\n", 1) }), "checkpoint"},
		{"no checkpoint", on(1, func(p *apiv1.ProvedReceipt) { p.Checkpoint = "" }), "names no peer"},
		{"another sample", on(1, func(p *apiv1.ProvedReceipt) { p.Samples[0][len(p.Samples[0])-1] ^= 1 }), "telemetry"},
		{"a sample more", on(1, func(p *apiv1.ProvedReceipt) { p.Samples = append(p.Samples, p.Samples[0]) }), "telemetry"},
		{"no sample at all", on(1, func(p *apiv1.ProvedReceipt) { p.Samples[0] = nil }), "telemetry"},
		{"not logged", on(1, func(p *apiv1.ProvedReceipt) { p.Logged = false }), "not in the log"},
		{"consistency", on(1, func(p *apiv1.ProvedReceipt) { p.Consistency = nil }), "consistency"},
		{"anchor's root", on(1, func(p *apiv1.ProvedReceipt) { p.Anchor.Root = strings.Repeat("0", 64) }), "anchor"},
		{"anchor's proof", on(1, func(p *apiv1.ProvedReceipt) { p.Anchor.Proof = nil }), "anchor"},
		{"anchor's transaction", on(1, func(p *apiv1.ProvedReceipt) { p.Anchor.Tx = "0x12" }), "not a transaction"},
		{"a receipt missing", func(rs []*apiv1.ProvedReceipt) []*apiv1.ProvedReceipt { return []*apiv1.ProvedReceipt{rs[0], rs[2]} }, "receipt 2 is missing"},
		{"the first missing", func(rs []*apiv1.ProvedReceipt) []*apiv1.ProvedReceipt { return rs[1:] }, "receipt 1 is missing"},
		{"one twice", func(rs []*apiv1.ProvedReceipt) []*apiv1.ProvedReceipt { return append(rs, rs[2]) }, "missing before it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := verify.Receipts(tt.spoil(history(t)))
			if !slices.ContainsFunc(r.Faults, func(f string) bool { return strings.Contains(f, tt.want) }) {
				t.Errorf("faults = %q; want one with %q", r.Faults, tt.want)
			}
		})
	}
}

func on(i int, spoil func(*apiv1.ProvedReceipt)) func([]*apiv1.ProvedReceipt) []*apiv1.ProvedReceipt {
	return func(rs []*apiv1.ProvedReceipt) []*apiv1.ProvedReceipt {
		spoil(rs[i])
		return rs
	}
}

// A provider that signs a wrong history signs it well: the chain shows it.
func TestChainFindsSignedLies(t *testing.T) {
	for _, tt := range []struct {
		name string
		lie  func(*payment.Receipt)
		want string
	}{
		{"an amount not earned", func(r *payment.Receipt) { r.CumulativeDue++ }, "is due"},
		{"another past", func(r *payment.Receipt) { r.PrevReceipt[0] ^= 1 }, "digest of the one before"},
		{"time twice", func(r *payment.Receipt) { r.StartMs -= 4999 }, "starts before"},
		{"another job", func(r *payment.Receipt) { r.Job.Digest[0] ^= 1 }, "another job"},
		{"another price", func(r *payment.Receipt) {
			l := &r.Usage[0]
			l.Price, l.Due, r.CumulativeDue = 2*l.Price, 2*l.Due, r.CumulativeDue+l.Due
		}, "another job, channel, party or price"},
		{"another unit", func(r *payment.Receipt) { r.Usage[1].Unit = payment.UnitTokenIn }, "another job, channel, party or price"},
		{"a line less", func(r *payment.Receipt) { r.Usage, r.CumulativeDue = r.Usage[:1], r.Usage[0].Due }, "another job, channel, party or price"},
		{"another version", func(r *payment.Receipt) {
			r.Version, r.Usage, r.DeviceMilliseconds, r.PriceAtomsPerHour, r.CumulativeDue = 1, nil, 3_600_000, 1000, 1000
		}, "another job, channel, party or price"},
		{"a line over more", func(r *payment.Receipt) { r.Usage[1].Due++; r.CumulativeDue++ }, "for 100000 \"token-out\""},
		{"less used", func(r *payment.Receipt) {
			l := &r.Usage[1]
			l.Quantity, l.Due, r.CumulativeDue = 10_000, 50, r.CumulativeDue-l.Due+50
		}, "has 10000 \"token-out\" after 50000"},
		{"more than can be paid", func(r *payment.Receipt) { r.Usage[1].Quantity, r.Usage[1].Price = 1<<63, 1<<63 }, "out of range"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rs := history(t)
			r, err := payment.ReceiptFromProto(rs[1].Receipt)
			if err != nil {
				t.Fatal(err)
			}
			tt.lie(&r)
			r.SignProvider(domain, key(1))
			r.SignClient(domain, key(2))
			rs[1].Receipt, rs[1].Digest = r.Proto(), r.Digest(domain).String()
			faults := fmt.Sprint(verify.Receipts(rs).Faults)
			if !strings.Contains(faults, tt.want) {
				t.Errorf("faults = %s; want %q", faults, tt.want)
			}
		})
	}
}

func FuzzReceipts(f *testing.F) {
	for _, version := range []int{1, 2} {
		b, err := plainjson.Marshal(&apiv1.ReceiptsResponse{Receipts: historyOf(f, version)})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"receipts":[]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		rs, err := verify.Decode(b)
		if err != nil {
			return
		}
		r := verify.Receipts(rs)
		if r.Signed > r.Receipts || r.Included > r.Signed || r.Anchored > r.Included {
			t.Errorf("counts do not fit: %+v", r)
		}
		for _, p := range rs {
			if proto.Size(p) > len(b) {
				t.Error("a message larger than its text")
			}
		}
	})
}
