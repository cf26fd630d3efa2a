// Package gate is the first program of a container that has devices, or reaches hosts.
// It is souk's own: it looks at the devices from inside, says what it saw, waits to be let
// through, and then becomes the job, of which it leaves nothing behind but a clean process.
// Where the job may reach hosts, it also makes the socket of the proxy: it listens on the
// container's own loopback, and hands that to the host, which answers there from outside.
//
// It talks by two FIFOs in a folder of the lease: what it saw goes out on one line, and
// one byte comes back. The runner decides; nothing that the job could change counts
// before the job is there.
package gate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/souk-market/souk/gpu"
)

// Words that begin the arguments of the two programs; the vendors follow with commas
// between them, if there are any, and after [Pass] the job's command.
const (
	Pass  = "device-gate"
	Check = "device-check"
)

// Names in the folder: two FIFOs, and a socket.
const (
	saw   = "saw"
	open  = "open"
	proxy = "proxy" // a socket: there only where one is expected
)

// Where a container has what the gate needs.
const (
	Folder    = "/.souk/gate" // its FIFOs
	Program   = "/.souk/souk" // souk itself
	Libraries = "/.souk/lib"  // the host's loader and libraries that it needs
)

// ProxyPort is where a container's proxy listens, on its loopback.
const ProxyPort = 3128

// MaxReport bounds what the gate says, in bytes.
const MaxReport = 1 << 16

// Report is what the gate says.
type Report struct {
	gpu.Seen
	Command string `json:"command,omitempty"` // why the job's command cannot be run; empty: it is there
	Proxy   string `json:"proxy,omitempty"`   // why the proxy's socket could not be handed over; empty: it was, or none was expected
}

// Decode reads a report strictly: behind a check there may be a job that lies.
func Decode(line []byte) (r Report, err error) {
	if len(line) > MaxReport {
		return r, fmt.Errorf("a report of more than %d bytes", MaxReport)
	}
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return Report{}, fmt.Errorf("report: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return Report{}, errors.New("report: more than one value")
	}
	return r, nil
}

// Inside looks at the devices of each vendor from inside, by its name.
type Inside map[string]func() gpu.Seen

// see looks at the devices of vendors, whose names have commas between them; of none, at
// nothing.
func (i Inside) see(vendors string) (all gpu.Seen) {
	if vendors == "" {
		return all
	}
	for name := range strings.SplitSeq(vendors, ",") {
		look, ok := i[name]
		if !ok {
			return gpu.Seen{Error: "nobody here can look at devices of " + name}
		}
		s := look()
		all.Nodes, all.IDs = append(all.Nodes, s.Nodes...), append(all.IDs, s.IDs...)
		if all.Error == "" {
			all.Error = s.Error
		}
	}
	return all
}
