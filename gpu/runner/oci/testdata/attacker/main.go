// Command attacker tries to get out of its container, or to take more than it may:
// its first argument says what it tries. "all" tries all that leaves it running,
// and says of each whether it was refused.
package main

import (
	"fmt"
	"os"
	"slices"
	"time"
)

// host is what it is told of its host, as an attacker could guess it.
type host struct {
	canary string // a file
	pid    int    // of the runner
	port   string // on which something listens on loopback
	socket string // of the container engine
}

func main() {
	args := os.Args[2:]
	if f, ok := bombs[os.Args[1]]; ok {
		os.Exit(f(args))
	}
	if os.Args[1] != "all" {
		fmt.Println("no such attempt")
		os.Exit(99)
	}
	h := host{canary: args[0], port: args[2], socket: args[3]}
	fmt.Sscan(args[1], &h.pid)
	allowed := 0
	tries := slices.Concat(files(h), devices(), kernel(), processes(h), network(h), calls())
	for _, t := range tries {
		if got := t.try(); got != "" {
			allowed++
			fmt.Printf("ALLOWED %s: %s\n", t.name, got)
		}
	}
	fmt.Println("tried", len(tries))
	os.Exit(min(allowed, 99))
}

// attempt is one try. It returns what it got; nothing: it was refused.
type attempt struct {
	name string
	try  func() string
}

// refused makes an attempt of a call that must fail.
func refused(name string, call func() error) attempt {
	return attempt{name, func() string {
		if err := call(); err != nil {
			return ""
		}
		return "it worked"
	}}
}

// write writes to what is there already.
func write(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(text)
	return err
}

// reads is an attempt to read something that must be missing or empty.
func reads(path string) attempt {
	return attempt{"read " + path, func() string {
		f, err := os.Open(path)
		if err != nil {
			return ""
		}
		defer f.Close()
		b := make([]byte, 100)
		if n, _ := f.Read(b); n > 0 {
			return fmt.Sprintf("%q", b[:n])
		}
		return ""
	}}
}

// forever keeps it running.
func forever() int {
	for {
		time.Sleep(time.Hour)
	}
}
