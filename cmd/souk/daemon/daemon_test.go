package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"connectrpc.com/connect"
	"github.com/souk-market/souk"
)

// TestExplain sees that a daemon's words come without connect's code, and be they
// wrapped, and that the kind of the error is kept.
func TestExplain(t *testing.T) {
	low := errors.New("read-only: free 42MB")
	for _, tt := range []struct {
		err  error
		text string
		code souk.Code
	}{
		{connect.NewError(connect.CodeFailedPrecondition, low), "read-only: free 42MB", souk.CodeState},
		{fmt.Errorf("stream: %w", connect.NewError(connect.CodeInvalidArgument, low)), "read-only: free 42MB", souk.CodeInvalid},
		{connect.NewError(connect.CodeResourceExhausted, low), "read-only: free 42MB", souk.CodeExhausted},
		{connect.NewError(connect.CodeUnknown, low), "read-only: free 42MB", souk.CodeInternal},
		{connect.NewError(connect.CodeUnavailable, &fs.PathError{Op: "dial", Path: "souk.sock", Err: fs.ErrNotExist}),
			"daemon not reachable at souk.sock: is `souk up` running? (file does not exist)", souk.CodeInternal},
		{low, "read-only: free 42MB", souk.CodeInternal},
	} {
		got := (&caller{socket: "souk.sock"}).explain(tt.err)
		if got.Error() != tt.text || souk.CodeOf(got) != tt.code {
			t.Errorf("explain(%v) = %q, code %d; want %q, code %d", tt.err, got, souk.CodeOf(got), tt.text, tt.code)
		}
	}
	if err := (&caller{}).explain(nil); err != nil {
		t.Errorf("explain(nil) = %v", err)
	}
}
