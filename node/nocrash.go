//go:build !crashpoints

package node

import (
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/souk-market/souk/payment"
)

// Where the build for integration/crash ends a daemon: at what it makes durable,
// at what it says to peers, and at the blocks of its test chain. This build has
// nothing in these places.

func crashStore(s payment.Store) payment.Store { return s }

func crashHost(h host.Host) host.Host { return h }

func crashSeal() func(seal func() error) error { return nil }
