package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/ipfs/go-cid"
	"github.com/souk-market/souk/cmd/souk/yamlfile"
	"github.com/souk-market/souk/gpu/runner/wasm"
)

// recognise tells a module and an image from a job file, whose text it returns.
func recognise(name string) (kind string, src []byte, err error) {
	if _, err := cid.Decode(name); err == nil {
		return "wasm", nil, nil
	}
	if strings.Contains(name, "@sha256:") {
		return "image", nil, nil
	}
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) && isTag(name) {
		return "image", nil, nil
	}
	if err != nil {
		return "", nil, usagef("%w", plainPath(err))
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return "", nil, usagef("%s is a folder, not a job file or a module", name)
	}
	src, err = io.ReadAll(io.LimitReader(f, yamlfile.MaxBytes+1))
	if err != nil {
		return "", nil, usagef("%w", plainPath(err))
	}
	switch ext := filepath.Ext(name); {
	case ext == ".wasm":
		return "wasm", nil, nil
	case ext != ".yaml" && ext != ".yml" && (!utf8.Valid(src) || strings.ContainsRune(string(src), 0)):
		return "wasm", nil, nil // a program of some kind: the check of modules knows which
	}
	return "", src, nil
}

// isTag tells an image by tag from a path: it names a registry or a tag.
func isTag(name string) bool {
	first, rest, below := strings.Cut(name, "/")
	if below && first != "." && first != ".." && first != "" && strings.ContainsAny(first, ".:") && !strings.Contains(rest, "..") {
		return true
	}
	_, tag, tagged := strings.Cut(name, ":")
	return tagged && tag != "" && !strings.HasPrefix(name, ".") && !strings.HasPrefix(name, "/")
}

// checkModule wants a file that a provider could run.
func checkModule(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return plainPath(err)
	case info.IsDir():
		return fmt.Errorf("%s is a folder, not a WebAssembly module", path)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return plainPath(err)
	}
	defer f.Close()
	if err := wasm.Inspect(f, info.Size()); err != nil {
		return fmt.Errorf("%s %w", path, err)
	}
	return nil
}
