package gpu

import (
	"fmt"
	"slices"
	"strings"
)

// Seen is what a container shows of its devices, looked at from inside.
type Seen struct {
	Nodes []SeenNode `json:"nodes,omitempty"` // every device node of the vendor that is there
	IDs   []string   `json:"ids,omitempty"`   // of the devices that the driver shows
	Error string     `json:"error,omitempty"` // why the driver cannot be used there; empty: it can
}

// SeenNode is a device node that was opened.
type SeenNode struct {
	Path  string `json:"path"`
	Error string `json:"error,omitempty"` // why it cannot be opened; empty: it can
}

// Unlike says how a container differs from what it was to be given: exactly the nodes
// of e and the devices ids. It is empty where it does not.
func (s Seen) Unlike(e Edits, ids []string) string {
	for _, n := range s.Nodes {
		if n.Error != "" {
			return fmt.Sprintf("the leased device's node %.80s cannot be opened inside: %.120s", n.Path, n.Error)
		}
		if !slices.ContainsFunc(e.Nodes, func(given Node) bool { return given.Path == n.Path }) {
			return fmt.Sprintf("it shows the node %.80s, which was not leased", n.Path)
		}
	}
	for _, given := range e.Nodes {
		if !slices.ContainsFunc(s.Nodes, func(n SeenNode) bool { return n.Path == given.Path }) {
			return fmt.Sprintf("the leased device's node %.80s is missing inside", given.Path)
		}
	}
	if s.Error != "" {
		return fmt.Sprintf("the driver cannot be used inside: %.160s", s.Error)
	}
	for _, id := range ids {
		if !slices.Contains(s.IDs, id) {
			return "the driver does not show the leased device " + id + " inside"
		}
	}
	for _, id := range s.IDs {
		if !slices.Contains(ids, id) {
			return fmt.Sprintf("the driver shows %.60q inside, which was not leased", strings.ToValidUTF8(id, "?"))
		}
	}
	if len(s.IDs) != len(ids) {
		return "the driver shows a device twice inside"
	}
	return ""
}
