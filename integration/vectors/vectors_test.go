// Package vectors writes the test vectors of all that souk signs to
// docs/vectors, and holds them against souk itself and against viem and
// node:crypto.
package vectors

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/integration/npm"
	"github.com/souk-market/souk/payment"
)

var update = flag.Bool("update", false, "write the vectors anew")

// dir is where the vectors are published.
const dir = "../../docs/vectors"

// The keys are known to everybody. Every vector is signed with one of them.
var (
	providerKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize))
	clientKey   = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, ed25519.SeedSize))

	walletKey   = secpKey(3) // of the payer
	voucherKey  = secpKey(4) // the payer's authorizer
	receiverKey = secpKey(5) // the receiver's authorizer
)

// issued is when all is signed.
var issued = time.UnixMilli(1_800_000_000_000).UTC()

var (
	domain  = payment.EIP712Domain{ChainID: 1337, Settlement: common.HexToAddress("0x4020074e9dF2ce1deE5A9C1b5c3f541D02a10003")}
	channel = payment.Channel{
		Payer: addressOf(walletKey), PayerAuthorizer: addressOf(voucherKey), Receiver: payment.Address{6}, ReceiverAuthorizer: addressOf(receiverKey),
		Token: common.HexToAddress("0x736f756b00000000000000000000000000000001"), WithdrawDelay: 86_400, Salt: [32]byte{7},
	}
)

func secpKey(seed byte) *ecdsa.PrivateKey {
	k, err := crypto.ToECDSA(bytes.Repeat([]byte{seed}, 32))
	if err != nil {
		panic(err) // the seeds above are good
	}
	return k
}

func addressOf(k *ecdsa.PrivateKey) payment.Address { return crypto.PubkeyToAddress(k.PublicKey) }

func nodeKey(k ed25519.PrivateKey) souk.NodeKey { return souk.NodeKey(k.Public().(ed25519.PublicKey)) }

func hexOf(b []byte) string { return hex.EncodeToString(b) }

func sum(b []byte) string {
	d := sha256.Sum256(b)
	return hexOf(d[:])
}

// compare holds a file against the vectors that souk makes now, or writes it.
func compare(t *testing.T, name string, vectors any) {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(vectors); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, name)
	if *update {
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b.Bytes(), want) {
		t.Errorf("%s is not what is signed now. What was signed must stay good: only after a new version, go test -run %s -update", path, t.Name())
	}
}

// TestJavaScript has viem and node:crypto check every file, and refuse one in
// which a byte is changed.
func TestJavaScript(t *testing.T) {
	if testing.Short() {
		t.Skip("installs npm packages")
	}
	if err := npm.Install(t.Context(), "."); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "node", "check.mjs", dir).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}
