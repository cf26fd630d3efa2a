package keys

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/ethereum/go-ethereum/crypto"
	p2pcrypto "github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
)

// Format is the layout of a home that this program writes and reads.
const Format = 1

// formatFile tells a home's format and whose keys it was made with. It is the
// first file that is read.
const formatFile = "format"

var (
	// ErrNewer is returned for a home that a newer program has changed.
	ErrNewer = errors.New("a newer souk has changed this home: use that one")
	// ErrForeign is returned for a key that is not the one a home was made with.
	ErrForeign = errors.New("the home was made with another key")
	// ErrDamaged is returned for a file that is not what was written to it.
	ErrDamaged = errors.New("damaged")
)

// record is what formatFile says. The names are public: peer id and addresses.
type record struct {
	format                uint64
	node, wallet, voucher string
}

func recordOf(k Keys) (record, error) {
	public, err := p2pcrypto.UnmarshalEd25519PublicKey(k.Identity.Public().(ed25519.PublicKey))
	if err != nil {
		return record{}, err
	}
	id, err := peer.IDFromPublicKey(public)
	return record{Format, id.String(), crypto.PubkeyToAddress(k.Wallet.PublicKey).Hex(), crypto.PubkeyToAddress(k.Voucher.PublicKey).Hex()}, err
}

// encode ends with a checksum of the lines before, so that damage to the file is
// not taken for a foreign key. A later format keeps the first line.
func (r record) encode() []byte {
	b := fmt.Appendf(nil, "souk home %d\nnode %s\nwallet %s\nvoucher %s\n", r.format, r.node, r.wallet, r.voucher)
	sum := sha256.Sum256(b)
	return fmt.Appendf(b, "sum %x\n", sum[:8])
}

// readRecord reads formatFile; false where there is none, as in homes of before.
func readRecord(home string) (r record, known bool, err error) {
	path := filepath.Join(home, formatFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return r, false, nil
	}
	if err != nil {
		return r, false, fmt.Errorf("open home: %w", err)
	}
	first, _, _ := bytes.Cut(b, []byte("\n"))
	if n, err := strconv.ParseUint(string(bytes.TrimPrefix(first, []byte("souk home "))), 10, 64); err == nil && n > Format {
		return r, false, fmt.Errorf("open home: %s says format %d, this souk knows %d: %w", path, n, Format, ErrNewer)
	}
	_, err = fmt.Sscanf(string(b), "souk home %d\nnode %s\nwallet %s\nvoucher %s\n", &r.format, &r.node, &r.wallet, &r.voucher)
	if err != nil || !bytes.Equal(b, r.encode()) {
		return r, false, fmt.Errorf("open home: %s is %w: remove it, and the next start makes it again from the keys", path, ErrDamaged)
	}
	return r, true, nil
}

// CheckHome makes sure that this program may use home: that no newer one has
// changed it, and that nobody else on this machine can change or read what must
// be its owner's alone. A home that is not there passes.
func CheckHome(home string) error {
	if _, _, err := readRecord(home); err != nil {
		return err
	}
	for _, c := range []struct {
		name   string
		others fs.FileMode // what others may not
		what   string
		mend   string
	}{
		{"", 0o022, "write to it", "chmod go-w"},
		{"keys", 0o077, "open it", "chmod 700"},
		{"ledger", 0o077, "open it", "chmod 700"},
		{"blocks", 0o077, "open it", "chmod 700"},
		{"jobs", 0o077, "open it", "chmod 700"},
		{"telemetry", 0o077, "open it", "chmod 700"},
		{"api.token", 0o077, "read it", "chmod 600"},
	} {
		path := filepath.Join(home, c.name)
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("open home: %w", err)
		}
		if info.Mode().Perm()&c.others != 0 {
			return fmt.Errorf("open home: %s has mode %04o: others on this machine can %s: %s it", path, info.Mode().Perm(), c.what, c.mend)
		}
	}
	return nil
}

// own makes sure that k are the keys home was made with. A home of before formats
// were written gets its record.
func own(home string, k Keys) error {
	is, err := recordOf(k)
	if err != nil {
		return fmt.Errorf("open keys: %w", err)
	}
	was, known, err := readRecord(home)
	if err != nil {
		return err
	}
	if !known {
		return writeRecord(home, is)
	}
	for _, c := range []struct{ file, is, was string }{
		{nodeFile, is.node, was.node}, {walletFile, is.wallet, was.wallet}, {voucherFile, is.voucher, was.voucher},
	} {
		if c.is != c.was {
			return fmt.Errorf("open %s: %w: this is the key of %s, and the home belongs to %s: put its own back",
				filepath.Join(dir(home), c.file), ErrForeign, c.is, c.was)
		}
	}
	return nil
}

// writeRecord makes the file whole or not at all.
func writeRecord(home string, r record) error {
	part := filepath.Join(home, formatFile+".new")
	if err := os.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) { // of a crash
		return fmt.Errorf("open home: %w", err)
	}
	if err := create(part, r.encode()); err != nil {
		return err
	}
	if err := os.Rename(part, filepath.Join(home, formatFile)); err != nil {
		return fmt.Errorf("open home: %w", err)
	}
	return nil
}

// lost says what goes with a key file that is not there.
func lost(home, file string) error {
	was, _, _ := readRecord(home) // without one the names are not known
	name := func(s string) string {
		if s == "" {
			return "this home"
		}
		return s
	}
	var what string
	switch file {
	case nodeFile:
		what = "goes the identity of " + name(was.node) + ": its leases, receipts and log can be continued by nobody else"
	case walletFile:
		what = "go the tokens and gas of " + name(was.wallet)
	case voucherFile:
		what = "goes the right of " + name(was.voucher) + " to pay from its channels and to give back what others have in theirs"
	}
	return fmt.Errorf("open %s: %w: with it %s: put it back from a copy", filepath.Join(dir(home), file), ErrMissing, what)
}
