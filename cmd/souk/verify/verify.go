// Package verify checks exported receipts offline, as a stranger would.
//
// It asks nobody anything: what it accepts follows from the bytes alone. What
// bytes cannot show, that a transaction is on its chain, it lists to be looked
// up and never counts as verified.
package verify

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ethereum/go-ethereum/common"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/cmd/souk/plainjson"
	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/log"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
)

// MaxBytes bounds an export: some ten thousand receipts with their proofs.
const MaxBytes = 64 << 20

// Decode reads what `souk receipts --json` wrote.
func Decode(b []byte) ([]*apiv1.ProvedReceipt, error) {
	if len(b) > MaxBytes {
		return nil, fmt.Errorf("more than %d bytes", MaxBytes)
	}
	m := new(apiv1.ReceiptsResponse)
	if err := plainjson.Unmarshal(b, m); err != nil {
		return nil, err
	}
	if len(m.Receipts) == 0 {
		return nil, errors.New("no receipts in it")
	}
	return m.Receipts, nil
}

// Report is what was found. Everything counted is verified.
type Report struct {
	Receipts    int          `json:"receipts"`
	Leases      int          `json:"leases"`
	Signed      int          `json:"signed"`    // with both signatures good
	Included    int          `json:"included"`  // in the log of a party to it
	Anchored    int          `json:"anchored"`  // whose checkpoint leads to an anchored root
	Telemetry   int          `json:"telemetry"` // whose telemetry root is that of the samples beside it
	Due         souk.Atoms   `json:"due_atoms"` // over all leases, by their last receipts
	Checkpoints []Checkpoint `json:"checkpoints"`
	Anchors     []Anchor     `json:"anchors"`
	Faults      []string     `json:"faults"` // empty when all is well
}

// Checkpoint is a signed tree head that receipts were proved under.
type Checkpoint struct {
	Origin string      `json:"origin"`
	Size   uint64      `json:"size"`
	Root   souk.Digest `json:"root"`
}

// Anchor is a root whose transaction is to be looked up.
type Anchor struct {
	Tx       string      `json:"tx"`
	ChainID  uint64      `json:"chain_id"`
	Contract string      `json:"contract"`
	Root     souk.Digest `json:"root"`
}

// Receipts verifies rs, in any order. Each lease's receipts must be there from
// the first on.
func Receipts(rs []*apiv1.ProvedReceipt) Report {
	report := Report{Receipts: len(rs), Checkpoints: []Checkpoint{}, Anchors: []Anchor{}, Faults: []string{}}
	leases := make(map[souk.LeaseID][]payment.Receipt)
	for i, p := range rs {
		r, err := payment.ReceiptFromProto(p.GetReceipt())
		if err != nil {
			report.fault("receipt %d of the file: %v", i+1, err)
			continue
		}
		leases[r.Lease] = append(leases[r.Lease], r)
		if err := report.one(r, p); err != nil {
			report.fault("receipt %d of lease %s: %v", r.Seq, r.Lease.Short(), err)
		}
	}
	report.Leases = len(leases)
	for _, chain := range leases {
		report.chain(chain, rs)
	}
	slices.Sort(report.Faults)
	return report
}

func (r *Report) fault(format string, args ...any) {
	r.Faults = append(r.Faults, fmt.Sprintf(format, args...))
}

// one verifies what a receipt shows by itself: signatures, log, anchor.
func (r *Report) one(receipt payment.Receipt, p *apiv1.ProvedReceipt) error {
	domain, err := domainOf(p)
	if err != nil {
		return err
	}
	digest := receipt.Digest(domain)
	if p.Digest != digest.String() {
		return fmt.Errorf("its digest is %s, not %.64s", digest, p.Digest)
	}
	if err := errors.Join(receipt.VerifyProvider(domain), receipt.VerifyClient(domain)); err != nil {
		return err
	}
	r.Signed++
	if err := r.telemetry(receipt, p.Samples); err != nil {
		return err
	}
	if !p.Logged {
		return errors.New("is not in the log")
	}
	c, err := openCheckpoint(p.Checkpoint, receipt)
	if err != nil {
		return err
	}
	proof, err := digests(p.Inclusion)
	if err != nil {
		return fmt.Errorf("inclusion: %w", err)
	}
	if err := log.VerifyInclusion(digest, p.Index, c.Size, c.Root, proof); err != nil {
		return fmt.Errorf("inclusion: %w", err)
	}
	r.Included++
	if head := (Checkpoint{c.Origin, c.Size, c.Root}); !slices.Contains(r.Checkpoints, head) {
		r.Checkpoints = append(r.Checkpoints, head)
	}
	if p.Anchor == nil {
		return nil
	}
	if err := r.anchor(receipt, p, c); err != nil {
		return fmt.Errorf("anchor: %w", err)
	}
	r.Anchored++
	return nil
}

// telemetry holds the telemetry root against the samples, where the file has any.
func (r *Report) telemetry(receipt payment.Receipt, samples [][]byte) error {
	if len(samples) == 0 {
		return nil
	}
	leaves := make([]souk.Digest, len(samples))
	for i, b := range samples {
		if _, err := payment.OpenSample(b); err != nil {
			return fmt.Errorf("telemetry: %w", err)
		}
		leaves[i] = payment.SampleLeaf(b)
	}
	if root := payment.TelemetryRoot(leaves); root != receipt.TelemetryRoot {
		return fmt.Errorf("telemetry: the root of its %d samples is %s, not %s", len(samples), root, receipt.TelemetryRoot)
	}
	r.Telemetry++
	return nil
}

func domainOf(p *apiv1.ProvedReceipt) (payment.EIP712Domain, error) {
	if !common.IsHexAddress(p.GetSettlement()) || p.GetChainId() == 0 {
		return payment.EIP712Domain{}, fmt.Errorf("chain %d and settlement %.64q name no contract", p.GetChainId(), p.GetSettlement())
	}
	return payment.EIP712Domain{ChainID: p.ChainId, Settlement: common.HexToAddress(p.Settlement)}, nil
}

// openCheckpoint opens a checkpoint that a party to the receipt signed: its
// origin names the key.
func openCheckpoint(note string, r payment.Receipt) (log.Checkpoint, error) {
	origin, _, _ := strings.Cut(note, "\n")
	name, ok := strings.CutPrefix(origin, "souk/")
	id, err := peer.Decode(name)
	if !ok || err != nil {
		return log.Checkpoint{}, fmt.Errorf("checkpoint: its origin %.80q names no peer", origin)
	}
	public, err := id.ExtractPublicKey()
	if err != nil {
		return log.Checkpoint{}, fmt.Errorf("checkpoint: its origin's key: %w", err)
	}
	raw, err := public.Raw()
	if err != nil || len(raw) != len(souk.NodeKey{}) {
		return log.Checkpoint{}, fmt.Errorf("checkpoint: its origin %.80q has no Ed25519 key", origin)
	}
	key := souk.NodeKey(raw)
	if key != r.ProviderKey && key != r.ClientKey {
		return log.Checkpoint{}, fmt.Errorf("checkpoint: %s is neither its provider nor its client", name)
	}
	c, err := log.OpenCheckpoint([]byte(note), origin, key)
	if err != nil {
		return c, fmt.Errorf("checkpoint: %w", err)
	}
	return c, nil
}

// anchor verifies that the log at c and the log at the anchored checkpoint are
// one, and that the anchored checkpoint is under the anchor's root.
func (r *Report) anchor(receipt payment.Receipt, p *apiv1.ProvedReceipt, c log.Checkpoint) error {
	a := p.Anchor
	anchored, err := openCheckpoint(a.Checkpoint, receipt)
	if err != nil {
		return err
	}
	if anchored.Origin != c.Origin {
		return errors.New("its checkpoint is of another log")
	}
	if p.Index >= anchored.Size {
		return fmt.Errorf("its checkpoint of %d entries ends before entry %d", anchored.Size, p.Index)
	}
	old, size := c, anchored
	if old.Size > size.Size {
		old, size = size, old
	}
	consistency, err := digests(p.Consistency)
	if err != nil {
		return fmt.Errorf("consistency: %w", err)
	}
	if err := log.VerifyConsistency(old.Size, size.Size, old.Root, size.Root, consistency); err != nil {
		return fmt.Errorf("consistency: %w", err)
	}
	root, err := souk.ParseDigest(a.Root)
	if err != nil {
		return fmt.Errorf("root: %w", err)
	}
	proof, err := digests(a.Proof)
	if err != nil {
		return err
	}
	if err := log.VerifyAnchorProof(anchored.Body(), a.Index, a.Count, root, proof); err != nil {
		return err
	}
	look := Anchor{Tx: a.Tx, ChainID: a.ChainId, Contract: a.Contract, Root: root}
	if b, err := hex.DecodeString(strings.TrimPrefix(a.Tx, "0x")); err != nil || len(b) != 32 {
		return fmt.Errorf("%.80q is not a transaction", a.Tx)
	}
	if !slices.Contains(r.Anchors, look) {
		r.Anchors = append(r.Anchors, look)
	}
	return nil
}

func digests(texts []string) ([]souk.Digest, error) {
	ds := make([]souk.Digest, len(texts))
	for i, t := range texts {
		var err error
		if ds[i], err = souk.ParseDigest(t); err != nil {
			return nil, err
		}
	}
	return ds, nil
}
