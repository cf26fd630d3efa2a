// Package keys makes and opens the keys of a home.
//
// There are three: the node key (Ed25519) is the identity towards peers, the
// wallet key and the voucher key (secp256k1) are money and lie encrypted. A key
// is never overwritten, and one that others on the machine could read is
// refused.
package keys

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ethereum/go-ethereum/accounts/keystore"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/google/uuid"
)

var (
	// ErrExists is returned when a home already has keys.
	ErrExists = errors.New("keys are already there")
	// ErrMissing is returned when a home has no keys.
	ErrMissing = errors.New("no such key file")
	// ErrPassword is returned when a password does not open a key.
	ErrPassword = errors.New("wrong password")
	// ErrOpen is returned for a key that others on this machine can read.
	ErrOpen = errors.New("others on this machine can read it")
)

// Keys are the keys of one home.
type Keys struct {
	Identity ed25519.PrivateKey
	Wallet   *ecdsa.PrivateKey
	Voucher  *ecdsa.PrivateKey
}

// The files below keys/ in a home.
const (
	nodeFile     = "node.key"
	walletFile   = "wallet.json"
	voucherFile  = "voucher.json"
	passwordFile = "password"
)

func dir(home string) string { return filepath.Join(home, "keys") }

// PasswordFile is where a password that no person chose lies, with mode 0600.
func PasswordFile(home string) string { return filepath.Join(dir(home), passwordFile) }

// Generate makes new keys, and keeps them nowhere.
func Generate() (k Keys, err error) {
	if _, k.Identity, err = ed25519.GenerateKey(rand.Reader); err != nil {
		return k, fmt.Errorf("make node key: %w", err)
	}
	if k.Wallet, err = crypto.GenerateKey(); err != nil {
		return k, fmt.Errorf("make wallet key: %w", err)
	}
	if k.Voucher, err = crypto.GenerateKey(); err != nil {
		return k, fmt.Errorf("make voucher key: %w", err)
	}
	return k, nil
}

// Create makes new keys in home, which it makes if need be, and encrypts those
// that are money with password. The errors are those of [Vacant].
func Create(home string, password Password) (Keys, error) {
	if err := Vacant(home); err != nil {
		return Keys{}, err
	}
	if err := os.MkdirAll(dir(home), 0o700); err != nil {
		return Keys{}, fmt.Errorf("make keys: %w", err)
	}
	k, err := Generate()
	if err != nil {
		return k, err
	}
	if err := write(home, k, password); err != nil {
		// Half a set of keys would be one that lost the others.
		return k, errors.Join(err, os.RemoveAll(dir(home)), os.RemoveAll(filepath.Join(home, formatFile)))
	}
	return k, nil
}

// Vacant makes sure that home has no key, and never had one: the error is
// [ErrExists] or [ErrForeign].
func Vacant(home string) error {
	if entries, err := os.ReadDir(dir(home)); err == nil && len(entries) > 0 {
		return fmt.Errorf("make keys in %s: %w", dir(home), ErrExists)
	}
	was, known, err := readRecord(home)
	if err == nil && known {
		err = fmt.Errorf("make keys in %s: %w: it belongs to %s: put its keys back, or choose another home", dir(home), ErrForeign, was.node)
	}
	return err
}

// write puts the password first: a key that nobody can open is worse than none.
func write(home string, k Keys, password Password) error {
	if password.random {
		if err := create(PasswordFile(home), []byte(password.text+"\n")); err != nil {
			return err
		}
	}
	der, err := x509.MarshalPKCS8PrivateKey(k.Identity)
	if err != nil {
		return fmt.Errorf("encode node key: %w", err)
	}
	for _, f := range []struct {
		name string
		key  *ecdsa.PrivateKey
	}{{walletFile, k.Wallet}, {voucherFile, k.Voucher}} {
		sealed, err := seal(f.key, password)
		if err != nil {
			return fmt.Errorf("encrypt %s: %w", f.name, err)
		}
		if err := create(filepath.Join(dir(home), f.name), sealed); err != nil {
			return err
		}
	}
	if err := create(filepath.Join(dir(home), nodeFile), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})); err != nil {
		return err
	}
	return own(home, k)
}

// seal makes a keystore v3 file. A random password needs no slow derivation:
// nobody guesses 256 bits.
func seal(key *ecdsa.PrivateKey, password Password) ([]byte, error) {
	id, err := uuid.NewRandom()
	if err != nil {
		return nil, err
	}
	n, p := keystore.StandardScryptN, keystore.StandardScryptP
	if password.random {
		n, p = keystore.LightScryptN, keystore.LightScryptP
	}
	return keystore.EncryptKey(&keystore.Key{Id: id, Address: crypto.PubkeyToAddress(key.PublicKey), PrivateKey: key},
		password.text, n, p)
}

// create writes a file that must not exist, and makes it durable.
func create(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("make keys: %w", err)
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// Have tells whether home has keys, or has had some.
func Have(home string) bool {
	for _, path := range []string{
		filepath.Join(home, formatFile), filepath.Join(dir(home), nodeFile),
		filepath.Join(dir(home), walletFile), filepath.Join(dir(home), voucherFile),
	} {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			return true
		}
	}
	return false
}

// Complete says which key of home is lost, and what goes with it.
func Complete(home string) error {
	for _, file := range []string{nodeFile, walletFile, voucherFile} {
		if _, err := os.Stat(filepath.Join(dir(home), file)); errors.Is(err, fs.ErrNotExist) {
			return lost(home, file)
		}
	}
	return nil
}

// Open reads the keys of home, and makes sure that they are those it was made
// with. The error is [ErrMissing] where one is not there, [ErrPassword] for a wrong
// password, [ErrOpen] for a file that others can read, [ErrDamaged], [ErrForeign],
// or that of [CheckHome].
func Open(home string, password Password) (k Keys, err error) {
	if err := CheckHome(home); err != nil {
		return k, err
	}
	if err := Complete(home); err != nil {
		return k, err
	}
	if k.Identity, err = openNode(filepath.Join(dir(home), nodeFile)); err != nil {
		return k, err
	}
	if k.Wallet, err = unseal(filepath.Join(dir(home), walletFile), password); err != nil {
		return k, err
	}
	if k.Voucher, err = unseal(filepath.Join(dir(home), voucherFile), password); err != nil {
		return k, err
	}
	return k, own(home, k)
}

func openNode(path string) (ed25519.PrivateKey, error) {
	b, err := private(path)
	if err != nil {
		return nil, err
	}
	block, rest := pem.Decode(b)
	if block == nil || block.Type != "PRIVATE KEY" || len(rest) > 0 {
		return nil, fmt.Errorf("open %s: %w: not one PEM private key: put it back from a copy", path, ErrDamaged)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w: %w: put it back from a copy", path, ErrDamaged, err)
	}
	node, ok := key.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("open %s: not an Ed25519 key", path)
	}
	return node, nil
}

func unseal(path string, password Password) (*ecdsa.PrivateKey, error) {
	b, err := private(path)
	if err != nil {
		return nil, err
	}
	key, err := decrypt(b, password)
	switch {
	case errors.Is(err, keystore.ErrDecrypt):
		return nil, fmt.Errorf("open %s: %w (from %s); if it is the right one, the file is damaged: put it back from a copy", path, ErrPassword, password.source)
	case err != nil:
		return nil, fmt.Errorf("open %s: %w: %w: put it back from a copy", path, ErrDamaged, err)
	}
	return key.PrivateKey, nil
}

// decrypt makes an error of what go-ethereum panics over: a parameter that the
// file has no more, or a length that is none.
func decrypt(b []byte, password Password) (key *keystore.Key, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("not a keystore file: %v", p)
		}
	}()
	return keystore.DecryptKey(b, password.text)
}

// maxKeyBytes bounds a key file: a PEM or JSON of well under a kilobyte.
const maxKeyBytes = 16 << 10

// private reads a file that only its owner may read.
func private(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("open %s: %w", path, ErrMissing)
	case err != nil:
		return nil, fmt.Errorf("open keys: %w", err)
	case info.IsDir():
		return nil, fmt.Errorf("open %s: it is a folder", path)
	case info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("open %s: mode %04o: %w: chmod 600 it, and make new keys if you did not do this",
			path, info.Mode().Perm(), ErrOpen)
	case !info.Mode().IsRegular() || info.Size() > maxKeyBytes:
		return nil, fmt.Errorf("open %s: not a key file", path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("open keys: %w", err)
	}
	return b, nil
}
