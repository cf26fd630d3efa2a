package api

import (
	"bytes"
	"context"
	"fmt"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/node/client"
	"github.com/souk-market/souk/node/money"
	"github.com/souk-market/souk/payment"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
)

// logService answers souk.api.v1.Log.
type logService struct {
	jobs     Jobs // nil: this node has no chain, and so are anchors
	receipts receiptBook
	tree     receiptTree
	anchors  anchorer
	samples  sampleFiles
	chainID  uint64
	contract payment.Address // that anchors are sent to
}

// receiptBook is all receipts of this node.
type receiptBook interface {
	Of(lease souk.LeaseID) ([]*runv1.Receipt, error)
	All() ([]*runv1.Receipt, error)
	DomainOf(r payment.Receipt) payment.EIP712Domain
}

// receiptTree is the log of finished receipts.
type receiptTree interface {
	Checkpoint() []byte
	Size() uint64
	Index(digest souk.Digest) (uint64, bool)
	treeProofs
}

// treeProofs are the proofs that the log gives.
type treeProofs interface {
	Inclusion(index, size uint64) ([]souk.Digest, error)
	Consistency(from, to uint64) ([]souk.Digest, error)
}

// anchorer puts checkpoints on chain.
type anchorer interface {
	Anchors() ([]money.Anchor, error)
	Anchor(ctx context.Context) (money.Anchor, error)
}

// Receipts lists receipts, with what a stranger needs to check them.
func (s *logService) Receipts(_ context.Context, req *apiv1.ReceiptsRequest) (*apiv1.ReceiptsResponse, error) {
	receipts, err := s.receiptsOf(req.Job)
	if err != nil {
		return nil, err
	}
	var anchors []money.Anchor
	if s.anchors != nil {
		if anchors, err = s.anchors.Anchors(); err != nil {
			return nil, coded(err)
		}
	}
	out := &apiv1.ReceiptsResponse{}
	note, size := s.tree.Checkpoint(), s.tree.Size()
	for _, msg := range receipts {
		row, err := s.prove(msg, req.Proofs, note, size, anchors)
		if err != nil {
			return nil, coded(err)
		}
		out.Receipts = append(out.Receipts, row)
	}
	if req.Proofs {
		return out, coded(s.addSamples(out.Receipts))
	}
	return out, nil
}

// receiptsOf returns one job's receipts, or all of this node's.
func (s *logService) receiptsOf(id string) (out []*runv1.Receipt, err error) {
	if id == "" {
		out, err = s.receipts.All()
		return out, coded(err)
	}
	j, err := findJob(s.jobs, id)
	if err != nil {
		return nil, err
	}
	rec, _ := j.Watch()
	out, err = jobReceipts(s.receipts, rec)
	return out, coded(err)
}

// prove adds to a receipt its place in the log, and the oldest anchor over it.
func (s *logService) prove(msg *runv1.Receipt, proofs bool, note []byte, size uint64, anchors []money.Anchor) (*apiv1.ProvedReceipt, error) {
	r, err := payment.ReceiptFromProto(msg)
	if err != nil {
		return nil, err
	}
	domain := s.receipts.DomainOf(r)
	digest := r.Digest(domain)
	row := &apiv1.ProvedReceipt{Receipt: msg, Digest: digest.String()}
	row.ChainId, row.Settlement = domain.ChainID, domain.Settlement.Hex()
	index, ok := s.tree.Index(digest)
	if row.Logged, row.Index = ok, index; !ok || !proofs || index >= size {
		return row, nil
	}
	row.Checkpoint = string(note)
	path, err := s.tree.Inclusion(index, size)
	if err != nil {
		return nil, fmt.Errorf("prove receipt %s: %w", digest.Short(), err)
	}
	row.Inclusion = hexes(path)
	for i := range anchors {
		if anchors[i].Size <= index {
			continue
		}
		row.Anchor = s.anchorProto(anchors[i])
		path, err := s.tree.Consistency(anchors[i].Size, size)
		if err != nil {
			return nil, fmt.Errorf("prove checkpoint at %d: %w", anchors[i].Size, err)
		}
		row.Consistency = hexes(path)
		break
	}
	return row, nil
}

func hexes(ds []souk.Digest) []string {
	out := make([]string, len(ds))
	for i, d := range ds {
		out[i] = d.String()
	}
	return out
}

func (s *logService) anchorProto(a money.Anchor) *apiv1.Anchor {
	return &apiv1.Anchor{Checkpoint: string(a.Checkpoint), Root: a.Root.String(), Count: a.Count, Index: a.Index, Proof: hexes(a.Proof),
		Tx: a.Tx, Block: a.Block, ChainId: s.chainID, Time: client.Stamp(a.Time), Contract: s.contract.Hex(), Size: a.Size}
}

// Anchors lists checkpoints that were anchored.
func (s *logService) Anchors(context.Context, *apiv1.AnchorsRequest) (*apiv1.AnchorsResponse, error) {
	note := s.tree.Checkpoint()
	origin, _, _ := bytes.Cut(note, []byte("\n"))
	out := &apiv1.AnchorsResponse{Checkpoint: string(note), Origin: string(origin)}
	if s.anchors == nil {
		return out, nil
	}
	recs, err := s.anchors.Anchors()
	if err != nil {
		return nil, coded(err)
	}
	for _, r := range recs {
		out.Anchors = append(out.Anchors, s.anchorProto(r))
	}
	return out, nil
}

// Anchor anchors the newest checkpoint now.
func (s *logService) Anchor(ctx context.Context, _ *apiv1.AnchorRequest) (*apiv1.AnchorResponse, error) {
	if s.anchors == nil {
		return nil, coded(ErrNoChain)
	}
	rec, err := s.anchors.Anchor(ctx)
	if err != nil {
		return nil, coded(err)
	}
	return &apiv1.AnchorResponse{Anchor: s.anchorProto(rec)}, nil
}
