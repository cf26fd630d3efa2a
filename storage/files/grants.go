package files

import (
	"context"
	"fmt"
	"sync"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/souk-market/souk"
)

// Anyone stands for every peer in a grant.
const Anyone peer.ID = ""

// grants says who may be served which block. They are kept in memory: the node
// grants again what its leases need when it starts.
type grants struct {
	mu     sync.RWMutex                           // guards the two maps
	roots  map[grantKey]*grant                    // what was granted
	blocks map[peer.ID]map[souk.Digest]grantCount // the blocks of all that, counted
}

// grantCount is how many roots that hold a block are granted to a peer.
type grantCount uint32

type grantKey struct {
	root souk.Digest
	to   peer.ID
}

type grant struct {
	times   int // granted and not withdrawn
	digests []souk.Digest
}

func newGrants() *grants {
	return &grants{roots: map[grantKey]*grant{}, blocks: map[peer.ID]map[souk.Digest]grantCount{}}
}

// allowed is asked for each block that a peer wants. The default is no.
func (g *grants) allowed(p peer.ID, c cid.Cid) bool {
	if check(c) != nil {
		return false
	}
	d := digest(c)
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.blocks[p][d] > 0 || g.blocks[Anyone][d] > 0
}

// Grant lets a peer, or [Anyone], have all blocks of root, which must all be
// here. A second grant of the same root needs a second [Files.Withdraw].
func (f *Files) Grant(ctx context.Context, root string, to peer.ID) error {
	c, err := parse(root)
	if err != nil {
		return fmt.Errorf("grant: %w", err)
	}
	if f.grants.again(grantKey{digest(c), to}) {
		return nil
	}
	m := newMeasure(f.blocks, local)
	if _, err := m.root(ctx, c); err != nil {
		return fmt.Errorf("grant %s: %w", root, err)
	}
	f.grants.add(grantKey{digest(c), to}, m.digests())
	return nil
}

// Publish lets anyone have all blocks of root, until it is withdrawn from [Anyone].
func (f *Files) Publish(ctx context.Context, root string) error { return f.Grant(ctx, root, Anyone) }

// Withdraw takes one grant of root back. What the peer asked for before is still sent.
func (f *Files) Withdraw(root string, to peer.ID) {
	c, err := parse(root)
	if err != nil {
		return // never granted, then
	}
	f.grants.remove(grantKey{digest(c), to})
}

func (g *grants) again(k grantKey) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	old, ok := g.roots[k]
	if ok {
		old.times++
	}
	return ok
}

func (g *grants) add(k grantKey, digests []souk.Digest) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if old, ok := g.roots[k]; ok { // another Grant was faster
		old.times++
		return
	}
	g.roots[k] = &grant{times: 1, digests: digests}
	counts := g.blocks[k.to]
	if counts == nil {
		counts = make(map[souk.Digest]grantCount, len(digests))
		g.blocks[k.to] = counts
	}
	for _, d := range digests {
		counts[d]++
	}
}

func (g *grants) remove(k grantKey) {
	g.mu.Lock()
	defer g.mu.Unlock()
	old, ok := g.roots[k]
	if !ok {
		return
	}
	if old.times--; old.times > 0 {
		return
	}
	delete(g.roots, k)
	counts := g.blocks[k.to]
	for _, d := range old.digests {
		if counts[d]--; counts[d] == 0 {
			delete(counts, d)
		}
	}
	if len(counts) == 0 {
		delete(g.blocks, k.to)
	}
}
