package yamlfile_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/souk-market/souk/cmd/souk/yamlfile"
)

func TestParseRefuses(t *testing.T) {
	for _, tt := range []struct{ name, src, want string }{
		{"not yaml", "a: [", "f:"},
		{"a list", "- a", "f:1:1: is a list, not a mapping"},
		{"two documents", "a: 1\n---\na: 2\n", "more than one document"},
		{"unknown key", "\nnaem: x", `f:2:1: unknown key "naem"; did you mean "name"?`},
		{"a key that is like none", "zzz: x", `unknown key "zzz"; it may be name, on`},
		{"twice", "name: x\nname: y", `f:2:1: key "name" is there twice`},
		{"alias", "name: &a x\non: *a", "f:1:7: anchors"},
		{"tag", "name: !!str 5", "f:1:7: tags are not accepted"},
		{"merge", "<<: {name: x}", `unknown key "<<"`},
		{"number for text", "name: 5", `f:1:7: name: 5 is not text: put it in quotes`},
		{"nothing for text", "name:", "f:1:6: name: is empty, not text"},
		{"text for a bool", "on: \"true\"", `f:1:5: on: is "true", not true or false`},
		{"a list for text", "name: [x]", "f:1:7: name: is a list, not text"},
		{"a key that is no word", "[a]: 1", "a key is not a word"},
		{"too long", "name: " + strings.Repeat("x", yamlfile.MaxBytes), "limit 1048576"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := read(tt.src)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v; want %q in it", err, tt.want)
			}
			if _, ok := errors.AsType[*yamlfile.Error](err); err != nil && !ok {
				t.Errorf("%v has no place", err)
			}
		})
	}
}

// read reads a file that may hold name, a text, and on, a bool.
func read(src string) error {
	v, err := yamlfile.Parse([]byte(src), "f")
	if err != nil {
		return err
	}
	return v.Each([]string{"name", "on"}, func(key string, v yamlfile.Value) (err error) {
		if key == "name" {
			_, err = v.Text()
		} else {
			_, err = v.Bool()
		}
		return err
	})
}

func TestLiteralsKeepTheirDigits(t *testing.T) {
	v, err := yamlfile.Parse([]byte("a: 0.60\nb: 1_000\nc: 0x10\nd: 24GB.."), "f")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"a": "0.60", "b": "1_000", "c": "0x10", "d": "24GB.."}
	err = v.Each(nil, func(key string, v yamlfile.Value) error {
		if got, err := v.Literal(); err != nil || got != want[key] {
			t.Errorf("%s = %q, %v; want %q", key, got, err, want[key])
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestEmptyFileIsAnEmptyMapping(t *testing.T) {
	for _, src := range []string{"", "# nothing\n", "---\n"} {
		if err := read(src); err != nil {
			t.Errorf("%q: %v", src, err)
		}
	}
}
