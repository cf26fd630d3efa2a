package network

import (
	"context"
	"io"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/souk-market/souk/scheduler"
)

// Waits are how long a node waits for a peer to act, step by step. Past them a
// stream is reset, or a run or job ends with its reason. What a lease says of
// time is not here: both sides agreed on it.
type Waits struct {
	Order       time.Duration // for a whole stream of the protocol, as are the next three
	Lease       time.Duration
	Channel     time.Duration // includes transactions
	Sync        time.Duration
	Attach      time.Duration // from the opening of a run stream to its first frame
	Write       time.Duration // for a peer to take one frame of a run
	Start       time.Duration // after start_within, for a lease still to start
	Fund        time.Duration // for a lease's deposit to be confirmed
	Send        time.Duration // for a client to send its job once the lease is funded; devices are held unpaid until then
	Collect     time.Duration // for a client to fetch its outputs and send the last voucher; only disk is held
	Release     time.Duration // for a release and the last voucher to get through before a stream is given up
	ReleaseAway time.Duration // for a provider that is away to come back and be told of a release

	Job scheduler.JobConfig // of one job's steps; what is zero has its default there
}

// DefaultWaits are those of every node; only tests and simulations have others.
func DefaultWaits() *Waits {
	return &Waits{Order: OrderLimits.Deadline, Lease: LeaseLimits.Deadline, Channel: ChannelLimits.Deadline, Sync: SyncLimits.Deadline,
		Attach: 10 * time.Second, Write: 30 * time.Second, Start: time.Minute, Fund: 2 * time.Minute, Send: 30 * time.Second, Collect: 10 * time.Minute, Release: 5 * time.Second, ReleaseAway: time.Minute}
}

// In is the limit with another deadline.
func (l StreamLimits) In(d time.Duration) StreamLimits {
	l.Deadline = d
	return l
}

// DeadlineWriter writes to a stream whose peer must take each frame within a
// time: a peer that reads nothing holds neither a goroutine nor a slot for longer.
type DeadlineWriter struct {
	Stream network.Stream
	Within time.Duration // for each Write
}

var _ io.Writer = DeadlineWriter{}

// Write implements [io.Writer].
func (w DeadlineWriter) Write(b []byte) (int, error) {
	if err := w.Stream.SetWriteDeadline(time.Now().Add(w.Within)); err != nil {
		return 0, err
	}
	return w.Stream.Write(b)
}

// Sleep waits for d and tells whether ctx is still alive.
func Sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
