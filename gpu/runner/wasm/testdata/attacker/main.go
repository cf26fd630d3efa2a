// Command attacker tries to get past WASI: with paths, descriptors, sizes and
// pointers that no compiler would emit. It prints what was not refused.
package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

const (
	in, out = 3, 4 // the descriptors of its folders

	create, directory, truncate = 1, 2, 8
	follow                      = 1
	all                         = 1<<29 - 1 // every right there is
	nowhere                     = 0xffff_fff0
	most                        = 0xffff_ffff
)

var (
	word   [4]uint32 // what is returned, where nobody looks at it
	buffer [4096]byte
)

func main() {
	tries := slices.Concat(paths(), names(), readOnly(), descriptors(), pointers(), sockets())
	for _, t := range tries {
		if t.errno() == 0 {
			fmt.Println("allowed:", t.name)
		}
	}
	fmt.Println("tried", len(tries))
}

type try struct {
	name  string
	errno func() uint32
}

// open opens a path, and tells what became of it.
func open(fd uint32, path string, how uint32, rights uint64) uint32 {
	where, size := str(path)
	return pathOpen(fd, follow, where, size, how, rights, rights, 0, at(&word[0]))
}

// paths are read, as file and as folder, and made, from both folders.
func paths() (tries []try) {
	outside := os.Args[1]
	for _, path := range []string{
		"../canary", "..", "../..", "folder/../../canary", "./../canary", "folder/..//../canary", outside, outside + "/canary", "/", "/etc/passwd",
		strings.Repeat("../", 40) + "etc/passwd", "/proc/self/environ", "/proc/self/fd/0", "/in/../..", "up/canary", "absolute", "proc/self/environ",
		"..\x00", "greeting\x00/../../canary", "\xff\xfe", strings.Repeat("a/", 40_000), strings.Repeat("x", 70_000),
	} {
		for _, fd := range []uint32{in, out} {
			label := fmt.Sprintf("%.60q from descriptor %d", path, fd)
			tries = append(tries,
				try{"read " + label, func() uint32 { return open(fd, path, 0, 2) }},
				try{"list " + label, func() uint32 { return open(fd, path, directory, all) }},
				try{"make " + label, func() uint32 { return open(fd, path, create|truncate, all) }})
		}
	}
	return tries
}

// names moves, links, looks at and removes what lies outside.
func names() []try {
	two := func(f func(fd, a, b, to, c, d uint32) uint32, fd uint32, from string, to uint32, path string) func() uint32 {
		a, b := str(from)
		c, d := str(path)
		return func() uint32 { return f(fd, a, b, to, c, d) }
	}
	link := func(fd, a, b, to, c, d uint32) uint32 { return pathLink(fd, follow, a, b, to, c, d) }
	one := func(f func(fd, a, b uint32) uint32, fd uint32, path string) func() uint32 {
		a, b := str(path)
		return func() uint32 { return f(fd, a, b) }
	}
	stat := func(fd, a, b uint32) uint32 { return pathStat(fd, follow, a, b, at(&buffer[0])) }
	times := func(fd, a, b uint32) uint32 { return pathTimes(fd, follow, a, b, 0, 0, 2|8) }
	readlink := func(fd, a, b uint32) uint32 { return pathReadlink(fd, a, b, at(&buffer[0]), 4096, at(&word[0])) }
	return []try{
		{"move the canary in", two(pathRename, out, "../canary", out, "stolen")},
		{"move the folder in", two(pathRename, out, "..", out, "stolen")},
		{"move a file out", two(pathRename, out, "own", out, "../moved")},
		{"link the canary", two(link, out, "../canary", out, "linked")},
		{"link a file of the inputs", two(link, in, "greeting", out, "linked")},
		{"link a file out", two(link, out, "own", out, "../linked")},
		{"remove the canary", one(pathUnlink, out, "../canary")},
		{"remove the folder above", one(pathRmdir, out, "..")},
		{"make a folder outside", one(pathMkdir, out, "../made")},
		{"look at the canary", one(stat, out, "../canary")},
		{"look through a link", one(stat, in, "absolute")},
		{"change the canary's times", one(times, out, "../canary")},
		{"change times through a link", one(times, in, "absolute")},
		{"follow a link it made", throughLink},
		{"follow a folder's link it made", throughFolder},
		{"read a link outside", one(readlink, out, "../link")},
	}
}

// throughLink makes a link that leads out, and goes through it.
func throughLink() uint32 {
	target, targetLen := str(os.Args[1] + "/canary")
	name, size := str("leads-out")
	if errno := pathSymlink(target, targetLen, out, name, size); errno != 0 {
		return errno
	}
	return open(out, "leads-out", 0, 2)
}

func throughFolder() uint32 {
	target, targetLen := str("../../..")
	name, size := str("leads-up")
	if errno := pathSymlink(target, targetLen, out, name, size); errno != 0 {
		return errno
	}
	return open(out, "leads-up/etc/passwd", 0, 2)
}

// readOnly changes the inputs.
func readOnly() []try {
	path, size := str("greeting")
	fresh, freshSize := str("new")
	return []try{
		{"make an input", func() uint32 { return open(in, "new", create, all) }},
		{"empty an input", func() uint32 { return open(in, "greeting", truncate, all) }},
		{"write an input", func() uint32 {
			if open(in, "greeting", 0, all) != 0 {
				return 1
			}
			vector := [2]uint32{at(&buffer[0]), 1}
			return fdWrite(word[0], at(&vector[0]), 1, at(&word[1]))
		}},
		{"cut an input", func() uint32 {
			if open(in, "greeting", 0, all) != 0 {
				return 1
			}
			return fdTruncate(word[0], 0)
		}},
		{"remove an input", func() uint32 { return pathUnlink(in, path, size) }},
		{"rename an input", func() uint32 { return pathRename(in, path, size, in, fresh, freshSize) }},
		{"move an input to the outputs", func() uint32 { return pathRename(in, path, size, out, fresh, freshSize) }},
		{"make a folder among the inputs", func() uint32 { return pathMkdir(in, fresh, freshSize) }},
		{"link among the inputs", func() uint32 { return pathSymlink(path, size, in, fresh, freshSize) }},
		{"change an input's times", func() uint32 { return pathTimes(in, follow, path, size, 0, 0, 2|8) }},
	}
}

// descriptors uses those that it was not given, and more of those that it was.
func descriptors() []try {
	vector := [2]uint32{at(&buffer[0]), 1}
	return []try{
		{"read another descriptor", func() uint32 { return anyOf(fdRead) }},
		{"write to another descriptor", func() uint32 { return anyOf(fdWrite) }},
		{"write to its input", func() uint32 { return fdWrite(0, at(&vector[0]), 1, at(&word[1])) }},
		{"put a folder in the place of its output", func() uint32 { return fdRenumber(in, 1) }},
		{"put its output in the place of a folder", func() uint32 { return fdRenumber(1, in) }},
		{"renumber to the end", func() uint32 { return fdRenumber(out, 0x7fff_ffff) }},
		{"give a folder more rights", func() uint32 { return fdRights(in, all, all) }},
		{"raise a signal", func() uint32 { return raise(9) }},
	}
}

// anyOf tries all descriptors that were not given, but those opened since.
func anyOf(f func(fd, vectors, count, used uint32) uint32) uint32 {
	vector := [2]uint32{at(&buffer[0]), 1}
	for _, fd := range []uint32{1 << 10, 1 << 16, 1 << 20, 0x7fff_ffff, 0x8000_0000, most} {
		if f(fd, at(&vector[0]), 1, at(&word[0])) == 0 {
			return 0
		}
	}
	return 1
}

// pointers are not in the module's memory, or reach past its end.
func pointers() []try {
	bad, long := [2]uint32{nowhere, 64}, [2]uint32{at(&buffer[0]), most}
	return []try{
		{"write from nowhere", func() uint32 { return fdWrite(1, at(&bad[0]), 1, at(&word[0])) }},
		{"write what is too long", func() uint32 { return fdWrite(1, at(&long[0]), 1, at(&word[0])) }},
		{"write vectors from nowhere", func() uint32 { return fdWrite(1, nowhere, 1, at(&word[0])) }},
		{"write vectors without end", func() uint32 { return fdWrite(1, at(&bad[0]), most, at(&word[0])) }},
		{"read to nowhere", func() uint32 {
			if open(in, "greeting", 0, 2) != 0 {
				return 1
			}
			return fdRead(word[0], at(&bad[0]), 1, at(&word[1]))
		}},
		{"a path from nowhere", func() uint32 { return pathOpen(in, 0, nowhere, 64, 0, 2, 2, 0, at(&word[0])) }},
		{"a path without end", func() uint32 { return pathOpen(in, 0, at(&buffer[0]), most, 0, 2, 2, 0, at(&word[0])) }},
		{"list the inputs to nowhere", func() uint32 { return fdReaddir(in, nowhere, 64, 0, at(&word[0])) }},
		{"a folder's name to nowhere", func() uint32 { return fdPrestatName(in, nowhere, 3) }},
		{"a folder's name that is too long", func() uint32 { return fdPrestatName(in, at(&buffer[0]), most) }},
		{"arguments to nowhere", func() uint32 { return argsGet(nowhere, nowhere) }},
		{"an environment to nowhere", func() uint32 { return environGet(nowhere, nowhere) }},
		{"the time to nowhere", func() uint32 { return clockGet(0, 0, most) }},
		{"a clock that is none", func() uint32 { return clockGet(99, 0, at(&word[0])) }},
		{"another process's clock", func() uint32 { return clockGet(2, 0, at(&word[0])) }},
		{"random bytes to nowhere", func() uint32 { return randomGet(nowhere, 64) }},
		{"random bytes without end", func() uint32 { return randomGet(at(&buffer[0]), most) }},
		{"wait for nothing", func() uint32 { return poll(at(&buffer[0]), at(&buffer[0]), 0, at(&word[0])) }},
		{"wait for what is nowhere", func() uint32 { return poll(nowhere, nowhere, 4, at(&word[0])) }},
		{"wait for more than there can be", func() uint32 { return poll(at(&buffer[0]), at(&buffer[0]), most, at(&word[0])) }},
		{"a link to nowhere", func() uint32 { return pathSymlink(nowhere, 64, out, nowhere, 64) }},
		{"a state to nowhere", func() uint32 { return pathStat(in, 0, nowhere, 64, nowhere) }},
	}
}

// sockets takes its folders and outputs for connections.
func sockets() (tries []try) {
	vector := [2]uint32{at(&buffer[0]), 1}
	for _, fd := range []uint32{0, 1, in, out, 5, most} {
		tries = append(tries,
			try{fmt.Sprintf("accept on %d", int32(fd)), func() uint32 { return sockAccept(fd, 0, at(&word[0])) }},
			try{fmt.Sprintf("send on %d", int32(fd)), func() uint32 { return sockSend(fd, at(&vector[0]), 1, 0, at(&word[0])) }},
			try{fmt.Sprintf("receive on %d", int32(fd)), func() uint32 { return sockRecv(fd, at(&vector[0]), 1, 0, at(&word[0]), at(&word[1])) }})
	}
	return tries
}
