// Package disk damages what souk daemons keep: full disks, flipped and cut files,
// homes that are not as they were left.
//
// A full disk is a real one, a small tmpfs, in a mount namespace of the test's own:
// when the test ends, however it does, so do its mounts.
package disk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
	"golang.org/x/sys/unix"
)

const namespaceEnv = "SOUK_TEST_DISK_NAMESPACE"

// inMountNamespace runs the calling test again in a process that may mount, and tells whether
// this is that process. Where no process may, the test fails.
func inMountNamespace(t *testing.T) bool {
	t.Helper()
	if os.Getenv(namespaceEnv) != "" {
		// What is mounted here must not show outside.
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			t.Fatal(err)
		}
		return true
	}
	t.Parallel()
	build(t)
	args := []string{"-test.run=^" + t.Name() + "$", "-test.v"}
	var out []byte
	err := errors.New("not tried")
	for _, flags := range []uintptr{syscall.CLONE_NEWNS, syscall.CLONE_NEWNS | syscall.CLONE_NEWUSER} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
		cmd.Env = append(os.Environ(), namespaceEnv+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags, Pdeathsig: syscall.SIGKILL}
		if flags&syscall.CLONE_NEWUSER != 0 {
			cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
			cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
		}
		if out, err = cmd.CombinedOutput(); !errors.Is(err, syscall.EPERM) {
			break
		}
	}
	if errors.Is(err, syscall.EPERM) {
		t.Fatalf("this machine lets nobody have mounts of their own (%v): run the test as root, or allow user namespaces (sysctl kernel.unprivileged_userns_clone=1)", err)
	}
	t.Logf("in a mount namespace of its own:\n%s", out)
	if err != nil {
		t.Error(err)
	}
	return false
}

// mount makes a folder a disk of its own.
func mount(t *testing.T, dir, options string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=0700,"+options); err != nil {
		t.Fatalf("mount tmpfs: %v", err)
	}
}

// diskFiller is a file that leaves so much of a disk free, until it is removed.
type diskFiller string

func (f diskFiller) leave(t *testing.T, free int64) {
	t.Helper()
	var fs unix.Statfs_t
	if err := unix.Statfs(filepath.Dir(string(f)), &fs); err != nil {
		t.Fatal(err)
	}
	out, err := os.OpenFile(string(f), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	at, err := out.Seek(0, 2)
	if err != nil {
		t.Fatal(err)
	}
	if size := int64(fs.Bavail)*fs.Bsize - free; size > 0 {
		if err := unix.Fallocate(int(out.Fd()), 0, at, size); err != nil && !errors.Is(err, unix.ENOSPC) {
			t.Fatal(err)
		}
	}
	if free == 0 { // the last pages too, which others may take meanwhile
		for page := make([]byte, 4096); ; {
			if _, err := out.Write(page); err != nil {
				return
			}
		}
	}
}

func (f diskFiller) remove(t *testing.T) {
	t.Helper()
	if err := os.Remove(string(f)); err != nil {
		t.Fatal(err)
	}
}

// readOnly waits until a daemon says that it only reads, or that it writes again.
func (p trader) readOnly(t *testing.T, want bool) {
	t.Helper()
	eventually(t, fmt.Sprintf("read-only %t", want), func(ctx context.Context) error {
		s, err := p.Node.Status(ctx, &apiv1.StatusRequest{})
		if err == nil && (s.ReadOnly != "") != want {
			err = fmt.Errorf("%d bytes free, %q", s.DiskFreeBytes, s.ReadOnly)
		}
		return err
	})
}

const (
	diskSize  = "size=560m"
	justBelow = 350 << 20 // free, where a daemon takes on nothing and what runs can still end
)

// TestFullDisk fills the disks of a market's two homes while jobs run and both
// ledgers are written to. Each daemon says in one line that it is read-only before
// anything breaks; it lives on with no byte free; and when there is space again
// everything that was acknowledged is there and work goes on.
func TestFullDisk(t *testing.T) {
	if testing.Short() {
		t.Skip("short: runs daemons on disks of their own")
	}
	if !inMountNamespace(t) {
		return
	}
	b := build(t)
	dir, err := os.MkdirTemp("", "souk-disk-") // t.TempDir is too long a path for sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) }) // but for the mounts, which go with the process
	for _, name := range []string{"seller", "buyer"} {
		mount(t, filepath.Join(dir, name), diskSize)
	}
	m := openMarket(t, b, dir)
	m.done(t)
	had := m.agree(t, nil)
	had = m.fillSeller(t, had)
	m.fillBuyer(t, had)
}

// fillSeller fills the disk of the chain and the provider in two steps, and starts
// the daemon again.
func (m *market) fillSeller(t *testing.T, had map[string]bool) map[string]bool {
	t.Helper()
	fill := diskFiller(filepath.Join(m.seller.Home, "filler"))
	m.offered(t)
	id := m.mustSubmit(t, longJob)
	m.paid(t, id, 2)
	fill.leave(t, justBelow)
	m.seller.readOnly(t, true)
	job := m.ended(t, id)
	if s := job.Summary; s.Reason != "provider-failed" || !strings.Contains(s.Detail+job.Attempts[0].Reason, "disk") && s.Receipts < 3 {
		t.Errorf("a job on a disk that fills ended %s, %s: %q after %d receipts, %+v", s.State, s.Reason, s.Detail, s.Receipts, job.Attempts)
	}
	had = m.agree(t, had)
	if id, err := m.submit(t, shortJob); err != nil {
		t.Error(err)
	} else if s := m.ended(t, id).Summary; s.State != "no-match" {
		t.Errorf("a job that only a full seller could take ended %s, %s: %s", s.State, s.Reason, s.Detail)
	}
	if n := strings.Count(m.seller.LogEnd(10_000), "no new work is taken"); n != 1 {
		t.Errorf("that the seller is read-only stands %d times in its log", n)
	}
	fill.leave(t, 0)
	out, code := m.seller.run(t, "status")
	if code != 0 || !strings.Contains(out, "read-only: the disk of "+m.seller.Home+" has ") {
		t.Errorf("souk status on a full disk: exit %d\n%s", code, out)
	}
	if out, code := m.seller.run(t, "add", m.seller.Program); code != 1 || !strings.Contains(out, "read-only: ") {
		t.Errorf("souk add on a full disk: exit %d\n%s", code, out)
	}
	m.seller.stop(t)
	if out, code := m.seller.run(t, m.seller.UpArgs()...); code != 1 ||
		strings.Count(strings.TrimSpace(out), "\n") > 0 || !strings.Contains(out, "too little free space") {
		t.Errorf("souk up on a full disk: exit %d\n%s", code, out)
	}
	fill.remove(t)
	m.seller.up(t)
	m.done(t)
	return m.agree(t, had)
}

// fillBuyer fills the disk of the client at once; the daemon goes on without being
// started again.
func (m *market) fillBuyer(t *testing.T, had map[string]bool) {
	t.Helper()
	fill := diskFiller(filepath.Join(m.buyer.Home, "filler"))
	m.offered(t)
	id := m.mustSubmit(t, longJob)
	m.paid(t, id, 2)
	fill.leave(t, 0)
	m.buyer.readOnly(t, true)
	if _, err := m.submit(t, shortJob); err == nil || !strings.Contains(err.Error(), "read-only: ") {
		t.Errorf("submit on a full disk: %v", err)
	}
	if now, err := m.buyer.receipts(t.Context()); err != nil || len(now) < len(had)+2 {
		t.Errorf("the buyer has %d receipts on a full disk, %d before: %v", len(now), len(had), err)
	}
	eventually(t, "the seller to stop unpaid work", func(ctx context.Context) error {
		s, err := m.seller.Node.Status(ctx, &apiv1.StatusRequest{})
		if err == nil && s.Leases > 0 && !strings.Contains(m.seller.LogEnd(50), "phase=paused") {
			err = errors.New("it runs on")
		}
		return err
	})
	fill.remove(t)
	m.buyer.readOnly(t, false)
	s := m.ended(t, id).Summary
	t.Logf("the job of the full buyer ended %s, %s: %q, %d receipts", s.State, s.Reason, s.Detail, s.Receipts)
	m.done(t)
	had = m.agree(t, had)
	m.buyer.Kill()
	m.buyer.up(t)
	m.agree(t, had)
	m.buyer.stop(t)
	m.seller.stop(t)
}
