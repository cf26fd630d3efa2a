package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/souk-market/souk/node/disk"
	"github.com/souk-market/souk/node/money"
	"github.com/souk-market/souk/payment/ledger"
	"github.com/souk-market/souk/payment/log"
	"github.com/souk-market/souk/storage/badger"
	"github.com/souk-market/souk/storage/mark"
)

// buildStores opens ledger and log: from here on the home is ours.
func (n *Node) buildStores() (err error) {
	if n.store = n.cfg.Store; n.store == nil {
		onDisk, err := badger.Open(badger.Config{Dir: filepath.Join(n.cfg.Home, "ledger"), FreeFloor: disk.LedgerFloor, Log: n.cfg.Log})
		if err != nil {
			if errors.Is(err, badger.ErrDamaged) {
				err = fmt.Errorf("%w: bring the home back from a backup", err)
			}
			return fmt.Errorf("ledger store: %w", err)
		}
		n.store = onDisk
		if n.mark, err = mark.Open(filepath.Join(n.cfg.Home, markName)); err != nil {
			return fmt.Errorf("ledger: %w", err)
		}
	}
	if err := n.openLedger(); err != nil {
		return err
	}
	if n.channels, err = money.LoadChannels(n.ledger); err != nil {
		return err
	}
	id, err := n.peerID()
	if err != nil {
		return err
	}
	n.tree, err = log.Open(log.Config{Dir: filepath.Join(n.cfg.Home, "log"), Origin: "souk/" + id.String(), Key: n.cfg.Identity,
		Room: n.space.LedgerRoom, Log: n.cfg.Log})
	if err != nil {
		if errors.Is(err, log.ErrCorrupt) || errors.Is(err, log.ErrCheckpoint) {
			err = fmt.Errorf("%w: bring the home back from a backup", err)
		}
		return fmt.Errorf("receipts log: %w", err)
	}
	n.receipts = money.NewReceipts(n.ledger, n.channels, n.tree)
	return nil
}

// markName is the file that counts the ledger's commits beside it.
const markName = "ledger.mark"

func (n *Node) openLedger() (err error) {
	c := ledger.Config{Store: crashStore(n.store), Log: n.cfg.Log}
	if n.mark != nil {
		c.Mark = n.mark
	}
	n.ledger, err = ledger.Open(c)
	if errors.Is(err, ledger.ErrLost) {
		return fmt.Errorf("%s was cut or damaged: %w: bring the home back from a backup; to go on without them remove %s",
			filepath.Join(n.cfg.Home, "ledger"), err, filepath.Join(n.cfg.Home, markName))
	}
	if err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	return nil
}

const peersKey = "peers"

func (n *Node) loadPeers() ([]peer.AddrInfo, error) {
	value, err := n.ledger.Get(peersKey)
	if err != nil || value == nil {
		return nil, err
	}
	var infos []peer.AddrInfo
	if err := json.Unmarshal(value, &infos); err != nil {
		return nil, fmt.Errorf("remembered peers: %w", err)
	}
	return infos, nil
}

func (n *Node) savePeers(infos []peer.AddrInfo) error {
	value, err := json.Marshal(infos)
	if err != nil {
		return fmt.Errorf("remember peers: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	return n.ledger.Commit(ctx, ledger.Batch{Records: []ledger.Record{{Key: peersKey, Value: value}}})
}
