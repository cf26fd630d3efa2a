package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/souk-market/souk/cmd/souk/process"
)

// ipfsProgram is where `make bench` builds the IPFS reference node.
const ipfsProgram = "bin/tools/ipfs"

// reference is two nodes of the IPFS reference implementation on loopback.
type reference struct {
	missing string // why there are none; empty: there are
	version string
	nodes   [2]*ipfsNode
}

// ipfsNode is one daemon.
type ipfsNode struct {
	cmd  *exec.Cmd
	home string
	api  string // base of its HTTP API
}

// openReference starts the nodes, if their program was built.
func openReference(dir string) (r *reference, err error) {
	program, err := filepath.Abs(ipfsProgram)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(program); err != nil {
		return &reference{missing: ipfsProgram + " is not built, which make bench does"}, nil
	}
	r = new(reference)
	defer func() {
		if err != nil {
			err = errors.Join(err, r.close())
		}
	}()
	out, err := exec.Command(program, "version", "-n").Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", program, err)
	}
	r.version = "kubo " + strings.TrimSpace(string(out))
	for i := range r.nodes {
		if r.nodes[i], err = startIPFS(program, filepath.Join(dir, fmt.Sprint("ipfs-", i))); err != nil {
			return nil, err
		}
	}
	var id struct{ Addresses []string }
	if err := r.nodes[0].call("id", nil, nil, &id); err != nil {
		return nil, err
	}
	if len(id.Addresses) == 0 {
		return nil, errors.New("the IPFS node listens nowhere")
	}
	return r, r.nodes[1].call("swarm/connect", url.Values{"arg": id.Addresses[:1]}, nil, nil)
}

// offline makes a node's configuration one that reaches for nobody.
func offline(home string) error {
	name := filepath.Join(home, "config")
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	var c map[string]any
	if err := json.Unmarshal(text, &c); err != nil {
		return err
	}
	c["Addresses"] = map[string]any{"API": "/ip4/127.0.0.1/tcp/0", "Gateway": nil,
		"Swarm": []string{"/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0"}}
	c["AutoConf"] = map[string]any{"Enabled": false}
	c["Bootstrap"] = []string{}
	c["DNS"] = map[string]any{"Resolvers": map[string]any{}}
	c["Routing"] = map[string]any{"Type": "none", "DelegatedRouters": []string{}}
	c["Ipns"] = map[string]any{"DelegatedPublishers": []string{}}
	c["Discovery"] = map[string]any{"MDNS": map[string]any{"Enabled": false}}
	if text, err = json.Marshal(c); err != nil {
		return err
	}
	return os.WriteFile(name, text, 0o600)
}

func startIPFS(program, home string) (n *ipfsNode, err error) {
	env := append(os.Environ(), "IPFS_PATH="+home)
	command := func(args ...string) *exec.Cmd {
		cmd := exec.Command(program, args...)
		cmd.Env = env
		return cmd
	}
	if out, err := command("init", "--empty-repo").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("ipfs init: %w\n%s", err, out)
	}
	if err := offline(home); err != nil {
		return nil, fmt.Errorf("configure %s: %w", home, err)
	}
	n = &ipfsNode{cmd: command("daemon"), home: home}
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := n.cmd.Start(); err != nil {
		return nil, fmt.Errorf("ipfs daemon: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	defer cancel()
	err = process.Until(ctx, func() (bool, error) {
		at, err := os.ReadFile(filepath.Join(home, "api"))
		if err != nil {
			return false, nil // not yet
		}
		port := at[bytes.LastIndexByte(at, '/')+1:]
		n.api = "http://127.0.0.1:" + strings.TrimSpace(string(port)) + "/api/v0/"
		return n.call("id", nil, nil, nil) == nil, nil
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("ipfs daemon: %w", err), n.close())
	}
	return n, nil
}

// call asks the node's API; file, where there is one, is what it gets as upload,
// and answer, if not nil, is what its JSON is read into.
func (n *ipfsNode) call(command string, query url.Values, file []byte, answer any) error {
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	if file != nil {
		part, err := form.CreateFormFile("file", "artefact")
		if err != nil {
			return err
		}
		part.Write(file) // into memory: it cannot fail
	}
	if err := form.Close(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, n.api+command+"?"+query.Encode(), &body)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", form.FormDataContentType())
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", command, res.Status, text)
	}
	if err != nil || answer == nil {
		return err
	}
	return json.Unmarshal(text, answer)
}

// transfer adds bytes like content to the first node and fetches them to the
// second. They differ each time, so that the second never has them.
func (r *reference) transfer(content []byte) (float64, error) {
	for i := 0; i < len(content); i += 256 << 10 {
		content[i] = byte(rand.Uint32())
		content[i+1] = byte(rand.Uint32())
	}
	var added struct{ Hash string }
	query := url.Values{"cid-version": {"1"}, "raw-leaves": {"true"}, "chunker": {"size-262144"}, "progress": {"false"}}
	if err := r.nodes[0].call("add", query, content, &added); err != nil {
		return 0, err
	}
	rate, err := megabytes(func() error {
		return r.nodes[1].call("pin/add", url.Values{"arg": {added.Hash}, "progress": {"false"}}, nil, nil)
	})
	for _, n := range r.nodes { // or the disk fills
		err = errors.Join(err, n.call("pin/rm", url.Values{"arg": {added.Hash}}, nil, nil), n.call("repo/gc", url.Values{"quiet": {"true"}}, nil, nil))
	}
	return rate, err
}

func (n *ipfsNode) close() error {
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	patience := time.AfterFunc(10*time.Second, func() { _ = n.cmd.Process.Kill() }) // one that has ended needs none
	defer patience.Stop()
	_ = n.cmd.Wait() // how it ended is its own affair
	return nil
}

func (r *reference) close() (err error) {
	for _, n := range r.nodes {
		if n != nil {
			err = errors.Join(err, n.close())
		}
	}
	return err
}
