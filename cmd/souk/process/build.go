package process

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Build compiles the command in the folder source into program. Flags are those of
// go build.
func Build(ctx context.Context, program, source string, flags ...string) error {
	return build(ctx, program, source, nil, flags)
}

// BuildModule compiles the command in the folder source into a WebAssembly module,
// as jobs are.
func BuildModule(ctx context.Context, module, source string) error {
	return build(ctx, module, source, []string{"GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0"}, nil)
}

func build(ctx context.Context, out, source string, env, flags []string) error {
	out, err := filepath.Abs(out)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", append(append([]string{"build", "-buildvcs=false", "-o", out}, flags...), ".")...)
	cmd.Dir = source
	cmd.Env = append(os.Environ(), env...)
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w %s", source, err, strings.TrimSpace(string(text)))
	}
	return nil
}
