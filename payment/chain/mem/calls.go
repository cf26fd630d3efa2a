package mem

import (
	"fmt"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/chain"
)

// refuse is a contract's error by its name and arguments.
func refuse(name string, args ...any) error {
	parts := make([]string, len(args))
	for i, a := range args {
		if n, ok := a.(souk.Atoms); ok {
			a = int64(n) // a contract knows no decimals
		}
		parts[i] = fmt.Sprint(a)
	}
	return &chain.RevertError{Name: name, Text: name + "(" + strings.Join(parts, ", ") + ")"}
}

// word shows 32 bytes as a contract's error does.
func word(d souk.Digest) string { return fmt.Sprintf("0x%x", d[:]) }

// move is the token's transfer.
func (s *state) move(from, to payment.Address, amount souk.Atoms) error {
	if have := s.tokens[from]; have < amount {
		return refuse("ERC20InsufficientBalance", from, have, amount)
	}
	s.tokens[from] -= amount
	s.tokens[to] += amount
	return nil
}

// nonce is the authorization's, as the collector makes it.
func nonce(id souk.ChannelID, d chain.Deposit) souk.Digest {
	return souk.Digest(crypto.Keccak256Hash(id.Digest[:], d.Salt[:]))
}

// deposit is Settlement.deposit through the collector. The terms of the channel
// and the signature were checked before it was sent.
func (c *Chain) deposit(s *state, ch payment.Channel, id souk.ChannelID, d chain.Deposit) error {
	used := nonce(id, d)
	switch at := s.time.Unix(); {
	case at <= int64(d.ValidAfter):
		return refuse("AuthorizationNotYetValid", d.ValidAfter)
	case at >= int64(d.ValidBefore):
		return refuse("AuthorizationExpired", d.ValidBefore)
	case s.used[used]:
		return refuse("AuthorizationSpent", ch.Payer, word(used))
	}
	s.used[used] = true
	state := s.channels[id]
	state.Balance += d.Amount
	s.channels[id] = state
	return s.move(ch.Payer, c.cfg.Contracts.Settlement, d.Amount)
}

// claim is Settlement.claim for a sender on the receiver's side of every row, and
// claimWithSignature, by the key of authorizer, for any other.
func (c *Chain) claim(s *state, from, authorizer payment.Address, claims []chain.Claim) error {
	own := true
	for _, cl := range claims {
		own = own && (cl.Channel.Receiver == from || cl.Channel.ReceiverAuthorizer == from)
	}
	if first := claims[0].Channel.ReceiverAuthorizer; !own && first != authorizer {
		return refuse("InvalidAuthorizerSignature", first)
	}
	for _, cl := range claims {
		if other := cl.Channel.ReceiverAuthorizer; !own && other != authorizer {
			return refuse("MixedReceiverAuthorizers", authorizer, other)
		}
		if err := c.claimRow(s, cl); err != nil {
			return err
		}
	}
	return nil
}

func (c *Chain) claimRow(s *state, cl chain.Claim) error {
	id, signer := cl.Channel.ID(c.domain()), cl.Channel.PayerAuthorizer
	if signer == (payment.Address{}) {
		signer = cl.Channel.Payer
	}
	if cl.Voucher.Verify(c.domain(), signer) != nil {
		return refuse("InvalidVoucherSignature", word(id.Digest))
	}
	if cl.Total > cl.Voucher.MaxClaimable {
		return refuse("ClaimExceedsVoucher", cl.Total, cl.Voucher.MaxClaimable)
	}
	state := s.channels[id]
	if cl.Total <= state.Claimed {
		return nil // an old claim must not spoil the batch it is in
	}
	if cl.Total > state.Balance {
		return refuse("ClaimExceedsBalance", cl.Total, state.Balance)
	}
	s.earned[cl.Channel.Receiver] += cl.Total - state.Claimed
	state.Claimed = cl.Total
	s.channels[id] = state
	return nil
}

// settle is Settlement.settle.
func (c *Chain) settle(s *state, receiver payment.Address) error {
	amount := s.earned[receiver]
	delete(s.earned, receiver)
	return s.move(c.cfg.Contracts.Settlement, receiver, amount)
}

// refund is Settlement.refundWithSignature.
func (c *Chain) refund(s *state, ch payment.Channel, r payment.Refund, signature []byte) error {
	state := s.channels[r.Channel]
	if r.Nonce != state.RefundNonce {
		return refuse("InvalidRefundNonce", state.RefundNonce, r.Nonce)
	}
	if r.Verify(c.domain(), signature, ch.ReceiverAuthorizer) != nil {
		return refuse("InvalidAuthorizerSignature", ch.ReceiverAuthorizer)
	}
	if r.Amount == 0 {
		return refuse("ZeroAmount")
	}
	state.RefundNonce++ // even if nothing moves: one signature, one attempt
	amount := min(r.Amount, state.Balance-state.Claimed)
	if state.PendingWithdrawal -= min(amount, state.PendingWithdrawal); state.PendingWithdrawal == 0 && amount > 0 {
		state.WithdrawStarted = time.Time{}
	}
	state.Balance -= amount
	s.channels[r.Channel] = state
	return s.move(c.cfg.Contracts.Settlement, ch.Payer, amount)
}

// startWithdraw is Settlement.initiateWithdraw.
func (c *Chain) startWithdraw(s *state, from payment.Address, ch payment.Channel, amount souk.Atoms) error {
	id := ch.ID(c.domain())
	state := s.channels[id]
	switch available := state.Balance - state.Claimed; {
	case from != ch.Payer && from != ch.PayerAuthorizer:
		return refuse("NotPayerSide", from)
	case amount == 0:
		return refuse("ZeroAmount")
	case !state.WithdrawStarted.IsZero():
		return refuse("WithdrawPending", state.WithdrawStarted.Unix())
	case amount > available:
		return refuse("WithdrawExceedsBalance", amount, available)
	}
	state.PendingWithdrawal, state.WithdrawStarted = amount, s.time
	s.channels[id] = state
	return nil
}

// finishWithdraw is Settlement.finalizeWithdraw.
func (c *Chain) finishWithdraw(s *state, from payment.Address, ch payment.Channel) error {
	id := ch.ID(c.domain())
	state := s.channels[id]
	if from != ch.Payer && from != ch.PayerAuthorizer {
		return refuse("NotPayerSide", from)
	}
	ready, pending := state.WithdrawReady(ch)
	if !pending {
		return refuse("NoWithdrawPending")
	}
	if s.time.Before(ready) {
		return refuse("WithdrawNotReady", ready.Unix())
	}
	amount := min(state.PendingWithdrawal, state.Balance-state.Claimed)
	state.PendingWithdrawal, state.WithdrawStarted = 0, time.Time{}
	state.Balance -= amount
	s.channels[id] = state
	return s.move(c.cfg.Contracts.Settlement, ch.Payer, amount)
}
