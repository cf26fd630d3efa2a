package gate

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Exit codes, as engines have them.
const (
	notAllowed = 126
	notFound   = 127
)

// Main is the body of both programs, whose arguments are the word, the vendor and the
// command. It returns an exit code where it did not become another program.
func Main(args []string, stdout, stderr io.Writer, inside Inside) int {
	if len(args) < 2 {
		return notFound
	}
	if args[0] == Check {
		if json.NewEncoder(stdout).Encode(Report{Seen: inside.see(args[1])}) != nil {
			return 1
		}
		return 0
	}
	if len(args) < 3 {
		return notFound
	}
	command := args[2:]
	path, err := find(command[0], os.Getenv("PATH"))
	r := Report{Seen: inside.see(args[1])}
	if err != nil {
		r.Command = err.Error()
	}
	if err := offer(Folder, proxyAddress()); err != nil {
		r.Proxy = err.Error()
	}
	if err := wait(Folder, r); err != nil {
		fmt.Fprintln(stderr, err)
		return notAllowed
	}
	// The driver's library may have left files open.
	if err := unix.CloseRange(3, ^uint(0)>>1, unix.CLOSE_RANGE_CLOEXEC); err != nil && !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EINVAL) {
		fmt.Fprintln(stderr, err)
		return notAllowed
	}
	err = syscall.Exec(path, command, os.Environ())
	fmt.Fprintf(stderr, "exec %s: %v\n", path, err)
	if errors.Is(err, fs.ErrNotExist) {
		return notFound
	}
	return notAllowed
}

// wait says r, and returns when the job may run.
func wait(folder string, r Report) error {
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	out, err := os.OpenFile(filepath.Join(folder, saw), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = out.Write(append(line, '\n'))
	if err = errors.Join(err, out.Close()); err != nil {
		return err
	}
	in, err := os.OpenFile(filepath.Join(folder, open), os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer in.Close()
	if n, err := in.Read(make([]byte, 1)); n != 1 {
		return fmt.Errorf("not let through: %w", err)
	}
	return nil
}

// find is the path of a command as engines find it: by PATH where its name has no slash.
func find(name, path string) (string, error) {
	if strings.Contains(name, "/") {
		return name, executable(name)
	}
	if path == "" {
		path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	}
	denied := error(nil)
	for _, dir := range filepath.SplitList(path) {
		p := filepath.Join("/", dir, name)
		err := executable(p)
		if err == nil {
			return p, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			denied = err
		}
	}
	if denied != nil {
		return "", denied
	}
	return "", fmt.Errorf("executable file %q not found in $PATH", name)
}

// executable refuses what is no program.
func executable(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case info.IsDir():
		return fmt.Errorf("%s is a directory", path)
	}
	if err := unix.Access(path, unix.X_OK); err != nil {
		return fmt.Errorf("%s: permission denied", path)
	}
	return nil
}
