// Package house holds the rules of the house as checks over the source tree:
// which room may import which, what a pure core may touch, what every package
// and exported name must say.
//
// A [Rule] only reads: it needs the files, no build and no network. Each names
// the place and the rule it breaks, so that the fix needs no second look.
package house

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Module is the path under which the rooms import each other.
const Module = "github.com/souk-market/souk"

// File is one file of the tree.
type File struct {
	Path      string // from the top, with slashes
	Source    []byte
	Go        *ast.File // nil for what is not Go, and for Go below a testdata folder
	Generated bool      // some program wrote it, and says so
}

// Dir is the folder of f, "." at the top.
func (f *File) Dir() string { return path.Dir(f.Path) }

// Test tells whether f is compiled into tests only.
func (f *File) Test() bool { return strings.HasSuffix(f.Path, "_test.go") }

// Room is the top-level folder of f, empty at the top.
func (f *File) Room() string {
	room, _, below := strings.Cut(f.Path, "/")
	if !below {
		return ""
	}
	return room
}

// Tree is all that a rule may look at.
type Tree struct {
	Files []*File // ascending by path
	Set   *token.FileSet
}

// Breach is one place where a rule is broken.
type Breach struct {
	Path string
	Line int // 0: the file as a whole
	Text string
}

// String shows the breach as compilers do.
func (b Breach) String() string {
	if b.Line == 0 {
		return b.Path + ": " + b.Text
	}
	return fmt.Sprintf("%s:%d: %s", b.Path, b.Line, b.Text)
}

// Rule is one rule of the house.
type Rule struct {
	Name  string
	Check func(*Tree) []Breach
}

// Rules lists them all.
func Rules() []Rule {
	return []Rule{
		{"folders", folders},
		{"imports", imports},
		{"pure cores", pureCores},
		{"package comments", packageComments},
		{"exported comments", exportedComments},
		{"sleep in tests", sleeps},
		{"init functions", inits},
		{"open ends", openEnds},
		{"machine paths", machinePaths},
		{"size", sizes},
		{"promises", promises},
	}
}

// Read takes the tree from fsys, without what its .gitignore leaves out.
func Read(fsys fs.FS) (*Tree, error) {
	ignore, err := readIgnore(fsys)
	if err != nil {
		return nil, err
	}
	t := &Tree{Set: token.NewFileSet()}
	err = fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case name == ".git" || ignore(name):
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case !d.Type().IsRegular():
			return nil
		}
		return t.add(fsys, name)
	})
	return t, err
}

func (t *Tree) add(fsys fs.FS, name string) error {
	source, err := fs.ReadFile(fsys, name)
	if err != nil {
		return err
	}
	f := &File{Path: name, Source: source}
	if strings.HasSuffix(name, ".go") && !slices.Contains(strings.Split(name, "/"), "testdata") {
		if f.Go, err = parser.ParseFile(t.Set, name, source, parser.ParseComments|parser.SkipObjectResolution); err != nil {
			return err
		}
		f.Generated = ast.IsGenerated(f.Go)
	}
	t.Files = append(t.Files, f)
	return nil
}

// readIgnore understands what souk's .gitignore uses: /name for something at
// the top, name for it anywhere; a slash at the end changes nothing here.
func readIgnore(fsys fs.FS) (func(name string) bool, error) {
	text, err := fs.ReadFile(fsys, ".gitignore")
	if err != nil {
		return nil, err
	}
	top, anywhere := map[string]bool{}, map[string]bool{}
	for line := range bytes.Lines(text) {
		name := strings.TrimSuffix(strings.TrimSpace(string(line)), "/")
		if at, ok := strings.CutPrefix(name, "/"); ok {
			top[at] = true
		} else if name != "" {
			anywhere[name] = true
		}
	}
	return func(name string) bool { return top[name] || anywhere[path.Base(name)] }, nil
}

// code calls fn for each Go file that people write.
func (t *Tree) code(fn func(*File)) {
	for _, f := range t.Files {
		if f.Go != nil && !f.Generated {
			fn(f)
		}
	}
}

func (t *Tree) at(f *File, p token.Pos, format string, args ...any) Breach {
	return Breach{f.Path, t.Set.Position(p).Line, fmt.Sprintf(format, args...)}
}
