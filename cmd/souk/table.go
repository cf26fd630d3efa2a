package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/souk-market/souk"
)

// table prints rows in columns; the first row is the heading.
func table(w io.Writer, heading string, rows [][]string) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, strings.ReplaceAll(heading, " ", "\t"))
	for _, row := range rows {
		fmt.Fprintln(t, strings.Join(row, "\t"))
	}
	return t.Flush()
}

// pairs prints one name and value a line; an empty value is left out.
func pairs(w io.Writer, nameValue ...string) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for i := 0; i+1 < len(nameValue); i += 2 {
		if nameValue[i+1] != "" {
			fmt.Fprintf(t, "%s\t%s\n", nameValue[i], nameValue[i+1])
		}
	}
	return t.Flush()
}

// money shows atoms of a message as tokens.
func money(atoms uint64) string {
	if atoms > 1<<63-1 {
		return fmt.Sprintf("%d atoms", atoms)
	}
	return souk.Atoms(atoms).String()
}

// short is a beginning of an id that is unique in practice, so that what people
// read is what they may type: ids of peers begin with eight letters in common.
func short(id string) string {
	n := 8
	if strings.HasPrefix(id, "12D3KooW") {
		n = 14
	}
	if len(id) <= n {
		return id
	}
	return id[:n]
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// clock is the time of day of an RFC 3339 time, where people read a list of today.
func clock(rfc3339 string) string {
	t, err := time.Parse(time.RFC3339, rfc3339)
	if err != nil {
		return dash(rfc3339)
	}
	return t.UTC().Format("01-02 15:04:05")
}

// counted is a number of things: "1 receipt", "2 receipts".
func counted[N int | uint32 | uint64](n N, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// account shortens the id in a ledger account's name.
func account(name string) string {
	kind, id, ok := strings.Cut(name, ":")
	if !ok {
		return name
	}
	return kind + ":" + short(id)
}

func capability(tenths uint32) string {
	if tenths == 0 {
		return "-"
	}
	return fmt.Sprintf("%d.%d", tenths/10, tenths%10)
}
