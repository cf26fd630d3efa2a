package node

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/gpu/challenge"
	"github.com/souk-market/souk/gpu/challenge/process"
	"github.com/souk-market/souk/node/provider"
)

// What a device is asked for after a fault: two products, which take a card some
// milliseconds, and many tiles of them.
const (
	checkSize   = 1024
	checkRounds = 2
	checkTiles  = 32
)

// checker sees that a device computes rightly again after a fault.
type checker struct{ provers provider.Provers }

// check has a device answer a challenge of our own, and is both sides of it. A device
// of which nothing can be asked passes, as far as its driver says that it is well: there
// are no kernels for it, or the machine lacks the library that would run them.
func (c checker) check(ctx context.Context, d gpu.Device) (err error) {
	if _, err := c.provers.Backend(d); err != nil {
		return nil
	}
	asked := challenge.Challenge{Devices: []string{d.ID}, Arithmetic: challenge.ArithmeticOf(d.Class), Size: checkSize, Rounds: checkRounds}
	rand.Read(asked.Digest[:])
	device, err := c.provers.Start(ctx, asked, d)
	if errors.Is(err, process.ErrNoLibrary) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("it does not compute: %w", err)
	}
	defer func() {
		if closed := device.Close(); err == nil {
			err = closed
		}
	}()
	return prove(ctx, asked, device)
}

// prove plays both sides of a challenge. Times are not judged: they come from the same
// machine.
func prove(ctx context.Context, asked challenge.Challenge, device challenge.Device) error {
	p, err := challenge.NewProver(asked, []challenge.Device{device})
	if err != nil {
		return err
	}
	v, err := challenge.NewVerifier(asked, challenge.Band{}, time.Now())
	if err != nil {
		return err
	}
	roots, err := p.Commit(ctx)
	if err != nil {
		return err
	}
	if err := v.Committed(time.Now(), roots); err != nil {
		return err
	}
	var nonce challenge.Hash
	rand.Read(nonce[:])
	if err := v.Recall(time.Now(), nonce); err != nil {
		return err
	}
	if roots, err = p.Recall(ctx, nonce); err != nil {
		return err
	}
	if err := v.Recalled(time.Now(), roots); err != nil {
		return err
	}
	places, err := v.Draw(checkTiles, rand.Reader)
	if err != nil {
		return err
	}
	openings, err := p.Open(ctx, places)
	if err == nil {
		_, err = v.Opened(openings, rand.Reader)
	}
	return err
}
