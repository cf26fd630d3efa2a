package chain_test

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/rpc"

	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/chain"
	"github.com/souk-market/souk/payment/chain/contracts/testtoken"
)

var anvilPath = filepath.Join(interopDir, "node_modules", "@foundry-rs", "anvil-linux-amd64", "bin", "anvil")

// The contracts and the client on a chain that is not go-ethereum.
func TestOnAnvil(t *testing.T) {
	needNpm(t)
	if _, err := os.Stat(anvilPath); err != nil {
		t.Skip("anvil is only there for Linux on amd64")
	}
	for name, test := range map[string]func(*testing.T, *world){
		"life of a channel": lifeOfAChannel,
		"claim attacks":     claimAttacks,
		"withdraw race":     withdrawRace,
		"revert reason":     revertHasAReason,
	} {
		t.Run(name, func(t *testing.T) { test(t, worldOn(t, startAnvil(t))) })
	}
}

// anvil is Foundry's chain as a child process, with the code of a devnet's
// contracts put where the devnet has it.
type anvil struct {
	url string
	rpc *rpc.Client
}

func startAnvil(t *testing.T) *anvil {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), anvilPath, "--port", "0", "--chain-id", "1337")
	cmd.WaitDelay = time.Second
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	a := &anvil{}
	lines := bufio.NewScanner(out)
	for a.url == "" && lines.Scan() {
		if address, ok := strings.CutPrefix(lines.Text(), "Listening on "); ok {
			a.url = "http://" + address
		}
	}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		io.Copy(io.Discard, out)
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-drained
		cmd.Wait()
	})
	if a.url == "" {
		t.Fatal("anvil did not say where it listens")
	}
	if a.rpc, err = rpc.Dial(a.url); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.rpc.Close)
	a.copyContracts(t)
	return a
}

func (a *anvil) URL() string { return a.url }

func (a *anvil) Advance(ctx context.Context, dt time.Duration) error {
	if err := a.rpc.CallContext(ctx, nil, "evm_increaseTime", hexutil.Uint64(dt/time.Second)); err != nil {
		return err
	}
	return a.rpc.CallContext(ctx, nil, "evm_mine")
}

// gift does what a devnet's faucet does, in the faucet's name.
func (a *anvil) gift(t *testing.T, c *chain.Client) {
	t.Helper()
	token := testtoken.NewTestToken()
	out, err := c.View(t.Context(), c.Contracts.Token, token.PackFAUCET())
	if err != nil {
		t.Fatal(err)
	}
	faucet := common.BytesToAddress(out)
	coins := "0x8ac7230489e80000" // ten, in wei
	a.call(t, nil, "anvil_setBalance", c.Address(), coins)
	a.call(t, nil, "anvil_setBalance", faucet, coins)
	a.call(t, nil, "anvil_impersonateAccount", faucet)
	mint := hexutil.Bytes(token.PackMint(c.Address(), atoms(chain.FaucetTokens)))
	var tx common.Hash
	a.call(t, &tx, "eth_sendTransaction", map[string]any{"from": faucet, "to": c.Contracts.Token, "data": mint})
	if _, err := c.Wait(t.Context(), tx.Hex(), 1); err != nil {
		t.Fatal(err)
	}
}

// copyContracts takes the code alone: of the storage, only the token's name and
// symbol are set at genesis, and nothing that is tested reads them.
func (a *anvil) copyContracts(t *testing.T) {
	t.Helper()
	from, err := rpc.Dial(newDevnet(t).URL())
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	at := chain.DevnetContracts()
	for _, address := range []payment.Address{at.Settlement, at.Collector, at.Token, at.Anchors} {
		var code hexutil.Bytes
		if err := from.CallContext(t.Context(), &code, "eth_getCode", address, "latest"); err != nil {
			t.Fatal(err)
		}
		a.call(t, nil, "anvil_setCode", address, code)
	}
}

func (a *anvil) call(t *testing.T, result any, method string, args ...any) {
	t.Helper()
	if err := a.rpc.CallContext(t.Context(), result, method, args...); err != nil {
		t.Fatalf("%s: %v", method, err)
	}
}
