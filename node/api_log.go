package node

import (
	"bytes"
	"context"
	"fmt"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/node/money"
	"github.com/souk-market/souk/payment"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
)

// Receipts lists receipts, with what a stranger needs to check them.
func (a api) Receipts(_ context.Context, req *apiv1.ReceiptsRequest) (*apiv1.ReceiptsResponse, error) {
	receipts, err := a.receiptsOf(req.Job)
	if err != nil {
		return nil, err
	}
	var anchors []money.Anchor
	if a.n.keeper != nil {
		if anchors, err = a.n.keeper.Anchors(); err != nil {
			return nil, coded(err)
		}
	}
	out := &apiv1.ReceiptsResponse{}
	note, size := a.n.tree.Checkpoint(), a.n.tree.Size()
	for _, msg := range receipts {
		row, err := a.n.prove(msg, req.Proofs, note, size, anchors)
		if err != nil {
			return nil, coded(err)
		}
		out.Receipts = append(out.Receipts, row)
	}
	return out, nil
}

// receiptsOf returns one job's receipts, or all of this node's.
func (a api) receiptsOf(id string) (out []*runv1.Receipt, err error) {
	if id == "" {
		out, err = a.n.receipts.All()
		return out, coded(err)
	}
	j, err := a.job(id)
	if err != nil {
		return nil, err
	}
	rec, _ := j.Watch()
	out, err = a.n.jobReceipts(rec)
	return out, coded(err)
}

// prove adds to a receipt its place in the log, and the oldest anchor over it.
func (n *Node) prove(msg *runv1.Receipt, proofs bool, note []byte, size uint64, anchors []money.Anchor) (*apiv1.ProvedReceipt, error) {
	r, err := payment.ReceiptFromProto(msg)
	if err != nil {
		return nil, err
	}
	domain := n.receipts.DomainOf(r)
	digest := r.Digest(domain)
	row := &apiv1.ProvedReceipt{Receipt: msg, Digest: digest.String()}
	row.ChainId, row.Settlement = domain.ChainID, domain.Settlement.Hex()
	index, ok := n.tree.Index(digest)
	if row.Logged, row.Index = ok, index; !ok || !proofs || index >= size {
		return row, nil
	}
	row.Checkpoint = string(note)
	path, err := n.tree.Inclusion(index, size)
	if err != nil {
		return nil, fmt.Errorf("prove receipt %s: %w", digest.Short(), err)
	}
	row.Inclusion = hexes(path)
	for i := range anchors {
		if anchors[i].Size <= index {
			continue
		}
		row.Anchor = n.anchorProto(anchors[i])
		path, err := n.tree.Consistency(anchors[i].Size, size)
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

func (n *Node) anchorProto(a money.Anchor) *apiv1.Anchor {
	return &apiv1.Anchor{Checkpoint: string(a.Checkpoint), Root: a.Root.String(), Count: a.Count, Index: a.Index, Proof: hexes(a.Proof),
		Tx: a.Tx, Block: a.Block, ChainId: n.chain.Domain().ChainID, Time: stamp(a.Time), Contract: n.cfg.Contracts.Anchors.Hex(), Size: a.Size}
}

// Anchors lists checkpoints that were anchored.
func (a api) Anchors(context.Context, *apiv1.AnchorsRequest) (*apiv1.AnchorsResponse, error) {
	note := a.n.tree.Checkpoint()
	origin, _, _ := bytes.Cut(note, []byte("\n"))
	out := &apiv1.AnchorsResponse{Checkpoint: string(note), Origin: string(origin)}
	if a.n.keeper == nil {
		return out, nil
	}
	recs, err := a.n.keeper.Anchors()
	if err != nil {
		return nil, coded(err)
	}
	for _, r := range recs {
		out.Anchors = append(out.Anchors, a.n.anchorProto(r))
	}
	return out, nil
}

// Anchor anchors the newest checkpoint now.
func (a api) Anchor(ctx context.Context, _ *apiv1.AnchorRequest) (*apiv1.AnchorResponse, error) {
	if a.n.keeper == nil {
		return nil, coded(errNoChain)
	}
	rec, err := a.n.keeper.Anchor(ctx)
	if err != nil {
		return nil, coded(err)
	}
	return &apiv1.AnchorResponse{Anchor: a.n.anchorProto(rec)}, nil
}
