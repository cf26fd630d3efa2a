package souk

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

func TestError(t *testing.T) {
	missing := errors.New("no such job")
	for _, tt := range []struct {
		err  error
		text string
		code Code
	}{
		{&Error{Code: CodeNotFound, Err: missing}, "no such job", CodeNotFound},
		{&Error{Code: CodeInvalid, Op: "job 7f", Err: missing, Fix: "give more digits"}, "job 7f: no such job; give more digits", CodeInvalid},
		{fmt.Errorf("stop: %w", &Error{Code: CodeState, Err: missing}), "stop: no such job", CodeState},
		{fmt.Errorf("stop: %w", context.Canceled), "stop: context canceled", CodeCanceled},
		{missing, "no such job", CodeInternal},
	} {
		if tt.err.Error() != tt.text || CodeOf(tt.err) != tt.code {
			t.Errorf("%q of code %d; want %q of %d", tt.err, CodeOf(tt.err), tt.text, tt.code)
		}
	}
	if err := (&Error{Op: "job", Err: missing}); !errors.Is(err, missing) {
		t.Error("what is wrong cannot be found in the error")
	}
}
