package house

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/token"
	"path"
	"regexp"
	"strings"
)

// packageComments checks that each folder of code says what it is.
func packageComments(t *Tree) []Breach {
	said := map[string]bool{}
	first := map[string]*File{}
	t.code(func(f *File) {
		dir := f.Dir()
		if first[dir] == nil || first[dir].Test() {
			first[dir] = f
		}
		want := "Package " + f.Go.Name.Name + " "
		if f.Go.Name.Name == "main" {
			want = "Command " + path.Base(dir) + " "
		}
		said[dir] = said[dir] || strings.HasPrefix(strings.ReplaceAll(f.Go.Doc.Text(), "\n", " "), want)
	})
	var found []Breach
	t.code(func(f *File) {
		if first[f.Dir()] == f && !said[f.Dir()] {
			found = append(found, Breach{f.Path, 0, "no file here says what the package is: // Package " + f.Go.Name.Name + " …, or // Command " + path.Base(f.Dir()) + " …"})
		}
	})
	return found
}

// exportedComments checks that what others may use is explained.
func exportedComments(t *Tree) []Breach {
	var found []Breach
	t.code(func(f *File) {
		if f.Test() || f.Go.Name.Name == "main" {
			return
		}
		for _, d := range f.Go.Decls {
			for _, name := range undocumented(d) {
				found = append(found, t.at(f, name.Pos(), "%s is exported and has no comment", name.Name))
			}
		}
	})
	return found
}

// undocumented lists the exported names of d without a comment. One comment
// covers a group of constants or variables.
func undocumented(d ast.Decl) (names []*ast.Ident) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Doc == nil && d.Name.IsExported() && ast.IsExported(receiver(d)) && !famous(d) {
			names = append(names, d.Name)
		}
	case *ast.GenDecl:
		if d.Tok == token.IMPORT || d.Doc != nil {
			return nil
		}
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.TypeSpec:
				if s.Doc == nil && s.Comment == nil && s.Name.IsExported() {
					names = append(names, s.Name)
				}
			case *ast.ValueSpec:
				if s.Doc == nil && s.Comment == nil && s.Names[0].IsExported() {
					names = append(names, s.Names[0])
				}
			}
		}
	}
	return names
}

// famous methods are explained by the interface that everyone knows.
func famous(d *ast.FuncDecl) bool {
	switch d.Name.Name {
	case "Error", "Unwrap", "Len", "Less", "Swap", "Push", "Pop":
		return d.Recv != nil
	}
	return false
}

// receiver is the type that d is a method of; a function counts as exported.
func receiver(d *ast.FuncDecl) string {
	if d.Recv == nil {
		return "Function"
	}
	name := "Function"
	ast.Inspect(d.Recv.List[0].Type, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && name == "Function" {
			name = id.Name
		}
		return true
	})
	return name
}

// sleeps checks that no test waits on the wall clock. In a synctest bubble the
// clock is virtual, and sleeping is how a test lets time pass; so it is in a
// folder whose every test is such a bubble.
func sleeps(t *Tree) []Breach {
	var found []Breach
	bubbles := t.bubbles()
	t.code(func(f *File) {
		if !f.Test() || bubbles[f.Dir()] {
			return
		}
		ast.Inspect(f.Go, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				if s, ok := n.Fun.(*ast.SelectorExpr); ok {
					pkg, _ := selected(f, s)
					return pkg != "testing/synctest"
				}
			case *ast.SelectorExpr:
				if pkg, what := selected(f, n); pkg == "time" && what == "Sleep" {
					found = append(found, t.at(f, n.Pos(), "time.Sleep in a test: wait for the event, or run under testing/synctest"))
				}
			}
			return true
		})
	})
	return found
}

// bubbles are the folders with tests, all of which run in synctest bubbles.
func (t *Tree) bubbles() map[string]bool {
	dirs := map[string]bool{}
	t.code(func(f *File) {
		for _, d := range f.Go.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || !f.Test() || fn.Recv != nil || !strings.HasPrefix(fn.Name.Name, "Test") || fn.Name.Name == "TestMain" {
				continue
			}
			bubble := false
			ast.Inspect(fn, func(n ast.Node) bool {
				if s, ok := n.(*ast.SelectorExpr); ok {
					pkg, _ := selected(f, s)
					bubble = bubble || pkg == "testing/synctest"
				}
				return true
			})
			all, seen := dirs[f.Dir()]
			dirs[f.Dir()] = bubble && (all || !seen)
		}
	})
	return dirs
}

// inits checks that nothing runs before main.
func inits(t *Tree) []Breach {
	var found []Breach
	t.code(func(f *File) {
		for _, d := range f.Go.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				found = append(found, t.at(f, fn.Pos(), "an init function: constructors are called where they are needed"))
			}
		}
	})
	return found
}

// openEnds checks that comments promise nothing for later.
func openEnds(t *Tree) []Breach {
	open := regexp.MustCompile(`\b(TODO|FIXME|XXX|HACK)\b|//nolint`)
	var found []Breach
	t.code(func(f *File) {
		for _, group := range f.Go.Comments {
			for _, c := range group.List {
				if word := open.FindString(c.Text); word != "" {
					found = append(found, t.at(f, c.Pos(), "%s: finish it, or write an issue", word))
				}
			}
		}
	})
	return found
}

// machinePaths checks that no file names a place of the machine it was written
// on: homes, and where build machines put a checkout.
func machinePaths(t *Tree) []Breach {
	place := regexp.MustCompile(`(?:^|[^A-Za-z0-9._/~$}-])/(?:home|root|Users|work|workspace|builds)/[A-Za-z0-9._]`)
	var found []Breach
	for _, f := range t.Files {
		if f.Generated || bytes.IndexByte(f.Source, 0) >= 0 || strings.HasSuffix(f.Path, "go.sum") {
			continue
		}
		line := 0
		for text := range bytes.Lines(f.Source) {
			line++
			if m := place.Find(text); m != nil {
				found = append(found, Breach{f.Path, line, "names a path of some machine: " + strings.TrimSpace(string(m)) + "…"})
			}
		}
	}
	return found
}

// The bounds on size, in lines: past the first a person is asked to look, past
// the second the rule is broken.
const (
	fileLook, fileMost = 400, 600
	funcLook, funcMost = 60, 120
)

// sizes checks that files and functions can be read in one go.
func sizes(t *Tree) []Breach { return longer(t, fileMost, funcMost) }

// Warnings lists what is long but not yet too long.
func Warnings(t *Tree) []Breach { return longer(t, fileLook, funcLook) }

// longer lists files and functions past the bounds. A test function may be
// long: it is a table.
func longer(t *Tree, file, function int) []Breach {
	var found []Breach
	t.code(func(f *File) {
		if n := bytes.Count(f.Source, []byte("\n")); n > file {
			found = append(found, Breach{f.Path, 0, tooLong("the file", n, file)})
		}
		for _, d := range f.Go.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || f.Test() {
				continue
			}
			if n := t.Set.Position(fn.End()).Line - t.Set.Position(fn.Pos()).Line + 1; n > function {
				found = append(found, t.at(f, fn.Pos(), "%s", tooLong(fn.Name.Name, n, function)))
			}
		}
	})
	return found
}

func tooLong(what string, lines, bound int) string {
	return fmt.Sprintf("%s has %d lines, more than %d", what, lines, bound)
}
