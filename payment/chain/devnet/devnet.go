// Package devnet is a chain of one's own inside a process: a go-ethereum node
// without peers, with souk's contracts in its first block and a faucet.
//
// It is for trying souk and for tests; nothing on it has worth. A transaction
// that was mined is on disk before anyone can see its block, so the chain
// survives the process at any point; one still waiting when the process dies is
// lost. Blocks come on demand, at least a second of chain time apart; after the
// last transaction empty ones follow until it is final, and then none.
package devnet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
)

// Config holds what a [Devnet] needs. A field without a default is required.
type Config struct {
	Dir    string       // where the chain is kept; one process at a time
	Listen string       // where JSON-RPC is served; default 127.0.0.1:0
	Room   func() error // why nothing may be written now, or nil; default: there is always room
	Eager  bool         // for tests: a transaction is mined at once, and chain time runs ahead of the clock
	Log    *slog.Logger // default: discarded

	// Seal is handed the making of each block that holds a transaction, until it is
	// on disk, so that a test can end the process on either side; default: calls it.
	Seal func(seal func() error) error
}

// Devnet is a chain and its JSON-RPC server. [New] takes the port, so that its
// URL is known; [Devnet.Run] does the rest.
type Devnet struct {
	dir      string
	room     func() error
	eager    bool
	log      *slog.Logger
	around   func(seal func() error) error
	listener net.Listener
	advance  chan advanceRequest // to the goroutine that seals
}

// stopTime is how long requests in flight may take when Run ends.
const stopTime = time.Second

// New checks the config and takes the listening port. Requests that arrive
// before Run wait.
func New(c Config) (*Devnet, error) {
	if c.Dir == "" {
		return nil, errors.New("devnet: no folder")
	}
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return nil, fmt.Errorf("devnet: %w", err)
	}
	if c.Listen == "" {
		c.Listen = "127.0.0.1:0"
	}
	if c.Room == nil {
		c.Room = func() error { return nil }
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Seal == nil {
		c.Seal = func(seal func() error) error { return seal() }
	}
	l, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return nil, fmt.Errorf("devnet: %w", err)
	}
	return &Devnet{dir: dir, room: c.Room, eager: c.Eager, log: c.Log, around: c.Seal, listener: l,
		advance: make(chan advanceRequest)}, nil
}

// URL is where the chain's JSON-RPC is served.
func (d *Devnet) URL() string { return "http://" + d.listener.Addr().String() }

// Run opens the chain and serves it until ctx ends. It can be called once. An
// error names the cause: another process has the folder, or the chain in it
// began with other contracts.
func (d *Devnet) Run(ctx context.Context) error {
	defer d.listener.Close()
	n, err := open(d.dir, d.around)
	if err != nil {
		return fmt.Errorf("open devnet %s: %w", d.dir, err)
	}
	defer n.close()
	faucet, err := newFaucet(n)
	if err != nil {
		return fmt.Errorf("open faucet: %w", err)
	}
	handler, stop, err := newHandler(n, faucet)
	if err != nil {
		return fmt.Errorf("serve devnet: %w", err)
	}
	srv := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
	d.log.Info("devnet runs", "url", d.URL(), "block", n.head().Number)

	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return n.seal(ctx, d.advance, d.eager, d.room, d.log) })
	g.Go(func() error {
		if err := srv.Serve(d.listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve devnet: %w", err)
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		stop()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
		defer cancel()
		if err := srv.Shutdown(grace); err != nil {
			// A request that outlives the grace is cut off.
			return srv.Close()
		}
		return nil
	})
	return g.Wait()
}

// Advance moves the chain's clock forward by dt at least, with an empty block, so
// that a test need not wait for a delay to pass. It waits for Run.
func (d *Devnet) Advance(ctx context.Context, dt time.Duration) error {
	req := advanceRequest{by: dt, done: make(chan error, 1)}
	select {
	case d.advance <- req:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-req.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

type advanceRequest struct {
	by   time.Duration
	done chan error // holds one
}
