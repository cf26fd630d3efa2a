package files

import (
	"context"
	"errors"
	"fmt"
	"time"

	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
)

var (
	// ErrNoDeadline is returned by Fetch for a context without a deadline: a peer
	// may stay silent for ever.
	ErrNoDeadline = errors.New("a fetch needs a deadline")
	// ErrRefused is returned, beside the context's error, if the deadline passed
	// while the peer said that it has no such block, or shows it to others only.
	ErrRefused = errors.New("the peer does not serve it to us")
)

// How long a Fetch waits before it asks again. Each wait doubles, and starts
// over when a block comes.
const (
	firstRetry = 100 * time.Millisecond // after a refusal: the grant may be on its way
	lastRetry  = 5 * time.Second
	firstStall = 10 * time.Second // after silence: a message may be lost
	lastStall  = 80 * time.Second
)

// Fetch gets every block of root that is not here from one peer. ctx must have a
// deadline. Each block is checked when it comes, before what it links to is
// asked for; a DAG that is malformed, or over the limits, ends the Fetch with a
// typed error. What was fetched is kept, and not fetched again.
//
// Fetch waits through refusals and lost connections until the deadline; it does
// not dial. If progress is not nil it is called, by the goroutine that called
// Fetch, with the bytes of the blocks that are here so far.
func (f *Files) Fetch(ctx context.Context, root string, from peer.ID, limit Limit, progress func(bytes uint64)) error {
	c, err := parse(root)
	if err != nil {
		return fmt.Errorf("fetch: %w", err)
	}
	if _, ok := ctx.Deadline(); !ok {
		return fmt.Errorf("fetch %s: %w", root, ErrNoDeadline)
	}
	if progress == nil {
		progress = func(uint64) {}
	}
	if err := f.fetch(ctx, c, from, limit.fill(), progress); err != nil {
		return fmt.Errorf("fetch %s from %s: %w", root, from, err)
	}
	return nil
}

func (f *Files) fetch(ctx context.Context, c cid.Cid, from peer.ID, limit Limit, progress func(uint64)) error {
	w := &fetch{
		f: f, limit: limit, progress: progress,
		seen: map[visit]struct{}{}, waiting: map[cid.Cid][]ref{},
	}
	if err := w.push(entry(c), 1); err != nil {
		return err
	}
	if err := w.run(ctx, from); err != nil {
		return err
	}
	// What a block alone cannot tell: how large it all is once the files and
	// folders that are linked to many times are written out as often.
	_, err := newMeasure(f.blocks, limit).root(ctx, c)
	return err
}

// fetch is the state of one Fetch; one goroutine owns it.
type fetch struct {
	f        *Files
	limit    Limit
	progress func(uint64)
	source   *source
	transfer *transfer

	seen    map[visit]struct{} // all that was ever in todo
	todo    []ref              // still to look for; the last is the next
	waiting map[cid.Cid][]ref  // asked for
	hinted  uint64             // bytes that waiting is expected to bring
	refused bool               // the peer's last answer was a refusal

	here     uint64 // bytes of all blocks seen so far
	tree     uint64 // of those, in blocks that are not raw leaves
	declared uint64 // bytes of the files seen so far, each once
}

// ref is a link on the way to its block.
type ref struct {
	link
	depth int // blocks from the root, itself included
}

// hint is how many bytes the block is likely to have. The claim is checked when
// the block comes only in so far as too many bytes waiting end the transfer.
func (r ref) hint() uint64 {
	if r.want.role == rolePiece && r.cid.Prefix().Codec == cid.Raw {
		return min(r.want.size, MaxBlockBytes)
	}
	if r.tsize == 0 {
		return MaxBlockBytes // no claim
	}
	return min(r.tsize, MaxBlockBytes)
}

// push puts a link's target on the list, unless it was there before.
func (w *fetch) push(l link, depth int) error {
	if depth > w.limit.Depth {
		return &LimitError{What: "blocks deep", Max: uint64(w.limit.Depth)}
	}
	key := visitOf(l.cid, l.want)
	if _, again := w.seen[key]; again {
		return nil
	}
	if uint64(len(w.seen)) >= w.limit.Blocks {
		return &LimitError{What: "blocks", Max: w.limit.Blocks}
	}
	w.seen[key] = struct{}{}
	w.todo = append(w.todo, ref{l, depth})
	return nil
}

func (w *fetch) run(ctx context.Context, from peer.ID) error {
	if err := w.advance(ctx); err != nil || len(w.todo) == 0 {
		return err // all of it is here: no peer needed
	}
	if err := w.f.running(ctx); err != nil {
		return err
	}
	ex := w.f.ex
	w.source, w.transfer = ex.join(from)
	defer ex.leave(ctx, w.source, w.transfer)
	retry, stall := firstRetry, firstStall
	timer, retrying := time.NewTimer(stall), false
	defer timer.Stop()
	for {
		if err := w.advance(ctx); err != nil {
			return err
		}
		if len(w.waiting) == 0 && len(w.todo) == 0 {
			return nil
		}
		err := ex.sync(ctx, w.source)
		if err != nil && !errors.Is(err, errSettling) {
			w.f.log.Debug("wants not sent", "peer", from, "err", err)
		}
		refused, _ := ex.refusals(w.source)
		w.refused = w.refused || refused > 0
		if !retrying && (refused > 0 || err != nil) {
			retrying = true
			timer.Reset(retry)
		}
		select {
		case b := <-w.transfer.arrived:
			if err := w.accept(b); err != nil {
				return err
			}
			retry, stall, retrying, w.refused = firstRetry, firstStall, false, false
			timer.Reset(stall)
		case <-w.transfer.wake:
			if err := ex.state(w.transfer); err != nil {
				return err
			}
		case <-timer.C:
			ex.again(w.source, !retrying)
			if retrying {
				retry = min(2*retry, lastRetry)
			} else {
				stall = min(2*stall, lastStall)
			}
			retrying = false
			timer.Reset(stall)
		case <-ctx.Done():
			return w.why(ctx, from)
		case <-w.f.down:
			return ErrStopped
		}
	}
}

// running waits until blocks are exchanged.
func (f *Files) running(ctx context.Context) error {
	if f.ex == nil {
		return ErrStopped
	}
	select {
	case <-f.up:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case <-f.down:
		return ErrStopped
	default:
		return nil
	}
}

// why keeps what has come and says what was amiss when ctx ended.
func (w *fetch) why(ctx context.Context, from peer.ID) error {
	for len(w.transfer.arrived) > 0 {
		if err := w.accept(<-w.transfer.arrived); err != nil {
			return err
		}
	}
	err := context.Cause(ctx)
	refused, strays := w.f.ex.refusals(w.source)
	switch {
	case w.refused || refused > 0:
		return fmt.Errorf("%w (%w)", ErrRefused, err)
	case !w.f.net.IsConnectedToPeer(ctx, from):
		return fmt.Errorf("no connection: %w", err)
	case strays > 0:
		return fmt.Errorf("%d blocks came that were not asked for: %w (%w)", strays, ErrHash, err)
	}
	return fmt.Errorf("%d blocks did not come: %w", len(w.waiting), err)
}

// advance takes from the list what is here, and asks for what is not, as far as
// the window goes. Without a transfer it stops at the first that is not here.
func (w *fetch) advance(ctx context.Context) error {
	before := w.here
	for len(w.todo) > 0 {
		if err := ctx.Err(); err != nil && w.transfer == nil {
			return err
		}
		r := w.todo[len(w.todo)-1]
		n, size, err := w.local(r)
		if err != nil {
			return err
		}
		if n == nil {
			if w.transfer == nil || !w.ask(r) {
				break
			}
			w.todo = w.todo[:len(w.todo)-1]
			continue
		}
		w.todo = w.todo[:len(w.todo)-1]
		if err := w.visit(r, *n, size); err != nil {
			return err
		}
	}
	if w.here != before {
		w.progress(w.here)
	}
	return nil
}

// ask adds r to what is waited for, if there is room.
func (w *fetch) ask(r ref) bool {
	if refs, asked := w.waiting[r.cid]; asked {
		w.waiting[r.cid] = append(refs, r)
		return true
	}
	if len(w.waiting) > 0 && (len(w.waiting) >= windowBlocks || w.hinted+r.hint() > windowBytes) {
		return false
	}
	if !w.f.ex.want(w.source, w.transfer, r.cid) {
		return false
	}
	w.waiting[r.cid] = []ref{r}
	w.hinted += r.hint()
	return true
}

// local decodes a block that is here, or returns nil. Of a raw leaf only the
// size is read.
func (w *fetch) local(r ref) (n *node, size uint64, err error) {
	m := measure{from: w.f.blocks}
	size, here, err := w.f.blocks.size(r.cid)
	if !here || err != nil {
		return nil, 0, err
	}
	got, err := m.node(r.link)
	if errors.Is(err, ErrHash) {
		return nil, 0, nil // damaged on the disk, and forgotten just now
	}
	return &got, size, err
}

// accept checks the block b, and what came with it, keeps them, and puts what
// they link to on the list.
func (w *fetch) accept(b blocks.Block) error {
	batch := []blocks.Block{b}
	for size := len(b.RawData()); size < batchBytes && len(batch) < windowBlocks; {
		select {
		case b = <-w.transfer.arrived:
			batch, size = append(batch, b), size+len(b.RawData())
			continue
		default:
		}
		break
	}
	for _, b := range batch {
		w.f.ex.took(w.transfer, len(b.RawData()))
		refs := w.waiting[b.Cid()]
		delete(w.waiting, b.Cid())
		for i, r := range refs {
			if i == 0 {
				w.hinted -= r.hint()
			}
			n, err := decode(b.Cid(), b.RawData(), r.want)
			if err != nil {
				return err
			}
			if err := w.visit(r, n, uint64(len(b.RawData()))); err != nil {
				return err
			}
		}
	}
	if err := w.f.blocks.put(batch); err != nil {
		return err
	}
	w.progress(w.here)
	return nil
}

// visit counts a block and puts what it links to on the list, the first on top.
func (w *fetch) visit(r ref, n node, size uint64) error {
	w.here += size
	if r.cid.Prefix().Codec != cid.Raw {
		w.tree += size
	}
	// Leaves are bounded by what their file declared. Folders and inner nodes
	// are small beside them, and bounded by this.
	if most := 64<<20 + w.limit.Bytes/8; w.tree > most {
		return &LimitError{What: "bytes of folders and links", Max: most}
	}
	if r.want.role == roleEntry && n.kind == kindFile {
		if w.declared += n.size; w.declared > w.limit.Bytes || n.size > w.limit.Bytes {
			return &LimitError{What: "bytes", Max: w.limit.Bytes}
		}
	}
	for i := len(n.links) - 1; i >= 0; i-- {
		if err := w.push(n.links[i], r.depth+1); err != nil {
			return err
		}
	}
	return nil
}
