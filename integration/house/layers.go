package house

import (
	"fmt"
	"go/ast"
	"path"
	"slices"
	"strconv"
	"strings"
)

// order gives each room its place: a room imports only rooms of a lower place,
// and itself. The root package is the empty name.
func order() map[string]int {
	return map[string]int{
		"": 0, "proto": 1, "gpu": 2, "payment": 2, "storage": 2,
		"market": 3, "scheduler": 4, "node": 5, "cmd": 6, "integration": 7,
	}
}

// nodeOrder gives each package inside node its place, as [order] does for the
// rooms. The empty name is node itself, which wires the others.
func nodeOrder() map[string]int {
	return map[string]int{"network": 0, "offers": 1, "disk": 1, "proof": 1, "money": 2, "provider": 3, "client": 3, "api": 4, "": 5}
}

// imports checks that the rooms import each other one way, and so do the
// packages inside node. Tests are held to it too: a room that needs another to
// be tested is not on its own.
func imports(t *Tree) []Breach {
	var found []Breach
	for _, f := range t.Files {
		if f.Go == nil {
			continue
		}
		for _, spec := range f.Go.Imports {
			name, _ := strconv.Unquote(spec.Path.Value)
			if rule := importRule(f.Dir(), name); rule != "" {
				found = append(found, t.at(f, spec.Pos(), "imports %s: %s", name, rule))
			}
		}
	}
	return found
}

// importRule is the rule that an import of name in a folder breaks, or nothing.
func importRule(dir, name string) string {
	if strings.HasPrefix(name, "github.com/stretchr/testify") {
		return "tests say what they got and what they want in plain Go"
	}
	rest, ours := strings.CutPrefix(name, Module)
	if !ours || rest != "" && rest[0] != '/' {
		return ""
	}
	if dir == "." {
		dir = ""
	}
	room, part, _ := strings.Cut(dir, "/")
	to, toPart, _ := strings.Cut(strings.TrimPrefix(rest, "/"), "/")
	switch {
	case to == room && room == "node":
		return nodeRule(first(part), first(toPart))
	case to == room:
		return ""
	}
	places := order()
	from, known := places[room]
	if !known {
		return fmt.Sprintf("%s stands outside the rooms and imports none of them", room)
	}
	place, known := places[to]
	if !known {
		return fmt.Sprintf("%s is no room", to)
	}
	if place < from {
		return ""
	}
	return "the order is souk <- proto <- gpu payment storage <- market <- scheduler <- node <- cmd, and rooms between the same arrows do not import each other"
}

// nodeRule is the rule that an import of to in from breaks, both packages inside
// node.
func nodeRule(from, to string) string {
	if from == to {
		return ""
	}
	places := nodeOrder()
	for _, part := range []string{from, to} {
		if _, known := places[part]; !known {
			return fmt.Sprintf("node/%s has no place inside node", part)
		}
	}
	if places[to] < places[from] {
		return ""
	}
	return "the order inside node is network <- offers disk proof <- money <- provider client <- api <- node, and packages between the same arrows do not import each other"
}

// first is the first folder of a path.
func first(name string) string {
	head, _, _ := strings.Cut(name, "/")
	return head
}

// folders checks the top level, and that no folder of code is named for
// nothing in particular.
func folders(t *Tree) []Breach {
	var found []Breach
	allowed := order()
	for _, name := range []string{".ci", ".github", "docs", "examples"} {
		allowed[name] = 0
	}
	seen := map[string]bool{}
	for _, f := range t.Files {
		if _, ok := allowed[f.Room()]; !ok && !seen[f.Room()] {
			seen[f.Room()] = true
			found = append(found, Breach{f.Path, 0, "no such top-level folder in the design: " + f.Room()})
		}
		base := path.Base(f.Dir())
		if f.Go != nil && !seen[f.Dir()] && slices.Contains([]string{"util", "utils", "common", "helpers", "types", "misc"}, base) {
			seen[f.Dir()] = true
			found = append(found, Breach{f.Path, 0, "a folder is named for its one subject, not " + base})
		}
	}
	return found
}

// pure tells whether f belongs to a pure core: market, scheduler, and the
// policy part of payment, which is its top folder.
func pure(f *File) bool {
	return !f.Test() && (f.Room() == "market" || f.Room() == "scheduler" || f.Dir() == "payment")
}

// pureCores checks that a core reads no clock and no chance of its own, starts
// no goroutine, and does no I/O.
func pureCores(t *Tree) []Breach {
	var found []Breach
	t.code(func(f *File) {
		if !pure(f) {
			return
		}
		for _, spec := range f.Go.Imports {
			if name, _ := strconv.Unquote(spec.Path.Value); impureImport(name) {
				found = append(found, t.at(f, spec.Pos(), "imports %s: a pure core does no I/O", name))
			}
		}
		ast.Inspect(f.Go, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				found = append(found, t.at(f, n.Pos(), "starts a goroutine: a pure core has none"))
			case *ast.SelectorExpr:
				if pkg, what := selected(f, n); impureUse(pkg, what) {
					found = append(found, t.at(f, n.Pos(), "uses %s.%s: a pure core is given its clock and its chance", pkg, what))
				}
			}
			return true
		})
	})
	return found
}

func impureImport(name string) bool {
	switch name {
	case "os", "os/exec", "net", "net/http", "net/rpc", "syscall", "database/sql", "io/ioutil":
		return true
	}
	return strings.HasPrefix(name, "github.com/libp2p/") || strings.HasPrefix(name, "github.com/dgraph-io/") ||
		strings.HasPrefix(name, "github.com/ipfs/boxo")
}

func impureUse(pkg, what string) bool {
	switch pkg {
	case "time":
		return slices.Contains([]string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}, what)
	case "math/rand", "math/rand/v2":
		return ast.IsExported(what) && !strings.HasPrefix(what, "New") &&
			!slices.Contains([]string{"Rand", "Source", "Source64", "PCG", "ChaCha8", "Zipf"}, what)
	case "crypto/rand":
		return true
	}
	return false
}

// selected gives the import path and the name of pkg.Name, or nothing when x
// is no package.
func selected(f *File, s *ast.SelectorExpr) (pkg, what string) {
	x, ok := s.X.(*ast.Ident)
	if !ok {
		return "", ""
	}
	for _, spec := range f.Go.Imports {
		name, _ := strconv.Unquote(spec.Path.Value)
		local := path.Base(strings.TrimSuffix(name, "/v2"))
		if spec.Name != nil {
			local = spec.Name.Name
		}
		if local == x.Name {
			return name, s.Sel.Name
		}
	}
	return "", ""
}
