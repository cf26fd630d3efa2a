package process

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/souk-market/souk/gpu/challenge"
	"github.com/souk-market/souk/gpu/challenge/cuda"
	"github.com/souk-market/souk/gpu/challenge/kernels"
	"github.com/souk-market/souk/gpu/challenge/opencl"
	"github.com/souk-market/souk/gpu/challenge/reference"
	"github.com/souk-market/souk/gpu/child"
)

// cudaLibrary names the environment variable that may hold the path of CUDA's
// library; without it the system's own is taken.
const cudaLibrary = "SOUK_CUDA_LIBRARY"

// Main is the body of a child: it answers lines of in until they end, and returns
// the exit code.
func Main(in io.Reader, out, stderr io.Writer, env func(string) string) int {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<16)
	answers := json.NewEncoder(out)
	if !lines.Scan() {
		fmt.Fprintln(stderr, "no order")
		return child.Failed
	}
	var o order
	if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
		_ = answers.Encode(reply{Error: "order: " + err.Error()}) // a parent that is gone reads nothing
		return child.Failed
	}
	if o.Wipe > 0 {
		return wipe(o, answers, env)
	}
	d, close, err := open(o, env)
	if err != nil {
		_ = answers.Encode(reply{Error: err.Error(), NoLibrary: errors.Is(err, cuda.ErrNoLibrary)}) // a parent that is gone reads nothing
		return child.Failed
	}
	defer close()
	for r := (reply{}); ; r = answer(d, lines.Bytes()) {
		if answers.Encode(r) != nil || r.Error != "" || !lines.Scan() {
			return 0
		}
	}
}

// open makes the device of an order.
func open(o order, env func(string) string) (challenge.Device, func(), error) {
	if err := o.Challenge.Validate(); err != nil {
		return nil, nil, err
	}
	if o.Backend == Reference {
		return reference.New(o.Challenge), func() {}, nil
	}
	on, end, err := accelerator(o, env)
	if err != nil {
		return nil, nil, err
	}
	return onAccelerator(o.Challenge, on, end)
}

// accelerator takes the device of an order.
func accelerator(o order, env func(string) string) (kernels.Accelerator, func() error, error) {
	switch o.Backend {
	case OpenCL:
		on, err := opencl.Open(0)
		if err != nil {
			return nil, nil, err
		}
		return on, on.Close, nil
	case CUDA:
		on, err := cuda.Open(env(cudaLibrary))
		if err != nil {
			return nil, nil, err
		}
		if err := isDevice(on, o.Device); err != nil {
			return nil, nil, errors.Join(err, on.Close())
		}
		return on, on.Close, nil
	}
	return nil, nil, fmt.Errorf("no backend %.20q", o.Backend)
}

// wipe overwrites a device's memory, says how much of it, and returns the exit code.
func wipe(o order, answers *json.Encoder, env func(string) string) int {
	on, end, err := accelerator(o, env)
	var r reply
	if err == nil {
		r.Wiped, err = kernels.Overwrite(context.Background(), on, o.Wipe) // cancelled by the end of the process
		err = errors.Join(err, end())
	}
	if err != nil {
		r.Error = err.Error()
	}
	if answers.Encode(r) != nil || err != nil {
		return child.Failed
	}
	return 0
}

// isDevice refuses a driver that shows another GPU than the one that is meant. The
// driver tells no name of its own for a slice, whose id begins with MIG.
func isDevice(on *cuda.Accelerator, want string) error {
	if !strings.HasPrefix(want, "GPU-") {
		return nil
	}
	if shown, err := on.UUID(); err != nil || shown != want {
		return errors.Join(err, fmt.Errorf("the driver shows the device %s where %s was asked for", shown, want))
	}
	return nil
}

func onAccelerator(c challenge.Challenge, on kernels.Accelerator, end func() error) (challenge.Device, func(), error) {
	d, err := kernels.New(c, on)
	if err != nil {
		return nil, nil, errors.Join(err, end())
	}
	return d, func() { _ = end() }, nil // the process ends, and all of it with it
}

// answer does what one line asks.
func answer(d challenge.Device, line []byte) (r reply) {
	if err := do(d, line, &r); err != nil {
		return reply{Error: err.Error()}
	}
	return r
}

func do(d challenge.Device, line []byte, r *reply) error {
	var q request
	if err := json.Unmarshal(line, &q); err != nil {
		return fmt.Errorf("request: %w", err)
	}
	ctx := context.Background() // a request is cancelled by the end of the process
	switch {
	case len(q.Multiply) == len(challenge.Hash{}):
		root, err := d.Multiply(ctx, challenge.Hash(q.Multiply))
		r.Roots = [][]byte{root[:]}
		return err
	case len(q.Recall) == len(challenge.Hash{}):
		roots, err := d.Recall(ctx, challenge.Hash(q.Recall))
		r.Roots = encoded(roots)
		return err
	case q.Open != nil:
		o, err := d.Open(ctx, q.Open.Round, q.Open.Tile)
		r.Tile, r.Path, r.Recall = o.Tile, encoded(o.Path), encoded(o.Recall)
		return err
	}
	return errors.New("request: nothing is asked")
}

// encoded are hashes as JSON has them in base64.
func encoded(hashes []challenge.Hash) [][]byte {
	all := make([][]byte, len(hashes))
	for i := range hashes {
		all[i] = hashes[i][:]
	}
	return all
}
