package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"text/tabwriter"

	"golang.org/x/sys/unix"
)

// A result is one line of bench.json.
type result struct {
	Row         string     `json:"row"`
	Ours        float64    `json:"ours"`
	Limit       float64    `json:"limit"` // 0: not measured, as the note says
	Ratio       float64    `json:"ratio"` // ours to the limit; 0 without one
	Unit        string     `json:"unit"`
	Goal        string     `json:"goal"`
	Met         bool       `json:"met"`
	Against     string     `json:"against"`
	Spread      [2]float64 `json:"spread"`       // lowest and highest sample of ours
	LimitSpread [2]float64 `json:"limit_spread"` // the same of the limit
	Note        string     `json:"note,omitempty"`
	Machine     machine    `json:"machine"`
}

// A machine is where and of what a figure was taken.
type machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
	Commit string `json:"commit"` // of this tree, with -dirty where it was changed; empty outside of git
}

func (m machine) String() string {
	s := fmt.Sprintf("%s, %d cores, %s/%s, kernel %s, %s", m.CPU, m.Cores, runtime.GOOS, runtime.GOARCH, m.Kernel, m.Go)
	if m.Commit != "" {
		s += ", commit " + m.Commit
	}
	return s
}

// thisMachine describes this one; what cannot be found out stays empty.
func thisMachine() machine {
	m := machine{CPU: cpuModel(), Cores: runtime.NumCPU(), Go: runtime.Version()}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	if out, err := exec.Command("git", "describe", "--always", "--dirty", "--abbrev=10").Output(); err == nil {
		m.Commit = strings.TrimSpace(string(out))
	}
	return m
}

func cpuModel() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return "unknown processor"
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if key, value, _ := strings.Cut(lines.Text(), ":"); strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown processor"
}

// show prints the table, and below it what each row was held against.
func show(w io.Writer, results []result) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ROW\tOURS\t\tLIMIT\t\tUNIT\tRATIO\tGOAL\t")
	for _, r := range results {
		verdict := "met"
		if !r.Met {
			verdict = "NOT MET"
		}
		limit, between, ratio := "not measured", "", ""
		if r.Limit > 0 {
			limit, between, ratio = number(r.Limit), spread(r.LimitSpread), fmt.Sprintf("%.3g", r.Ratio)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n",
			r.Row, number(r.Ours), spread(r.Spread), limit, between, r.Unit, ratio, r.Goal, verdict)
	}
	_ = t.Flush() // where the table cannot be written, the results still can
	fmt.Fprintln(w)
	for _, r := range results {
		fmt.Fprintf(w, "%s: against %s", r.Row, r.Against)
		if r.Note != "" {
			fmt.Fprintf(w, "; %s", r.Note)
		}
		fmt.Fprintln(w)
	}
}

func spread(s [2]float64) string { return "[" + number(s[0]) + " … " + number(s[1]) + "]" }

// number shows three digits that mean something, and groups large ones.
func number(f float64) string {
	if f < 1000 {
		return fmt.Sprintf("%.3g", f)
	}
	digits := fmt.Sprintf("%.0f", f)
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return b.String()
}
