package node_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/node"
	"github.com/souk-market/souk/node/network/networktest"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
	storemem "github.com/souk-market/souk/storage/mem"
)

// wiper takes the processor for a card whose memory is left behind. A wipe ends with
// what the test says.
type wiper struct{ ends chan error }

// Wipes implements [provider.Wiper].
func (wiper) Wipes(gpu.Device) bool { return true }

// Wipe implements [provider.Wiper].
func (w wiper) Wipe(ctx context.Context, _ gpu.Device) error {
	select {
	case err := <-w.ends:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// unclean is why the daemon's one device is not clean.
func (d *daemon) unclean(t *testing.T) string {
	t.Helper()
	got, err := d.Devices(t.Context(), &apiv1.DevicesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	return got.Devices[0].Unclean
}

// TestWipe sells a device again only when what its lease left is overwritten: not while
// that goes on, not after a restart in between, and not where it fails.
func TestWipe(t *testing.T) {
	url := serveChain(t)
	store := keptStore{storemem.New()}
	w := wiper{make(chan error)}
	seller := startDaemon(t, func(c *node.Config) { sellingCPU(url)(c); c.Wiper, c.Store = w, store })
	seller.fill(t)
	client := buyer(t, seller)
	running := client.submit(t, testJob(t, client, "train"))
	running.running(t)
	if why := seller.unclean(t); why != "" {
		t.Errorf("while it is leased: %s", why)
	}
	if _, err := client.Stop(t.Context(), &apiv1.StopRequest{Id: running.id}); err != nil {
		t.Fatal(err)
	}
	networktest.Eventually(t, "the end of the lease", func() bool { return seller.unclean(t) != "" })
	h := handOn(t, seller)
	if _, why, err := h.ask(t, h.job(t, "out")); err != nil || why == nil || why.Error() != "busy: 1 device short" {
		t.Errorf("before it is wiped: %v, %v", why, err)
	}

	seller.stop()
	next := again(seller)
	next.Wiper = w
	seller = start(t, next)
	if why := seller.unclean(t); !strings.Contains(why, "not wiped before the daemon ended") {
		t.Errorf("after a restart: %q", why)
	}
	w.ends <- errors.New("something holds it")
	networktest.Eventually(t, "the reason", func() bool { return strings.Contains(seller.unclean(t), "something holds it") })

	seller.stop()
	seller = start(t, next)
	w.ends <- nil
	networktest.Eventually(t, "a clean device", func() bool { return seller.unclean(t) == "" })
	seller.stop()
	seller = start(t, next)
	if why := seller.unclean(t); why != "" {
		t.Errorf("a clean device is not after a restart: %q", why)
	}
}
