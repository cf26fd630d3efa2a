package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/souk-market/souk/storage/files"
	"golang.org/x/sync/errgroup"
)

const (
	artefactBytes = 64 << 20
	rawProtocol   = "/bench/raw/1"
)

// artefactTransfer measures a file from one store to another over the network.
func artefactTransfer() bench {
	return bench{
		row:     "artifact transfer on loopback",
		against: "the same bytes on one raw libp2p stream between the same hosts, kept nowhere",
		unit:    "MB/s",
		goal:    "≥ 0.5× raw; ≥ 1.5× reference",
		prepare: prepareTransfer,
	}
}

// peerStore is a store on a host of its own.
type peerStore struct {
	host  host.Host
	files *files.Files
	stop  context.CancelFunc
	group errgroup.Group
}

func openPeerStore(dir string) (*peerStore, error) {
	h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0"))
	if err != nil {
		return nil, err
	}
	f, err := files.New(files.Config{Dir: dir, Host: h})
	if err != nil {
		return nil, errors.Join(err, h.Close())
	}
	ctx, stop := context.WithCancel(context.Background())
	d := &peerStore{host: h, files: f, stop: stop}
	d.group.Go(func() error { return f.Run(ctx) })
	return d, nil
}

func (d *peerStore) close() error {
	d.stop()
	return errors.Join(d.group.Wait(), d.files.Close(), d.host.Close())
}

// dial connects d to other.
func (d *peerStore) dial(other *peerStore) error {
	return d.host.Connect(context.Background(), peer.AddrInfo{ID: other.host.ID(), Addrs: other.host.Addrs()})
}

func prepareTransfer(dir string) (_ *subject, err error) {
	var open []func() error // what is to be closed, the last first
	closeAll := func() (err error) {
		for len(open) > 0 {
			err, open = errors.Join(err, open[len(open)-1]()), open[:len(open)-1]
		}
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, closeAll())
		}
	}()
	content := make([]byte, artefactBytes)
	rand.NewChaCha8([32]byte{1}).Read(content)
	owner, err := openPeerStore(filepath.Join(dir, "owner"))
	if err != nil {
		return nil, err
	}
	open = append(open, owner.close)
	owner.host.SetStreamHandler(rawProtocol, func(s network.Stream) {
		_, _ = s.Write(content) // what is missing, the reader sees
		_ = s.Close()
	})
	root, _, err := owner.files.AddReader(context.Background(), bytes.NewReader(content))
	if err == nil {
		err = owner.files.Publish(context.Background(), root)
	}
	if err != nil {
		return nil, err
	}
	ipfs, err := openReference(dir)
	if err != nil {
		return nil, err
	}
	open = append(open, ipfs.close)
	var reference []float64
	return &subject{
		ours:  func() (float64, error) { return fetchOnce(filepath.Join(dir, "client"), owner, root) },
		limit: func() (float64, error) { return rawOnce(owner, ipfs, content, &reference) },
		met: func(ours, limit figure) bool {
			return ours.median >= 0.5*limit.median && (len(reference) == 0 || ours.median >= 1.5*middle(reference).median)
		},
		note: func() string {
			note := fmt.Sprintf("%d MiB from store to store", artefactBytes>>20)
			if len(reference) == 0 {
				return note + "; IPFS reference node not measured: " + ipfs.missing
			}
			return fmt.Sprintf("%s; IPFS reference node (%s) %s MB/s [%s … %s]", note, ipfs.version, number(middle(reference).median),
				number(middle(reference).low), number(middle(reference).high))
		},
		close: closeAll,
	}, nil
}

// fetchOnce fetches root into a store that is new.
func fetchOnce(dir string, owner *peerStore, root string) (_ float64, err error) {
	if err := os.RemoveAll(dir); err != nil {
		return 0, err
	}
	client, err := openPeerStore(dir)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, client.close()) }()
	if err := client.dial(owner); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	defer cancel()
	return megabytes(func() error { return client.files.Fetch(ctx, root, owner.host.ID(), files.Limit{}, nil) })
}

// rawOnce moves the bytes over a stream, and then through the reference nodes,
// where there are any.
func rawOnce(owner *peerStore, ipfs *reference, content []byte, took *[]float64) (_ float64, err error) {
	h, err := libp2p.New(libp2p.NoListenAddrs)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	if err := (&peerStore{host: h}).dial(owner); err != nil {
		return 0, err
	}
	if ipfs.missing == "" {
		x, err := ipfs.transfer(content)
		if err != nil {
			return 0, fmt.Errorf("IPFS reference node: %w", err)
		}
		*took = append(*took, x)
	}
	return megabytes(func() error {
		s, err := h.NewStream(context.Background(), owner.host.ID(), rawProtocol)
		if err != nil {
			return err
		}
		defer s.Close()
		n, err := io.Copy(io.Discard, s)
		if err == nil && n != artefactBytes {
			err = io.ErrUnexpectedEOF
		}
		return err
	})
}

// megabytes is how many MB/s it is to move the artefact by fn.
func megabytes(fn func() error) (float64, error) {
	begun := time.Now()
	err := fn()
	return artefactBytes / 1e6 / time.Since(begun).Seconds(), err
}
