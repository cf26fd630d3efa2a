package process

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"time"

	"github.com/souk-market/souk/cmd/souk/daemon"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
	"golang.org/x/sync/errgroup"
)

// Until asks again until the answer is yes, an error, or ctx ends.
func Until(ctx context.Context, yes func() (bool, error)) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if ok, err := yes(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// Fund gives the wallets of daemons test tokens and gas, all at once.
func Fund(ctx context.Context, all ...*daemon.Client) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, d := range all {
		g.Go(func() error {
			_, err := d.Wallet.Faucet(ctx, &apiv1.FaucetRequest{})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("faucet: %w", err)
	}
	return nil
}

// Offered waits until a daemon has so many offers in its book, for a minute at most.
func Offered(ctx context.Context, d *daemon.Client, offers int) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	err := Until(ctx, func() (bool, error) {
		res, err := d.Market.Offers(ctx, &apiv1.OffersRequest{})
		return err == nil && len(res.Offers) == offers, err
	})
	if err != nil {
		return fmt.Errorf("wait for %d offers: %w", offers, err)
	}
	return nil
}

// FreePort is the address of a TCP port of loopback that nobody has now. It lies
// below those that the kernel gives to connections: one of them could take it while
// its daemon is down.
func FreePort() (string, error) {
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(20_000)))
		if err != nil {
			continue // taken
		}
		return l.Addr().String(), l.Close()
	}
	return "", errors.New("no port of loopback is free")
}
