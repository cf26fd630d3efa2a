package process

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// standIn, if set, makes the test binary a souk program whose daemon ends with this exit code
// when it is asked to.
const standIn = "TEST_STAND_IN_EXIT"

func TestMain(m *testing.M) {
	code, is := os.LookupEnv(standIn)
	if !is {
		os.Exit(m.Run())
	}
	if slices.Contains(os.Args, "init") {
		if err := os.Mkdir(os.Args[2], 0o700); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGTERM)
	fmt.Printf("up with SOUK_HOME %q\n", os.Getenv("SOUK_HOME"))
	<-asked
	if code != "0" {
		os.Exit(1)
	}
	os.Exit(0)
}

func newStandIn(t *testing.T, exit string) *Daemon {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	d := New(Config{Name: "stand-in", Home: filepath.Join(t.TempDir(), "home"), Program: self, Env: []string{standIn + "=" + exit}})
	if err := d.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Kill)
	return d
}

// up starts the stand-in and waits until it catches signals.
func up(t *testing.T, d *Daemon) {
	t.Helper()
	begun := strings.Count(d.LogEnd(100), "up with")
	if err := d.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := Until(ctx, func() (bool, error) { return strings.Count(d.LogEnd(100), "up with") > begun, nil }); err != nil {
		t.Fatal(err)
	}
}

// TestLives starts a daemon, kills it, starts it again and asks it to end.
func TestLives(t *testing.T) {
	t.Setenv("SOUK_HOME", "elsewhere")
	d := newStandIn(t, "0")
	if err := d.Stop(); err != nil {
		t.Errorf("a daemon that was never started: %v", err)
	}
	up(t, d)
	first := d.PID()
	d.Kill()
	select {
	case <-d.Done():
	default:
		t.Error("it is killed and not done")
	}
	if err := d.Stop(); err != nil {
		t.Errorf("a daemon that was killed: %v", err)
	}
	up(t, d)
	if d.PID() == first {
		t.Error("the second life has the process of the first")
	}
	if err := d.Stop(); err != nil {
		t.Error(err)
	}
	want := "up with SOUK_HOME \"\"\n" + StartLine + "2 of stand-in\nup with SOUK_HOME \"\""
	if got := d.LogEnd(10); got != want {
		t.Errorf("the log is\n%s\nwant\n%s", got, want)
	}
}

func TestStopTellsABadEnd(t *testing.T) {
	d := newStandIn(t, "1")
	up(t, d)
	if err := d.Stop(); err == nil || !strings.Contains(err.Error(), "stand-in was asked to end, and ended with exit status 1") {
		t.Errorf("%v", err)
	}
}

// TestReadyTellsTheEnd waits for a daemon that has ended: the error has its last words.
func TestReadyTellsTheEnd(t *testing.T) {
	d := newStandIn(t, "0")
	up(t, d)
	d.Kill()
	if err := Ready(t.Context(), d); err == nil || !strings.Contains(err.Error(), "ended by itself: up with SOUK_HOME") {
		t.Errorf("%v", err)
	}
}

func TestStageRefusesALongPath(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("x", maxSocketPath))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := NewStage("souk", dir, false, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "too long a path") {
		t.Errorf("%v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestFreePort(t *testing.T) {
	address, err := FreePort()
	if err != nil || !strings.HasPrefix(address, "127.0.0.1:") {
		t.Errorf("%s, %v", address, err)
	}
}
