// Package process computes a challenge in processes of our own, one for each device:
// a driver can hang, or end the process that calls it, and a context of CUDA's
// belongs to a process that sees one device alone.
package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/souk-market/souk/gpu/challenge"
	"github.com/souk-market/souk/gpu/child"
)

// Bounds of what a child may say and how long it may take for it.
const (
	maxLine    = 4 * challenge.TileBytes // a tile in base64, and its paths; or all roots
	maxReason  = 200
	openWithin = 10 * time.Second
)

// ErrNoLibrary is returned where this machine has no library that the backend needs:
// nothing is known of its devices.
var ErrNoLibrary = errors.New("no library to compute with")

// Config says how a device's process is started.
type Config struct {
	Command []string      // argv of the child: it calls [Main]
	Backend Backend       // what computes
	Within  time.Duration // for one step of a challenge, and for the start; default 1m
}

// Backend is what computes in the child.
type Backend string

// The backends.
const (
	CUDA      Backend = "cuda"      // NVIDIA's driver, on the device of the id
	OpenCL    Backend = "opencl"    // the machine's first OpenCL device
	Reference Backend = "reference" // plain Go on the processor
)

// Device is a device of a challenge, in its process. It implements
// [challenge.Device]. An error of it is final.
type Device struct {
	child  *child.Child
	within time.Duration
	rounds uint32
	failed error // what ended it: an answer that comes later is to an older request
}

// order is the first line to a child.
type order struct {
	Backend   Backend             `json:"backend"`
	Challenge challenge.Challenge `json:"challenge"`
	Device    string              `json:"device"`
	Wipe      uint64              `json:"wipe,omitempty"` // bytes to overwrite at most, in place of a challenge
}

// request is a further line to a child. One field is set.
type request struct {
	Multiply []byte           `json:"multiply,omitempty"` // a seed
	Recall   []byte           `json:"recall,omitempty"`   // a nonce
	Open     *challenge.Place `json:"open,omitempty"`     // a round and a tile
}

// reply is a line of a child: one to the order, and one to each request.
type reply struct {
	Error     string   `json:"error,omitempty"`
	NoLibrary bool     `json:"no_library,omitempty"` // the error is [ErrNoLibrary]
	Wiped     uint64   `json:"wiped,omitempty"`      // bytes that were overwritten
	Roots     [][]byte `json:"roots,omitempty"`      // one of a product, or those of a recall
	Tile      []byte   `json:"tile,omitempty"`
	Path      [][]byte `json:"path,omitempty"`
	Recall    [][]byte `json:"recall,omitempty"`
}

// Start starts the process of a challenge's device. The error says what the driver
// said, on one line. Close ends the process.
func Start(ctx context.Context, cfg Config, c challenge.Challenge, device string) (*Device, error) {
	if cfg.Within == 0 {
		cfg.Within = time.Minute
	}
	d, _, err := begin(ctx, cfg, order{Backend: cfg.Backend, Challenge: c, Device: device})
	return d, err
}

// Wipe overwrites all memory of a device that its driver gives, up to most bytes, in a
// process that has ended when it returns. It returns how many bytes were overwritten.
func Wipe(ctx context.Context, cfg Config, device string, most uint64) (uint64, error) {
	if cfg.Within == 0 {
		cfg.Within = time.Minute
	}
	d, r, err := begin(ctx, cfg, order{Backend: cfg.Backend, Device: device, Wipe: most})
	if err != nil {
		return 0, err
	}
	return r.Wiped, d.Close()
}

// begin starts a process and gives it its order.
func begin(ctx context.Context, cfg Config, o order) (*Device, reply, error) {
	device := o.Device
	line, err := json.Marshal(o)
	if err != nil {
		return nil, reply{}, err
	}
	p, err := child.Start(child.Config{Command: cfg.Command, Env: environment(os.Environ(), cfg.Backend, device), MaxLine: maxLine})
	if err != nil {
		return nil, reply{}, fmt.Errorf("device %s: %w", device, err)
	}
	d := &Device{child: p, within: cfg.Within, rounds: o.Challenge.Rounds}
	r, err := d.ask(ctx, line, cfg.Within)
	if err != nil {
		return nil, r, fmt.Errorf("device %s: %w", device, errors.Join(err, d.Close()))
	}
	return d, r, nil
}

// environment is what a child needs of ours: where libraries and the linker of a
// driver that compiles are, and the one device
// that the driver shows it.
func environment(ours []string, b Backend, device string) (env []string) {
	for _, entry := range ours {
		for _, prefix := range []string{"SOUK_CUDA_", "SOUK_KERNEL_", "LD_LIBRARY_PATH=", "OCL_ICD_", "POCL_", "HOME=", "PATH="} {
			if strings.HasPrefix(entry, prefix) {
				env = append(env, entry)
			}
		}
	}
	if b == CUDA {
		env = append(env, "CUDA_VISIBLE_DEVICES="+device, "CUDA_CACHE_DISABLE=1", "CUDA_MODULE_LOADING=EAGER")
	}
	return env
}

// ask sends a line and reads the reply to it, as long as nothing failed.
func (d *Device) ask(ctx context.Context, line []byte, within time.Duration) (r reply, err error) {
	if d.failed == nil {
		r, d.failed = d.exchange(ctx, line, within)
	}
	return r, d.failed
}

func (d *Device) exchange(ctx context.Context, line []byte, within time.Duration) (r reply, err error) {
	if err := d.child.Send(line); err != nil {
		return r, err
	}
	answer, err := d.child.Next(ctx, within)
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(answer, &r); err != nil {
		return r, fmt.Errorf("the device's process said no answer: %w", err)
	}
	if r.NoLibrary {
		return r, fmt.Errorf("%w: %s", ErrNoLibrary, clip(r.Error))
	}
	if r.Error != "" {
		return r, errors.New(clip(r.Error))
	}
	return r, nil
}

func (d *Device) request(ctx context.Context, q request, within time.Duration) (reply, error) {
	line, err := json.Marshal(q)
	if err != nil {
		return reply{}, err
	}
	return d.ask(ctx, line, within)
}

// Multiply implements [challenge.Device].
func (d *Device) Multiply(ctx context.Context, seed challenge.Hash) (root challenge.Hash, err error) {
	r, err := d.request(ctx, request{Multiply: seed[:]}, d.within)
	if err != nil {
		return root, err
	}
	roots, err := hashes(r.Roots, 1)
	if err != nil {
		return root, err
	}
	return roots[0], nil
}

// Recall implements [challenge.Device].
func (d *Device) Recall(ctx context.Context, nonce challenge.Hash) ([]challenge.Hash, error) {
	r, err := d.request(ctx, request{Recall: nonce[:]}, d.within)
	if err != nil {
		return nil, err
	}
	return hashes(r.Roots, int(d.rounds))
}

// Open implements [challenge.Device].
func (d *Device) Open(ctx context.Context, round, tile uint32) (o challenge.Opening, err error) {
	r, err := d.request(ctx, request{Open: &challenge.Place{Round: round, Tile: tile}}, openWithin)
	if err != nil {
		return o, err
	}
	o.Tile = r.Tile
	if o.Path, err = hashes(r.Path, len(r.Path)); err == nil {
		o.Recall, err = hashes(r.Recall, len(r.Recall))
	}
	return o, err
}

// Close ends the process, and with it all memory of the device that it took. It
// returns [child.ErrStuck] where a driver keeps the process from ending.
func (d *Device) Close() error {
	if stuck := d.child.End(); stuck {
		return child.ErrStuck
	}
	return nil
}

// hashes checks that there are so many.
func hashes(from [][]byte, want int) ([]challenge.Hash, error) {
	if len(from) != want {
		return nil, fmt.Errorf("the device's process said %d hashes, not %d", len(from), want)
	}
	all := make([]challenge.Hash, want)
	for i, h := range from {
		if len(h) != len(all[i]) {
			return nil, fmt.Errorf("the device's process said a hash of %d bytes", len(h))
		}
		all[i] = challenge.Hash(h)
	}
	return all, nil
}

func clip(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return strings.ToValidUTF8(s[:min(len(s), maxReason)], "?")
}
