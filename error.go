package souk

import (
	"context"
	"errors"
)

// Code says what kind an error is, for whoever has to act on it. The local API
// and the exit of the command line follow from it.
type Code uint8

// The codes. The zero Code is an error that nobody expected.
const (
	CodeInternal  Code = iota // something here failed
	CodeInvalid               // what was asked is wrong, and stays so until it is asked otherwise
	CodeNotFound              // what was named is not here
	CodeExhausted             // too little money or room, here or at a peer
	CodeState                 // not possible while this node is as it is
	CodeCanceled              // whoever asked went away
)

// Error is an error for people: its kind, what was being done, what is wrong, and
// what to do about it.
type Error struct {
	Code Code
	Op   string // what was done, and to what, as in "job 7f3a"; empty: the caller wraps it
	Err  error  // what is wrong
	Fix  string // what to do, as in "give more digits"; may be empty
}

// Error is one line: the operation, what is wrong, and what to do.
func (e *Error) Error() string {
	s := e.Err.Error()
	if e.Op != "" {
		s = e.Op + ": " + s
	}
	if e.Fix != "" {
		s += "; " + e.Fix
	}
	return s
}

// Unwrap returns what is wrong.
func (e *Error) Unwrap() error { return e.Err }

// ErrorCode returns the code.
func (e *Error) ErrorCode() Code { return e.Code }

// CodeOf returns the code of the first error in err's tree that has one. Error
// types with fields of their own have one by a method ErrorCode.
func CodeOf(err error) Code {
	if c, ok := errors.AsType[interface {
		error
		ErrorCode() Code
	}](err); ok {
		return c.ErrorCode()
	}
	if errors.Is(err, context.Canceled) {
		return CodeCanceled
	}
	return CodeInternal
}
