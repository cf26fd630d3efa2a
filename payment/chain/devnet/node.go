package devnet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/eth"
	"github.com/ethereum/go-ethereum/eth/catalyst"
	"github.com/ethereum/go-ethereum/eth/ethconfig"
	"github.com/ethereum/go-ethereum/eth/filters"
	"github.com/ethereum/go-ethereum/node"
	"github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/rpc"
)

// chainNode is the running node. Only the goroutine in seal makes blocks.
type chainNode struct {
	stack   *node.Node
	eth     *eth.Ethereum
	beacon  *catalyst.SimulatedBeacon
	filters *filters.FilterAPI
	around  func(seal func() error) error // see [Config.Seal]
	sealed  time.Time                     // when the last block was made; seal alone uses it

	// mu is held for reading by each request and for writing while a block is made
	// and put on disk: so nobody sees a block that a crash could still take back.
	mu sync.RWMutex
}

// open opens or begins the chain in dir. The settings are those that were found
// to survive a kill at any point: the hash scheme writes each block's state in
// full, where the default keeps it in memory.
func open(dir string, around func(seal func() error) error) (*chainNode, error) {
	key, err := faucetKey()
	if err != nil {
		return nil, err
	}
	first, err := genesis(crypto.PubkeyToAddress(key.PublicKey))
	if err != nil {
		return nil, fmt.Errorf("make genesis: %w", err)
	}
	stack, err := node.New(&node.Config{
		Name:              "souk-devnet",
		DataDir:           dir,
		UseLightweightKDF: true,
		P2P:               p2p.Config{NoDiscovery: true, NoDial: true, MaxPeers: 0},
	})
	if err != nil {
		return nil, err
	}
	n, err := start(stack, first)
	if err != nil {
		return nil, errors.Join(err, stack.Close())
	}
	n.around = around
	return n, nil
}

func start(stack *node.Node, first *core.Genesis) (*chainNode, error) {
	config := ethconfig.Defaults
	config.Genesis = first
	config.SyncMode = ethconfig.FullSync
	config.StateScheme = rawdb.HashScheme
	config.NoPruning = true
	config.DatabaseCache, config.TrieCleanCache, config.TrieDirtyCache = 16, 16, 16
	config.SnapshotCache = 0
	config.LogNoHistory = true
	config.TxPool.NoLocals = true
	config.TxPool.Journal = ""
	config.Miner.GasCeil = blockGasLimit
	// Any tip is mined at once: there is no one to compete with.
	config.Miner.GasPrice = big.NewInt(1)
	backend, err := eth.New(stack, &config)
	if err != nil {
		return nil, err
	}
	api := filters.NewFilterAPI(filters.NewFilterSystem(backend.APIBackend, filters.Config{}))
	stack.RegisterAPIs([]rpc.API{{Namespace: "eth", Service: api}})
	if err := stack.Start(); err != nil {
		return nil, err
	}
	beacon, err := catalyst.NewSimulatedBeacon(0, common.Address{}, backend)
	if err != nil {
		return nil, err
	}
	return &chainNode{stack: stack, eth: backend, beacon: beacon, filters: api}, nil
}

func (n *chainNode) close() error {
	return errors.Join(n.beacon.Stop(), n.stack.Close())
}

func (n *chainNode) head() *types.Header { return n.eth.BlockChain().CurrentBlock() }

// seal makes blocks until ctx ends: at once for a transaction if the last block
// is a second old, and then one a second until the last that holds one is final.
func (n *chainNode) seal(ctx context.Context, advance <-chan advanceRequest, eager bool, room func() error, log *slog.Logger) error {
	txs := make(chan core.NewTxsEvent, 64)
	sub := n.eth.TxPool().SubscribeTransactions(txs, true)
	defer sub.Unsubscribe()
	// A block with a transaction may have been the last before a restart.
	last := n.head().Number.Uint64()
	full := false // and that was said
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-sub.Err():
			return fmt.Errorf("transaction pool closed: %w", err)
		case req := <-advance:
			req.done <- n.advance(req.by)
			timer.Reset(n.pause())
		case <-txs:
			if eager {
				timer.Reset(0)
			} else {
				timer.Reset(n.pause())
			}
		case <-timer.C:
			pending, _ := n.eth.TxPool().Stats()
			if pending == 0 && n.final() >= last {
				continue
			}
			if err := room(); err != nil { // go-ethereum ends the process over a write that fails
				if !full {
					log.Warn("devnet makes no blocks", "err", err)
				}
				full = true
				timer.Reset(time.Second)
				continue
			}
			full = false
			if err := n.commit(); err != nil {
				return err
			}
			head := n.head()
			if head.TxHash != types.EmptyTxsHash {
				last = head.Number.Uint64()
				log.Debug("devnet sealed", "block", last)
			}
			timer.Reset(n.pause())
		}
	}
}

// pause is how long the next block must wait so that chain time does not run
// ahead of the clock. Where [Devnet.Advance] has moved it ahead for good, blocks
// are a second apart.
func (n *chainNode) pause() time.Duration {
	wait := time.Until(time.Unix(int64(n.head().Time)+1, 0))
	if wait > time.Second {
		wait = time.Until(n.sealed.Add(time.Second))
	}
	return max(0, wait)
}

// final is the number of the last final block.
func (n *chainNode) final() uint64 {
	if h := n.eth.BlockChain().CurrentFinalBlock(); h != nil {
		return h.Number.Uint64()
	}
	return 0
}

// commit makes one block of what waits in the pool, and returns when it is on disk.
func (n *chainNode) commit() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	before := n.head().Number.Uint64()
	seal := func() error {
		n.beacon.Commit() // reports failure to go-ethereum's log alone
		return n.sync(before)
	}
	if pending, _ := n.eth.TxPool().Stats(); pending > 0 {
		return n.around(seal)
	}
	return seal()
}

func (n *chainNode) advance(by time.Duration) error {
	// The clock can only be moved over an empty pool.
	for range 16 {
		if pending, _ := n.eth.TxPool().Stats(); pending == 0 {
			break
		}
		if err := n.commit(); err != nil {
			return err
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	before := n.head().Number.Uint64()
	if err := n.beacon.AdjustTime(by); err != nil {
		return fmt.Errorf("advance chain by %v: %w", by, err)
	}
	return n.sync(before)
}

func (n *chainNode) sync(before uint64) error {
	if head := n.head().Number.Uint64(); head != before+1 {
		return fmt.Errorf("seal block %d: head stays at %d", before+1, head)
	}
	n.sealed = time.Now()
	if err := n.eth.ChainDb().SyncKeyValue(); err != nil {
		return fmt.Errorf("sync block %d to disk: %w", before+1, err)
	}
	return nil
}
