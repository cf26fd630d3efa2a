package provider

import (
	"context"
	"crypto/ed25519"
	"log/slog"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/gpu/runner"
	"github.com/souk-market/souk/node/disk"
	"github.com/souk-market/souk/node/money"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/chain"
	"github.com/souk-market/souk/payment/ledger"
	leasev1 "github.com/souk-market/souk/proto/souk/lease/v1"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	"github.com/souk-market/souk/scheduler"
	"github.com/souk-market/souk/storage/files"
)

// means are what every tenancy of a provider works with.
type means struct {
	Key       ed25519.PrivateKey
	Home      string // lease folders go below jobs/
	Guard     connGuard
	Ledger    Records
	Channels  *money.Channels
	Receipts  *money.Receipts
	Keeper    ChainWork
	Inputs    Inputs
	Outputs   Outputs
	Space     *disk.Space
	Telemetry *disk.SampleFiles
	Waits     *network.Waits
	Log       *slog.Logger
	Unwanted  []string // extensions that the owner does not want

	Runner  func(marketv1.Runner) runner.Runner                                                       // nil where there is none of the kind
	Devices func(*leasev1.Lease) []runner.Device                                                      // what a lease has
	Broken  func(*leasev1.Lease) (e *scheduler.DeviceFailed, changed <-chan struct{})                 // of its devices; nil: none. The channel closes when that may be another
	Ended   func(ctx context.Context, t *tenancy, began time.Time, r runner.Result) scheduler.RunOver // judges how a run ended
	Samples func(device string, after time.Time) []gpu.Sample                                         // what a device measured, oldest first
	Free    func(souk.LeaseID)                                                                        // gives a lease's devices back
}

// connGuard keeps connections from being trimmed.
type connGuard interface {
	Protect(id peer.ID, tag string)
	Unprotect(id peer.ID, tag string) bool
}

// Records is the ledger as the role uses it.
type Records interface {
	Commit(ctx context.Context, b ledger.Batch) error
	Scan(prefix string, fn func(key string, value []byte) error) error
}

// ChainWork is what the keeper does on chain for a provider.
type ChainWork interface {
	Deposit(ctx context.Context, ch payment.Channel, d chain.Deposit, lease souk.LeaseID, known string, submitted func(tx string) error) (tx string, err error)
	Refund(ctx context.Context, id souk.ChannelID) (claimTx, refundTx string, amount souk.Atoms, err error)
	Mark(ctx context.Context, id souk.ChannelID, change func(*money.Channel)) error
	Wake()
}

// Inputs brings what a job needs from its client.
type Inputs interface {
	Fetch(ctx context.Context, root string, from peer.ID, limit files.Limit, progress func(bytes uint64)) error
	Save(ctx context.Context, root, dest string) (bytes uint64, nfiles int, err error)
}

// Outputs serves what a job left.
type Outputs interface {
	Add(ctx context.Context, name string) (root string, size uint64, err error)
	Grant(ctx context.Context, root string, to peer.ID) error
	Withdraw(root string, to peer.ID)
}
