package disk

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/souk-market/souk/cmd/souk/process"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
)

var (
	flips = flag.Int("flips", 0, "how many bytes to flip in each file of a home, and at how many places to cut it; 0: one of both in each kind of file")
	seed  = flag.Uint64("seed", 1, "of the places")
)

// acknowledged is what the daemon of a home has told its users and its peers.
type acknowledged struct {
	receipts map[string]bool
	history  map[uint64]string
	file     []byte // what the file cid holds
	cid      string
}

// read asks a daemon for it.
func (p trader) read(ctx context.Context, cid string) (got acknowledged, err error) {
	got.cid = cid
	if got.receipts, err = p.receipts(ctx); err != nil {
		return got, err
	}
	h, err := p.Wallet.History(ctx, &apiv1.HistoryRequest{})
	if err != nil {
		return got, err
	}
	got.history = map[uint64]string{}
	for _, e := range h.Entries {
		got.history[e.Seq] = fmt.Sprintf("%s %s %s %d %d %d", e.Kind, e.Debit, e.Credit, e.AmountAtoms, e.DebitBalanceAtoms, e.CreditBalanceAtoms)
	}
	stream, err := p.Files.Cat(ctx, &apiv1.CatRequest{Cid: cid})
	if err != nil {
		return got, err
	}
	defer stream.Close()
	for stream.Receive() {
		got.file = append(got.file, stream.Msg().Data...)
	}
	if stream.Err() != nil { // a block that is damaged is missing: that is for the reader to see
		got.file = nil
	}
	return got, nil
}

// missed is the first of what is in want and not in t. A file may not be readable,
// but never be another.
func (want acknowledged) missed(t acknowledged) error {
	for digest := range want.receipts {
		if _, ok := t.receipts[digest]; !ok {
			return fmt.Errorf("receipt %.8s is lost", digest)
		}
	}
	for seq, entry := range want.history {
		if t.history[seq] != entry {
			return fmt.Errorf("entry %d was %q and is %q", seq, entry, t.history[seq])
		}
	}
	if t.file != nil && !bytes.Equal(t.file, want.file) {
		return errors.New("a file reads as another")
	}
	return nil
}

// TestDamagedHome walks over every file of two homes that were killed after a
// trade, flips bytes of it and cuts it, one at a time, and starts a daemon on what
// that is: it says what is damaged in one line, or has everything it ever
// acknowledged.
//
//	go test ./integration/disk -run TestDamagedHome -flips 5 -seed 7 -timeout 0
func TestDamagedHome(t *testing.T) {
	if testing.Short() {
		t.Skip("short: starts a daemon for each kind of file")
	}
	t.Parallel()
	dir, err := os.MkdirTemp("", "souk-disk-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	m := openMarket(t, build(t), dir)
	m.done(t)
	m.agree(t, nil)
	m.buyer.Kill()
	m.seller.Kill()
	table := map[string][2]int{} // by kind of file: found, harmless
	for _, p := range []trader{m.seller, m.buyer} {
		cid := m.wasm
		whole := p.Home + ".whole"
		if err := os.Rename(p.Home, whole); err != nil {
			t.Fatal(err)
		}
		if p == m.buyer {
			// Alone it only watches: its chain is down.
			p.Args = []string{"--listen", "/ip4/127.0.0.1/tcp/0"}
		}
		h := damager{p: p, whole: whole, rng: rand.New(rand.NewPCG(*seed, 0)), table: table}
		copyHome(t, whole, p.Home)
		if h.want, err = h.open(t, cid); err != nil {
			t.Fatalf("the home as it was left: %v", err)
		}
		h.walk(t, cid)
	}
	for kind, n := range table {
		t.Logf("%-28s found %3d, harmless %3d", kind, n[0], n[1])
	}
}

// damager damages the files of one home.
type damager struct {
	p     trader
	whole string // the home as it was left
	want  acknowledged
	rng   *rand.Rand
	table map[string][2]int
}

// kindOf is what files are alike: where they are, and how their names end.
func kindOf(name string) string {
	top, rest, nested := strings.Cut(name, "/")
	if !nested {
		return top
	}
	if top == "devnet" { // go-ethereum's own, of no worth
		return "devnet/*"
	}
	if ext := filepath.Ext(rest); top != "keys" && ext != "" {
		return top + "/*" + ext
	}
	if top == "ledger" || top == "keys" || top == "log" {
		return top + "/" + strings.TrimRight(rest, "0123456789")
	}
	return top + "/*"
}

func (h *damager) walk(t *testing.T, cid string) {
	t.Helper()
	var names []string
	err := filepath.WalkDir(h.whole, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			name, _ := filepath.Rel(h.whole, path)
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	h.rng.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	for _, name := range names {
		kind := kindOf(name)
		times := 2 * *flips
		if *flips == 0 && h.table[kind] == [2]int{} {
			times = 1 // or two, where both homes have the kind: the first is that of the seller
		}
		for turn := range times {
			if *flips == 0 {
				turn = h.rng.IntN(2)
			}
			h.damage(t, name, turn, cid)
		}
	}
}

// damage flips a bit of one file, or cuts it, and starts the daemon.
func (h *damager) damage(t *testing.T, name string, turn int, cid string) {
	t.Helper()
	copyHome(t, h.whole, h.p.Home)
	path := filepath.Join(h.p.Home, name)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	used := len(bytes.TrimRight(b, "\x00")) // the rest of a log is zeros that mean nothing
	at := 0
	if used > 0 {
		at = h.rng.IntN(used)
	}
	place := fmt.Sprintf("seed %d: %s/%s of %d bytes, cut after %d", *seed, filepath.Base(h.p.Home), name, len(b), at)
	if turn%2 == 0 && used > 0 {
		bit := byte(1) << h.rng.IntN(8)
		place = fmt.Sprintf("seed %d: %s/%s of %d bytes, byte %d: %02x made %02x", *seed, filepath.Base(h.p.Home), name, len(b), at, b[at], b[at]^bit)
		b[at] ^= bit
	} else {
		b = b[:at]
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	n := h.table[kindOf(name)]
	got, err := h.open(t, cid)
	said := ""
	if err != nil {
		said = err.Error()
	}
	if kindOf(name) == "devnet/*" && !strings.Contains(said, "goroutine ") {
		said = said[max(0, strings.LastIndex(said, "souk: ")):] // go-ethereum prints what it knows before
	}
	switch {
	case err != nil && isClear(said, h.p.Home):
		n[0]++
		t.Logf("%s: %v", place, strings.TrimPrefix(err.Error(), "souk: up: "))
	case err != nil:
		t.Errorf("%s: this is no clear word:\n%v", place, err)
	default:
		n[1]++
		if err := h.want.missed(got); err != nil {
			t.Errorf("%s: opened, and %v", place, err)
		}
	}
	h.table[kindOf(name)] = n
}

// isClear tells whether what a daemon said last is one line that names a file of its
// home, and no end of a process that nobody caught.
func isClear(said, home string) bool {
	return strings.HasPrefix(said, "souk: ") && !strings.Contains(said, "\n") && strings.Contains(said, home)
}

// open starts the daemon, asks what it has, and ends it. The error is what it said
// if it did not start, or ended by itself.
func (h *damager) open(t *testing.T, cid string) (got acknowledged, err error) {
	t.Helper()
	os.Remove(h.p.LogName())
	if err := h.p.Start(); err != nil {
		t.Fatal(err)
	}
	asked := process.Until(t.Context(), func() (bool, error) {
		select {
		case <-h.p.Done():
			return false, errors.New("it ended")
		default:
		}
		got, err = h.p.read(t.Context(), cid)
		return err == nil, nil
	})
	if asked == nil {
		h.p.Kill()
		return got, nil
	}
	var said []string
	for line := range strings.Lines(h.p.LogEnd(1000)) {
		if !strings.HasPrefix(line, "time=") && !strings.HasPrefix(line, "ready as ") && !strings.HasPrefix(line, process.StartLine) {
			said = append(said, strings.TrimSpace(line))
		}
	}
	return got, errors.New(strings.Join(said, "\n"))
}

// copyHome makes to a copy of from, with its modes.
func copyHome(t *testing.T, from, to string) {
	t.Helper()
	if err := os.RemoveAll(to); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(from, path)
		info, err := d.Info()
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return os.MkdirAll(filepath.Join(to, rel), info.Mode().Perm())
		case !d.Type().IsRegular():
			return nil // the socket of a daemon that is gone
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return writeSparse(filepath.Join(to, rel), b, info.Mode().Perm())
	})
	if err != nil {
		t.Fatal(err)
	}
}

// writeSparse leaves out the zeros at a file's end: logs are made longer than they are.
func writeSparse(path string, b []byte, mode fs.FileMode) error {
	if err := os.WriteFile(path, bytes.TrimRight(b, "\x00"), mode); err != nil {
		return err
	}
	return syscall.Truncate(path, int64(len(b)))
}
