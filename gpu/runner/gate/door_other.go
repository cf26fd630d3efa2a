//go:build !linux

package gate

import (
	"context"
	"errors"
	"net"
)

// Door is the host's side of one gate.
type Door struct{ Folder string }

// NewDoor fails: containers are of linux alone.
func NewDoor(string) (*Door, error) { return nil, errors.New("containers with devices need linux") }

// Report is never called.
func (*Door) Report(context.Context) (Report, error) { return Report{}, errors.ErrUnsupported }

// Expect is never called.
func (*Door) Expect() error { return errors.ErrUnsupported }

// Proxy is never called.
func (*Door) Proxy(context.Context) (net.Listener, error) { return nil, errors.ErrUnsupported }

// Open is never called.
func (*Door) Open() error { return errors.ErrUnsupported }

// Close does nothing.
func (*Door) Close() error { return nil }
