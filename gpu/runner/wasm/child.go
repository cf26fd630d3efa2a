package wasm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/experimental/sysfs"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
	"github.com/tetratelabs/wazero/sys"

	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
)

// trapped is the exit code of a module that a trap ended, as a shell shows an
// abort.
const trapped = 134

// maxProgram bounds a module's file: wazero reads it whole.
const maxProgram = 256 << 20

// Main is the body of the process that holds a module. It reads an order from
// stdin, runs the module, and tells descriptor 3 how that went; the module
// prints to stdout and stderr. It returns the process's exit code.
func Main(stdin io.Reader, stdout, stderr io.Writer) int {
	reports := json.NewEncoder(os.NewFile(3, "reports"))
	end := func(r report) { // for ends that come from deep inside a module's call
		r.Detail = oneLine(r.Detail)
		_ = reports.Encode(r) // nobody is left to tell
		os.Exit(0)
	}
	o, err := readOrder(stdin)
	if err == nil {
		err = bound(o.Memory)
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	g := guest{order: o, stdout: stdout, stderr: stderr, end: end}
	end(g.run(context.Background(), func() { _ = reports.Encode(report{}) }))
	return 0
}

// guest is a module and what it may reach.
type guest struct {
	order
	stdout, stderr io.Writer
	end            func(report) // does not return
	memory         *memory
}

func invalid(format string, args ...any) report {
	return report{Reason: runv1.EndReason_END_REASON_JOB_INVALID, Detail: fmt.Sprintf(format, args...)}
}

func failed(err error) report {
	return report{Reason: runv1.EndReason_END_REASON_PROVIDER_FAILED, Detail: err.Error()}
}

// run compiles the module or takes it from the cache, calls begin, and runs it to
// its end.
func (g *guest) run(ctx context.Context, begin func()) report {
	code, bad := g.program()
	if code == nil {
		return bad
	}
	cache, err := wazero.NewCompilationCacheWithDir(g.Cache)
	if err != nil {
		return failed(fmt.Errorf("cache: %w", err))
	}
	// Closing on a done context would check it in every loop, at ten times the
	// running time: the daemon kills this process instead.
	runtime := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().
		WithCompilationCache(cache).WithDebugInfoEnabled(false))
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, runtime); err != nil {
		return failed(err)
	}
	module, err := runtime.CompileModule(ctx, code)
	if err != nil {
		return invalid("not a WebAssembly module that can run here: %v", err)
	}
	if bad, ok := fits(module, runtime.Module(wasi_snapshot_preview1.ModuleName)); !ok {
		return bad
	}
	if g.Compile {
		return report{Reason: runv1.EndReason_END_REASON_COMPLETED}
	}
	config, err := g.module()
	if err != nil {
		return failed(err)
	}
	begin()
	g.memory = &memory{limit: g.Memory, tooSmall: func(need uint64) {
		g.end(report{
			Reason: runv1.EndReason_END_REASON_JOB_MEMORY,
			Detail: fmt.Sprintf("the module starts with %d bytes of memory, the lease has %d", need, g.Memory),
		})
	}}
	ctx = experimental.WithMemoryAllocator(ctx, g.memory)
	return g.call(ctx, runtime, module, config)
}

// program reads the module's file.
func (g *guest) program() ([]byte, report) {
	f, err := os.Open(g.Program)
	if err != nil {
		return nil, failed(err)
	}
	defer f.Close()
	code, err := io.ReadAll(io.LimitReader(f, maxProgram+1))
	switch {
	case err != nil:
		return nil, failed(err)
	case len(code) > maxProgram:
		return nil, invalid("the module is larger than %d MiB", maxProgram>>20)
	case len(code) == 0:
		return nil, invalid("the module is empty")
	}
	return code, report{}
}

// fits tells whether the module is a WASI command.
func fits(module wazero.CompiledModule, wasi api.Module) (report, bool) {
	have := wasi.ExportedFunctionDefinitions()
	for _, f := range module.ImportedFunctions() {
		from, name, _ := f.Import()
		if _, ok := have[name]; !ok || from != wasi_snapshot_preview1.ModuleName {
			return invalid("the module imports %s.%s, which is not WASI preview 1", from, name), false
		}
	}
	if len(module.ImportedMemories()) > 0 {
		return invalid("the module imports its memory; WASI preview 1 has none to give"), false
	}
	if _, ok := module.ExportedFunctions()["_start"]; !ok {
		return invalid("the module exports no _start function: it is not a WASI command"), false
	}
	return report{}, true
}

// module is all that the module can reach.
func (g *guest) module() (wazero.ModuleConfig, error) {
	clock := &clock{}
	config := wazero.NewModuleConfig().
		WithName("").WithStartFunctions().
		WithArgs(append([]string{"job"}, g.Args...)...).
		WithStdout(writer{g.stdout}).WithStderr(writer{g.stderr}).
		WithRandSource(rand.NewChaCha8([32]byte(g.Seed))).
		WithWalltime(clock.wall, resolution).
		WithNanotime(clock.nano, resolution).
		WithNanosleep(clock.sleep).
		WithOsyield(func() {})
	for _, variable := range g.Env {
		name, value, _ := strings.Cut(variable, "=")
		config = config.WithEnv(name, value)
	}
	files := wazero.NewFSConfig().(sysfs.FSConfig)
	if g.In != "" {
		in, err := openFolder(g.In, nil)
		if err != nil {
			return nil, fmt.Errorf("/in: %w", err)
		}
		files = files.WithSysFSMount(in, "/in").(sysfs.FSConfig)
	}
	out, err := openFolder(g.Out, &quota{limit: g.Disk, end: g.end})
	if err != nil {
		return nil, fmt.Errorf("/out: %w", err)
	}
	return config.WithFSConfig(files.WithSysFSMount(out, "/out")), nil
}

// call runs the module and says how it ended.
func (g *guest) call(ctx context.Context, runtime wazero.Runtime, module wazero.CompiledModule, config wazero.ModuleConfig) report {
	instance, err := runtime.InstantiateModule(ctx, module, config)
	if err == nil {
		_, err = instance.ExportedFunction("_start").Call(ctx)
	} else if exit := (*sys.ExitError)(nil); !errors.As(err, &exit) {
		return invalid("the module cannot be set up: %v", err)
	}
	r := report{Reason: runv1.EndReason_END_REASON_COMPLETED}
	if exit := (*sys.ExitError)(nil); errors.As(err, &exit) {
		r.Exit = exit.ExitCode()
	} else if err != nil {
		r.Exit, r.Detail = trapped, err.Error()
		fmt.Fprintln(g.stderr, err)
	}
	if r.Exit != 0 && g.memory.refused {
		return report{
			Reason: runv1.EndReason_END_REASON_JOB_MEMORY, Exit: r.Exit,
			Detail: fmt.Sprintf("it asked for more than its %d bytes of memory and gave up", g.Memory),
		}
	}
	return r
}

// writer hides that an output is a file: its times and its number are the
// host's.
type writer struct{ to io.Writer }

func (w writer) Write(b []byte) (int, error) { return w.to.Write(b) }
