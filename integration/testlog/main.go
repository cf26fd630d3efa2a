// Command testlog reads what go test -json prints and tells what a person needs
// of it: a line for each package, the whole output of what failed and of what
// asks to be shown, every warning, and by name and reason each test that was
// skipped.
//
// A test asks with t.Attr("show", "output"); its subtests ask for themselves.
//
// It exits 1 when anything failed, so a pipe into it loses no failure.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

func main() { os.Exit(run(os.Stdin, os.Stdout)) }

// event is the part of go test's event that is read here; see go doc test2json.
type event struct {
	Action     string
	Package    string
	ImportPath string // of build-output and build-fail
	Test       string
	Output     string
	Key        string // of attr
	Elapsed    float64
}

// name is a test, or a package as a whole where test is empty.
type name struct{ pkg, test string }

type log struct {
	out     io.Writer
	output  map[name][]string // what each unfinished test or package printed
	show    map[name]bool     // those that asked
	failed  []string
	skipped []string
}

func run(in io.Reader, out io.Writer) int {
	l := &log{out: out, output: make(map[name][]string), show: make(map[name]bool)}
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			l.line(line)
		}
		if err != nil {
			break
		}
	}
	for _, s := range l.skipped {
		fmt.Fprintln(out, "skipped", s)
	}
	for _, s := range l.failed {
		fmt.Fprintln(out, "FAILED ", s)
	}
	if len(l.failed) > 0 {
		return 1
	}
	return 0
}

func (l *log) line(line string) {
	var e event
	if json.Unmarshal([]byte(line), &e) != nil {
		fmt.Fprint(l.out, line) // go's own complaints are not events
		return
	}
	n := name{e.Package, e.Test}
	switch e.Action {
	case "output":
		if strings.Contains(e.Output, "warn: ") {
			fmt.Fprint(l.out, e.Output) // at once, also where the test passes
			return
		}
		l.output[n] = append(l.output[n], e.Output)
	case "attr":
		l.show[n] = l.show[n] || e.Key == "show"
	case "build-output":
		fmt.Fprint(l.out, e.Output)
	case "build-fail":
		l.failed = append(l.failed, "build of "+e.ImportPath)
	case "pass", "skip", "fail":
		l.end(n, e)
	}
}

// end reports a test or package and forgets what it printed.
func (l *log) end(n name, e event) {
	text := strings.Join(slices.DeleteFunc(l.output[n], marker), "")
	delete(l.output, n)
	switch {
	case e.Action == "pass" && l.show[n]:
		fmt.Fprint(l.out, text)
	case e.Action == "fail":
		fmt.Fprint(l.out, text)
		l.failed = append(l.failed, strings.TrimSpace(n.pkg+" "+n.test))
	case e.Action == "skip" && n.test != "":
		l.skipped = append(l.skipped, n.pkg+" "+n.test+": "+strings.Join(strings.Fields(text), " "))
	}
	if n.test == "" && e.Action == "pass" {
		fmt.Fprintf(l.out, "ok      %s %.1fs\n", n.pkg, e.Elapsed)
	}
}

// marker tells go test's own progress lines from what a test printed.
func marker(s string) bool {
	s = strings.TrimLeft(s, " ")
	return strings.HasPrefix(s, "=== ") || strings.HasPrefix(s, "--- SKIP")
}
