// Command guest is the program that the contract test runs: its first argument
// says what it tries.
package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

func main() {
	does := map[string]func([]string) int{
		"hello": hello, "exit": exit, "memory": memory, "loop": loop, "blink": blink,
		"fill": fill, "grow": grow, "within": within, "in": in, "escape": escape,
		"same": same, "links": links, "trap": trap, "flood": flood,
	}
	f, ok := does[os.Args[1]]
	if !ok {
		fmt.Println("no such guest")
		os.Exit(99)
	}
	os.Exit(f(os.Args[2:]))
}

// hello shows what it was given and writes one file.
func hello(args []string) int {
	fmt.Printf("args %q\n", args)
	for _, v := range os.Environ() {
		fmt.Printf("env %q\n", v)
	}
	fmt.Fprintln(os.Stderr, "this is stderr")
	if data, err := os.ReadFile("/in/greeting"); err == nil {
		fmt.Printf("in %s\n", data)
	}
	if err := os.WriteFile("/out/greeting", []byte("hello"), 0o600); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

func exit(args []string) int {
	code, _ := strconv.Atoi(args[0])
	return code
}

// memory takes memory until there is none.
func memory([]string) int {
	var all [][]byte
	for {
		b := make([]byte, 4<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		all = append(all, b)
	}
}

// loop says that it runs and never ends.
func loop([]string) int {
	fmt.Println("looping")
	for n := uint64(0); ; n++ {
	}
}

// blink prints as long as it runs.
func blink([]string) int {
	for n := 0; ; n++ {
		fmt.Println(n)
		for range 10_000_000 {
			n ^= 1
		}
	}
}

// flood prints the given number of lines.
func flood(args []string) int {
	count, _ := strconv.Atoi(args[0])
	for n := range count {
		fmt.Printf("line %d\n", n)
	}
	return 0
}

// fill writes many small files.
func fill([]string) int {
	for n := 0; ; n++ {
		if err := os.WriteFile(fmt.Sprintf("/out/f%06d", n), make([]byte, 20_000), 0o600); err != nil {
			fmt.Println(err)
			return 1
		}
	}
}

// grow makes one large file without writing to it.
func grow([]string) int {
	if err := os.WriteFile("/out/hole", nil, 0o600); err != nil {
		fmt.Println(err)
		return 1
	}
	if err := os.Truncate("/out/hole", 1<<40); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// within writes more than its disk in all, never more than its disk at once.
func within([]string) int {
	for range 40 {
		if err := os.MkdirAll("/out/a/b", 0o700); err != nil {
			fmt.Println(err)
			return 1
		}
		for n := range 8 {
			if err := os.WriteFile(fmt.Sprintf("/out/a/b/f%d", n), make([]byte, 20_000), 0o600); err != nil {
				fmt.Println(err)
				return 1
			}
		}
		if err := os.Rename("/out/a/b/f0", "/out/a/b/f1"); err != nil {
			fmt.Println(err)
			return 1
		}
		if err := os.RemoveAll("/out/a"); err != nil {
			fmt.Println(err)
			return 1
		}
	}
	return 0
}

// in tries to change /in in every way.
func in([]string) int {
	_, create := os.Create("/in/new")
	tries := map[string]error{
		"create":   create,
		"write":    os.WriteFile("/in/greeting", []byte("changed"), 0o600),
		"truncate": os.Truncate("/in/greeting", 0),
		"remove":   os.Remove("/in/greeting"),
		"rename":   os.Rename("/in/greeting", "/in/other"),
		"move":     os.Rename("/in/greeting", "/out/other"),
		"mkdir":    os.Mkdir("/in/folder", 0o700),
		"link":     os.Link("/in/greeting", "/in/link"),
		"symlink":  os.Symlink("greeting", "/in/symlink"),
		"chtimes":  os.Chtimes("/in/greeting", time.Unix(1, 0), time.Unix(1, 0)),
	}
	return report(tries)
}

// escape tries to read the paths given in every way, and paths like them.
func escape(targets []string) int {
	tries := map[string]error{}
	up := strings.Repeat("../", 12)
	for _, target := range targets {
		for _, path := range []string{
			target, "/in/" + up + target, "/out/" + up + target, "/in/.." + target, "/out/./../" + target,
			"/out//" + up + target, "/in/escape" + target, "/in/folder/../../" + target,
		} {
			tries["read "+path] = read(path)
			_, err := os.ReadDir(path)
			if filepath.Clean(path) != "/in" && filepath.Clean(path) != "/out" {
				tries["list "+path] = err
			}
		}
	}
	for _, path := range []string{"/in/escape", "/in/absolute", "/in/up", "/in/chain", "/in/proc"} {
		tries["read "+path] = read(path)
		tries["write "+path] = os.WriteFile(path, []byte("x"), 0o600)
		_, err := os.Stat(path)
		tries["stat "+path] = err
	}
	for _, path := range []string{"/tmp/souk-escape", "/out/../souk-escape", "/out/../../souk-escape"} {
		tries["write "+path] = os.WriteFile(path, []byte("x"), 0o600)
		tries["mkdir "+path] = os.Mkdir(path, 0o700)
	}
	return report(tries)
}

// read shows what it could read.
func read(path string) error {
	text, err := os.ReadFile(path)
	if err == nil {
		fmt.Printf("%s: %.100q\n", path, text)
	}
	return err
}

// links tries to make names that lead elsewhere.
func links([]string) int {
	if err := os.WriteFile("/out/file", []byte("x"), 0o600); err != nil {
		fmt.Println(err)
		return 1
	}
	return report(map[string]error{
		"symlink absolute": os.Symlink("/etc/passwd", "/out/a"),
		"symlink up":       os.Symlink("../../../etc/passwd", "/out/b"),
		"symlink inside":   os.Symlink("file", "/out/c"),
		"link":             os.Link("/out/file", "/out/d"),
		"link from in":     os.Link("/in/greeting", "/out/e"),
	})
}

// report tells which tries were not refused.
func report(tries map[string]error) int {
	allowed := 0
	for name, err := range tries {
		if err == nil {
			fmt.Println("allowed:", name)
			allowed++
		}
	}
	fmt.Println("tried", len(tries))
	return allowed
}

// same prints everything that could tell two runs apart.
func same([]string) int {
	b := make([]byte, 16)
	if _, err := rand.Read(b); err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Printf("random %x\n", b)
	start := time.Now()
	time.Sleep(time.Hour)
	fmt.Println("clock", start.UTC(), time.Since(start) >= time.Hour)
	for _, name := range []string{"c", "a", "b"} {
		if err := os.WriteFile("/out/"+name, b, 0o600); err != nil {
			fmt.Println(err)
			return 1
		}
	}
	err := errors.Join(show("/in"), show("/out"))
	if err != nil {
		fmt.Println(err)
		return 1
	}
	keys := map[int]bool{}
	for n := range 20 {
		keys[n] = true
	}
	for n := range keys {
		fmt.Print(n, " ") // the order is random
	}
	fmt.Println()
	return 0
}

func show(root string) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		fmt.Println(path, info.Mode(), info.Size(), info.ModTime().UTC(), fmt.Sprint(info.Sys()))
		return nil
	})
}

// trap overflows the stack.
func trap([]string) int {
	fmt.Println(deeper(1))
	return 0
}

func deeper(n int) int {
	var pad [1024]int
	pad[n%len(pad)] = n
	return deeper(n+1) + pad[(n+1)%len(pad)]
}
