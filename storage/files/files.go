// Package files keeps files and folders by the hash of their content, and moves
// them between peers over bitswap.
//
// The format is UnixFS as the `ipfs add --cid-version=1` of kubo makes it: raw
// leaves, SHA-256, pieces of 256 KiB, 174 links to a node. The same content has
// the same id everywhere.
//
// A peer is served what was granted to it and nothing else. What is fetched is
// hashed and checked block by block against limits that the caller sets, before
// any more of it is asked for; so a hostile DAG costs what the limits say and no
// more. Names are checked as they are read: nothing that is saved can land
// outside its folder.
package files

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"

	"github.com/ipfs/boxo/bitswap/network"
	"github.com/ipfs/boxo/bitswap/network/bsnet"
	"github.com/ipfs/boxo/bitswap/server"
	bitswapstore "github.com/ipfs/boxo/blockstore"
	"github.com/libp2p/go-libp2p/core/host"
	p2pnet "github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/souk-market/souk/storage/badger"
)

// Config holds what [New] needs. A field without a default is required.
type Config struct {
	Dir       string       // made if missing; one process at a time
	Host      host.Host    // speaks bitswap while Run runs; nil: a store without a network
	Sync      bool         // blocks survive a loss of power; default: a crash of the process only
	FreeFloor uint64       // bytes that must stay free on the disk; default 256 MiB
	Log       *slog.Logger // default: discarded
}

var (
	// ErrLowDisk is returned for a write while the disk is too full; see Config.
	ErrLowDisk = badger.ErrLowDisk
	// ErrMissing is returned where a block is needed that is not here.
	ErrMissing = errors.New("block is not here")
	// ErrStopped is returned by Fetch when Run has ended or there is no host.
	ErrStopped = errors.New("files are not being exchanged")
	// ErrNoPath is returned for a path that leads to nothing in its folder.
	ErrNoPath = errors.New("no such file in this folder")
	// ErrNotFile is returned for a folder where a file is needed.
	ErrNotFile = errors.New("a folder, not a file")
	// ErrNotFolder is returned for a file where a folder is needed.
	ErrNotFolder = errors.New("a file, not a folder")
)

// LimitError tells which limit a DAG passed.
type LimitError struct {
	What string // what there was too much of: "blocks", "bytes", …
	Max  uint64
}

func (e *LimitError) Error() string { return fmt.Sprintf("over the limit of %d %s", e.Max, e.What) }

// Files is a store of files. Its methods may be called from any goroutine.
type Files struct {
	log    *slog.Logger
	blocks *blockstore
	serve  bitswapstore.Blockstore // what peers are served from: blocks, but for tests that lie
	db     *badger.Store
	host   host.Host
	net    network.BitSwapNetwork
	grants *grants
	ex     *exchange

	once sync.Once
	up   chan struct{} // closed once Run exchanges
	down chan struct{} // closed once Run has ended
}

// New opens the store in c.Dir. It serves nobody until [Files.Run].
func New(c Config) (*Files, error) {
	if c.Dir == "" {
		return nil, errors.New("files: no directory given")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	// Without sync a loss of power may take the last blocks along. They are
	// missed when they are next looked for, and added or fetched again: a block
	// is its hash, so what is there is right.
	db, err := badger.Open(badger.Config{
		Dir: filepath.Join(c.Dir, "index"), FreeFloor: c.FreeFloor, NoSync: !c.Sync, Log: c.Log,
	})
	if err != nil {
		return nil, fmt.Errorf("files: %w", err)
	}
	bs, err := newBlockstore(db, filepath.Join(c.Dir, "data"), c.Sync)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("files: %w", err), db.Close())
	}
	f := &Files{
		log: c.Log, db: db, blocks: bs, host: c.Host, grants: newGrants(),
		up: make(chan struct{}), down: make(chan struct{}),
	}
	f.serve = f.blocks
	if c.Host != nil {
		f.net = bsnet.NewFromIpfsHost(c.Host)
		f.ex = newExchange(f.net)
	}
	return f, nil
}

// messageBytes is about what goes to a peer in one message. Each takes a stream of
// its own, so it is more than the one block that boxo sends by default; and less
// than boxo lets be under way to one peer, 1 MiB, so that one is read from the
// disk while another is sent.
const messageBytes = 512 << 10

// Run exchanges blocks with peers until ctx ends. It may be called once.
func (f *Files) Run(ctx context.Context) error {
	ran := false
	f.once.Do(func() { ran = true })
	if !ran || f.net == nil {
		return errors.New("files: Run needs a host, and runs once")
	}
	srv := server.New(ctx, f.net, f.serve, server.WithPeerBlockRequestFilter(f.grants.allowed),
		server.WithTargetMessageSize(messageBytes))
	relinked := func(_ p2pnet.Network, c p2pnet.Conn) { f.ex.relinked(c.RemotePeer()) }
	links := &p2pnet.NotifyBundle{ConnectedF: relinked, DisconnectedF: relinked}
	f.host.Network().Notify(links)
	f.net.Start(srv, f.ex)
	close(f.up)
	<-ctx.Done()
	close(f.down)
	f.host.Network().StopNotify(links)
	for _, p := range []protocol.ID{
		bsnet.ProtocolBitswap, bsnet.ProtocolBitswapOneOne, bsnet.ProtocolBitswapOneZero, bsnet.ProtocolBitswapNoVers,
	} {
		f.host.RemoveStreamHandler(p)
	}
	f.net.Stop()
	srv.Close()
	return nil
}

// Close ends the store. Run must have returned.
func (f *Files) Close() error {
	if err := f.db.Close(); err != nil {
		return fmt.Errorf("files: %w", err)
	}
	return nil
}

// Has tells whether the block that root names is here, whatever lies below it.
func (f *Files) Has(ctx context.Context, root string) (bool, error) {
	c, err := parse(root)
	if err != nil {
		return false, err
	}
	return f.blocks.Has(ctx, c)
}

// Block returns the bytes of one block, checked against its hash, or
// [ErrMissing]; or [ErrHash], after which a damaged block counts as missing.
func (f *Files) Block(root string) ([]byte, error) {
	c, err := parse(root)
	if err != nil {
		return nil, err
	}
	return f.blocks.read(c)
}

// Stats counts what was received since [New].
type Stats struct {
	Blocks   uint64 // that were asked for
	Bytes    uint64 // in them
	Unwanted uint64 // blocks that were not asked for, or came once already
	Refused  uint64 // answers that a peer has no such block, or not for us
}

// Stats returns the counters.
func (f *Files) Stats() Stats {
	if f.ex == nil {
		return Stats{}
	}
	return f.ex.stats()
}
