package wasm

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

// Inspect says what keeps a program of that size from running, as far as that
// shows without compiling it: whoever orders a run learns of it before anything
// is sent or paid. The error completes a sentence that begins with the program's
// name. What no [Runner] would refuse passes.
func Inspect(program io.Reader, size int64) error {
	switch {
	case size == 0:
		return errors.New("is empty")
	case size > maxProgram:
		return fmt.Errorf("is larger than %d MiB", maxProgram>>20)
	}
	r := &inspector{Reader: bufio.NewReader(program), left: size}
	head, _ := r.Peek(16)
	if err := headFault(head); err != nil {
		return err
	}
	r.skip(8)
	starts, reactor := false, false
	var functions, bodies uint64
	for r.left > 0 && r.err == nil {
		id, length := r.byte(), int64(r.number())
		if length > r.left {
			return fmt.Errorf("is cut short: %d bytes are missing at its end", length-r.left)
		}
		rest := r.left - length
		var err error
		switch id {
		case sectionImport:
			err = r.imports()
		case sectionFunction:
			functions = r.number()
		case sectionExport:
			starts, reactor = r.exports()
		case sectionCode:
			bodies = r.number()
		}
		if err != nil {
			return err
		}
		r.skip(r.left - rest)
	}
	switch {
	case r.err != nil:
		return errors.New("is damaged: its parts do not fit together")
	case bodies < functions:
		return errors.New("is cut short: the code of its functions is missing")
	case starts:
		return nil
	case reactor:
		return errors.New("exports _initialize and no _start function: it is a library, not a program")
	}
	return errors.New("exports no _start function: it is not a WASI program")
}

// The sections that Inspect reads.
const (
	sectionImport   = 2
	sectionFunction = 3
	sectionExport   = 7
	sectionCode     = 10
)

// howTo ends the words about what is no module.
const howTo = "; compile it for WASI preview 1, such as GOOS=wasip1 GOARCH=wasm go build, or --target wasm32-wasip1"

// headFault tells what a program is by its first bytes, if it is no module.
func headFault(head []byte) error {
	text := string(head)
	if rest, ok := strings.CutPrefix(text, "\x00asm"); ok {
		switch {
		case len(rest) < 4:
			return errors.New("is cut short after its first bytes")
		case strings.HasPrefix(rest, "\x01\x00\x00\x00"):
			return nil
		case rest[2] == 1:
			return errors.New("is a WebAssembly component; a job takes a plain module" + howTo)
		}
		return fmt.Errorf("is WebAssembly of version %d; version 1 runs here", rest[0])
	}
	for _, k := range []struct{ magic, what string }{
		{"\x7fELF", "a Linux program"}, {"MZ", "a Windows program"}, {"\xcf\xfa\xed\xfe", "a macOS program"},
		{"PK\x03\x04", "a zip archive"}, {"\x1f\x8b", "a gzip archive"}, {"(module", "WebAssembly as text"}, {"#!", "a script"},
	} {
		if strings.HasPrefix(text, k.magic) {
			return fmt.Errorf("is not a WebAssembly module: it is %s%s", k.what, howTo)
		}
	}
	if utf8.ValidString(text) && strings.IndexFunc(text, func(r rune) bool { return r < ' ' && !strings.ContainsRune("\t\r\n", r) }) < 0 {
		return fmt.Errorf("is not a WebAssembly module: it is text%s", howTo)
	}
	return fmt.Errorf("is not a WebAssembly module%s", howTo)
}

// inspector reads a program and remembers what went wrong.
type inspector struct {
	*bufio.Reader
	left int64 // of the program
	err  error
}

func (r *inspector) skip(n int64) {
	if n < 0 {
		r.err = io.ErrUnexpectedEOF
		return
	}
	done, err := io.CopyN(io.Discard, r.Reader, n)
	r.left -= done
	r.fail(err)
}

func (r *inspector) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

func (r *inspector) byte() byte {
	b, err := r.ReadByte()
	if err == nil {
		r.left--
	}
	r.fail(err)
	return b
}

// number reads an unsigned LEB128 of at most 64 bits.
func (r *inspector) number() (n uint64) {
	for shift := 0; shift < 64 && r.err == nil; shift += 7 {
		b := r.byte()
		n |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return min(n, 1<<40) // past any size, and far from overflow
		}
	}
	r.fail(errors.New("number too long"))
	return 0
}

// maxImportName is the longest name that is kept; one of WASI has far fewer.
const maxImportName = 256

func (r *inspector) name() string {
	n := int64(r.number())
	b := make([]byte, min(n, maxImportName))
	got, err := io.ReadFull(r.Reader, b)
	r.left -= int64(got)
	r.fail(err)
	r.skip(n - int64(len(b)))
	return string(b)
}

// imports refuses what WASI preview 1 has not.
func (r *inspector) imports() error {
	wasi, err := wasiFunctions()
	if err != nil {
		return err
	}
	for range r.number() {
		from, name, kind := r.name(), r.name(), r.byte()
		if r.err != nil {
			return nil
		}
		switch {
		case kind == 2:
			return errors.New("imports its memory; WASI preview 1 has none to give")
		case from == "gojs" || from == "go":
			return fmt.Errorf("imports %q, which a browser has%s", from+"."+name, howTo)
		case kind == 0 && (from != wasi_snapshot_preview1.ModuleName || !wasi[name]):
			return fmt.Errorf("imports %q, which is not WASI preview 1", from+"."+name)
		}
		r.describe(kind)
	}
	return nil
}

// describe passes over the type of an import.
func (r *inspector) describe(kind byte) {
	switch kind {
	case 0: // a function: the number of its type
		r.number()
	case 1: // a table: what it holds, and its limits
		r.byte()
		if r.number()&1 != 0 {
			r.number()
		}
		r.number()
	case 3: // a global: its type, and whether it changes
		r.skip(2)
	default:
		r.fail(errors.New("unknown kind of import"))
	}
}

// exports tells whether the module is a program, or a library.
func (r *inspector) exports() (starts, reactor bool) {
	for range r.number() {
		name, kind := r.name(), r.byte()
		r.number()
		if r.err != nil {
			break
		}
		starts = starts || kind == 0 && name == "_start"
		reactor = reactor || kind == 0 && name == "_initialize"
	}
	return starts, reactor
}

// wasiFunctions are the names that a module may import.
func wasiFunctions() (map[string]bool, error) {
	ctx := context.Background()
	runtime := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter())
	defer runtime.Close(ctx)
	module, err := wasi_snapshot_preview1.NewBuilder(runtime).Compile(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot be checked: %w", err)
	}
	names := make(map[string]bool)
	for name := range module.ExportedFunctions() {
		names[name] = true
	}
	return names, nil
}
