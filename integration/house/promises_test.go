package house

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
)

// TestPromises breaks the rule of the promises: its table needs the tests beside it.
func TestPromises(t *testing.T) {
	good := "# Promises\n\n| | test | what it tries |\n|---|---|---|\n"
	for n := range promiseCount {
		good += fmt.Sprintf("| **%d** | **Name** | **words** |\n| | `node TestBreaks` | all |\n| | not yet | more |\n", n+1)
	}
	const third = "| **3** | **Name** | **words** |\n| | `node TestBreaks` | all |\n"
	for _, tt := range []struct {
		name, old, by string // what of the good table is replaced, once
		want          string // in the breaches; empty: there are none
	}{
		{"good", "", "", ""},
		{"a fuzz target", "`node TestBreaks`", "`node FuzzBreaks`", ""},
		{"a story", "`node TestBreaks`", "`cmd/souk story live`", ""},
		{"a table elsewhere in the text", "# Promises\n", "# Promises\n\na | b\n", ""},

		{"no table", good, "", "docs/promises.md: promise 1 has no test"},
		{"a promise without a row", third + "| | not yet | more |\n", "", "docs/promises.md: promise 3 has no test"},
		{"a promise with what is not yet", third, "| **3** | **Name** | **words** |\n", "docs/promises.md: promise 3 has no test"},
		{"a test that is gone", third, third + "| | `node TestGone` | all |\n", "docs/promises.md:13: promise 3: there is no test `node TestGone`"},
		{"the only test is gone", third, strings.Replace(third, "Breaks", "Gone", 1), "docs/promises.md: promise 3 has no test"},
		{"a test of another package", "`node TestBreaks`", "`market TestBreaks`", "promise 1: there is no test"},
		{"what only sets tests up", "`node TestBreaks`", "`node TestMain`", "promise 1: there is no test"},
		{"a helper", "`node TestBreaks`", "`node Testimony`", "promise 1: there is no test"},
		{"a method", "`node TestBreaks`", "`node TestMethod`", "promise 1: there is no test"},
		{"not in a test file", "`node TestBreaks`", "`node TestShipped`", "promise 1: there is no test"},
		{"a story that is gone", "`node TestBreaks`", "`cmd/souk story gone`", "promise 1: there is no test"},
		{"no test but words", "`node TestBreaks`", "soon", "promise 1: there is no test soon"},
		{"no name", "`node TestBreaks`", "", "promise 1: there is no test"},
		{"told twice", "| **4** |", "| **3** |", "docs/promises.md:14: **3** is no promise, or told twice"},
		{"one more", "| **12** |", "| **13** |", "**13** is no promise"},
		{"a number that is none", "| **4** |", "| four |", "four is no promise"},
		{"above the first", "| **1** |", "| | `node TestBreaks` | all |\n| **1** |", "stands above the first promise"},
		{"a cell too few", "| `node TestBreaks` | all |", "| `node TestBreaks` |", "this one has 2 cells"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			table := strings.Replace(good, tt.old, tt.by, 1)
			if tt.old != "" && table == good {
				t.Fatalf("%q is not in the table", tt.old)
			}
			tree, err := Read(fstest.MapFS{
				".gitignore":                          {},
				"docs/promises.md":                    {Data: []byte(table)},
				"cmd/souk/testdata/script/live.txtar": {},
				"node/x.go":                           {Data: []byte("package node\nfunc TestShipped() {}")},
				"node/x_test.go": {Data: []byte("package node\nfunc TestMain() {}\nfunc TestBreaks() {}\nfunc FuzzBreaks() {}\n" +
					"func Testimony() {}\ntype x int\nfunc (x) TestMethod() {}")},
			})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, b := range named(t, "promises").Check(tree) {
				got = append(got, b.String())
			}
			if text := strings.Join(got, "\n"); !strings.Contains(text, tt.want) || (tt.want == "") != (text == "") {
				t.Errorf("breaches %q, want %q in them", got, tt.want)
			}
		})
	}
	tree, err := Read(fstest.MapFS{".gitignore": {}})
	if err != nil {
		t.Fatal(err)
	}
	if got := named(t, "promises").Check(tree); len(got) != promiseCount {
		t.Errorf("without the file: breaches %v, want one for each promise", got)
	}
}
