package disk

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/souk-market/souk/cmd/souk/process"
	"github.com/souk-market/souk/integration/daemontest"
	"golang.org/x/sys/unix"
)

// said runs souk with the environment env, as user, and returns the last line of
// what it printed: a refusal is one line after what it logged.
func (p trader) said(t *testing.T, user uint32, env []string, args ...string) (line string, code int) {
	t.Helper()
	cmd := p.Command(t.Context(), append([]string{"--log-level", "error"}, args...)...)
	cmd.Env = append(cmd.Env, env...)
	if user != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
	}
	out, code := output(t, cmd)
	text := strings.TrimSpace(out)
	if code != 0 && strings.Contains(text, "\n") {
		t.Errorf("souk %v says more than a line:\n%s", args, text)
	}
	return text, code
}

// refused checks that souk up on a home exits 1 with one line that has want.
func (p trader) refused(t *testing.T, user uint32, want string, env ...string) {
	t.Helper()
	if line, code := p.said(t, user, env, p.UpArgs()...); code != 1 || !strings.Contains(line, want) {
		t.Errorf("souk up: exit %d, %q; want 1 and %q", code, line, want)
	}
}

// TestHomeOutOfReach starts daemons on homes that they cannot write to: of another
// user, below a folder nobody may enter, on a disk that is read-only.
func TestHomeOutOfReach(t *testing.T) {
	if testing.Short() {
		t.Skip("short: starts daemons on disks of their own")
	}
	if !inMountNamespace(t) {
		return
	}
	b := build(t)
	dir, err := os.MkdirTemp("", "souk-disk-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	const nobody = 65534
	p := newTrader(t, b.souk, filepath.Join(dir, "home"))
	if os.Getuid() == 0 && identityMapped(t) {
		p.refused(t, nobody, "permission denied")
		other := trader{process.New(process.Config{Home: filepath.Join(dir, "none", "home"), Program: b.souk})}
		if line, code := other.said(t, nobody, nil, "init"); code != 1 || !strings.Contains(line, "permission denied") {
			t.Errorf("souk init where nobody may write: exit %d, %q", code, line)
		}
	}
	small := filepath.Join(dir, "small")
	mount(t, small, "size=512m")
	p = newTrader(t, b.souk, filepath.Join(small, "home"))
	// There is no TMPDIR, and none is needed.
	p.Args = append(p.Args, "--devnet", "--devnet-listen", daemontest.FreePort(t), "--provide")
	t.Setenv("TMPDIR", filepath.Join(dir, "no-such-folder"))
	p.up(t)
	p.stop(t)
	t.Setenv("TMPDIR", "")
	if err := unix.Mount("", small, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	p.refused(t, 0, "read-only file system")
	fresh := trader{process.New(process.Config{Home: filepath.Join(small, "fresh"), Program: b.souk})}
	if line, code := fresh.said(t, 0, nil, "init"); code != 1 || !strings.Contains(line, "read-only file system") {
		t.Errorf("souk init on a read-only disk: exit %d, %q", code, line)
	}
	if err := unix.Mount("", small, "", unix.MS_REMOUNT, ""); err != nil {
		t.Fatal(err)
	}
	p.up(t)
	p.stop(t)
}

// identityMapped tells whether other users are known here: in a user namespace of
// one user they are not.
func identityMapped(t *testing.T) bool {
	t.Helper()
	b, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(b))
	return len(fields) == 3 && fields[2] == "4294967295"
}
