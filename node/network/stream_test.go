package network

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	"github.com/souk-market/souk/proto/wire"
	"go.uber.org/goleak"
)

// pair is two connected hosts; the first serves, and is asked by the second.
func pair(t *testing.T) (server, client *Streams) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	server, client = NewStreams(testHost(t, hostKey(t)), log), NewStreams(testHost(t, hostKey(t)), log)
	if err := client.Host.Connect(t.Context(), peer.AddrInfo{ID: server.Host.ID(), Addrs: server.Host.Addrs()}); err != nil {
		t.Fatal(err)
	}
	return server, client
}

// echo answers an order with itself as a bid.
func echo(_ context.Context, st network.Stream) error {
	b, err := wire.NewReader(st, MaxOrderBytes).Next()
	if err != nil {
		return err
	}
	return wire.Write(st, &marketv1.OrderReply{Answer: &marketv1.OrderReply_Bid{Bid: b}})
}

func TestExchange(t *testing.T) {
	server, client := pair(t)
	defer server.Handle(t.Context(), OrderProtocol, OrderLimits, echo)()
	order := &marketv1.Order{MaxDurationMs: 5}
	for _, tt := range []struct {
		name string
		out  *marketv1.Order
		max  int
		err  error
	}{
		{"small", order, MaxOrderReplyBytes, nil},
		{"an answer too large for us", order, 2, wire.ErrTooLarge},
		{"a question too large for them", &marketv1.Order{Nonce: make([]byte, MaxOrderBytes)}, MaxOrderReplyBytes, network.ErrReset},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var reply marketv1.OrderReply
			err := Exchange(t.Context(), client.Host, server.Host.ID(), OrderProtocol, tt.out, &reply, tt.max)
			if !errors.Is(err, tt.err) {
				t.Errorf("exchange: %v; want %v", err, tt.err)
			}
			if tt.err == nil && len(reply.GetBid()) == 0 {
				t.Errorf("reply %v", &reply)
			}
		})
	}
	wait(t, "the count of the oversized order", func() bool {
		return maps.Equal(server.Rejects(), map[StreamReject]uint64{{OrderProtocol, "oversized"}: 1})
	})
	if err := Exchange(t.Context(), client.Host, server.Host.ID(), LeaseProtocol, order, order, 9); err == nil || !strings.Contains(err.Error(), "open /souk/lease/1") {
		t.Errorf("a protocol nobody serves: %v", err)
	}
}

func TestExchangeEndsWithItsContext(t *testing.T) {
	server, client := pair(t)
	in := make(chan struct{})
	stop := server.Handle(t.Context(), OrderProtocol, OrderLimits, func(ctx context.Context, st network.Stream) error {
		close(in)
		_, err := io.Copy(io.Discard, st)
		<-ctx.Done()
		return err
	})
	defer stop()
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-in; cancel() }()
	var reply marketv1.OrderReply
	if err := Exchange(ctx, client.Host, server.Host.ID(), OrderProtocol, &reply, &reply, 9); !errors.Is(err, context.Canceled) {
		t.Errorf("exchange: %v; want that its context ended", err)
	}
}

func TestHandleLimits(t *testing.T) {
	server, client := pair(t)
	other := NewStreams(testHost(t, hostKey(t)), client.log)
	if err := other.Host.Connect(t.Context(), peer.AddrInfo{ID: server.Host.ID(), Addrs: server.Host.Addrs()}); err != nil {
		t.Fatal(err)
	}
	entered, leave := make(chan peer.ID, 16), make(chan struct{})
	limits := StreamLimits{Concurrent: 3, PerPeer: 2, Memory: 1 << 10}
	stop := server.Handle(t.Context(), OrderProtocol, limits, func(ctx context.Context, st network.Stream) error {
		entered <- st.Conn().RemotePeer()
		select {
		case <-leave:
		case <-ctx.Done():
		}
		return nil
	})
	open := func(s *Streams) network.Stream {
		st, release, err := OpenStream(t.Context(), s.Host, server.Host.ID(), OrderProtocol)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(release)
		if _, err := st.Write([]byte{0}); err != nil { // opens it at the other side too
			t.Fatal(err)
		}
		return st
	}
	rejected := func(reason string) uint64 { return server.Rejects()[StreamReject{OrderProtocol, reason}] }
	for range 4 {
		open(client)
	}
	wait(t, "two of one peer refused", func() bool { return rejected("peer-busy") == 2 })
	open(other)
	wait(t, "three inside", func() bool { return len(entered) == 3 })
	open(other)
	wait(t, "a fourth refused", func() bool { return rejected("busy") == 1 })
	close(leave)
	wait(t, "room again", func() bool {
		open(other)
		return len(entered) > 3
	})
	stop()
	if n := server.Rejects(); len(n) != 2 {
		t.Errorf("rejects %v", n)
	}
}

func TestHandleDeadlineAndStop(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	server, client := pair(t)
	defer client.Host.Close()
	defer server.Host.Close()
	ended := make(chan error, 8)
	serve := func(ctx context.Context, st network.Stream) error {
		_, err := wire.NewReader(st, 9).Next() // never comes
		ended <- err
		return err
	}
	late := server.Handle(t.Context(), OrderProtocol, StreamLimits{Concurrent: 1, PerPeer: 1, Deadline: 50 * time.Millisecond}, serve)
	running := server.Handle(t.Context(), RunProtocol, StreamLimits{Concurrent: 1, PerPeer: 1}, serve)
	for _, id := range []protocol.ID{OrderProtocol, RunProtocol} {
		st, release, err := OpenStream(t.Context(), client.Host, server.Host.ID(), id)
		if err != nil {
			t.Fatal(err)
		}
		defer release()
		if _, err := st.Write([]byte{0x80}); err != nil { // half a length
			t.Fatal(err)
		}
	}
	if err := <-ended; err == nil {
		t.Error("the late stream ended well")
	}
	late()
	running() // waits for the handler that has no deadline
	if err := <-ended; err == nil {
		t.Error("the running stream ended well")
	}
}

// wait is networktest.Eventually; see testHost.
func wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	for tick := time.Tick(10 * time.Millisecond); !ok(); {
		select {
		case <-deadline:
			t.Fatalf("never came: %s", what)
		case <-tick:
		}
	}
}
