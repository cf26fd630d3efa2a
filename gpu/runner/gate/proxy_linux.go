package gate

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// offerWithin bounds how long the gate waits for the host to take its socket.
const offerWithin = 10 * time.Second

// Expect has the gate hand over a socket that listens on the container's loopback, at
// [ProxyPort]. It comes before the container.
func (d *Door) Expect() error {
	folder, err := os.Open(d.Folder)
	if err != nil {
		return fmt.Errorf("gate: %w", err)
	}
	defer folder.Close()
	// By its descriptor: the path of a socket may have 107 bytes, and homes lie deep.
	path := fmt.Sprintf("/proc/self/fd/%d/%s", folder.Fd(), proxy)
	if d.handed, err = net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"}); err != nil {
		return fmt.Errorf("gate: %w", err)
	}
	d.handed.SetUnlinkOnClose(false) // the path means another folder by then
	return os.Chmod(filepath.Join(d.Folder, proxy), 0o666)
}

// Proxy takes the socket that the gate handed over, on which the host then answers for
// what the container asks of its loopback. It is taken once, and before the job is let
// through: nothing that the job sends there comes to anybody.
func (d *Door) Proxy(ctx context.Context) (net.Listener, error) {
	if d.handed == nil {
		return nil, errors.New("gate: no socket is expected")
	}
	defer func() {
		d.handed.Close()
		os.Remove(filepath.Join(d.Folder, proxy))
	}()
	stop := context.AfterFunc(ctx, func() { d.handed.Close() })
	defer stop()
	c, err := d.handed.AcceptUnix()
	if err != nil {
		return nil, fmt.Errorf("gate: %w", err)
	}
	defer c.Close()
	end := context.AfterFunc(ctx, func() { c.Close() })
	defer end()
	l, err := receive(c, d.at)
	if err != nil {
		return nil, fmt.Errorf("gate: the container's socket: %w", err)
	}
	return l, nil
}

// receive takes one descriptor, which must be a socket that listens at an address.
func receive(c *net.UnixConn, at string) (net.Listener, error) {
	more := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := c.ReadMsgUnix(make([]byte, 1), more)
	if err != nil {
		return nil, err
	}
	messages, err := unix.ParseSocketControlMessage(more[:n])
	if err != nil || len(messages) != 1 {
		return nil, errors.New("it did not come")
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		for _, fd := range fds {
			unix.Close(fd)
		}
		return nil, errors.New("it did not come alone")
	}
	f := os.NewFile(uintptr(fds[0]), "proxy")
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		return nil, err
	}
	if t, ok := l.(*net.TCPListener); !ok || t.Addr().String() != at {
		l.Close()
		return nil, fmt.Errorf("it listens at %v", l.Addr())
	}
	return l, nil
}

// offer is the container's side: it listens, and hands the socket to the host where that
// expects one.
func offer(folder, at string) error {
	path := filepath.Join(folder, proxy)
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	l, err := net.Listen("tcp4", at)
	if err != nil {
		return err
	}
	defer l.Close()
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		return err
	}
	defer f.Close()
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(offerWithin)); err != nil {
		return err
	}
	_, _, err = c.WriteMsgUnix([]byte{1}, unix.UnixRights(int(f.Fd())), nil)
	return err
}

// proxyAddress is where a container's proxy listens.
func proxyAddress() string { return fmt.Sprintf("127.0.0.1:%d", ProxyPort) }
