// Package mem is a chain inside the process, with the rules of souk's contracts
// in Go: tokens, deposits by authorization, channels, claims, refunds, timed
// withdrawals and anchors.
//
// It is for simulations and tests, and passes the same contract test as the real
// client on a devnet, payment/chain/chaintest: the same calls work, and those
// that the contracts refuse are refused with the same errors. It starts no
// goroutine and its clock is that of package time, so it works under
// testing/synctest. Nothing on it outlives the process.
package mem

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/chain"
)

// ErrDown is returned by every call while [Chain.SetDown] holds.
var ErrDown = errors.New("no node of the chain answers")

// Config holds what a [Chain] needs. The zero value is good.
type Config struct {
	ChainID   uint64          // default: a devnet's
	Contracts chain.Contracts // default: a devnet's; addresses for the books, nothing stands there
	BlockTime time.Duration   // between blocks, which come also without transactions; default 1s
	Finality  uint64          // how many blocks the final one is behind the latest; default 8
}

// keep is how many past blocks with transactions can be read, as at a node that
// prunes.
const keep = 128

// Chain is what all clients share. Its methods, and theirs, may run at once.
type Chain struct {
	cfg     Config
	genesis time.Time

	mu      sync.Mutex    // guards what follows
	ahead   time.Duration // how far the chain's clock runs before ours
	past    []*state      // of blocks with transactions, oldest first; the last is the present
	latest  uint64        // block number
	pending []*transaction
	known   map[string]*transaction // by hash
	down    bool
}

// state is what the contracts hold as of a block. It is not changed once another
// follows it.
type state struct {
	block    uint64
	time     time.Time // in whole seconds, as on a chain
	tokens   map[payment.Address]souk.Atoms
	gas      map[payment.Address]uint64 // in gwei
	used     map[souk.Digest]bool       // nonces of authorizations
	channels map[souk.ChannelID]chain.ChannelState
	earned   map[payment.Address]souk.Atoms // claimed and not settled, by receiver
}

func (s *state) clone() *state {
	return &state{block: s.block, time: s.time, tokens: maps.Clone(s.tokens), gas: maps.Clone(s.gas),
		used: maps.Clone(s.used), channels: maps.Clone(s.channels), earned: maps.Clone(s.earned)}
}

// transaction is a call that waits, or that is in a block.
type transaction struct {
	hash   string
	from   payment.Address
	call   func(*state) error
	block  uint64 // 0: it waits
	time   time.Time
	err    error // the contract refused
	anchor *anchored
}

type anchored struct {
	root  souk.Digest
	count uint64
}

// New makes a chain that holds nothing. Its first block is now.
func New(cfg Config) *Chain {
	if cfg.ChainID == 0 {
		cfg.ChainID = chain.DevnetChainID
	}
	if cfg.Contracts == (chain.Contracts{}) {
		cfg.Contracts = chain.DevnetContracts()
	}
	if cfg.BlockTime <= 0 {
		cfg.BlockTime = time.Second
	}
	if cfg.Finality == 0 {
		cfg.Finality = 8
	}
	now := time.Now()
	first := &state{block: 1, time: now.Truncate(time.Second), tokens: map[payment.Address]souk.Atoms{}, gas: map[payment.Address]uint64{},
		used: map[souk.Digest]bool{}, channels: map[souk.ChannelID]chain.ChannelState{}, earned: map[payment.Address]souk.Atoms{}}
	return &Chain{cfg: cfg, genesis: now, past: []*state{first}, latest: 1, known: map[string]*transaction{}}
}

// Advance moves the chain's clock forward by dt, with the blocks that belong there.
func (c *Chain) Advance(dt time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += dt
}

// SetDown makes every call of every client fail, or work again. Blocks come even so.
func (c *Chain) SetDown(down bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down = down
}

// Held is how many tokens all addresses hold, the contract's among them, and what
// the contract owes: what is left on channels, and claimed but not settled.
func (c *Chain) Held() (all, contract, owed souk.Atoms) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	for _, n := range now.tokens {
		all += n
	}
	for _, ch := range now.channels {
		owed += ch.Balance - ch.Claimed
	}
	for _, n := range now.earned {
		owed += n
	}
	return all, now.tokens[c.cfg.Contracts.Settlement], owed
}

// now makes the blocks that are due and returns the present state. A transaction
// is in the first block after it was sent.
func (c *Chain) now() *state {
	due := 1 + uint64((time.Since(c.genesis)+c.ahead)/c.cfg.BlockTime)
	if due > c.latest && len(c.pending) > 0 {
		c.mine(c.latest + 1)
	}
	c.latest = max(due, c.latest)
	return c.past[len(c.past)-1]
}

// blockTime is the time of a block.
func (c *Chain) blockTime(number uint64) time.Time {
	return c.genesis.Add(time.Duration(number-1) * c.cfg.BlockTime).Truncate(time.Second)
}

// mine puts what waits into a block.
func (c *Chain) mine(number uint64) {
	for _, tx := range c.pending {
		tx.block, tx.time = number, c.blockTime(number)
		next := c.at(number)
		pay(next, tx.from)
		if tx.err = tx.call(next); tx.err != nil {
			next = c.at(number) // refused: only the gas is gone
			pay(next, tx.from)
		}
		c.push(next)
	}
	c.pending = nil
}

// at is a copy of the present state to work on in a block.
func (c *Chain) at(number uint64) *state {
	s := c.past[len(c.past)-1].clone()
	s.block, s.time = number, c.blockTime(number)
	return s
}

// push makes s the present state: a second one of a block replaces the first.
func (c *Chain) push(s *state) {
	if last := len(c.past) - 1; c.past[last].block == s.block {
		c.past[last] = s
		return
	}
	if c.past = append(c.past, s); len(c.past) > keep {
		c.past = c.past[1:]
	}
}

// read returns the state as of a block.
func (c *Chain) read(number uint64) (*state, error) {
	if number > c.latest {
		return nil, fmt.Errorf("block %d is not there yet", number)
	}
	for i := len(c.past) - 1; i >= 0; i-- {
		if c.past[i].block <= number {
			return c.past[i], nil
		}
	}
	return nil, fmt.Errorf("block %d was pruned", number)
}

// send tries a call on the state that the next block will find, and queues it.
func (c *Chain) send(from payment.Address, a *anchored, call func(*state) error) (string, error) {
	c.now()
	trial := c.at(c.latest)
	if trial.gas[from] < fee {
		return "", fmt.Errorf("send transaction from %s: %w", from, chain.ErrGas)
	}
	if err := call(trial); err != nil {
		return "", err
	}
	return c.queue(from, a, call), nil
}

func (c *Chain) queue(from payment.Address, a *anchored, call func(*state) error) string {
	number := binary.BigEndian.AppendUint64(nil, uint64(len(c.known)))
	tx := &transaction{hash: hexutil.Encode(crypto.Keccak256(from[:], number)), from: from, call: call, anchor: a}
	c.pending, c.known[tx.hash] = append(c.pending, tx), tx
	return tx.hash
}

// fee is what a transaction costs, in gwei: 100,000 gas at 1 gwei.
const (
	gasUsed = 100_000
	fee     = gasUsed
)

// pay takes the fee: a sender that has spent it meanwhile is let off.
func pay(s *state, from payment.Address) { s.gas[from] -= min(fee, s.gas[from]) }
