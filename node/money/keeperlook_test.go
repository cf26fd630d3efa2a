package money

import (
	"context"
	"testing"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/chain"
	"github.com/souk-market/souk/payment/chain/chaintest"
	"github.com/souk-market/souk/payment/chain/mem"
)

// briskChain has a new block each time that a channel is read.
type briskChain struct {
	ReadingChain
	blocks *mem.Chain
}

// Channel implements ReadingChain.
func (c briskChain) Channel(ctx context.Context, id souk.ChannelID, atBlock uint64) (chain.ChannelState, error) {
	c.blocks.Advance(time.Minute)
	return c.ReadingChain.Channel(ctx, id, atBlock)
}

// TestManyChannelsOnABriskChain reads a chain that has its next block before all
// channels are read, as every chain does once there are enough channels.
func TestManyChannelsOnABriskChain(t *testing.T) {
	blocks := mem.New(mem.Config{BlockTime: time.Minute})
	channels := &Channels{slots: map[souk.ChannelID]*channelSlot{}}
	client := blocks.Client(mem.ClientConfig{Wallet: chaintest.NewKey(t)})
	for i := range 3 {
		channels.Open(payment.Channel{Payer: payment.Address{byte(i + 1)}}, client.Domain(), "", false)
	}
	k := NewKeeper(KeeperConfig{Chain: briskChain{client, blocks}, Channels: channels})
	s, err := k.readChain(t.Context())
	if err != nil || len(s.channels) != 3 {
		t.Fatalf("readChain = %v, %v", s, err)
	}
	for id, st := range s.channels {
		if st.Block != s.block {
			t.Errorf("channel %s is of block %d, the wallet of %d", id.Short(), st.Block, s.block)
		}
	}
}
