package offers

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/market"
	"github.com/souk-market/souk/node/network/networktest"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
)

func TestBookWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBook(market.Config{}, time.Now)
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		defer running.Wait()
		defer cancel()
		running.Go(func() { b.Run(ctx) })

		seen, unwatch := context.WithCancel(ctx)
		changes, err := b.Watch(seen)
		if err != nil {
			t.Fatal(err)
		}
		key := networktest.NewKey(t)
		offer := offerOf("CPU", 1)
		offer.Epoch = uint64(time.Now().UnixMilli())
		offer.ExpiresMs = offer.IssuedMs + 60_000
		put := func(sequence uint64) {
			offer.Sequence = sequence
			if _, err := b.PutSnapshot(sealOffer(t, key, offer)); err != nil {
				t.Fatal(err)
			}
		}
		put(1)
		if c := <-changes; c.Ended || c.Offer.Sequence != 1 {
			t.Errorf("change %+v; want the offer", c)
		}
		time.Sleep(61 * time.Second) // of the bubble's clock
		if c := <-changes; !c.Ended || c.Offer.Sequence != 1 {
			t.Errorf("change %+v; want its end", c)
		}
		if b.Len() != 0 {
			t.Errorf("%d offers left", b.Len())
		}

		// Revoked: told once, and what was revoked does not come back.
		offer.IssuedMs, offer.ExpiresMs = time.Now().UnixMilli(), time.Now().Add(time.Hour/2).UnixMilli()
		put(2)
		<-changes
		gone := seal(t, key, souk.DomainRevoke, &marketv1.Revocation{Epoch: offer.Epoch, Sequence: 2, IssuedMs: offer.IssuedMs})
		if err := b.Revoke(gone); err != nil {
			t.Fatal(err)
		}
		if c := <-changes; !c.Ended || c.Offer.Sequence != 2 {
			t.Errorf("change %+v; want its end", c)
		}
		if _, err := b.PutSnapshot(sealOffer(t, key, offer)); err == nil {
			t.Error("a revoked offer came back")
		}

		// A watcher that does not read misses the oldest, and the count says so.
		for i := range watchBuffer + 10 {
			put(uint64(i + 3))
		}
		if b.Dropped() != 10 {
			t.Errorf("%d changes dropped; want 10", b.Dropped())
		}
		if c := <-changes; c.Offer.Sequence != 13 {
			t.Errorf("oldest left is %d; want 13", c.Offer.Sequence)
		}
		unwatch()
		synctest.Wait()
		for range changes { // closed: ends
		}
		if len(b.watchers) != 0 {
			t.Error("still watched")
		}
	})
}

func TestBookWatchersAreBounded(t *testing.T) {
	b := NewBook(market.Config{}, time.Now)
	for i := range maxWatchers + 1 {
		if _, err := b.Watch(t.Context()); (i < maxWatchers) != (err == nil) || err != nil && !errors.Is(err, errWatchers) {
			t.Errorf("watcher %d: %v", i, err)
		}
	}
}

func TestBookCountsRefusals(t *testing.T) {
	b := NewBook(market.Config{}, time.Now)
	good := sealOffer(t, networktest.NewKey(t), offerOf("CPU", 1))
	bad := append([]byte(nil), good...)
	bad[len(bad)-1] ^= 1
	for _, tt := range []struct {
		do   func() error
		want market.Reason
	}{
		{func() error { _, err := b.Put(bad); return err }, market.Signature},
		{func() error { return b.Revoke(good) }, market.Signature},
		{func() error { _, err := b.Put(nil); return err }, market.Malformed},
		{func() error { b.Put(good); _, err := b.Put(good); return err }, market.Duplicate},
	} {
		before := b.Rejects()[tt.want]
		if err := tt.do(); rejectReason(err) != tt.want {
			t.Errorf("refused with %v; want %s", err, tt.want)
		}
		if n := b.Rejects()[tt.want]; n != before+1 {
			t.Errorf("%s counted %d times; want once", tt.want, n-before)
		}
	}
}
