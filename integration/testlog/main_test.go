package main

import (
	"strings"
	"testing"
)

func TestRun(t *testing.T) {
	const passes = `{"Action":"output","Package":"a","Test":"TestOne","Output":"=== RUN   TestOne\n"}
{"Action":"output","Package":"a","Test":"TestOne","Output":"chatter\n"}
{"Action":"pass","Package":"a","Test":"TestOne"}
{"Action":"pass","Package":"a","Elapsed":1.25}
`
	for _, tt := range []struct {
		name, in string
		status   int
		want     []string // in the output
		not      string   // not in it
	}{
		{"pass", passes, 0, []string{"ok      a 1.2s"}, "chatter"},
		{"shown", `{"Action":"attr","Package":"a","Test":"TestTable","Key":"show","Value":"output"}
{"Action":"output","Package":"a","Test":"TestTable","Output":"    a_test.go:7: PHASE OUTCOME\n"}
{"Action":"pass","Package":"a","Test":"TestTable"}
` + passes, 0, []string{"PHASE OUTCOME\n", "ok      a 1.2s"}, "chatter"},
		{"skip", `{"Action":"output","Package":"a","Test":"TestGPU","Output":"    a_test.go:5: no device\n"}
{"Action":"output","Package":"a","Test":"TestGPU","Output":"--- SKIP: TestGPU (0.00s)\n"}
{"Action":"skip","Package":"a","Test":"TestGPU"}
` + passes, 0, []string{"skipped a TestGPU: a_test.go:5: no device\n"}, "FAILED"},
		{"warning", `{"Action":"output","Package":"a","Test":"TestOne","Output":"    x.go:1: warn: long\n"}
` + passes, 0, []string{"warn: long"}, "FAILED"},
		{"fail", `{"Action":"output","Package":"a","Test":"TestBad","Output":"    a_test.go:9: got 1\n"}
{"Action":"fail","Package":"a","Test":"TestBad"}
{"Action":"fail","Package":"a"}
`, 1, []string{"a_test.go:9: got 1", "FAILED  a TestBad", "FAILED  a\n"}, "ok "},
		{"does not compile", `{"ImportPath":"a [a.test]","Action":"build-output","Output":"a.go:3: undefined: x\n"}
{"ImportPath":"a [a.test]","Action":"build-fail"}
{"Action":"fail","Package":"a"}
`, 1, []string{"undefined: x", "FAILED  build of a"}, "ok "},
		{"not an event", "go: cannot find main module\n", 0, []string{"cannot find main module"}, "ok "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			if got := run(strings.NewReader(tt.in), &out); got != tt.status {
				t.Errorf("status %d, want %d", got, tt.status)
			}
			for _, w := range tt.want {
				if !strings.Contains(out.String(), w) {
					t.Errorf("no %q in\n%s", w, out.String())
				}
			}
			if strings.Contains(out.String(), tt.not) {
				t.Errorf("%q in\n%s", tt.not, out.String())
			}
		})
	}
}
