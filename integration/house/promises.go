package house

import (
	"bytes"
	"fmt"
	"go/ast"
	"regexp"
	"strconv"
	"strings"
)

// promisesFile has the table from each promise of the design to the tests that
// try to break it, and promiseCount is how many the design makes.
const (
	promisesFile = "docs/promises.md"
	promiseCount = 12
)

// promises checks that each promise of the design has a test, and that each
// test named for one is in the tree: a test that was renamed or taken away must
// not go on vouching for a promise.
func promises(t *Tree) []Breach {
	var found []Breach
	tests, text, told := t.tests(), t.source(promisesFile), map[int]int{}
	at, line := 0, 0 // the promise that the row belongs to, and the row
	breach := func(format string, args ...any) {
		found = append(found, Breach{promisesFile, line, fmt.Sprintf(format, args...)})
	}
	for row := range bytes.Lines(text) {
		line++
		cells, ok := tableRow(string(row))
		if !ok {
			continue
		}
		if len(cells) != 3 {
			breach("a row has the number of a promise, a test, and what it tries; this one has %d cells", len(cells))
			continue
		}
		number, test := cells[0], cells[1]
		if number != "" {
			n, err := strconv.Atoi(strings.Trim(number, "*"))
			if _, twice := told[n]; err != nil || twice || n < 1 || n > promiseCount {
				breach("%s is no promise, or told twice: they are 1 to %d", number, promiseCount)
				continue
			}
			at, told[n] = n, 0
			continue
		}
		switch name, quoted := strings.CutPrefix(test, "`"); {
		case test == "not yet":
		case !quoted || !tests[strings.TrimSuffix(name, "`")]:
			breach("promise %d: there is no test %s", at, test)
		case at == 0:
			breach("%s stands above the first promise", test)
		default:
			told[at]++
		}
	}
	line = 0
	for n := 1; n <= promiseCount; n++ {
		if told[n] == 0 {
			breach("promise %d has no test that tries to break it", n)
		}
	}
	return found
}

// tableRow splits a row of a Markdown table, leaving out its heading and rule.
func tableRow(row string) (cells []string, ok bool) {
	inner, ok := strings.CutPrefix(strings.TrimSpace(row), "|")
	if !ok || strings.HasPrefix(inner, "---") {
		return nil, false
	}
	cells = strings.Split(strings.TrimSuffix(inner, "|"), "|")
	for i := range cells {
		cells[i] = strings.TrimSpace(cells[i])
	}
	return cells, cells[min(1, len(cells)-1)] != "test"
}

// tests is every test of the tree, as "payment/ledger TestFloors" or, for a
// story of the command line, "cmd/souk story live".
func (t *Tree) tests() map[string]bool {
	all := map[string]bool{}
	kind := regexp.MustCompile(`^(Test|Fuzz)($|[^a-z])`)
	t.code(func(f *File) {
		if !f.Test() {
			return
		}
		for _, d := range f.Go.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && kind.MatchString(fn.Name.Name) && fn.Name.Name != "TestMain" {
				all[f.Dir()+" "+fn.Name.Name] = true
			}
		}
	})
	for _, f := range t.Files {
		if dir, story, ok := strings.Cut(f.Path, "/testdata/script/"); ok && strings.HasSuffix(story, ".txtar") {
			all[dir+" story "+strings.TrimSuffix(story, ".txtar")] = true
		}
	}
	return all
}

// source is what the file at path holds, nothing when there is none.
func (t *Tree) source(path string) []byte {
	for _, f := range t.Files {
		if f.Path == path {
			return f.Source
		}
	}
	return nil
}
