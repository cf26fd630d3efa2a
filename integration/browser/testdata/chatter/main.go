// Command chatter writes a line now and then. A module's clock stands still while
// it works, so the time between two lines is work.
package main

import (
	"crypto/sha256"
	"fmt"
	"os"
)

const lines, work = 24, 120_000 // about a third of a second a line

func main() {
	var sum [sha256.Size]byte
	for i := range lines {
		for range work {
			sum = sha256.Sum256(sum[:])
		}
		fmt.Printf("line %d of %d: %x <b>plain</b>\n", i+1, lines, sum[:4])
	}
	fmt.Fprintln(os.Stderr, "that was all")
}
