package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Files of the report.
const (
	linesName = "report.jsonl"
	pageName  = "report.md"
)

// report is what all stages so far came to.
type report struct {
	dry bool
	all []outcome
}

// write writes both files anew.
func (r report) write(dir string) error {
	var lines strings.Builder
	for _, o := range r.all {
		o.StandIn = r.dry
		line, err := json.Marshal(o)
		if err != nil {
			return fmt.Errorf("report of %s: %w", o.Name, err)
		}
		lines.Write(append(line, '\n'))
	}
	return errors.Join(os.WriteFile(filepath.Join(dir, linesName), []byte(lines.String()), 0o644),
		os.WriteFile(filepath.Join(dir, pageName), []byte(r.page()), 0o644))
}

// page is the report for people.
func (r report) page() string {
	var b strings.Builder
	if r.dry {
		b.WriteString("DRY RUN over stand-ins of the driver's libraries: nothing here is about a card.\n\n")
	} else {
		b.WriteString("A run on the card that the stage probe names.\n\n")
	}
	b.WriteString("| # | stage | status | s | what |\n|---|---|---|---|---|\n")
	for _, o := range r.all {
		fmt.Fprintf(&b, "| %d | %s | %s | %.1f | %s |\n", o.Stage, o.Name, o.Status, o.Seconds, cell(o.title))
	}
	for _, o := range r.all {
		fmt.Fprintf(&b, "\n## %d %s: %s\n\n", o.Stage, o.Name, o.Status)
		for _, e := range o.Errors {
			fmt.Fprintf(&b, "- **%s**\n", cell(e))
		}
		for _, name := range slices.Sorted(maps.Keys(o.Figures)) {
			fmt.Fprintf(&b, "- %s: %s\n", name, cell(shown(o.Figures[name])))
		}
	}
	return b.String()
}

// maxShown bounds one figure on the page in bytes; the lines have all of it.
const maxShown = 300

// shown is a figure in one line.
func shown(v any) string {
	text, is := v.(string)
	if !is {
		encoded, err := json.Marshal(v)
		if err != nil {
			return err.Error()
		}
		text = string(encoded)
	}
	if len(text) > maxShown {
		text = strings.ToValidUTF8(text[:maxShown], "") + " …"
	}
	return text
}

// cell makes a text fit into a line of a table.
func cell(s string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(s), " "), "|", "/")
}

// first is the first of some texts, or nothing.
func first(all []string) string {
	if len(all) == 0 {
		return ""
	}
	return all[0]
}
