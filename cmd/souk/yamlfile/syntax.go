package yamlfile

import (
	"errors"
	"strconv"
	"strings"
)

// syntax gives a parser's complaint its line, and says it in words of the file.
func (v Value) syntax(err error) error {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 1 // the parser leaves the first line out
	if rest, ok := strings.CutPrefix(text, "line "); ok {
		number, after, _ := strings.Cut(rest, ": ")
		if n, err := strconv.Atoi(number); err == nil {
			line, text = n, after
		}
		if strings.HasPrefix(text, "did not find expected") {
			line++ // these it counts from 0
		}
	}
	for line > 1 && strings.TrimSpace(v.file.line(line)) == "" {
		line-- // what was missed at the end of the file belongs on its last line
	}
	at := &Error{File: v.file.name, Line: line, Column: 1, Source: v.file.line(line), Err: errors.New("is not YAML: " + text)}
	at.Column += len(at.Source) - len(strings.TrimLeft(at.Source, " \t"))
	for _, c := range complaints {
		if strings.Contains(text, c.parser) {
			at.Err = errors.New(c.plain)
			break
		}
	}
	return at
}

// complaints are the parser's words and ours.
var complaints = []struct{ parser, plain string }{
	{"did not find expected ',' or ']'", "a list that begins with [ does not end with ]"},
	{"did not find expected ',' or '}'", "a mapping that begins with { does not end with }"},
	{"did not find expected node content", "a value is missing, or a [ or { is not closed"},
	{"did not find expected key", "a key is indented otherwise than those beside it"},
	{"did not find expected '-' indicator", "an entry of a list has no - before it"},
	{"mapping values are not allowed", "a second \": \" on the line, or a line that is indented too far; text with \": \" in it stands in quotes"},
	{"could not find expected ':'", "a key has no \": \" and value after it"},
	{"found a tab character", "is indented with a tab; YAML takes spaces"},
	{"found character that cannot start any token", "a value begins with a character that means something else in YAML; put it in quotes"},
	{"could not find expected directive name", "a value begins with a character that means something else in YAML; put it in quotes"},
	{"found unexpected end of stream", "a quote is opened and not closed"},
	{"unknown anchor", "anchors and aliases are not accepted: write the value out"},
	{"control characters are not allowed", "holds a control character, which plain text has none of"},
	{"found unknown escape character", `has a \ before a letter that needs none; in single quotes a \ is a plain one`},
}
