package wasm_test

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/souk-market/souk/gpu/runner"
	"github.com/souk-market/souk/gpu/runner/wasm"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
)

// Sections, types and instructions of WebAssembly that the modules here need.
const (
	typeSection, importSection, functionSection, tableSection, memorySection = 1, 2, 3, 4, 5
	exportSection, startSection, codeSection, dataSection                    = 7, 8, 10, 11

	i32, funcref = 0x7f, 0x70

	unreachable, block, loop, end, br, brTable, call = 0x00, 0x02, 0x03, 0x0b, 0x0c, 0x0e, 0x10
	drop, i32Const, grow, isZero, brIf, empty        = 0x1a, 0x41, 0x40, 0x45, 0x0d, 0x40
)

func number(n int) []byte { return binary.AppendUvarint(nil, uint64(n)) }

func join(parts ...[]byte) (all []byte) {
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

func section(id byte, count int, content ...[]byte) []byte {
	body := append(number(count), join(content...)...)
	return join([]byte{id}, number(len(body)), body)
}

func text(s string) []byte { return append(number(len(s)), s...) }

// function is one entry of the code section.
func function(locals, code []byte) []byte {
	body := join(locals, code, []byte{end})
	return append(number(len(body)), body...)
}

// module is a module whose one function is _start and has the given body.
func module(body []byte, more ...[]byte) []byte {
	sections := map[byte][]byte{
		typeSection:     section(typeSection, 1, []byte{0x60, 0, 0}),
		functionSection: section(functionSection, 1, []byte{0}),
		exportSection:   section(exportSection, 1, text("_start"), []byte{0, 0}),
		codeSection:     section(codeSection, 1, body),
	}
	for _, m := range more {
		sections[m[0]] = m
	}
	all := []byte("\x00asm\x01\x00\x00\x00")
	for id := range byte(13) {
		all = append(all, sections[id]...)
	}
	return all
}

func simple(code ...byte) []byte { return function([]byte{0}, code) }

func repeat(n int, b ...byte) []byte { return []byte(strings.Repeat(string(b), n)) }

func TestHostileModules(t *testing.T) {
	const (
		completed = runv1.EndReason_END_REASON_COMPLETED
		invalid   = runv1.EndReason_END_REASON_JOB_INVALID
		memory    = runv1.EndReason_END_REASON_JOB_MEMORY
		late      = runv1.EndReason_END_REASON_JOB_TIME
	)
	forever := []byte{loop, empty, br, 0, end}
	largest := section(memorySection, 1, []byte{0}, number(65_536))
	for _, tt := range []struct {
		name   string
		code   []byte
		want   []runv1.EndReason
		exit   int
		detail string
		greedy bool // takes memory outside of its own
	}{
		{"empty", nil, []runv1.EndReason{invalid}, 0, "empty", false},
		{"only a header", []byte("\x00asm\x01\x00\x00\x00"), []runv1.EndReason{invalid}, 0, "_start", false},
		{"cut short", module(simple())[:30], []runv1.EndReason{invalid}, 0, "not a WebAssembly module", false},
		{"does nothing", module(simple()), []runv1.EndReason{completed}, 0, "", false},
		{"no _start", module(simple(), section(exportSection, 0)), []runv1.EndReason{invalid}, 0, "_start", false},
		{"imports the host", module(simple(), section(importSection, 1, text("env"), text("system"), []byte{0, 0})), []runv1.EndReason{invalid}, 0, "env.system", false},
		{"imports sockets", module(simple(), section(importSection, 1, text("wasi_snapshot_preview1"), text("sock_open"), []byte{0, 0})), []runv1.EndReason{invalid}, 0, "sock_open", false},
		{"imports memory", module(simple(), section(importSection, 1, text("env"), text("memory"), []byte{2, 0, 1})), []runv1.EndReason{invalid}, 0, "memory", false},
		{"trap", module(simple(unreachable)), []runv1.EndReason{completed}, 134, "unreachable", false},
		{"calls itself", module(simple(call, 0)), []runv1.EndReason{completed}, 134, "stack overflow", true},
		{"never ends", module(simple(forever...)), []runv1.EndReason{late}, 0, "", false},
		{"never starts", module(simple(forever...), section(startSection, 0)), []runv1.EndReason{late}, 0, "", false},
		{"starts with 4 GiB", module(simple(), largest), []runv1.EndReason{memory}, 0, "starts with", false},
		{"grows to 4 GiB", module(simple(join([]byte{i32Const}, []byte{0xff, 0xff, 0x03}, []byte{0x40 /* memory.grow */, 0, i32Const, 0x7f, 0x46 /* equal */, 0x04, empty, unreachable, end})...),
			section(memorySection, 1, []byte{0, 1})), []runv1.EndReason{memory}, 0, "asked for more", false},
		{"a million locals", module(function(join([]byte{1}, number(1_000_000), []byte{i32}), nil)), []runv1.EndReason{invalid, completed}, -1, "", false},
		{"deep blocks", module(simple(join(repeat(100_000, block, empty), repeat(100_000, end))...)), []runv1.EndReason{invalid, completed, late}, -1, "", false},
		{"a long branch table", module(simple(join([]byte{block, empty, i32Const, 0, brTable}, number(1_000_000), repeat(1_000_001, 0), []byte{end})...)), []runv1.EndReason{invalid, completed}, -1, "", false},
		{"a table of 128 Mi entries", module(simple(), section(tableSection, 1, []byte{funcref, 0}, number(1<<27))), []runv1.EndReason{invalid, memory, completed}, -1, "", true},
		{"a table that grows", module(simple(join([]byte{loop, empty, 0xd0 /* ref.null */, funcref, i32Const}, []byte{0x80, 0x80, 0x80, 0x04} /* 8 Mi */, []byte{0xfc, 15 /* table.grow */, 0, drop, br, 0, end})...),
			section(tableSection, 1, []byte{funcref, 0, 0})), []runv1.EndReason{memory, late}, -1, "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if raceDetector && tt.greedy {
				t.Skip("the race detector needs what is refused here")
			}
			path := filepath.Join(t.TempDir(), "module.wasm")
			if err := os.WriteFile(path, tt.code, 0o600); err != nil {
				t.Fatal(err)
			}
			r, err := wasm.New(wasm.Config{Command: child, CacheDir: t.TempDir(), StartWithin: 4 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			run, err := r.Start(t.Context(), runner.Spec{
				Program: runner.Program{Module: path}, Out: t.TempDir(), Memory: 64 << 20, Disk: 1 << 20, Duration: 2 * time.Second,
			})
			if err != nil {
				t.Fatal(err)
			}
			got := run.Wait()
			ok := false
			for _, want := range tt.want {
				ok = ok || got.Reason == want
			}
			if !ok || !strings.Contains(got.Detail, tt.detail) || tt.exit >= 0 && tt.exit != got.ExitCode && got.Reason == completed {
				t.Errorf("%+v; want %v, exit %d, %q", got, tt.want, tt.exit, tt.detail)
			}
			t.Logf("%v %q, %d MiB", got.Reason, got.Detail, got.Usage.MaxRSS>>20)
		})
	}
}
