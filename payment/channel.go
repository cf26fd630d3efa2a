package payment

import (
	"fmt"

	"github.com/souk-market/souk"
	leasev1 "github.com/souk-market/souk/proto/souk/lease/v1"
)

// Channel is the x402 ChannelConfig: who pays whom in which token, and who signs
// for them. A channel's terms never change, as its id is their hash.
type Channel struct {
	Payer              Address // whose money it is
	PayerAuthorizer    Address // who signs vouchers
	Receiver           Address // who is paid
	ReceiverAuthorizer Address // who signs refunds
	Token              Address
	WithdrawDelay      uint64 // seconds between a withdrawal's start and its end, below 2^40
	Salt               [32]byte
}

// ID is the channel's id in d. It is known before the channel is funded.
func (c Channel) ID(d EIP712Domain) souk.ChannelID {
	w := newWords(7, channelTypeHash)
	for _, a := range []Address{c.Payer, c.PayerAuthorizer, c.Receiver, c.ReceiverAuthorizer, c.Token} {
		w.address(a)
	}
	w.uint(c.WithdrawDelay)
	w.digest(c.Salt)
	return souk.ChannelID{Digest: d.hash(settlementName, versionOne, w)}
}

// ChannelFromProto reads a channel. Every address must be set: x402 lets the
// payer's authorizer be none, souk does not. The error is [ErrMalformed].
func ChannelFromProto(m *leasev1.Channel) (c Channel, err error) {
	for _, f := range []struct {
		name string
		dst  *Address
		src  []byte
	}{
		{"payer", &c.Payer, m.GetPayer()},
		{"payer authorizer", &c.PayerAuthorizer, m.GetPayerAuthorizer()},
		{"receiver", &c.Receiver, m.GetReceiver()},
		{"receiver authorizer", &c.ReceiverAuthorizer, m.GetReceiverAuthorizer()},
		{"token", &c.Token, m.GetToken()},
	} {
		if err := fill(f.dst[:], f.src, "channel: "+f.name); err != nil {
			return Channel{}, err
		}
		if *f.dst == (Address{}) {
			return Channel{}, fmt.Errorf("channel: %s is zero: %w", f.name, ErrMalformed)
		}
	}
	if err := fill(c.Salt[:], m.GetSalt(), "channel: salt"); err != nil {
		return Channel{}, err
	}
	c.WithdrawDelay = m.GetWithdrawDelayS()
	if c.WithdrawDelay >= 1<<40 {
		return Channel{}, fmt.Errorf("channel: withdraw delay %d s: %w", c.WithdrawDelay, ErrMalformed)
	}
	return c, nil
}

// Proto is the message that [ChannelFromProto] reads.
func (c Channel) Proto() *leasev1.Channel {
	return &leasev1.Channel{
		Payer:              c.Payer.Bytes(),
		PayerAuthorizer:    c.PayerAuthorizer.Bytes(),
		Receiver:           c.Receiver.Bytes(),
		ReceiverAuthorizer: c.ReceiverAuthorizer.Bytes(),
		Token:              c.Token.Bytes(),
		WithdrawDelayS:     c.WithdrawDelay,
		Salt:               c.Salt[:],
	}
}
