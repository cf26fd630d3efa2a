// Command steps is the job that the crash test runs: so many small steps of real
// work, a line for each, and then a result that anyone can compute again.
package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"strconv"
)

func main() {
	if len(os.Args) != 4 {
		fail("want STEPS HASHES BYTES")
	}
	var n [3]int
	for i, text := range os.Args[1:] {
		var err error
		if n[i], err = strconv.Atoi(text); err != nil {
			fail(err)
		}
	}
	in, err := os.ReadFile("/in/salt")
	if err != nil {
		fail(err)
	}
	h := sha256.Sum256(in)
	for step := range n[0] {
		for range n[1] {
			h = sha256.Sum256(h[:])
		}
		fmt.Printf("step %d of %d: %x\n", step+1, n[0], h[:4])
	}
	var result []byte
	for len(result) < n[2] {
		result = append(result, h[:]...)
		h = sha256.Sum256(h[:])
	}
	if err := os.WriteFile("/out/result", result, 0o644); err != nil {
		fail(err)
	}
}

func fail(why any) {
	fmt.Fprintln(os.Stderr, "steps:", why)
	os.Exit(1)
}
