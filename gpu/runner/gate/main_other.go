//go:build !linux

package gate

import "io"

// Main is the body of both programs; containers are of linux alone.
func Main([]string, io.Writer, io.Writer, Inside) int { return 1 }
