package api

import (
	"errors"
	"fmt"

	"connectrpc.com/connect"
	"github.com/souk-market/souk"
)

// coded gives an error the code by which the command line chooses its exit: that
// of [souk.CodeOf].
func coded(err error) error {
	if err == nil || errors.As(err, new(*connect.Error)) {
		return err
	}
	code := connect.CodeInternal
	switch souk.CodeOf(err) {
	case souk.CodeInvalid:
		code = connect.CodeInvalidArgument
	case souk.CodeNotFound:
		code = connect.CodeNotFound
	case souk.CodeExhausted:
		code = connect.CodeResourceExhausted
	case souk.CodeState:
		code = connect.CodeFailedPrecondition
	case souk.CodeCanceled:
		code = connect.CodeCanceled
	}
	return connect.NewError(code, err)
}

func invalid(format string, args ...any) error {
	return connect.NewError(connect.CodeInvalidArgument, fmt.Errorf(format, args...))
}

// ErrNoChain is returned by what needs a chain on a node without one.
var ErrNoChain = &souk.Error{Code: souk.CodeState, Err: errors.New("this node has no chain"),
	Fix: "start it with --chain URL, or with --devnet for a test chain"}
