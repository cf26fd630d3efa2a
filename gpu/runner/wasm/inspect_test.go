package wasm_test

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/souk-market/souk/gpu/runner/wasm"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

func inspect(code []byte) error { return wasm.Inspect(bytes.NewReader(code), int64(len(code))) }

func TestInspect(t *testing.T) {
	imports := func(from, name string, kind ...byte) []byte {
		return module(simple(), section(importSection, 1, text(from), text(name), kind))
	}
	exports := func(name string) []byte {
		return module(simple(), section(exportSection, 1, text(name), []byte{0, 0}))
	}
	for _, tt := range []struct {
		name string
		code []byte
		want string // of the error; empty: none
	}{
		{"a program", module(simple()), ""},
		{"a program with WASI", imports("wasi_snapshot_preview1", "fd_write", 0, 0), ""},
		{"empty", nil, "is empty"},
		{"text", []byte("not a module\n"), "it is text"},
		{"WebAssembly as text", []byte("(module)"), "WebAssembly as text"},
		{"ELF", []byte("\x7fELF\x02\x01\x01\x00"), "a Linux program"},
		{"noise", []byte("\x01\x02\x03\x04"), "is not a WebAssembly module"},
		{"half a magic", []byte("\x00as"), "is not a WebAssembly module"},
		{"magic alone", []byte("\x00asm"), "cut short"},
		{"a component", []byte("\x00asm\x0d\x00\x01\x00"), "a WebAssembly component"},
		{"a later version", []byte("\x00asm\x02\x00\x00\x00"), "version 2"},
		{"only a header", []byte("\x00asm\x01\x00\x00\x00"), "_start"},
		{"cut between sections", module(simple())[:30], "cut short: the code"},
		{"cut within a section", module(simple())[:28], "cut short: 2 bytes are missing"},
		{"no _start", exports("main"), "no _start function"},
		{"a library", exports("_initialize"), "it is a library"},
		{"imports the host", imports("env", "system", 0, 0), `imports "env.system", which is not WASI preview 1`},
		{"imports sockets", imports("wasi_snapshot_preview1", "sock_open", 0, 0), "sock_open"},
		{"imports memory", imports("env", "memory", 2, 0, 1), "imports its memory"},
		{"for a browser", imports("gojs", "runtime.wasmExit", 0, 0), "which a browser has"},
		{"names without end", module(simple(), section(importSection, 1, number(1<<31))), "is damaged"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := inspect(tt.code)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Inspect = %v; want %q", err, tt.want)
			}
		})
	}
}

// FuzzInspect holds Inspect against wazero: what that compiles and could start
// must pass, or a good job would never leave its client.
func FuzzInspect(f *testing.F) {
	f.Add(module(simple()))
	f.Add(module(simple())[:30])
	f.Add(module(simple(), section(importSection, 1, text("wasi_snapshot_preview1"), text("fd_write"), []byte{0, 0})))
	f.Add(module(simple(), section(importSection, 2, text("env"), text("g"), []byte{3, i32, 0}, text("env"), text("t"), []byte{1, funcref, 1, 0, 9})))
	f.Add(module(simple(), section(memorySection, 1, []byte{1, 1, 2}), []byte{0, 3, 1, 'x', 0}))
	ctx := context.Background()
	runtime := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter())
	f.Cleanup(func() { runtime.Close(ctx) })
	wasi, err := wasi_snapshot_preview1.NewBuilder(runtime).Compile(ctx)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, code []byte) {
		if len(code) > 1<<16 {
			return
		}
		refused := inspect(code)
		if refused == nil {
			return
		}
		m, err := runtime.CompileModule(ctx, code)
		if err != nil {
			return
		}
		defer m.Close(ctx)
		fits := len(m.ImportedMemories()) == 0 && m.ExportedFunctions()["_start"] != nil
		for _, i := range m.ImportedFunctions() {
			from, name, _ := i.Import()
			fits = fits && from == "wasi_snapshot_preview1" && wasi.ExportedFunctions()[name] != nil
		}
		if fits {
			t.Errorf("Inspect = %v, and yet it runs", refused)
		}
	})
}
