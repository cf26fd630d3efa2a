package money

import (
	"context"
	"fmt"
	"sync"
)

// exclusive admits one caller at a time for each key. The zero value is ready.
type exclusive[K comparable] struct {
	mu   sync.Mutex          // guards busy
	busy map[K]chan struct{} // closed when whoever was admitted leaves
}

// enter waits until nobody else is in for the key, which can take as long as the
// chain does: it ends with ctx, which a mutex would not.
func (e *exclusive[K]) enter(ctx context.Context, key K) (leave func(), err error) {
	for {
		leave, others := e.try(key)
		if others == nil {
			return leave, nil
		}
		select {
		case <-others:
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for the same thing that is done on chain: %w", ctx.Err())
		}
	}
}

// try enters if nobody else is in for the key; else others is closed when they
// have left.
func (e *exclusive[K]) try(key K) (leave func(), others <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if in := e.busy[key]; in != nil {
		return nil, in
	}
	if e.busy == nil {
		e.busy = map[K]chan struct{}{}
	}
	in := make(chan struct{})
	e.busy[key] = in
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.busy, key)
		close(in)
	}, nil
}
