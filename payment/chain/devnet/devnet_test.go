package devnet_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/params"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment/chain"
	"github.com/souk-market/souk/payment/chain/chaintest"
	"github.com/souk-market/souk/payment/chain/devnet"
)

// childDir, if set, makes the test binary a devnet in that folder.
const childDir = "SOUK_TEST_DEVNET_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := serve(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// serve runs a devnet until SIGTERM, and prints its URL.
func serve(dir string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	d, err := devnet.New(devnet.Config{Dir: dir})
	if err != nil {
		return err
	}
	fmt.Println(d.URL())
	return d.Run(ctx)
}

func client(t *testing.T, url string, key *ecdsa.PrivateKey) *chain.Client {
	t.Helper()
	return chaintest.NewClient(t, chain.Config{URLs: []string{url}, Wallet: key, Poll: 20 * time.Millisecond})
}

func TestFaucetGivesTokensAndCoins(t *testing.T) {
	d, _ := chaintest.RunDevnet(t, devnet.Config{Eager: true})
	c := client(t, d.URL(), chaintest.NewKey(t))
	chaintest.Fund(t, c)
	tokens, err := c.TokenBalance(t.Context(), c.Address())
	if err != nil || tokens != chain.FaucetTokens {
		t.Errorf("tokens %v, %v; want %v", tokens, err, chain.FaucetTokens)
	}
	wei, err := c.GasBalance(t.Context(), c.Address())
	if want := new(big.Int).Mul(big.NewInt(chain.FaucetCoins), big.NewInt(params.Ether)); err != nil || wei.Cmp(want) != 0 {
		t.Errorf("wei %v, %v; want %v", wei, err, want)
	}
}

func TestFaucetRateIsBounded(t *testing.T) {
	d, _ := chaintest.RunDevnet(t, devnet.Config{})
	c := client(t, d.URL(), chaintest.NewKey(t))
	for range 200 {
		if _, _, err := c.Faucet(t.Context()); err != nil {
			if !strings.Contains(err.Error(), "too many requests") {
				t.Fatal(err)
			}
			return
		}
	}
	t.Error("200 gifts at once, none refused")
}

// Blocks follow a transaction until it is final; their times are a second apart
// and none is ahead of the clock.
func TestBlocksAreASecondApart(t *testing.T) {
	d, _ := chaintest.RunDevnet(t, devnet.Config{})
	c := client(t, d.URL(), chaintest.NewKey(t))
	r := chaintest.Fund(t, c)
	tx := r.Tx
	for confirmations := uint64(2); confirmations <= 4; confirmations++ {
		if _, err := c.Wait(t.Context(), tx, confirmations); err != nil {
			t.Fatal(err)
		}
		number, at, err := c.Block(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if at.After(time.Now()) {
			t.Errorf("block %d is at %v, ahead of the clock", number, at)
		}
		if least := r.Time.Add(time.Duration(number-r.Block) * time.Second); at.Before(least) {
			t.Errorf("block %d is at %v, block %d at %v: less than a second apart", number, at, r.Block, r.Time)
		}
	}
}

func TestTransactionsBecomeFinalAndThenBlocksStop(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute of chain time")
	}
	d, _ := chaintest.RunDevnet(t, devnet.Config{})
	c := client(t, d.URL(), chaintest.NewKey(t))
	r := chaintest.Fund(t, c)
	if _, err := c.Wait(t.Context(), r.Tx, 33-r.Block); err != nil {
		t.Fatal(err)
	}
	final, err := c.Final(t.Context())
	if err != nil || final < r.Block {
		t.Errorf("final block %d, %v; want at least %d", final, err, r.Block)
	}
	before, _, err := c.Block(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
	defer cancel()
	if _, err := c.Wait(ctx, r.Tx, before-r.Block+2); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("block after %d though nothing waits: %v", before, err)
	}
}

// A kill at any moment loses nothing that was mined: what a client saw before it
// is there after it, at the same height.
func TestSurvivesKill(t *testing.T) {
	dir := t.TempDir()
	key := chaintest.NewKey(t)
	var want souk.Atoms
	for round := range 4 {
		url, kill := child(t, dir)
		c := client(t, url, key)
		have, err := c.TokenBalance(t.Context(), c.Address())
		if err != nil {
			t.Fatal(err)
		}
		if have < want {
			t.Fatalf("after %d kills the wallet has %v tokens, had %v", round, have, want)
		}
		chaintest.Fund(t, c)
		// A second gift may or may not be mined when the kill comes.
		if _, _, err := c.Faucet(t.Context()); err != nil {
			t.Fatal(err)
		}
		if round%2 == 1 {
			number, _, err := c.Block(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for {
				if n, _, err := c.Block(t.Context()); err != nil || n > number {
					break
				}
				runtime.Gosched()
			}
		}
		if want, err = c.TokenBalance(t.Context(), c.Address()); err != nil {
			t.Fatal(err)
		}
		kill(syscall.SIGKILL)
	}
	url, kill := child(t, dir)
	c := client(t, url, key)
	if have, err := c.TokenBalance(t.Context(), c.Address()); err != nil || have < want {
		t.Errorf("after all kills %v tokens, %v; want at least %v", have, err, want)
	}
	chaintest.Fund(t, c)
	began := time.Now()
	kill(syscall.SIGTERM)
	if d := time.Since(began); d > 3*time.Second {
		t.Errorf("took %v to end", d)
	}
}

// child runs the test binary as a devnet process.
func child(t *testing.T, dir string) (url string, kill func(os.Signal)) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	t.Cleanup(func() {
		if !ended {
			cmd.Process.Kill()
			cmd.Wait()
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("child printed no URL: %v", err)
	}
	return strings.TrimSpace(line), func(s os.Signal) {
		ended = true
		if err := cmd.Process.Signal(s); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err != nil && s == syscall.SIGTERM {
			t.Errorf("child: %v", err)
		}
	}
}

func TestRestartAndStop(t *testing.T) {
	dir := t.TempDir()
	key := chaintest.NewKey(t)
	d, stop := chaintest.RunDevnet(t, devnet.Config{Dir: dir, Eager: true})
	r := chaintest.Fund(t, client(t, d.URL(), key))
	began := time.Now()
	stop()
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("Run took %v to end", took)
	}
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for s := range strings.SplitSeq(string(stacks), "\n\n") {
		if strings.Contains(s, "chain/devnet.(") {
			t.Errorf("left behind: %s", s)
		}
	}

	again, _ := chaintest.RunDevnet(t, devnet.Config{Dir: dir, Eager: true})
	c := client(t, again.URL(), key)
	if got, err := c.Wait(t.Context(), r.Tx, 1); err != nil || got != r {
		t.Errorf("after a restart the transaction is %+v, %v; want %+v", got, err, r)
	}
}

func TestOneProcessAFolder(t *testing.T) {
	dir := t.TempDir()
	d, _ := chaintest.RunDevnet(t, devnet.Config{Dir: dir})
	if _, _, err := client(t, d.URL(), nil).Block(t.Context()); err != nil {
		t.Fatal(err)
	}
	second, err := devnet.New(devnet.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Run(t.Context()); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("second devnet in %s: %v", dir, err)
	}
}

func TestAdvance(t *testing.T) {
	d, _ := chaintest.RunDevnet(t, devnet.Config{Eager: true})
	c := client(t, d.URL(), chaintest.NewKey(t))
	_, before, err := c.Block(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	chaintest.Fund(t, c)
	if err := d.Advance(t.Context(), 48*time.Hour); err != nil {
		t.Fatal(err)
	}
	_, after, err := c.Block(t.Context())
	if err != nil || after.Sub(before) < 48*time.Hour {
		t.Errorf("the chain's clock went from %v to %v, %v", before, after, err)
	}
	chaintest.Fund(t, c)
}

// Only what souk needs is served, and only to those who mean this machine.
func TestServerRefuses(t *testing.T) {
	d, _ := chaintest.RunDevnet(t, devnet.Config{})
	for _, tt := range []struct {
		name, host, method, want string
		status                   int
	}{
		{"a known method", "", "eth_chainId", `"0x539"`, http.StatusOK},
		{"localhost", "localhost:8545", "web3_clientVersion", "souk-devnet", http.StatusOK},
		{"a foreign name", "evil.example", "eth_chainId", "unknown host", http.StatusForbidden},
		{"debug", "", "debug_setHead", "does not exist", http.StatusOK},
		{"admin", "", "admin_nodeInfo", "does not exist", http.StatusOK},
		{"miner", "", "miner_setGasPrice", "does not exist", http.StatusOK},
	} {
		t.Run(tt.name, func(t *testing.T) {
			body := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":%q,"params":[]}`, tt.method)
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, d.URL(), strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/json")
			req.Host = tt.host
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			got, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != tt.status || !strings.Contains(string(got), tt.want) {
				t.Errorf("%d %s, %v; want %d %s", resp.StatusCode, got, err, tt.status, tt.want)
			}
		})
	}
}
