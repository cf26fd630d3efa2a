// Command souk is the market's one program: the daemon, and the commands that
// ask it things.
//
// Results go to stdout and everything said to people to stderr, so that a
// script may read the first and show the second. Exit codes are those of
// INTERFACES; files, queries and flags are checked before a daemon is dialled.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/cmd/souk/daemon"
	"github.com/souk-market/souk/cmd/souk/yamlfile"
	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signalled()
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// signalled is a context that ends when the process is told to.
func signalled() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
}

// The exit codes of INTERFACES.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitNoMatch     = 3
	exitPayment     = 4
	exitDaemon      = 5
	exitJob         = 6
	exitInterrupted = 130
)

// codeError is an error that chooses an exit code which no [souk.Code] has. A nil
// err has been said already.
type codeError struct {
	code int
	err  error
}

func (e *codeError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit %d", e.code)
	}
	return e.err.Error()
}

func (e *codeError) Unwrap() error { return e.err }

// usagef is wrong usage: a flag, a word or a file that no daemon could act on.
func usagef(format string, args ...any) error {
	return &souk.Error{Code: souk.CodeInvalid, Err: fmt.Errorf(format, args...)}
}

// misusef is wrong usage of a command, which its help would have told.
func misusef(cmd *cobra.Command, format string, args ...any) error {
	help := "souk help" + strings.TrimPrefix(cmd.CommandPath(), "souk")
	return usagef("%w\n`%s` shows how", fmt.Errorf(format, args...), help)
}

// run is the program, but for the process around it.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if code, is := child(args, stdin, stdout, stderr); is {
		return code
	}
	return execute(ctx, args, &app{stdin: stdin, stdout: stdout, stderr: stderr, env: os.Getenv, environ: os.Environ, now: time.Now})
}

// execute runs a command in the surroundings of a.
func execute(ctx context.Context, args []string, a *app) int {
	root, stderr := newRoot(a), a.stderr
	root.SetArgs(args)
	root.SetOut(a.stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	if ce, ok := errors.AsType[*codeError](err); !ok || ce.err != nil {
		fmt.Fprintf(stderr, "souk: %v\n", err)
		if at, ok := errors.AsType[*yamlfile.Error](err); ok {
			fmt.Fprint(stderr, at.Excerpt())
		}
	}
	return exitCode(ctx, err)
}

func exitCode(ctx context.Context, err error) int {
	if ce, ok := errors.AsType[*codeError](err); ok {
		return ce.code
	}
	switch code := souk.CodeOf(err); {
	case code == souk.CodeInvalid:
		return exitUsage
	case errors.Is(err, daemon.ErrUnreachable):
		return exitDaemon
	case ctx.Err() != nil:
		return exitInterrupted
	case code == souk.CodeExhausted:
		return exitPayment
	}
	return exitFailed
}
