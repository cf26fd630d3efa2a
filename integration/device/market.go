package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/souk-market/souk/cmd/souk/daemon"
	"github.com/souk-market/souk/cmd/souk/process"
	"github.com/souk-market/souk/gpu"
)

// loaded is the image as the daemons name it: no client may have a provider ask a
// registry on its own network, so the engine has it before, under this name.
const loaded = "localhost/souk/device"

// marketStage has a client find the card in a market of two daemons on loopback,
// challenge it, run a job on it, and pay for it by the interval.
func marketStage(ctx context.Context, s site, n *notes) (err error) {
	if _, err := s.lookup(ctx); err != nil {
		return err
	}
	d, err := s.card(ctx)
	if err != nil {
		return err
	}
	image, err := s.tag(ctx)
	if err != nil {
		return err
	}
	m, err := s.open(ctx, d)
	defer func() { err = errors.Join(err, m.close(s.Out)) }()
	if err != nil {
		return err
	}
	if err := process.Until(ctx, func() (bool, error) { return strings.Contains(m.said(ctx, "offers"), " "+d.Class+" "), nil }); err != nil {
		return fmt.Errorf("wait for an offer of %s: %w: %s", d.Class, err, m.said(ctx, "gpus"))
	}
	m.challenge(ctx, n, s, d) // before the job: a card that was leased is busy for a while
	if err := m.job(ctx, n, s, d, image); err != nil {
		return err
	}
	n.figure("PyTorch in a container", "skipped: souk shows a job no folder of the owner's, and the bundle has no image of it; the stage proof asks the owner's PyTorch for a ceiling")
	return nil
}

// tag gives the image a name that has no port.
func (s site) tag(ctx context.Context) (string, error) {
	image, err := os.ReadFile(filepath.Join(s.Work, imageName))
	if err != nil {
		return "", cannot("the stage container made no image")
	}
	if out, err := s.podman(ctx, s.program("podman"), "tag", string(image), loaded+":1").CombinedOutput(); err != nil {
		return "", fmt.Errorf("name the image: %w: %s", err, lastLine(out))
	}
	_, digest, _ := strings.Cut(string(image), "@")
	return loaded + "@" + digest, nil
}

// twoDaemons is a market.
type twoDaemons struct {
	dir           string
	seller, buyer *process.Daemon
}

// open starts the market, and gives both sides test tokens. Whoever calls it calls
// close, whatever it returns.
func (s site) open(ctx context.Context, d gpu.Device) (m twoDaemons, err error) {
	m.dir = filepath.Join(s.Work, "m")
	rpc, err := process.FreePort()
	if err == nil {
		err = os.Mkdir(m.dir, 0o755)
	}
	if err != nil {
		return m, err
	}
	m.seller = s.daemon(m.dir, "seller", "--devnet", "--devnet-listen", rpc, "--provide", "--engine", s.engineURL(), "--price", d.Class+"=2")
	if err = up(ctx, m.seller); err != nil {
		return m, err
	}
	address, err := m.seller.Address()
	if err != nil {
		return m, err
	}
	m.buyer = s.daemon(m.dir, "buyer", "--bootstrap", address, "--chain", "http://"+rpc)
	if err = up(ctx, m.buyer); err != nil {
		return m, err
	}
	return m, process.Fund(ctx, m.seller.Client, m.buyer.Client)
}

// daemon is one of the bundle's souk, which is told of the driver what this process is.
func (s site) daemon(dir, name string, args ...string) *process.Daemon {
	c := process.Config{Name: name, Home: filepath.Join(dir, name), Program: s.program("souk"), Args: append([]string{"--listen", "/ip4/127.0.0.1/tcp/0"}, args...)}
	for _, v := range os.Environ() {
		for _, prefix := range []string{"SOUK_NVML_", "SOUK_CUDA_", "SOUK_KERNEL_"} {
			if strings.HasPrefix(v, prefix) {
				c.Env = append(c.Env, v)
			}
		}
	}
	return process.New(c)
}

// up starts a daemon.
func up(ctx context.Context, d *process.Daemon) error {
	if err := d.Init(ctx); err != nil {
		return err
	}
	if err := d.Start(); err != nil {
		return err
	}
	return process.Ready(ctx, d)
}

// close ends the daemons, and keeps what they logged beside the report.
func (m twoDaemons) close(out string) error {
	var all []error
	for _, d := range []*process.Daemon{m.buyer, m.seller} {
		if d == nil {
			continue
		}
		all = append(all, d.Stop())
		if text, err := os.ReadFile(d.LogName()); err == nil {
			all = append(all, os.WriteFile(filepath.Join(out, d.Name+".log"), text, 0o644))
		}
	}
	return errors.Join(all...)
}

// said is what a command prints on the buyer's side.
func (m twoDaemons) said(ctx context.Context, args ...string) string {
	out, err := m.buyer.Command(ctx, args...).CombinedOutput()
	if err != nil {
		return err.Error() + " " + string(out)
	}
	return string(out)
}

// job runs one, and notes what it cost.
func (m twoDaemons) job(ctx context.Context, n *notes, s site, d gpu.Device, image string) error {
	seconds := "20"
	if s.Dry {
		seconds = "3"
	}
	command, err := json.Marshal(s.command(jobSpin, seconds))
	if err != nil {
		return err
	}
	file := filepath.Join(m.dir, "job.yaml")
	text := fmt.Sprintf("image: %s\nrun: %s\ngpu: {count: 1, model: [%s]}\nmemory: 1GB\ndisk: 50MB\nprice: {max_per_hour: 3, pay_every: 5s}\n", image, command, d.Class)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	began := time.Now()
	var stderr bytes.Buffer
	cmd := m.buyer.Command(ctx, "run", "--json", "-y", file)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("souk run: %w: %s %s", err, lastLine(out), lastLine(stderr.Bytes()))
	}
	n.figure("job, s", time.Since(began).Seconds())
	var end daemon.Result
	if err := json.Unmarshal([]byte(lastLine(out)), &end); err != nil {
		return fmt.Errorf("the end of the job: %w", err)
	}
	n.figure("job", end)
	if end.State != "done" || end.PaidAtoms == 0 || end.Receipts == 0 {
		n.problem("the job is %s, with %d atoms paid by %d receipts", end.State, end.PaidAtoms, end.Receipts)
	}
	return m.receipts(ctx, n, s, end.Job)
}

// receipts keeps those of a job beside the report, and has them verified.
func (m twoDaemons) receipts(ctx context.Context, n *notes, s site, job string) error {
	file := filepath.Join(s.Out, "receipts.json")
	out, err := m.buyer.Command(ctx, "receipts", "--json", job).Output()
	if err != nil {
		return fmt.Errorf("souk receipts: %w", err)
	}
	if err := os.WriteFile(file, out, 0o644); err != nil {
		return err
	}
	verified, err := m.buyer.Command(ctx, "receipt", "verify", file).CombinedOutput()
	if err != nil {
		n.problem("the receipts do not verify: %v %s", err, lastLine(verified))
	}
	n.figure("receipts verified", err == nil)
	return nil
}

// challenge asks the seller's card for a proof over the wire, of a small size: the
// stage proof fills its memory.
func (m twoDaemons) challenge(ctx context.Context, n *notes, s site, d gpu.Device) {
	if s.Dry && os.Getenv("SOUK_CUDA_LIBRARY") == "" {
		n.figure("challenge over the wire", "skipped: no stand-in of libcuda that computes")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 25*time.Second)
	defer cancel()
	size := "4096"
	if s.Dry {
		size = "256"
	}
	var last string
	err := process.Until(ctx, func() (bool, error) { // a card that was just found may not be ready
		var stderr bytes.Buffer
		cmd := m.buyer.Command(ctx, "challenge", "--json", "--class", d.Class, "--size", size, "--rounds", "3", m.seller.Status.Peer)
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		switch {
		case err == nil:
			last = lastLine(out)
		case ctx.Err() == nil:
			last = lastLine(stderr.Bytes())
		}
		return err == nil, nil
	})
	if err != nil {
		n.problem("souk challenge: %v: %s", err, last)
		return
	}
	n.figure("challenge over the wire", last)
}
