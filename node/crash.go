//go:build crashpoints

package node

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/libp2p/go-libp2p/core/host"
	p2pnet "github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/souk-market/souk/node/client"
	"github.com/souk-market/souk/node/money"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/node/provider"
	"github.com/souk-market/souk/payment"
	leasev1 "github.com/souk-market/souk/proto/souk/lease/v1"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"google.golang.org/protobuf/proto"
)

// This file is in the build for integration/crash alone. The moments of a daemon's
// life have names: by what is about to become durable, which the package that keeps
// the record gives, or by what is about to leave. At one of them this process, or
// another, gets a SIGKILL.

// crashes is the trigger. The file that SOUK_CRASH names holds, while it is set,
// "before|after POINT COUNT PID": at the COUNTth such moment PID is killed. The
// file is gone then, so that it happens once.
type crashes struct {
	file string
	mu   sync.Mutex // held while the file is looked at
}

func newCrashes() *crashes { return &crashes{file: os.Getenv("SOUK_CRASH")} }

// reach looks whether one of the points is the armed one. Where this process is
// the one to die, it does not return.
func (c *crashes) reach(side string, points ...string) {
	if len(points) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	armed, err := os.ReadFile(c.file)
	if err != nil {
		return // not armed
	}
	var atSide, atPoint string
	var count, pid int
	if _, err := fmt.Sscan(string(armed), &atSide, &atPoint, &count, &pid); err != nil {
		panic(fmt.Sprintf("SOUK_CRASH: %q: %v", armed, err))
	}
	for _, p := range points {
		if side != atSide || p != atPoint {
			continue
		}
		if count > 1 {
			armed = fmt.Appendf(nil, "%s %s %d %d", atSide, atPoint, count-1, pid)
			if err := os.WriteFile(c.file, armed, 0o600); err != nil {
				panic(fmt.Sprintf("SOUK_CRASH: %v", err))
			}
			return
		}
		if err := os.Remove(c.file); err != nil {
			panic(fmt.Sprintf("SOUK_CRASH: %v", err))
		}
		syscall.Kill(pid, syscall.SIGKILL) // one that has ended shows as such to the test
		if pid == os.Getpid() {
			select {}
		}
		return
	}
}

// around reaches the points on both sides of do.
func (c *crashes) around(points []string, do func() error) error {
	c.reach("before", points...)
	if err := do(); err != nil {
		return err
	}
	c.reach("after", points...)
	return nil
}

// crashSeal is around the blocks of the test chain that hold transactions.
func crashSeal() func(seal func() error) error {
	c := newCrashes()
	return func(seal func() error) error { return c.around([]string{"block"}, seal) }
}

// crashStore is around each commit of the ledger.
func crashStore(s payment.Store) payment.Store { return &crashingStore{s, newCrashes()} }

type crashingStore struct {
	payment.Store
	crashes *crashes
}

func (s *crashingStore) Update(fn func(payment.Txn) error) error {
	var points []string
	err := s.Store.Update(func(txn payment.Txn) error {
		w := &watchedTxn{Txn: txn}
		err := fn(w)
		if points = w.points; err == nil {
			s.crashes.reach("before", points...)
		}
		return err
	})
	if err == nil {
		s.crashes.reach("after", points...)
	}
	return err
}

// watchedTxn collects the points that a transaction passes when it commits.
type watchedTxn struct {
	payment.Txn
	points []string
}

func (t *watchedTxn) Set(key, value []byte) error {
	had, err := t.Txn.Get(key)
	if err != nil {
		return err
	}
	kind, _, _ := strings.Cut(string(key[1:]), "/") // the first byte is the ledger's
	t.points = append(t.points, recordPoints(kind, had, value)...)
	return t.Txn.Set(key, value)
}

// recordPoints names what a record says that it did not say before, by the package
// that keeps it.
func recordPoints(kind string, had, value []byte) []string {
	return slices.Concat(client.CrashPoints(kind, had, value), provider.CrashPoints(kind, had, value), money.CrashPoints(kind, had, value))
}

// crashHost is around each frame that this node says on a protocol of souk's.
func crashHost(h host.Host) host.Host { return crashingHost{h, newCrashes()} }

type crashingHost struct {
	host.Host
	crashes *crashes
}

func (h crashingHost) NewStream(ctx context.Context, p peer.ID, ids ...protocol.ID) (p2pnet.Stream, error) {
	s, err := h.Host.NewStream(ctx, p, ids...)
	if err != nil {
		return nil, err
	}
	return h.watch(s), nil
}

func (h crashingHost) SetStreamHandler(id protocol.ID, handle p2pnet.StreamHandler) {
	h.Host.SetStreamHandler(id, func(s p2pnet.Stream) { handle(h.watch(s)) })
}

func (h crashingHost) watch(s p2pnet.Stream) p2pnet.Stream {
	switch s.Protocol() {
	case network.OrderProtocol, network.LeaseProtocol, network.RunProtocol, network.ChannelProtocol:
		return crashingStream{s, h.crashes}
	default:
		return s
	}
}

type crashingStream struct {
	p2pnet.Stream
	crashes *crashes
}

func (s crashingStream) Write(frame []byte) (n int, err error) {
	points := framePoints(s.Protocol(), s.Stat().Direction == p2pnet.DirOutbound, frame)
	err = s.crashes.around(points, func() (err error) {
		n, err = s.Stream.Write(frame)
		return err
	})
	return n, err
}

// framePoints names a frame: wire.Write hands over each in one piece.
func framePoints(id protocol.ID, asking bool, frame []byte) []string {
	_, n := binary.Uvarint(frame)
	body := frame[max(n, 0):]
	switch {
	case id == network.OrderProtocol && asking:
		return []string{"order-sent"}
	case id == network.OrderProtocol:
		var m marketv1.OrderReply
		if proto.Unmarshal(body, &m) == nil && m.GetBid() != nil {
			return []string{"bid-sent"}
		}
	case id == network.LeaseProtocol && asking:
		return []string{"lease-sent"}
	case id == network.RunProtocol && asking:
		var m runv1.ToProvider
		if proto.Unmarshal(body, &m) == nil && m.GetAttach() != nil {
			return []string{"attach-sent"}
		} else if m.GetCountersign() != nil {
			return []string{"voucher-sent"}
		}
	case id == network.ChannelProtocol && asking:
		var m leasev1.ChannelRequest
		if proto.Unmarshal(body, &m) == nil && m.GetRefund() != nil {
			return []string{"refund-sent"}
		}
	}
	return nil
}
