package chain_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/chain"
	"github.com/souk-market/souk/payment/chain/chaintest"
)

// interopDir holds the published npm packages, by its lock file, and a script
// that drives them.
const interopDir = "testdata/x402"

var install = sync.OnceValue(func() error {
	have, _ := os.ReadFile(filepath.Join(interopDir, "node_modules", ".souk-lock.json"))
	want, err := os.ReadFile(filepath.Join(interopDir, "package-lock.json"))
	if err != nil || bytes.Equal(have, want) {
		return err
	}
	cmd := exec.Command("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	cmd.Dir = interopDir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("npm ci: %w: %s", err, out)
	}
	return os.WriteFile(filepath.Join(interopDir, "node_modules", ".souk-lock.json"), want, 0o644)
})

// needNpm has the packages installed, or skips the test.
func needNpm(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("installs npm packages")
	}
	if _, err := exec.LookPath("node"); err != nil {
		t.Fatal("no node: apt-get install nodejs npm, or run make test, which does")
	}
	if err := install(); err != nil {
		t.Fatal(err)
	}
}

// runNode runs the script with a request and decodes its reply.
func runNode(t *testing.T, request, reply any) {
	t.Helper()
	needNpm(t)
	in, err := json.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "node", "interop.mjs")
	cmd.Dir, cmd.Stdin = interopDir, bytes.NewReader(in)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("node: %v\n%s", err, &stderr)
	}
	if err := json.Unmarshal(out, reply); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
}

// The JSON of x402 version 2, as far as the test needs it.
type (
	x402Channel struct {
		Payer              payment.Address `json:"payer"`
		PayerAuthorizer    payment.Address `json:"payerAuthorizer"`
		Receiver           payment.Address `json:"receiver"`
		ReceiverAuthorizer payment.Address `json:"receiverAuthorizer"`
		Token              payment.Address `json:"token"`
		WithdrawDelay      uint64          `json:"withdrawDelay"`
		Salt               hexutil.Bytes   `json:"salt"`
	}
	x402Voucher struct {
		ChannelID    hexutil.Bytes `json:"channelId"`
		MaxClaimable string        `json:"maxClaimableAmount"`
		Signature    hexutil.Bytes `json:"signature"`
	}
	x402Authorization struct {
		ValidAfter  string        `json:"validAfter"`
		ValidBefore string        `json:"validBefore"`
		Salt        hexutil.Bytes `json:"salt"`
		Signature   hexutil.Bytes `json:"signature"`
	}
	x402Deposit struct {
		Amount        string `json:"amount"`
		Authorization struct {
			ERC3009 x402Authorization `json:"erc3009Authorization"`
		} `json:"authorization"`
	}
	x402Payload struct {
		Type    string      `json:"type"`
		Channel x402Channel `json:"channelConfig"`
		Voucher x402Voucher `json:"voucher"`
		Deposit x402Deposit `json:"deposit"`
	}
	x402Requirements struct {
		Scheme  string          `json:"scheme"`
		Network string          `json:"network"`
		Amount  string          `json:"amount"`
		Asset   payment.Address `json:"asset"`
		PayTo   payment.Address `json:"payTo"`
		Timeout int             `json:"maxTimeoutSeconds"`
		Extra   map[string]any  `json:"extra"`
	}
	x402Request struct {
		Role         string           `json:"role"`
		URL          string           `json:"url"`
		ChainID      uint64           `json:"chainId"`
		PayerKey     string           `json:"payerKey,omitempty"`
		VoucherKey   string           `json:"voucherKey,omitempty"`
		ProviderKey  string           `json:"providerKey,omitempty"`
		Salt         hexutil.Bytes    `json:"salt"`
		Requirements x402Requirements `json:"requirements"`
		Payload      *x402Payload     `json:"payload,omitempty"`
		Claim        string           `json:"claim,omitempty"`
		Refund       string           `json:"refund,omitempty"`
	}
)

func (w *world) requirements(ch payment.Channel, amount souk.Atoms) x402Requirements {
	return x402Requirements{
		Scheme: "batch-settlement", Network: "eip155:1337", Amount: itoa(amount),
		Asset: ch.Token, PayTo: ch.Receiver, Timeout: 3600,
		Extra: map[string]any{
			"receiverAuthorizer": ch.ReceiverAuthorizer, "withdrawDelay": ch.WithdrawDelay,
			"name": w.payer.Contracts.TokenName, "version": w.payer.Contracts.TokenVersion,
		},
	}
}

func itoa(a souk.Atoms) string { return strconv.FormatInt(int64(a), 10) }

// A payment made by the published client is, byte for byte, what Go would have
// signed, and Go can put it on chain.
func TestPublishedClient(t *testing.T) {
	w := newWorld(t)
	ch := w.channel()
	dom := w.payer.Domain()
	var got struct {
		ChannelID hexutil.Bytes `json:"channelId"`
		Payload   x402Payload   `json:"payload"`
	}
	runNode(t, x402Request{
		Role: "client", URL: w.devnet.URL(), ChainID: chain.DevnetChainID,
		PayerKey:   hexutil.Encode(crypto.FromECDSA(w.payer.Wallet)),
		VoucherKey: hexutil.Encode(crypto.FromECDSA(w.voucher)),
		Salt:       ch.Salt[:], Requirements: w.requirements(ch, 1000),
	}, &got)

	id := ch.ID(dom)
	if !bytes.Equal(got.ChannelID, id.Digest[:]) {
		t.Errorf("the client's channel is %x, ours %s", []byte(got.ChannelID), id)
	}
	want := payment.Voucher{Channel: id, MaxClaimable: 1000}
	if err := want.Sign(dom, w.voucher); err != nil {
		t.Fatal(err)
	}
	if v := got.Payload.Voucher; v.MaxClaimable != "1000" || !bytes.Equal(v.Signature, want.Signature) {
		t.Errorf("the client's voucher is %+v, ours is signed %x", v, want.Signature)
	}

	auth := got.Payload.Deposit.Authorization.ERC3009
	amount, err := strconv.ParseInt(got.Payload.Deposit.Amount, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	before, err := strconv.ParseUint(auth.ValidBefore, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(int64(before), 0).Add(-time.Hour)
	d, err := w.payer.SignDeposit(ch, souk.Atoms(amount), time.Hour, now, [32]byte(auth.Salt))
	if err != nil {
		t.Fatal(err)
	}
	if auth.ValidAfter != "0" || !bytes.Equal(auth.Signature, d.Signature) {
		t.Errorf("the client's authorization is %+v, ours is signed %x", auth, d.Signature)
	}
	d.Signature = auth.Signature
	tx, err := w.provider.Deposit(t.Context(), ch, d)
	chaintest.Mined(w.t, w.provider, tx, err)
	tx, err = w.provider.ClaimAndSettle(t.Context(), []chain.Claim{{Channel: ch, Voucher: payment.Voucher{
		Channel: id, MaxClaimable: 1000, Signature: got.Payload.Voucher.Signature,
	}, Total: 900}})
	chaintest.Mined(w.t, w.provider, tx, err)
	w.want(ch, souk.Atoms(amount), 900, 0)
}

// The published facilitator takes what Go signed through a whole life of a
// channel: verify, deposit, claim, settle, refund.
func TestPublishedFacilitator(t *testing.T) {
	w := newWorld(t)
	ch := w.channel()
	// The facilitator looks at the machine's clock, which the chain's is ahead of.
	d, err := w.payer.SignDeposit(ch, 10_000, 24*time.Hour, time.Now(), chaintest.NewWord())
	if err != nil {
		t.Fatal(err)
	}
	c := w.claim(ch, 4000, 3000)
	payload := x402Payload{
		Type: "deposit",
		Channel: x402Channel{
			Payer: ch.Payer, PayerAuthorizer: ch.PayerAuthorizer, Receiver: ch.Receiver,
			ReceiverAuthorizer: ch.ReceiverAuthorizer, Token: ch.Token, WithdrawDelay: ch.WithdrawDelay, Salt: ch.Salt[:],
		},
		Voucher: x402Voucher{ChannelID: c.Voucher.Channel.Digest[:], MaxClaimable: "4000", Signature: c.Voucher.Signature},
	}
	payload.Deposit.Amount = itoa(d.Amount)
	payload.Deposit.Authorization.ERC3009 = x402Authorization{
		ValidAfter: "0", ValidBefore: strconv.FormatUint(d.ValidBefore, 10), Salt: d.Salt[:], Signature: d.Signature,
	}
	type answer struct {
		Success bool   `json:"success"`
		Reason  string `json:"errorReason"`
		Message string `json:"errorMessage"`
		Amount  string `json:"amount"`
	}
	var got struct {
		Verify struct {
			Valid   bool   `json:"isValid"`
			Reason  string `json:"invalidReason"`
			Message string `json:"invalidMessage"`
		} `json:"verify"`
		Results map[string]answer `json:"results"`
	}
	runNode(t, x402Request{
		Role: "facilitator", URL: w.devnet.URL(), ChainID: chain.DevnetChainID,
		ProviderKey:  "0x" + hex.EncodeToString(crypto.FromECDSA(w.provider.Wallet)),
		Requirements: w.requirements(ch, 4000), Payload: &payload, Claim: "3000", Refund: "6000",
	}, &got)
	if !got.Verify.Valid {
		t.Errorf("verify: %+v", got.Verify)
	}
	for step, amount := range map[string]string{"deposit": "10000", "claim": "", "settle": "3000", "refund": "6000"} {
		if r := got.Results[step]; !r.Success || r.Amount != amount {
			t.Errorf("%s: %+v; want %q", step, r, amount)
		}
	}
	w.want(ch, 4000, 3000, 0)
	if got, want := w.tokens(ch.Receiver), chain.FaucetTokens+3000; got != want {
		t.Errorf("receiver has %d, want %d", got, want)
	}
	w.conserved([]payment.Address{ch.Receiver}, ch)
}
