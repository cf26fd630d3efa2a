package chain_test

import (
	"bytes"
	"crypto/ecdsa"
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/chain"
	"github.com/souk-market/souk/payment/chain/chaintest"
	"github.com/souk-market/souk/payment/chain/contracts/collector"
	"github.com/souk-market/souk/payment/chain/contracts/settlement"
	"github.com/souk-market/souk/payment/chain/contracts/testtoken"
)

func addressOf(key *ecdsa.PrivateKey) payment.Address { return crypto.PubkeyToAddress(key.PublicKey) }

// highS is the other signature that a curve accepts for the same message.
func highS(sig []byte) []byte {
	other := bytes.Clone(sig)
	s := new(big.Int).Sub(crypto.S256().Params().N, new(big.Int).SetBytes(sig[32:64]))
	s.FillBytes(other[32:64])
	other[64] = 27 + 28 - sig[64]
	return other
}

func TestClaimAttacks(t *testing.T) { claimAttacks(t, newWorld(t)) }

func claimAttacks(t *testing.T, w *world) {
	ch := w.funded(1000)
	stranger := w.client(chaintest.NewKey(t))
	elsewhere := func(d payment.EIP712Domain, by *ecdsa.PrivateKey) func(*chain.Claim) {
		return func(c *chain.Claim) {
			if err := c.Voucher.Sign(d, by); err != nil {
				t.Fatal(err)
			}
		}
	}
	here := w.payer.Domain()
	for _, tt := range []struct {
		name   string
		by     *chain.Client
		change func(*chain.Claim)
		want   string
	}{
		{"above the voucher", w.provider, func(c *chain.Claim) { c.Total = 501 }, "ClaimExceedsVoucher"},
		{"above the balance", w.provider, func(c *chain.Claim) { *c = w.claim(ch, 2000, 1001) }, "ClaimExceedsBalance"},
		{"a voucher raised", w.provider, func(c *chain.Claim) { c.Voucher.MaxClaimable++ }, "InvalidVoucherSignature"},
		{"high s", w.provider, func(c *chain.Claim) { c.Voucher.Signature = highS(c.Voucher.Signature) }, "InvalidVoucherSignature"},
		{"v of 0", w.provider, func(c *chain.Claim) { c.Voucher.Signature[64] -= 27 }, "InvalidVoucherSignature"},
		{"no signature", w.provider, func(c *chain.Claim) { c.Voucher.Signature = nil }, "InvalidVoucherSignature"},
		{"one byte more", w.provider, func(c *chain.Claim) { c.Voucher.Signature = append(c.Voucher.Signature, 0) }, "InvalidVoucherSignature"},
		{"signed by the provider", w.provider, elsewhere(here, w.provider.Wallet), "InvalidVoucherSignature"},
		{"signed by the payer", w.provider, elsewhere(here, w.payer.Wallet), "InvalidVoucherSignature"},
		{"for another chain", w.provider, elsewhere(payment.EIP712Domain{ChainID: 1, Settlement: here.Settlement}, w.voucher), "InvalidVoucherSignature"},
		{"for another contract", w.provider, elsewhere(payment.EIP712Domain{ChainID: here.ChainID, Settlement: payment.Address{1}}, w.voucher), "InvalidVoucherSignature"},
		{"by a stranger", stranger, func(*chain.Claim) {}, "InvalidAuthorizerSignature"},
		{"by the payer", w.payer, func(*chain.Claim) {}, "InvalidAuthorizerSignature"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := w.claim(ch, 500, 500)
			tt.change(&c)
			_, err := tt.by.Claim(t.Context(), []chain.Claim{c})
			chaintest.Refused(t, err, tt.want)
		})
	}
	t.Run("by a stranger, plainly", func(t *testing.T) {
		row := settlement.SettlementVoucherClaim{
			Voucher:      settlement.SettlementVoucher{Channel: chain.ChannelConfig(ch), MaxClaimableAmount: atoms(500)},
			Signature:    w.claim(ch, 500, 500).Voucher.Signature,
			TotalClaimed: atoms(500),
		}
		data := w.settle.PackClaim([]settlement.SettlementVoucherClaim{row})
		_, err := stranger.Send(t.Context(), stranger.Contracts.Settlement, data, 0)
		chaintest.Refused(t, err, "NotReceiverSide")
	})
	t.Run("one bad row spoils the batch", func(t *testing.T) {
		good, bad := w.claim(ch, 500, 500), w.claim(w.channel(), 500, 500)
		_, err := w.provider.Claim(t.Context(), []chain.Claim{good, bad})
		chaintest.Refused(t, err, "ClaimExceedsBalance")
	})
	t.Run("two authorizers in a signed batch", func(t *testing.T) {
		other := w.channel()
		other.ReceiverAuthorizer = stranger.Address()
		w.deposit(other, 10)
		relay := w.client(chaintest.NewKey(t))
		relay.Authorizer = w.provider.Wallet
		_, err := relay.Claim(t.Context(), []chain.Claim{w.claim(ch, 500, 500), w.claim(other, 5, 5)})
		chaintest.Refused(t, err, "MixedReceiverAuthorizers")
	})
	w.want(ch, 1000, 0, 0)
}

// A voucher of another channel with the same parties cannot be claimed on this one.
func TestVoucherStaysOnItsChannel(t *testing.T) {
	w := newWorld(t)
	ch, other := w.funded(1000), w.funded(1000)
	c := w.claim(other, 500, 500)
	c.Channel = ch
	if _, err := w.provider.Claim(t.Context(), []chain.Claim{c}); err == nil {
		t.Error("claimed by another channel's voucher")
	}
	c.Voucher.Channel = ch.ID(w.payer.Domain()) // what a modified client would send
	_, err := w.provider.Claim(t.Context(), []chain.Claim{c})
	chaintest.Refused(t, err, "InvalidVoucherSignature")
}

func TestDepositAttacks(t *testing.T) {
	w := newWorld(t)
	ch := w.channel()
	good := w.sign(ch, 1000)
	other := w.channel()
	for _, tt := range []struct {
		name    string
		channel payment.Channel
		change  func(*chain.Deposit)
		local   error  // what VerifyDeposit says
		revert  string // what the contracts say
	}{
		{"for another channel", other, func(*chain.Deposit) {}, payment.ErrSignature, "InvalidAuthorization"},
		{"more than signed", ch, func(d *chain.Deposit) { d.Amount++ }, payment.ErrSignature, "InvalidAuthorization"},
		{"longer than signed", ch, func(d *chain.Deposit) { d.ValidBefore++ }, payment.ErrSignature, "InvalidAuthorization"},
		{"another salt", ch, func(d *chain.Deposit) { d.Salt[0]++ }, payment.ErrSignature, "InvalidAuthorization"},
		{"high s", ch, func(d *chain.Deposit) { d.Signature = highS(d.Signature) }, payment.ErrSignature, "InvalidAuthorization"},
		{"v of 0", ch, func(d *chain.Deposit) { d.Signature[64] -= 27 }, payment.ErrSignature, "InvalidAuthorization"},
		{"nothing", ch, func(d *chain.Deposit) { d.Amount = 0 }, chain.ErrDeposit, "ZeroAmount"},
		{"expired", ch, func(d *chain.Deposit) { d.ValidBefore = 1 }, payment.ErrSignature, "AuthorizationExpired"},
		{"too early", ch, func(d *chain.Deposit) { d.ValidAfter = d.ValidBefore - 1 }, payment.ErrSignature, "AuthorizationNotYetValid"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := good
			d.Signature = bytes.Clone(good.Signature)
			tt.change(&d)
			if err := chain.VerifyDeposit(d, tt.channel, w.provider.Contracts, w.provider.Domain()); !errors.Is(err, tt.local) {
				t.Errorf("verify: %v; want %v", err, tt.local)
			}
			data, err := w.provider.DepositData(tt.channel, d)
			if err != nil {
				t.Fatal(err)
			}
			_, err = w.provider.Send(t.Context(), w.provider.Contracts.Settlement, data, 0)
			chaintest.Refused(t, err, tt.revert)
		})
	}
	if err := chain.VerifyDeposit(good, ch, w.provider.Contracts, w.provider.Domain()); err != nil {
		t.Errorf("the deposit itself: %v", err)
	}
	if !good.ValidAt(time.Unix(int64(good.ValidBefore)-1, 0)) || good.ValidAt(time.Unix(int64(good.ValidBefore), 0)) {
		t.Error("ValidAt is wrong at the end")
	}
	t.Run("more than the payer has", func(t *testing.T) {
		_, err := w.provider.Deposit(t.Context(), ch, w.sign(ch, chain.FaucetTokens+1))
		chaintest.Refused(t, err, "ERC20InsufficientBalance")
	})
}

// Nobody but Settlement can make the collector spend an authorization, and
// nobody but the collector can spend it at the token.
func TestAuthorizationCannotBeStolen(t *testing.T) {
	w := newWorld(t)
	ch := w.channel()
	d := w.sign(ch, 1000)
	thief := w.client(chaintest.NewKey(t))
	id := ch.ID(w.payer.Domain())

	data := collector.NewERC3009DepositCollector().PackCollect(ch.Payer, ch.Token, atoms(1000), id.Digest, nil)
	_, err := thief.Send(t.Context(), thief.Contracts.Collector, data, 0)
	chaintest.Refused(t, err, "OnlySettlement")

	token := testtoken.NewTestToken()
	nonce := [32]byte(crypto.Keccak256(id.Digest[:], d.Salt[:]))
	after, before := new(big.Int).SetUint64(d.ValidAfter), new(big.Int).SetUint64(d.ValidBefore)
	data = token.PackReceiveWithAuthorization(ch.Payer, thief.Contracts.Collector, atoms(1000), after, before, nonce, d.Signature)
	_, err = thief.Send(t.Context(), ch.Token, data, 0)
	chaintest.Refused(t, err, "CallerIsNotPayee")
	data = token.PackTransferWithAuthorization(ch.Payer, thief.Contracts.Collector, atoms(1000), after, before, nonce, d.Signature)
	_, err = thief.Send(t.Context(), ch.Token, data, 0)
	chaintest.Refused(t, err, "InvalidAuthorization")
	_, err = thief.Send(t.Context(), ch.Token, token.PackMint(thief.Address(), atoms(1)), 0)
	chaintest.Refused(t, err, "OnlyFaucet")

	// A collector of the thief's own that brings nothing credits nothing.
	data = w.settle.PackDeposit(chain.ChannelConfig(ch), atoms(1000), thief.Contracts.Anchors, nil)
	if _, err = thief.Send(t.Context(), thief.Contracts.Settlement, data, 0); err == nil {
		t.Error("a contract that is no collector was taken for one")
	}
	tx, err := w.provider.Deposit(t.Context(), ch, d)
	chaintest.Mined(w.t, w.provider, tx, err)
	w.want(ch, 1000, 0, 0)
}

func TestChannelTermsAreChecked(t *testing.T) {
	w := newWorld(t)
	for _, tt := range []struct {
		name   string
		change func(*payment.Channel)
		want   string
	}{
		{"delay too short", func(c *payment.Channel) { c.WithdrawDelay = chain.MinWithdrawDelay - 1 }, "WithdrawDelayOutOfRange"},
		{"delay too long", func(c *payment.Channel) { c.WithdrawDelay = chain.MaxWithdrawDelay + 1 }, "WithdrawDelayOutOfRange"},
		{"no receiver", func(c *payment.Channel) { c.Receiver = payment.Address{} }, "ZeroAddress"},
		{"no authorizer", func(c *payment.Channel) { c.ReceiverAuthorizer = payment.Address{} }, "ZeroAddress"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ch := w.channel()
			d := w.sign(ch, 1)
			tt.change(&ch)
			if err := chain.VerifyDeposit(d, ch, w.payer.Contracts, w.payer.Domain()); !errors.Is(err, chain.ErrDeposit) {
				t.Errorf("verify: %v; want %v", err, chain.ErrDeposit)
			}
			data, err := w.provider.DepositData(ch, d)
			if err != nil {
				t.Fatal(err)
			}
			_, err = w.provider.Send(t.Context(), w.provider.Contracts.Settlement, data, 0)
			chaintest.Refused(t, err, tt.want)
		})
	}
}

func TestRefundAttacks(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	ch := w.funded(1000)

	_, err := w.payer.Refund(ctx, ch, 100, 0, w.payer.Wallet)
	chaintest.Refused(t, err, "InvalidAuthorizerSignature")
	_, err = w.payer.Refund(ctx, ch, 100, 1, w.provider.Wallet)
	chaintest.Refused(t, err, "InvalidRefundNonce")

	// A signature is good for one nonce, whoever brings it.
	refund := payment.Refund{Channel: ch.ID(w.payer.Domain()), Nonce: 0, Amount: 100}
	sig, err := refund.Sign(w.payer.Domain(), w.provider.Wallet)
	if err != nil {
		t.Fatal(err)
	}
	pack := func(amount souk.Atoms, nonce int64, sig []byte) []byte {
		return w.settle.PackRefundWithSignature(chain.ChannelConfig(ch), atoms(amount), big.NewInt(nonce), sig)
	}
	at := w.payer.Contracts.Settlement
	_, err = w.payer.Send(ctx, at, pack(101, 0, sig), 0)
	chaintest.Refused(t, err, "InvalidAuthorizerSignature")
	_, err = w.payer.Send(ctx, at, pack(100, 0, highS(sig)), 0)
	chaintest.Refused(t, err, "InvalidAuthorizerSignature")
	tx, err := w.payer.Send(ctx, at, pack(100, 0, sig), 0)
	chaintest.Mined(w.t, w.payer, tx, err)
	_, err = w.payer.Send(ctx, at, pack(100, 0, sig), 0)
	chaintest.Refused(t, err, "InvalidRefundNonce")
	_, err = w.payer.Send(ctx, at, pack(100, 1, sig), 0)
	chaintest.Refused(t, err, "InvalidAuthorizerSignature")
	w.want(ch, 900, 0, 0)

	// Without a signature only the receiver's side may.
	_, err = w.payer.Send(ctx, at, w.settle.PackRefund(chain.ChannelConfig(ch), atoms(100)), 0)
	chaintest.Refused(t, err, "NotReceiverSide")
	tx, err = w.provider.Send(ctx, at, w.settle.PackRefund(chain.ChannelConfig(ch), atoms(100)), 0)
	chaintest.Mined(w.t, w.provider, tx, err)
	w.want(ch, 800, 0, 0)

	// What is claimed cannot be refunded, and the nonce moves even so.
	tx, err = w.provider.Claim(ctx, []chain.Claim{w.claim(ch, 800, 800)})
	chaintest.Mined(w.t, w.provider, tx, err)
	tx, err = w.provider.Refund(ctx, ch, 1, 2, w.provider.Wallet)
	chaintest.Mined(w.t, w.provider, tx, err)
	w.want(ch, 800, 800, 0)
	if n := chaintest.State(w.t, w.provider, ch, 0).RefundNonce; n != 3 {
		t.Errorf("refund nonce %d, want 3", n)
	}
	w.conserved([]payment.Address{w.provider.Address()}, ch)
}

// Two refunds of one nonce in one block: the second fails on chain, and the
// client says why.
func TestRevertOnChainHasAReason(t *testing.T) { revertHasAReason(t, newWorld(t)) }

func revertHasAReason(t *testing.T, w *world) {
	ch := w.funded(1000)
	first, err := w.provider.Refund(t.Context(), ch, 100, 0, w.provider.Wallet)
	chaintest.Mined(w.t, w.provider, first, err)
	refund := payment.Refund{Channel: ch.ID(w.payer.Domain()), Nonce: 0, Amount: 100}
	sig, err := refund.Sign(w.payer.Domain(), w.provider.Wallet)
	if err != nil {
		t.Fatal(err)
	}
	data := w.settle.PackRefundWithSignature(chain.ChannelConfig(ch), atoms(100), big.NewInt(0), sig)
	tx, err := w.provider.SendUnchecked(t.Context(), w.provider.Contracts.Settlement, data)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.provider.Wait(t.Context(), tx, 1)
	chaintest.Refused(t, err, "InvalidRefundNonce")
}

// The payer withdraws what it has promised; the provider claims in the delay.
func TestWithdrawRace(t *testing.T) { withdrawRace(t, newWorld(t)) }

func withdrawRace(t *testing.T, w *world) {
	ctx := t.Context()
	ch := w.funded(1000)
	_, err := w.provider.StartWithdraw(ctx, ch, 1000)
	chaintest.Refused(t, err, "NotPayerSide")
	_, err = w.payer.StartWithdraw(ctx, ch, 1001)
	chaintest.Refused(t, err, "WithdrawExceedsBalance")
	_, err = w.payer.StartWithdraw(ctx, ch, 0)
	chaintest.Refused(t, err, "ZeroAmount")
	_, err = w.payer.FinishWithdraw(ctx, ch)
	chaintest.Refused(t, err, "NoWithdrawPending")
	tx, err := w.payer.StartWithdraw(ctx, ch, 400)
	chaintest.Mined(w.t, w.payer, tx, err)
	// The amount cannot be raised under a delay that already runs.
	_, err = w.payer.StartWithdraw(ctx, ch, 1000)
	chaintest.Refused(t, err, "WithdrawPending")

	tx, err = w.provider.Claim(ctx, []chain.Claim{w.claim(ch, 700, 700)})
	chaintest.Mined(w.t, w.provider, tx, err)
	if err := w.devnet.Advance(ctx, chaintest.Day); err != nil {
		t.Fatal(err)
	}
	_, err = w.provider.FinishWithdraw(ctx, ch)
	chaintest.Refused(t, err, "NotPayerSide")
	tx, err = w.payer.FinishWithdraw(ctx, ch)
	chaintest.Mined(w.t, w.payer, tx, err)
	w.want(ch, 700, 700, 0) // 300 were left of the 400
	if got, want := w.tokens(w.payer.Address()), chain.FaucetTokens-700; got != want {
		t.Errorf("payer has %d, want %d", got, want)
	}

	// Too late is too late: what a finished withdrawal took, no voucher brings back.
	_, err = w.provider.Claim(ctx, []chain.Claim{w.claim(ch, 800, 800)})
	chaintest.Refused(t, err, "ClaimExceedsBalance")
	w.conserved([]payment.Address{w.provider.Address()}, ch)
}

// A refund during a withdrawal counts towards it.
func TestRefundDuringWithdrawal(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	ch := w.funded(1000)
	tx, err := w.payer.StartWithdraw(ctx, ch, 600)
	chaintest.Mined(w.t, w.payer, tx, err)
	tx, err = w.provider.Refund(ctx, ch, 200, 0, w.provider.Wallet)
	chaintest.Mined(w.t, w.provider, tx, err)
	w.want(ch, 800, 0, 400)
	tx, err = w.provider.Refund(ctx, ch, 400, 1, w.provider.Wallet)
	chaintest.Mined(w.t, w.provider, tx, err)
	w.want(ch, 400, 0, 0)
	if s := chaintest.State(w.t, w.provider, ch, 0); !s.WithdrawStarted.IsZero() {
		t.Error("the withdrawal is still pending")
	}
	w.conserved(nil, ch)
}
