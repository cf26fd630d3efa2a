// Package yamlfile reads YAML files strictly, and says where an error is.
//
// A key that its reader does not ask for is an error that names the nearest
// one it would; so are a second value for a key, an anchor, an alias, a tag and
// a second document. Numbers reach the reader as they were written: no amount
// passes through a float.
package yamlfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/souk-market/souk/market"
	"gopkg.in/yaml.v3"
)

// MaxBytes bounds a file: far more than any job needs.
const MaxBytes = 1 << 20

// Error is a fault at a place of a file.
type Error struct {
	File         string // as it was named
	Line, Column int    // from 1; 0 where the place is not known
	Key          string // the key's path, "price.max_total"; empty at the top
	Source       string // the line as it was written; empty where the place is not known
	Err          error
}

// Error is file:line:column: key: fault.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", e.Line, e.Column)
	}
	if e.Key != "" {
		b.WriteString(": " + e.Key)
	}
	return b.String() + ": " + e.Err.Error()
}

// Excerpt shows the line with a mark under the column, as two lines; empty
// where the place is not known.
func (e *Error) Excerpt() string {
	if e.Line == 0 || strings.TrimSpace(e.Source) == "" {
		return ""
	}
	margin := fmt.Sprintf("%5d | ", e.Line)
	line, column := e.Source, min(max(e.Column-1, 0), len(e.Source))
	before := strings.Map(func(r rune) rune { // a mark below a tab stands right only behind a tab
		if r == '\t' {
			return r
		}
		return ' '
	}, line[:column])
	if len(line) > maxExcerpt {
		return "" // the place says enough: a line that wraps has no column to mark
	}
	return margin + line + "\n" + strings.Repeat(" ", len(margin)-2) + "| " + before + "^\n"
}

// maxExcerpt is the longest line that is shown with a fault.
const maxExcerpt = 160

// Unwrap is the fault without its place.
func (e *Error) Unwrap() error { return e.Err }

// Value is a node of a file.
type Value struct {
	node *yaml.Node
	file *source
	key  string
}

// source is the file that values are part of.
type source struct {
	name  string
	lines []string
	keys  []string // paths of all keys that it may hold
}

// breaks end lines in YAML.
var breaks = regexp.MustCompile("\r\n|[\n\r\u0085\u2028\u2029]")

// line is the text of a line, counted from 1.
func (s *source) line(n int) string {
	if n < 1 || n > len(s.lines) {
		return ""
	}
	return s.lines[n-1]
}

// Parse reads one document. An empty file is an empty mapping. Of keys, the
// paths of all that the file may hold, one that stands in the wrong mapping is
// told its place.
func Parse(src []byte, file string, keys ...string) (Value, error) {
	v := Value{file: &source{name: file, keys: keys}, node: &yaml.Node{Kind: yaml.MappingNode}}
	switch {
	case len(src) > MaxBytes:
		return v, v.Errorf("is %d bytes or more, limit %d", len(src), MaxBytes)
	case !utf8.Valid(src) || bytes.ContainsRune(src, 0):
		return v, v.Errorf("is not a text file in UTF-8")
	}
	v.file.lines = breaks.Split(string(src), -1)
	d := yaml.NewDecoder(bytes.NewReader(src))
	var doc, second yaml.Node
	switch err := d.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return v, nil
	case err != nil:
		return v, v.syntax(err)
	}
	if err := d.Decode(&second); !errors.Is(err, io.EOF) {
		return v, v.Errorf("holds more than one document")
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		return v, v.Errorf("is not one document")
	}
	if root := doc.Content[0]; root.Kind != yaml.ScalarNode || root.Tag != "!!null" {
		v.node = root
	}
	return v, v.plain(v.node)
}

// plain refuses what makes a file mean more than it shows.
func (v Value) plain(n *yaml.Node) error {
	at := Value{node: n, file: v.file}
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		return at.Errorf("anchors and aliases are not accepted: write the value out")
	case n.Style&yaml.TaggedStyle != 0:
		return at.Errorf("tags are not accepted: drop %s", n.Tag)
	}
	for _, c := range n.Content {
		if err := v.plain(c); err != nil {
			return err
		}
	}
	return nil
}

// Errorf makes an [Error] at the value's place.
func (v Value) Errorf(format string, args ...any) error {
	return v.Wrap(fmt.Errorf(format, args...))
}

// Wrap gives err the value's place.
func (v Value) Wrap(err error) error {
	return &Error{File: v.file.name, Line: v.node.Line, Column: v.node.Column, Key: v.key, Source: v.file.line(v.node.Line), Err: err}
}

// Key is the path of the value's key.
func (v Value) Key() string { return v.key }

// IsList tells whether the value is a list.
func (v Value) IsList() bool { return v.node.Kind == yaml.SequenceNode }

// IsMap tells whether the value is a mapping.
func (v Value) IsMap() bool { return v.node.Kind == yaml.MappingNode }

// Each calls fn for each entry of a mapping, in the file's order. A key that is
// not in known is an error; known nil accepts any.
func (v Value) Each(known []string, fn func(key string, v Value) error) error {
	if !v.IsMap() {
		return v.Errorf("is %s, not %s", v.shape(), mapping(known))
	}
	seen := make(map[string]bool)
	for i := 0; i+1 < len(v.node.Content); i += 2 {
		k, value := v.node.Content[i], v.node.Content[i+1]
		at := Value{node: k, file: v.file, key: v.key}
		if k.Kind != yaml.ScalarNode {
			return at.Errorf("a key is not a word")
		}
		if known != nil && !slices.Contains(known, k.Value) {
			return at.Errorf("unknown key %q%s", k.Value, v.didYouMean(k.Value, known))
		}
		if seen[k.Value] {
			return at.Errorf("key %q is there twice", k.Value)
		}
		seen[k.Value] = true
		if err := fn(k.Value, Value{node: value, file: v.file, key: join(v.key, k.Value)}); err != nil {
			return err
		}
	}
	return nil
}

// mapping is what a mapping may hold, in words.
func mapping(known []string) string {
	if known == nil || len(known) > 8 {
		return "a mapping of keys to values"
	}
	return "a mapping of " + strings.Join(known, ", ")
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// Items are the entries of a list.
func (v Value) Items() ([]Value, error) {
	if !v.IsList() {
		return nil, v.Errorf("is %s, not a list", v.shape())
	}
	items := make([]Value, len(v.node.Content))
	for i, n := range v.node.Content {
		items[i] = Value{node: n, file: v.file, key: fmt.Sprintf("%s[%d]", v.key, i)}
	}
	return items, nil
}

// Text is a string. A number or a word such as true, which YAML reads as
// something else, must stand in quotes.
func (v Value) Text() (string, error) {
	switch {
	case v.node.Kind != yaml.ScalarNode || v.node.Tag == "!!null":
		return "", v.Errorf("is %s, not text", v.shape())
	case v.node.Tag != "!!str":
		return "", v.Errorf("%s is not text: put it in quotes", v.node.Value)
	}
	return v.node.Value, nil
}

// Scalar is one value as it was written, be it text, a number or a word such as
// true; want says what it should be: "a size such as 24GB".
func (v Value) Scalar(want string) (string, error) {
	if v.node.Kind != yaml.ScalarNode || v.node.Tag == "!!null" {
		return "", v.Errorf("is %s, not %s", v.shape(), want)
	}
	return v.node.Value, nil
}

// Literal is a string or a number, as it was written.
func (v Value) Literal() (string, error) {
	switch v.node.Tag {
	case "!!str", "!!int", "!!float":
		return v.node.Value, nil
	case "!!bool", "!!timestamp":
		return "", v.Errorf("%s is not text: put it in quotes", v.node.Value)
	}
	return "", v.Errorf("is %s, not one value", v.shape())
}

// Bool is true or false.
func (v Value) Bool() (bool, error) {
	if v.node.Tag != "!!bool" {
		return false, v.Errorf("is %s, not true or false", v.shape())
	}
	return v.node.Value == "true" || v.node.Value == "True" || v.node.Value == "TRUE", nil
}

// Texts is a list of strings, or one string.
func (v Value) Texts() ([]string, error) {
	if !v.IsList() {
		s, err := v.Text()
		return []string{s}, err
	}
	items, err := v.Items()
	if err != nil {
		return nil, err
	}
	texts := make([]string, len(items))
	for i, item := range items {
		if texts[i], err = item.Text(); err != nil {
			return nil, err
		}
	}
	return texts, nil
}

func (v Value) shape() string {
	switch v.node.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	if v.node.Tag == "!!null" {
		return "empty"
	}
	return fmt.Sprintf("%q", v.node.Value)
}

// didYouMean names the mapping in which the file may have word, or the known key
// that is nearest to it.
func (v Value) didYouMean(word string, known []string) string {
	for _, path := range v.file.keys {
		if i := strings.LastIndexByte(path, '.'); path[i+1:] == word {
			return fmt.Sprintf("; its place is %s", path)
		}
	}
	if n := market.Nearest(word, known); n != "" {
		return fmt.Sprintf("; did you mean %q?", n)
	}
	if strings.Trim(word, "0123456789") == "" {
		return ": a comma ends a value; decimals have a point, as in 0.5"
	}
	return "; it may be " + strings.Join(known, ", ")
}
