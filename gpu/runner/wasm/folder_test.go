package wasm

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	experimental "github.com/tetratelabs/wazero/experimental/sys"
	"pgregory.net/rapid"

	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
)

// counted is what a folder of the host counts as, without what has no name.
func counted(t interface{ Fatal(...any) }, path string) uint64 {
	root, err := os.OpenRoot(path)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	q := &quota{limit: 1 << 60}
	if err := q.count(root); err != nil {
		t.Fatal(err)
	}
	return q.used
}

// Whatever a module does, what is counted is what lies there.
func TestSpaceIsCountedOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		path, err := os.MkdirTemp("", "souk")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(path)
		d, err := openFolder(path, &quota{limit: 1 << 40, end: func(r report) { t.Fatalf("ended by %v", r.Reason) }})
		if err != nil {
			t.Fatal(err)
		}
		defer d.root.Close()
		var open []experimental.File
		name := rapid.SampledFrom([]string{"a", "b", "/b", "d", "d/a", "d/"})
		flags := rapid.SampledFrom([]experimental.Oflag{
			experimental.O_RDONLY, experimental.O_RDWR, experimental.O_RDWR | experimental.O_CREAT,
			experimental.O_WRONLY | experimental.O_CREAT | experimental.O_EXCL, experimental.O_RDWR | experimental.O_CREAT | experimental.O_TRUNC,
			experimental.O_WRONLY | experimental.O_APPEND, experimental.O_RDONLY | experimental.O_TRUNC, experimental.O_RDONLY | experimental.O_DIRECTORY,
		})
		size := rapid.Int64Range(0, 20_000)
		pick := func(t *rapid.T) experimental.File {
			if len(open) == 0 {
				t.Skip("none is open")
			}
			return open[rapid.IntRange(0, len(open)-1).Draw(t, "file")]
		}
		t.Repeat(map[string]func(*rapid.T){
			"create": func(t *rapid.T) {
				if f, errno := d.OpenFile(name.Draw(t, "name"), experimental.O_RDWR|experimental.O_CREAT, 0o600); errno == 0 {
					f.Write(make([]byte, size.Draw(t, "size")))
					f.Close()
				}
			},
			"open": func(t *rapid.T) {
				if f, errno := d.OpenFile(name.Draw(t, "name"), flags.Draw(t, "flags"), 0o600); errno == 0 {
					open = append(open, f)
				}
			},
			"close": func(t *rapid.T) {
				f := pick(t)
				f.Close()
				open = slices.DeleteFunc(open, func(o experimental.File) bool { return o == f })
			},
			"write":    func(t *rapid.T) { pick(t).Write(make([]byte, size.Draw(t, "size"))) },
			"pwrite":   func(t *rapid.T) { pick(t).Pwrite(make([]byte, size.Draw(t, "size")), size.Draw(t, "offset")) },
			"truncate": func(t *rapid.T) { pick(t).Truncate(size.Draw(t, "size")) },
			"seek":     func(t *rapid.T) { pick(t).Seek(size.Draw(t, "offset"), io.SeekStart) },
			"mkdir":    func(t *rapid.T) { d.Mkdir(name.Draw(t, "name"), 0o700) },
			"unlink":   func(t *rapid.T) { d.Unlink(name.Draw(t, "name")) },
			"rmdir":    func(t *rapid.T) { d.Rmdir(name.Draw(t, "name")) },
			"rename":   func(t *rapid.T) { d.Rename(name.Draw(t, "from"), name.Draw(t, "to")) },
			"": func(t *rapid.T) {
				want := counted(t, path)
				for _, e := range d.files { // deleted, but held open
					if e.gone {
						want += space(e.size)
					}
				}
				if d.quota.used != want {
					t.Fatalf("%d bytes counted, %d there", d.quota.used, want)
				}
			},
		})
		for _, f := range open {
			f.Close()
		}
		if want := counted(t, path); d.quota.used != want {
			t.Fatalf("%d bytes counted at the end, %d there", d.quota.used, want)
		}
	})
}

func TestQuotaEndsTheRun(t *testing.T) {
	type ended struct{ runv1.EndReason }
	newFolder := func(t *testing.T, limit uint64) *folder {
		d, err := openFolder(t.TempDir(), &quota{limit: limit, end: func(r report) { panic(ended{r.Reason}) }})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	create := func(t *testing.T, d *folder, name string) experimental.File {
		f, errno := d.OpenFile(name, experimental.O_RDWR|experimental.O_CREAT, 0o600)
		if errno != 0 {
			t.Fatal(errno)
		}
		return f
	}
	for _, tt := range []struct {
		name string
		fill func(*testing.T, *folder)
	}{
		{"one write", func(t *testing.T, d *folder) { create(t, d, "a").Write(make([]byte, 10*block)) }},
		{"many writes", func(t *testing.T, d *folder) {
			for f := create(t, d, "a"); ; {
				f.Write(make([]byte, 100))
			}
		}},
		{"a far write", func(t *testing.T, d *folder) { create(t, d, "a").Pwrite([]byte{1}, 1<<40) }},
		{"the last offset", func(t *testing.T, d *folder) { create(t, d, "a").Pwrite([]byte{1}, 1<<63-2) }},
		{"a hole", func(t *testing.T, d *folder) { create(t, d, "a").Truncate(1 << 62) }},
		{"empty files", func(t *testing.T, d *folder) {
			for n := range 100 {
				create(t, d, fmt.Sprint(n)).Close()
			}
		}},
		{"folders", func(t *testing.T, d *folder) {
			for n := range 100 {
				d.Mkdir(fmt.Sprint(n), 0o700)
			}
		}},
		{"files without a name", func(t *testing.T, d *folder) {
			for range 100 {
				create(t, d, "a").Write(make([]byte, block))
				d.Unlink("a")
			}
		}},
		{"files renamed away", func(t *testing.T, d *folder) {
			for n := range 100 {
				create(t, d, "a").Close()
				d.Rename("a", fmt.Sprint(n))
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newFolder(t, 8*block)
			defer func() {
				if r := recover(); r != (ended{runv1.EndReason_END_REASON_JOB_DISK}) {
					t.Errorf("ended by %v, want %v", r, runv1.EndReason_END_REASON_JOB_DISK)
				}
				if got := counted(t, d.root.Name()); got > 8*block {
					t.Errorf("%d bytes on a disk of %d", got, 8*block)
				}
			}()
			tt.fill(t, d)
		})
	}
}

func TestReadOnlyFolder(t *testing.T) {
	path := t.TempDir()
	if err := os.WriteFile(filepath.Join(path, "a"), []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := openFolder(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string]experimental.Errno{
		"open to write": second(d.OpenFile("a", experimental.O_WRONLY, 0)),
		"open to both":  second(d.OpenFile("a", experimental.O_RDWR, 0)),
		"create":        second(d.OpenFile("b", experimental.O_CREAT, 0)),
		"truncate":      second(d.OpenFile("a", experimental.O_TRUNC, 0)),
		"mkdir":         d.Mkdir("b", 0), "rmdir": d.Rmdir("a"), "unlink": d.Unlink("a"), "rename": d.Rename("a", "b"),
		"link": d.Link("a", "b"), "symlink": d.Symlink("a", "b"), "chmod": d.Chmod("a", 0), "utimens": d.Utimens("a", 0, 0),
	} {
		if got != experimental.EROFS {
			t.Errorf("%s: %v", name, got)
		}
	}
	f, errno := d.OpenFile("a", experimental.O_RDONLY, 0)
	if errno != 0 {
		t.Fatal(errno)
	}
	for name, got := range map[string]experimental.Errno{
		"write": second(f.Write([]byte("x"))), "pwrite": second(f.Pwrite([]byte("x"), 0)), "truncate": f.Truncate(0), "utimens": f.Utimens(0, 0),
	} {
		if got != experimental.EBADF {
			t.Errorf("%s: %v", name, got)
		}
	}
	b := make([]byte, 10)
	if n, errno := f.Read(b); string(b[:n]) != "text" || errno != 0 {
		t.Errorf("read %q, %v", b[:n], errno)
	}
}

func second[T any](_ T, errno experimental.Errno) experimental.Errno { return errno }

// A named pipe or a device in /in must neither block a run nor be opened.
func TestOddFilesAreRefused(t *testing.T) {
	path := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(path, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := openFolder(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, errno := d.OpenFile("pipe", experimental.O_RDONLY, 0); errno != experimental.EPERM {
		t.Errorf("open a pipe: %v", errno)
	}
}
