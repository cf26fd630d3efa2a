package gate

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Door is the host's side of one gate: a folder with its FIFOs.
type Door struct {
	Folder string // to be shown read-only as the container's [Folder]
	saw    *os.File
	open   *os.File
	handed *net.UnixListener // takes the container's socket; nil: none is expected
	at     string            // where that listens
}

// NewDoor makes the folder at path, in place of one that an earlier life left.
func NewDoor(path string) (*Door, error) {
	d := &Door{Folder: path, at: proxyAddress()}
	if err := errors.Join(os.RemoveAll(path), os.MkdirAll(path, 0o755)); err != nil {
		return nil, err
	}
	for name, to := range map[string]**os.File{saw: &d.saw, open: &d.open} {
		p := filepath.Join(path, name)
		err := unix.Mkfifo(p, 0o666)
		if err == nil {
			err = os.Chmod(p, 0o666) // whoever the job is: a folder of ours lies around it
		}
		if err == nil {
			*to, err = os.OpenFile(p, os.O_RDWR|unix.O_NONBLOCK, 0) // both ends are ours, so that nothing here blocks
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("gate: %w", err), d.Close())
		}
	}
	return d, nil
}

// Report waits for what the gate says.
func (d *Door) Report(ctx context.Context) (Report, error) {
	stop := context.AfterFunc(ctx, func() { d.saw.Close() })
	defer stop()
	line, err := bufio.NewReaderSize(d.saw, MaxReport).ReadSlice('\n')
	if ctx.Err() != nil {
		return Report{}, ctx.Err()
	}
	if err != nil {
		return Report{}, err
	}
	return Decode(line)
}

// Open lets the job through.
func (d *Door) Open() error {
	_, err := d.open.Write([]byte{1})
	return err
}

// Close ends the door and removes its folder.
func (d *Door) Close() error {
	for _, f := range []*os.File{d.saw, d.open} {
		if f != nil {
			f.Close()
		}
	}
	if d.handed != nil {
		d.handed.Close()
	}
	return os.RemoveAll(d.Folder)
}
