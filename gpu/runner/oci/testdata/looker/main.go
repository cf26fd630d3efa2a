// Command looker is a job that says what it has of devices, and then does what it is told.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	nodes, _ := filepath.Glob("/dev/nvidia*")
	caps, _ := filepath.Glob("/dev/nvidia-caps/*")
	fmt.Println("nodes", strings.Join(append(nodes, caps...), " "))
	fmt.Println("library", os.Getenv("LD_LIBRARY_PATH"), "visible", os.Getenv("NVIDIA_VISIBLE_DEVICES"))
	program, _ := os.Readlink("/proc/self/exe")
	fmt.Println("process", os.Getpid(), program, "with", len(os.Args)-1, "arguments")
	var files []string
	for fd := range 64 {
		if to, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd)); err == nil {
			files = append(files, to)
		}
	}
	fmt.Println("files", strings.Join(files, " "))
	driver, _ := os.ReadDir("/.souk/driver")
	for _, d := range driver {
		fmt.Println("driver", d.Name())
	}
	gate, _ := os.ReadDir("/.souk/gate")
	for _, g := range gate {
		if err := os.WriteFile("/.souk/gate/"+g.Name()+"x", nil, 0o600); err == nil {
			fmt.Println("the gate can be written to")
		}
	}
	for _, n := range []string{"/dev/nvidia0", "/dev/nvidiactl"} {
		if err := os.Remove(n); err == nil {
			fmt.Println("a node can be removed")
		}
	}
	if len(os.Args) > 1 && os.Args[1] == "stay" {
		time.Sleep(time.Minute)
	}
	if len(os.Args) > 1 && os.Args[1] == "get" {
		get(os.Args[2:])
	}
}

// get asks for addresses through the proxy that it is told of, and then past it.
func get(addresses []string) {
	at, err := url.Parse(os.Getenv("http_proxy"))
	fmt.Println("proxy", at, err)
	through := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(at)}}
	for _, a := range addresses {
		res, err := through.Get("http://" + a)
		if err != nil {
			fmt.Println("through", a, err)
			continue
		}
		text, err := io.ReadAll(res.Body)
		fmt.Printf("through %s %d %.20s of %d %v\n", a, res.StatusCode, text, len(text), err)
		if c, err := net.Dial("tcp", a); err == nil {
			fmt.Println("past it", a, c.RemoteAddr())
		}
	}
}
