package keys_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/souk-market/souk/cmd/souk/keys"
)

// env is an environment of these variables.
func env(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

func TestCreateThenOpen(t *testing.T) {
	home := filepath.Join(t.TempDir(), "home")
	source := keys.Source{Env: env()}
	password, err := source.ForNew()
	if err != nil || !password.Random() {
		t.Fatalf("ForNew without a terminal = %v, %v; want a random password", password, err)
	}
	made, err := keys.Create(home, password)
	if err != nil {
		t.Fatal(err)
	}
	again, err := source.ForHome(home)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := keys.Open(home, again)
	if err != nil {
		t.Fatal(err)
	}
	if !opened.Identity.Equal(made.Identity) || !opened.Wallet.Equal(made.Wallet) || !opened.Voucher.Equal(made.Voucher) {
		t.Error("the keys opened are not those made")
	}
	if _, err := keys.Create(home, password); !errors.Is(err, keys.ErrExists) {
		t.Errorf("Create over keys = %v; want ErrExists", err)
	}
	err = filepath.WalkDir(home, func(path string, d fs.DirEntry, err error) error {
		if info, err := d.Info(); err == nil && path != home && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v: others can read it", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestOpenRefuses(t *testing.T) {
	home := t.TempDir()
	source := keys.Source{Env: env()}
	if _, err := keys.Open(home, keys.NewPassword()); !errors.Is(err, keys.ErrMissing) {
		t.Errorf("Open of an empty home = %v; want ErrMissing", err)
	}
	password := keys.NewPassword()
	if _, err := keys.Create(home, password); err != nil {
		t.Fatal(err)
	}
	wrong, err := keys.Source{Env: env("SOUK_PASSWORD", "guess")}.ForHome(home)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keys.Open(home, wrong); !errors.Is(err, keys.ErrPassword) {
		t.Errorf("Open with a wrong password = %v; want ErrPassword", err)
	}
	if err := os.Chmod(filepath.Join(home, "keys", "wallet.json"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := keys.Open(home, password); !errors.Is(err, keys.ErrOpen) {
		t.Errorf("Open of a key others can read = %v; want ErrOpen", err)
	}
	if err := os.Remove(keys.PasswordFile(home)); err != nil {
		t.Fatal(err)
	}
	if _, err := source.ForHome(home); err == nil {
		t.Error("ForHome without any source of a password succeeded")
	}
}

func TestPasswordSources(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pw")
	if err := os.WriteFile(file, []byte("from a file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	typed := func(answers ...string) func(string) (string, error) {
		return func(string) (string, error) {
			a := answers[0]
			answers = answers[1:]
			return a, nil
		}
	}
	for _, tt := range []struct {
		name   string
		source keys.Source
		want   string // what the password tells of itself
		ok     bool
	}{
		{"environment first", keys.Source{Env: env("SOUK_PASSWORD", "x", "SOUK_PASSWORD_FILE", file)}, "password from SOUK_PASSWORD", true},
		{"then the file", keys.Source{Env: env("SOUK_PASSWORD_FILE", file), Prompt: typed("a", "a")}, "password from " + file, true},
		{"a file that is not there", keys.Source{Env: env("SOUK_PASSWORD_FILE", file+"x")}, "", false},
		{"then the prompt", keys.Source{Env: env(), Prompt: typed("a", "a")}, "password from the prompt", true},
		{"two answers that differ", keys.Source{Env: env(), Prompt: typed("a", "b")}, "", false},
		{"an empty answer", keys.Source{Env: env(), Prompt: typed("", "")}, "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := tt.source.ForNew()
			if (err == nil) != tt.ok || tt.ok && p.String() != tt.want {
				t.Errorf("ForNew = %v, %v; want %q, ok %v", p, err, tt.want, tt.ok)
			}
		})
	}
}
