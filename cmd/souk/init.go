package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/ethereum/go-ethereum/crypto"
	p2pcrypto "github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/souk-market/souk/cmd/souk/keys"
	"github.com/spf13/cobra"
)

func newInit(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "init",
		Short: "Make keys and config.yaml",
		Long: `Makes the keys of a new home, and a config.yaml to edit. Nothing is overwritten.

The wallet's password comes from SOUK_PASSWORD, from the file that SOUK_PASSWORD_FILE
names, or is asked for. Without a terminal a random one is made and kept in a file that
only you can read.`,
		Example: "  souk init\n  souk init --home ./node1",
		Args:    exactly(),
		RunE:    body(a.init),
	}
}

func (a *app) init(ctx context.Context, _ []string) error {
	source := keys.Source{Env: a.env, Prompt: a.prompt(ctx)}
	if err := keys.CheckHome(a.home); err != nil {
		return fmt.Errorf("init: %w", err)
	}
	if err := keys.Vacant(a.home); err != nil {
		return fmt.Errorf("init: %w: nothing was changed", err)
	}
	password, err := source.ForNew()
	if err != nil {
		return a.passwordFault("init", err)
	}
	k, err := keys.Create(a.home, password)
	if err != nil {
		return fmt.Errorf("init: %w", err)
	}
	if err := writeConfig(a.home); err != nil {
		return fmt.Errorf("init: %w", err)
	}
	id, err := peerID(k)
	if err != nil {
		return fmt.Errorf("init: %w", err)
	}
	wallet := crypto.PubkeyToAddress(k.Wallet.PublicKey).Hex()
	if a.json {
		return a.line(map[string]string{"home": a.home, "peer": id, "wallet": wallet})
	}
	if err := pairs(a.stdout, "home", a.home, "peer", id, "wallet", wallet); err != nil {
		return err
	}
	if password.Random() {
		a.say("the wallet's password is in %s: keep a copy with your backups", keys.PasswordFile(a.home))
	}
	return nil
}

// peerID is the libp2p id of the node key.
func peerID(k keys.Keys) (string, error) {
	public, err := p2pcrypto.UnmarshalEd25519PublicKey(k.Identity.Public().(ed25519.PublicKey))
	if err != nil {
		return "", err
	}
	id, err := peer.IDFromPublicKey(public)
	return id.String(), err
}

// writeConfig makes a config.yaml that says what may be set; one that is there stays.
func writeConfig(home string) error {
	f, err := os.OpenFile(filepath.Join(home, configName), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString(configText)
	return errors.Join(err, f.Close())
}
