package oci

import (
	"strings"
	"testing"
)

// TestNotRun tells the last words of runc and crun from those of a job.
func TestNotRun(t *testing.T) {
	for _, tt := range []struct {
		name, stderr string
		exit         int
		want         bool
	}{
		{"runc, no program", "exec /guest: exec format error\n", 255, true},
		{"runc, no interpreter", "exec /script: no such file or directory", 255, true},
		{"crun, no program", "exec container process `/guest`: Exec format error", 1, true},
		{"crun, as JSON", "{\"msg\":\"exec container process `/guest`: Exec format error\",\"level\":\"error\",\"time\":\"2026-11-28T00:00:00Z\"}", 1, true},
		{"crun, missing", "{\"msg\":\"exec container process (missing dynamic library?) `/guest`: No such file or directory\",\"level\":\"error\"}", 127, true},
		{"it ended well", "exec /guest: exec format error", 0, false},
		{"it said more", "exec /guest: exec format error\nand more", 1, false},
		{"it said much", "exec /guest: exec format error" + strings.Repeat(" ", maxHead), 1, false},
		{"another word", "python: exec format error", 1, false},
		{"nothing", "", 255, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := new(sink)
			if _, err := s.Write([]byte(tt.stderr)); err != nil {
				t.Fatal(err)
			}
			if got := notRun(tt.exit, s); (got != "") != tt.want {
				t.Errorf("%q", got)
			}
		})
	}
}
