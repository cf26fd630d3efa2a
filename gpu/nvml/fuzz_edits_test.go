package nvml

import "testing"

// FuzzDecodeEdits reads whatever a child may say: what is taken shows a container
// nothing of the host but nodes and files, in their places.
func FuzzDecodeEdits(f *testing.F) {
	for _, seed := range []string{`{}`, `{"edits":{"Nodes":[{"Host":"/dev/nvidia0","Path":"/dev/nvidia0"}],"Files":[{"Host":"/a","Path":"/b"}],"Env":["A=1"],"Folder":"/.souk/driver"}}`, `{"error":"no"}`, `{"edits":{"Files":[{"Host":"/..","Path":"/x"}]}}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		if e, err := decodeEdits(line); err == nil && e.Validate() != nil {
			t.Errorf("%q gives %+v", line, e)
		}
	})
}
