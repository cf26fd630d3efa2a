package keys

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// Password opens the keys of a home. Its text shows in no log and no error.
type Password struct {
	text   string
	source string // where it came from, for errors
	random bool   // made by a machine: nobody will guess it
}

// String hides the text.
func (p Password) String() string { return "password from " + p.source }

// Random tells whether a machine made the password, so that no person knows it.
func (p Password) Random() bool { return p.random }

// Source tells where passwords come from when none is in a home.
type Source struct {
	Env    func(string) string                // the environment: SOUK_PASSWORD and SOUK_PASSWORD_FILE
	Prompt func(label string) (string, error) // asks a person without showing what is typed; nil without a terminal
}

// NewPassword makes a password of 256 bits. [Create] keeps it in [PasswordFile].
func NewPassword() Password {
	return Password{text: hex.EncodeToString(random()), source: "the password file", random: true}
}

func random() []byte {
	b := make([]byte, 32)
	rand.Read(b) // never fails, by its documentation
	return b
}

// ForNew is the password for new keys: from the environment, else asked twice,
// else [NewPassword].
func (s Source) ForNew() (Password, error) {
	if p, ok, err := s.environment(); ok || err != nil {
		return p, err
	}
	if s.Prompt == nil {
		return NewPassword(), nil
	}
	p, err := s.ask("Password for the new wallet: ")
	if err != nil {
		return p, err
	}
	again, err := s.ask("Once more: ")
	if err == nil && again.text != p.text {
		err = errors.New("the two passwords differ")
	}
	return p, err
}

// ForHome is the password of the keys in home: from the environment, else from
// the home's password file, else asked.
func (s Source) ForHome(home string) (Password, error) {
	if p, ok, err := s.environment(); ok || err != nil {
		return p, err
	}
	p, err := fromFile(PasswordFile(home))
	switch {
	case err == nil:
		return p, nil
	case !errors.Is(err, ErrMissing):
		return p, err
	case s.Prompt == nil:
		return p, fmt.Errorf("the keys need a password: set SOUK_PASSWORD or SOUK_PASSWORD_FILE, or put %s back if souk made it", PasswordFile(home))
	}
	return s.ask("Wallet password: ")
}

func (s Source) environment() (p Password, ok bool, err error) {
	if text := s.Env("SOUK_PASSWORD"); text != "" {
		return Password{text: text, source: "SOUK_PASSWORD"}, true, nil
	}
	if path := s.Env("SOUK_PASSWORD_FILE"); path != "" {
		p, err = fromFile(path)
		if errors.Is(err, ErrMissing) {
			err = fmt.Errorf("open %s: %w", path, fs.ErrNotExist)
		}
		if err != nil {
			err = fmt.Errorf("SOUK_PASSWORD_FILE: %w", err)
		}
		return p, true, err
	}
	return p, false, nil
}

func fromFile(path string) (Password, error) {
	b, err := private(path)
	if err != nil {
		return Password{}, err
	}
	text := strings.TrimRight(string(b), "\r\n")
	if text == "" {
		return Password{}, fmt.Errorf("open %s: it holds no password", path)
	}
	return Password{text: text, source: path}, nil
}

func (s Source) ask(label string) (Password, error) {
	text, err := s.Prompt(label)
	switch {
	case err != nil:
		return Password{}, fmt.Errorf("read password: %w", err)
	case text == "":
		return Password{}, errors.New("the password is empty")
	case strings.ContainsAny(text, "\r\n") || len(text) > 1024:
		return Password{}, errors.New("the password is not one line")
	}
	return Password{text: text, source: "the prompt"}, nil
}

var _ fmt.Stringer = Password{} // so that no %v prints the text
