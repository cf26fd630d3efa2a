// Package npm installs the packages that a folder's lock file pins, for tests
// that hold souk against programs in JavaScript.
//
// What is installed stays beside the lock file until that changes.
package npm

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Install runs npm ci in dir, unless what its lock file pins is installed.
func Install(ctx context.Context, dir string) error {
	installed := filepath.Join(dir, "node_modules", ".souk-lock.json")
	lock, err := os.ReadFile(filepath.Join(dir, "package-lock.json"))
	if err != nil {
		return err
	}
	if had, err := os.ReadFile(installed); err == nil && bytes.Equal(had, lock) {
		return nil
	}
	npm, err := exec.LookPath("npm")
	if err != nil {
		return fmt.Errorf("%w: make test installs it, or: apt-get install --no-install-recommends nodejs npm", err)
	}
	cmd := exec.CommandContext(ctx, npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("npm ci in %s: %w: %s", dir, err, out)
	}
	return os.WriteFile(installed, lock, 0o644)
}
