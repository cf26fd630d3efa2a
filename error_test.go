package souk_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/souk-market/souk"
)

// shortError is an error type that has its own fields and a code.
type shortError struct{ error }

func (shortError) ErrorCode() souk.Code { return souk.CodeExhausted }

func (e shortError) Unwrap() error { return e.error }

func TestError(t *testing.T) {
	cause := errors.New("no such job")
	for _, tt := range []struct {
		name string
		err  error
		text string
		code souk.Code
	}{
		{"all of it", &souk.Error{Code: souk.CodeNotFound, Op: "job 7f", Err: cause, Fix: "souk jobs lists them"},
			"job 7f: no such job; souk jobs lists them", souk.CodeNotFound},
		{"the cause alone", &souk.Error{Code: souk.CodeState, Err: cause}, "no such job", souk.CodeState},
		{"wrapped", fmt.Errorf("get: %w", &souk.Error{Code: souk.CodeInvalid, Err: cause}), "get: no such job", souk.CodeInvalid},
		{"one in another: the outer counts", &souk.Error{Code: souk.CodeExhausted, Err: &souk.Error{Code: souk.CodeInvalid, Err: cause}},
			"no such job", souk.CodeExhausted},
		{"joined", errors.Join(&souk.Error{Code: souk.CodeState, Err: cause}, nil), "no such job", souk.CodeState},
		{"a type with a code of its own", fmt.Errorf("deposit: %w", shortError{cause}), "deposit: no such job", souk.CodeExhausted},
		{"no code", cause, "no such job", souk.CodeInternal},
		{"canceled", fmt.Errorf("ask: %w", context.Canceled), "ask: context canceled", souk.CodeCanceled},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.err.Error() != tt.text || souk.CodeOf(tt.err) != tt.code {
				t.Errorf("%q, code %d; want %q, code %d", tt.err, souk.CodeOf(tt.err), tt.text, tt.code)
			}
			if tt.name != "canceled" && !errors.Is(tt.err, cause) {
				t.Error("the cause is not in it")
			}
		})
	}
}
