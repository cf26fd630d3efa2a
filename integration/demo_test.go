// Package integration runs souk as its users do: built once, started as
// processes, asked by its command line.
package integration

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// build makes the souk binary and the demo's module beside it.
func build(t *testing.T) (souk string) {
	t.Helper()
	dir := t.TempDir()
	souk = filepath.Join(dir, "souk")
	for _, c := range []struct {
		out, pkg string
		env      []string
	}{{souk, "../cmd/souk", nil}, {filepath.Join(dir, "digits.wasm"), "../examples/digits", []string{"GOOS=wasip1", "GOARCH=wasm"}}} {
		cmd := exec.Command("go", "build", "-buildvcs=false", "-o", c.out, c.pkg)
		cmd.Env = append(os.Environ(), c.env...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", c.pkg, err, out)
		}
	}
	return souk
}

// demoResult is what INTERFACES promises of souk demo --json.
type demoResult struct {
	Job struct {
		Job, State, Provider, Lease, Reason string
		ExitCode                            *int              `json:"exit_code"`
		Attempts                            *int              `json:"attempts"`
		PaidAtoms                           uint64            `json:"paid_atoms"`
		Receipts                            int               `json:"receipts"`
		Outputs                             map[string]string `json:"outputs"`
	} `json:"job"`
	ChainID  uint64  `json:"chain_id"`
	AnchorTx string  `json:"anchor_tx"`
	ClaimTx  string  `json:"claim_tx"`
	RefundTx string  `json:"refund_tx"`
	Accuracy float64 `json:"accuracy"`
	Log      struct {
		Origin string
		Size   int
		Root   string
	} `json:"log"`
	InclusionVerified      bool   `json:"inclusion_verified"`
	ClientLedgerBalanced   bool   `json:"client_ledger_balanced"`
	ProviderLedgerBalanced bool   `json:"provider_ledger_balanced"`
	Dashboard              string `json:"dashboard"`
}

// TestDemo runs the whole market on this machine: one real job on real data,
// found, run, paid by interval, anchored, claimed, proved; and nothing left.
func TestDemo(t *testing.T) {
	if testing.Short() {
		t.Skip("short: the demo trains for half a minute")
	}
	souk, tmp := build(t), t.TempDir()
	cmd := exec.Command(souk, "demo", "--json")
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("souk demo: %v\n%s", err, stderr.Bytes())
	}
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	var r demoResult
	if err := json.Unmarshal(lines[len(lines)-1], &r); err != nil {
		t.Fatalf("last line: %v\n%s", err, lines[len(lines)-1])
	}
	t.Logf("%d receipts, %d atoms paid, accuracy %.3f", r.Job.Receipts, r.Job.PaidAtoms, r.Accuracy)
	checkDemo(t, r)
	gone(t, tmp, r.Dashboard)
}

func checkDemo(t *testing.T, r demoResult) {
	t.Helper()
	tx := regexp.MustCompile(`^0x[0-9a-f]{64}$`)
	for what, ok := range map[string]bool{
		"the job is done":                    r.Job.State == "done" && r.Job.Reason == "completed",
		"exit code and attempts are numbers": r.Job.ExitCode != nil && *r.Job.ExitCode == 0 && r.Job.Attempts != nil && *r.Job.Attempts == 1,
		"at least five receipts":             r.Job.Receipts >= 5,
		"something was paid":                 r.Job.PaidAtoms > 0,
		"the output has a CID":               strings.HasPrefix(r.Job.Outputs["out"], "baf"),
		"ids are hex and a peer id":          len(r.Job.Job) == 64 && len(r.Job.Lease) == 64 && strings.HasPrefix(r.Job.Provider, "12D3KooW"),
		"chain 1337":                         r.ChainID == 1337,
		"anchored, claimed and refunded":     tx.MatchString(r.AnchorTx) && tx.MatchString(r.ClaimTx) && tx.MatchString(r.RefundTx),
		"accuracy of 0.93 on unseen digits":  r.Accuracy >= 0.93,
		"the log holds the receipts":         strings.HasPrefix(r.Log.Origin, "souk/12D3KooW") && r.Log.Size >= r.Job.Receipts && len(r.Log.Root) == 64,
		"proofs verified":                    r.InclusionVerified,
		"both ledgers balance":               r.ClientLedgerBalanced && r.ProviderLedgerBalanced,
		"a dashboard address":                strings.HasPrefix(r.Dashboard, "http://127.0.0.1:"),
	} {
		if !ok {
			t.Errorf("not so: %s", what)
		}
	}
}

// gone checks that a demo left no file, no port and no process.
func gone(t *testing.T, tmp, dashboard string) {
	t.Helper()
	if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
		t.Errorf("left in the temporary folder: %v, %v", left, err)
	}
	if u, err := url.Parse(dashboard); err != nil {
		t.Error(err)
	} else if c, err := net.DialTimeout("tcp", u.Host, time.Second); err == nil {
		c.Close()
		t.Errorf("%s still answers", u.Host)
	}
	procs, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range procs {
		if b, err := os.ReadFile(p); err == nil && bytes.Contains(b, []byte(tmp)) {
			t.Errorf("left running: %s", bytes.ReplaceAll(b, []byte{0}, []byte{' '}))
		}
	}
}

// TestDemoInterrupted presses Ctrl-C while the job runs: the demo cleans up.
func TestDemoInterrupted(t *testing.T) {
	if testing.Short() {
		t.Skip("short: the demo starts five daemons")
	}
	souk, tmp := build(t), t.TempDir()
	cmd := exec.Command(souk, "demo", "--json")
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for s := bufio.NewScanner(out); s.Scan(); {
		if strings.Contains(s.Text(), `"state":"running"`) {
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	io.Copy(io.Discard, out)
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 130 {
		t.Errorf("exit code %d, not 130:\n%s", code, stderr.Bytes())
	}
	watch := regexp.MustCompile(`http://127\.0\.0\.1:\d+`).FindString(stderr.String())
	gone(t, tmp, watch)
}
