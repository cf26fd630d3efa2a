// Package network is how a node reaches its peers: the libp2p host, the peers it
// stays connected to, and streams that carry frames within limits of size, time
// and number.
//
// Nothing that a peer does holds a goroutine, a slot or memory for longer than
// the limits of its protocol say.
package network

import "sync"

// Changes wakes all who wait for the next change of something. The zero value is
// ready. Its methods may be called at once.
//
// To miss nothing, take the channel of Next before reading what may change, and
// call Announce after changing it.
type Changes struct {
	mu   sync.Mutex // guards next
	next chan struct{}
}

// Next returns a channel that is closed at the next change.
func (c *Changes) Next() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.next == nil {
		c.next = make(chan struct{})
	}
	return c.next
}

// Announce wakes all who wait. It does not block.
func (c *Changes) Announce() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.next != nil {
		close(c.next)
		c.next = nil
	}
}
