package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/gpu/challenge/cuda"
	"github.com/souk-market/souk/gpu/nvml"
)

// Jobs, by their names.
const (
	jobInside  = "inside"  // says what it sees of its devices, and multiplies
	jobSpin    = "spin"    // multiplies for so many seconds, 0: without end
	jobIllegal = "illegal" // reads memory that is not there
	jobFill    = "fill"    // leaves a pattern in all memory
	jobCount   = "count"   // counts how much of it is left
)

// inside is what a job says of its devices.
type inside struct {
	gpu.Seen
	UUID string `json:"uuid,omitempty"` // as CUDA names the device
	CUDA string `json:"cuda,omitempty"` // why nothing can be computed; empty: it can
}

// counted is what a process says of the pattern.
type counted struct {
	Pages uint64 `json:"pages"` // that were written or read
	Left  uint64 `json:"left"`  // that hold the pattern
}

// job is the body of what runs on the card. It returns the exit code.
func job(name string, args []string, stdout, stderr io.Writer) int {
	err := fmt.Errorf("no job %q", name)
	switch name {
	case jobInside:
		err = json.NewEncoder(stdout).Encode(look())
	case jobSpin:
		err = spin(args, stdout)
	case jobIllegal:
		err = illegal()
	case jobFill, jobCount:
		var c counted
		if c, err = pattern(name == jobFill); err == nil {
			err = json.NewEncoder(stdout).Encode(c)
		}
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}

// open takes the card by CUDA: inside a container by the library that it was given.
func open() (*cuda.Accelerator, error) {
	path := os.Getenv("SOUK_CUDA_LIBRARY")
	if _, err := os.Stat(gpu.DriverFolder + "/libcuda.so.1"); err == nil && path == "" {
		path = gpu.DriverFolder + "/libcuda.so.1"
	}
	return cuda.Open(path)
}

func look() (i inside) {
	i.Seen = nvml.Inside()
	if len(i.IDs) == 0 {
		return i // without devices there is nothing to open
	}
	a, err := open()
	if err != nil {
		i.CUDA = err.Error()
		return i
	}
	if i.UUID, err = a.UUID(); err == nil {
		err = multiply(a)
	}
	if err != nil {
		i.CUDA = err.Error()
	}
	return i
}

const (
	order      = 2048
	pageBytes  = 2 << 20  // of a card's memory
	mostPiece  = 64 << 20 // memory is taken in pieces of this size
	patternFor = 20 * time.Second
)

// multiply computes one product, and waits for it.
func multiply(a *cuda.Accelerator) error {
	var all [3]any
	for i, bytes := range []uint64{order * order, order * order, order * order * 4} {
		b, err := a.Allocate(bytes)
		if err != nil {
			return err
		}
		all[i] = b
	}
	return product(a, all)
}

func product(a *cuda.Accelerator, at [3]any) error {
	const tiles, group = (order / 128) * (order / 128), 256
	if err := a.Launch("multiply", tiles*group, group, at[0], at[1], at[2], uint32(0), uint32(order/4)); err != nil {
		return err
	}
	return a.Read(at[2], 0, make([]byte, 4))
}

// spin says when it has begun, and what it has done.
func spin(args []string, stdout io.Writer) error {
	seconds := 0
	if len(args) > 0 {
		seconds, _ = strconv.Atoi(args[0]) // what is no number is 0
	}
	until := time.Now().Add(time.Duration(seconds) * time.Second)
	a, err := open()
	var at [3]any
	if err == nil {
		for i, bytes := range []uint64{order * order, order * order, order * order * 4} {
			if at[i], err = a.Allocate(bytes); err != nil {
				return err
			}
		}
	} else {
		fmt.Fprintln(stdout, "nothing is computed:", err)
	}
	fmt.Fprintln(stdout, "spinning")
	products := 0
	for ; seconds == 0 || time.Now().Before(until); products++ {
		if a == nil {
			time.Sleep(100 * time.Millisecond)
			continue
		}
		if err := product(a, at); err != nil {
			return err
		}
	}
	fmt.Fprintln(stdout, "products", products)
	return nil
}

// illegal has a kernel write where nothing was taken.
func illegal() error {
	a, err := open()
	if err != nil {
		return err
	}
	b, err := a.Allocate(1 << 20)
	if err != nil {
		return err
	}
	nowhere := uint64(1) << 45
	if err := a.Launch("fill", 1<<10, 0, nowhere, uint32(0), uint32(64), uint32(0), uint32(0), uint32(1), uint32(2), uint32(3)); err != nil {
		return err
	}
	return a.Read(b, 0, make([]byte, 4))
}

// mark is what a page begins with.
func mark() []byte {
	page := make([]byte, 4096)
	for i := 0; i < len(page); i += 8 {
		binary.LittleEndian.PutUint64(page[i:], 0x736f756b_6d61726b)
	}
	return page
}

// pattern writes the mark at the beginning of every page of the card's memory that it
// is given, or counts the pages that begin with it.
func pattern(write bool) (c counted, err error) {
	a, err := open()
	if err != nil {
		return c, err
	}
	want, got := mark(), make([]byte, 4096)
	until := time.Now().Add(patternFor)
	for piece := uint64(mostPiece); piece >= pageBytes && time.Now().Before(until); {
		b, err := a.Allocate(piece)
		if err != nil { // there is no such piece any more
			piece /= 2
			continue
		}
		base, is := b.(uint64)
		if !is {
			return c, fmt.Errorf("memory is a %T", b)
		}
		for at := uint64(0); at < piece; at += pageBytes {
			c.Pages++
			if write {
				err = a.Write(base+at, want)
			} else if err = a.Read(base, at, got); bytes.Equal(got, want) {
				c.Left++
			}
			if err != nil {
				return c, err
			}
		}
	}
	return c, nil
}
