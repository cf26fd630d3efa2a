package api

import (
	"context"
	"time"

	p2pnet "github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/market"
	"github.com/souk-market/souk/node/client"
	"github.com/souk-market/souk/node/disk"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/node/provider"
	"github.com/souk-market/souk/payment"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
)

// nodeService answers souk.api.v1.Node.
type nodeService struct {
	version string
	started time.Time
	home    string
	url     string // of the page and the port

	host    hostView
	book    bookCounts
	gossip  interface{ Rejects() map[string]uint64 }
	streams interface {
		Rejects() map[network.StreamReject]uint64
	}
	clocks interface {
		Difference() (ahead time.Duration, peers int)
	}
	space interface {
		Room(extra uint64) *disk.FullError
	}
	devices deviceList
	engine  interface{ Engine() string } // nil: this node runs no images
	seller  Seller                       // nil: this node does not sell
	jobs    interface{ Live() uint32 }   // nil: this node has no chain
	chain   statusChain                  // likewise
}

// hostView is what the service shows of the libp2p host.
type hostView interface {
	ID() peer.ID
	Addrs() []ma.Multiaddr
	Network() p2pnet.Network
}

// bookCounts is what the service shows of the book.
type bookCounts interface {
	Len() int
	Rejects() map[market.Reason]uint64
}

// Seller is the provider role as its owner sees it.
type Seller interface {
	Live() uint32                                 // leases that have not ended
	Holder(device string) (souk.LeaseID, bool)    // the lease that has a device
	Price(class string) (atomsPerHour souk.Atoms) // 0: not for sale
	Withheld(device string) (why string)          // empty: it is offered, if it has a price and is well
	Reclaim(device string, notice time.Duration, force bool) (provider.Reclaimed, error)
	Return(device string) error
	OffSale(device string) (why string) // after a fault, until it passes its check; empty: it is not
	Unclean(device string) (why string) // of the memory that a lease left; empty: it is clean
}

// statusChain is what the service shows of the chain.
type statusChain interface {
	Address() payment.Address
	Domain() payment.EIP712Domain
	Block(ctx context.Context) (number uint64, at time.Time, err error)
}

// Status tells what the daemon is doing.
func (s *nodeService) Status(ctx context.Context, _ *apiv1.StatusRequest) (*apiv1.StatusResponse, error) {
	out := &apiv1.StatusResponse{Peer: s.host.ID().String(), Peers: uint32(len(s.host.Network().Peers())), Offers: uint32(s.book.Len()),
		Provider: s.seller != nil, Started: client.Stamp(s.started), Rejects: s.rejects(), Api: s.url, Version: s.version}
	ahead, peers := s.clocks.Difference()
	out.ClockAheadMs, out.ClockPeers = ahead.Milliseconds(), uint32(peers)
	if low := s.space.Room(0); low != nil {
		out.ReadOnly = low.Error()
	}
	if free, err := disk.FreeBytes(s.home); err == nil {
		out.DiskFreeBytes = free
	}
	for _, addr := range s.host.Addrs() {
		out.Addresses = append(out.Addresses, addr.String()+"/p2p/"+out.Peer)
	}
	if s.seller != nil {
		out.Leases = s.seller.Live()
	}
	if s.engine != nil {
		out.Engine = s.engine.Engine()
	}
	if s.jobs != nil {
		out.Jobs = s.jobs.Live()
	}
	if s.chain == nil {
		return out, nil
	}
	out.Wallet, out.ChainId = s.chain.Address().Hex(), s.chain.Domain().ChainID
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	block, _, err := s.chain.Block(ctx)
	if err != nil {
		out.ChainError = err.Error()
	}
	out.Block = block
	return out, nil
}

// rejects gathers what was refused, by where and why.
func (s *nodeService) rejects() map[string]uint64 {
	out := map[string]uint64{}
	for reason, c := range s.book.Rejects() {
		out["book:"+string(reason)] = c
	}
	for reason, c := range s.gossip.Rejects() {
		out["gossip:"+reason] = c
	}
	for r, c := range s.streams.Rejects() {
		out[string(r.Protocol)+":"+r.Reason] = c
	}
	return out
}
