package proof

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/souk-market/souk/gpu/challenge"
	challengev1 "github.com/souk-market/souk/proto/souk/challenge/v1"
	"github.com/souk-market/souk/proto/wire"
)

// Conn is the part of a stream that a challenge uses. Whoever opened it ends it with
// the context.
type Conn interface {
	io.Reader
	io.Writer
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
}

// frames reads and writes what travels, each within a time.
type frames struct {
	conn Conn
	buf  *bufio.Reader
	in   *wire.Reader
}

func newFrames(conn Conn, max int) *frames {
	buf := bufio.NewReaderSize(conn, 64<<10)
	return &frames{conn: conn, buf: buf, in: wire.NewReader(buf, max)} // which reads from buf itself: it is large enough
}

// read takes the next frame.
func (f *frames) read(m proto.Message, within time.Duration) error {
	if err := f.conn.SetReadDeadline(time.Now().Add(within)); err != nil {
		return err
	}
	return f.in.Read(m)
}

// write gives a frame to a peer that takes it in time.
func (f *frames) write(m proto.Message, within time.Duration) error {
	if err := f.conn.SetWriteDeadline(time.Now().Add(within)); err != nil {
		return err
	}
	return wire.Write(f.conn, m)
}

// whileThere does work that the peer waits for, and ends it when the peer is gone.
func (f *frames) whileThere(ctx context.Context, within time.Duration, work func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	ctx, leave := context.WithCancelCause(ctx)
	defer leave(nil)
	if err := f.conn.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		if _, err := f.buf.Peek(1); err != nil {
			leave(fmt.Errorf("the challenger left: %w", err))
		}
	}()
	err := work(ctx)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	stopped := f.conn.SetReadDeadline(time.Unix(1, 0)) // wakes the watch; where that cannot be set, reads have ended
	<-watched
	return errors.Join(err, stopped)
}

// joined are the bytes of hashes, one after the other.
func joined(hashes []challenge.Hash) []byte {
	out := make([]byte, 0, len(hashes)*len(challenge.Hash{}))
	for _, h := range hashes {
		out = append(out, h[:]...)
	}
	return out
}

// split is the reverse of joined; what is left over is no hash.
func split(b []byte) ([]challenge.Hash, bool) {
	size := len(challenge.Hash{})
	out := make([]challenge.Hash, 0, len(b)/size)
	for ; len(b) >= size; b = b[size:] {
		out = append(out, challenge.Hash(b))
	}
	return out, len(b) == 0
}

// placesOf reads a draw.
func placesOf(d *challengev1.Draw) []challenge.Place {
	out := make([]challenge.Place, 0, len(d.GetPlaces()))
	for _, p := range d.GetPlaces() {
		out = append(out, challenge.Place{Device: p.GetDevice(), Round: p.GetRound(), Tile: p.GetTile()})
	}
	return out
}

func drawOf(places []challenge.Place) *challengev1.Draw {
	d := &challengev1.Draw{}
	for _, p := range places {
		d.Places = append(d.Places, &challengev1.Place{Device: p.Device, Round: p.Round, Tile: p.Tile})
	}
	return d
}
