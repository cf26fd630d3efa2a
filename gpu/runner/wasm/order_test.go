package wasm

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/souk-market/souk/gpu/runner"
)

func FuzzReport(f *testing.F) {
	for _, seed := range []string{
		`{}`,
		`{"reason":1,"exit":3,"detail":""}`,
		`{"reason":2,"exit":2,"detail":"it asked for more"}`,
		`{"reason":6,"exit":0,"detail":""}`,
		`{"reason":-1}`,
		`{"reason":1,"exit":4294967295,"detail":"a\nb"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		r, err := parseReport(line)
		if err != nil {
			return
		}
		if len(r.Detail) > runner.MaxDetail || strings.ContainsAny(r.Detail, "\n\r\x1b") || !utf8.ValidString(r.Detail) {
			t.Errorf("detail %q", r.Detail)
		}
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := parseReport(text); err != nil || again != r {
			t.Errorf("%+v decodes to %+v, %v", r, again, err)
		}
	})
}

func FuzzOrder(f *testing.F) {
	text, err := json.Marshal(order{Program: "/p", Args: []string{"a"}, Env: []string{"A=b"}, Seed: make([]byte, 32), Out: "/o", Memory: 1, Disk: 1})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"seed":"AA=="}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		o, err := readOrder(bytes.NewReader(text))
		if err != nil {
			return
		}
		if len(o.Seed) != 32 {
			t.Errorf("a seed of %d bytes", len(o.Seed))
		}
	})
}

func TestOneLine(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"", ""},
		{"  one\ntwo", "one"},
		{"tab\there \x1b[2J", "tab?here ?[2J"},
		{"bad \xff utf", "bad ? utf"},
		{strings.Repeat("é", 200), strings.Repeat("é", 100)},
	} {
		if got := oneLine(tt.text); got != tt.want {
			t.Errorf("oneLine(%q) = %q, want %q", tt.text, got, tt.want)
		}
	}
}
