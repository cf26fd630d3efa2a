package oci

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/client"
)

const (
	askWithin  = 10 * time.Second // one question to an engine that needs no work of it
	findWithin = 30 * time.Second // all that is asked to find one; a loaded machine is slow
	maxMissed  = 2                // looks in a row that an engine may be too slow for
)

// Engine is the container engine of this machine, which may be away. Its methods
// may be called at once.
type Engine struct {
	urls []string

	mu    sync.Mutex // guards all below
	cli   *client.Client
	facts Facts
	away  error // why there is none to use; nil: there is
	slow  int   // looks in a row for which it was too slow
}

// NewEngine is the first of the engines at urls, such as unix:///run/docker.sock,
// that can be used. It talks to nobody: [Engine.Look] does.
func NewEngine(urls ...string) *Engine {
	return &Engine{urls: urls, away: errors.New("no container engine was looked for yet")}
}

// Places is where engines listen on this machine, the owner's own first.
func Places(env func(string) string) (urls []string) {
	if host := env("DOCKER_HOST"); host != "" {
		urls = append(urls, host)
	}
	sockets := []string{"/run/docker.sock", "/var/run/docker.sock", "/run/podman/podman.sock"}
	if dir := env("XDG_RUNTIME_DIR"); dir != "" {
		sockets = append(sockets, filepath.Join(dir, "docker.sock"), filepath.Join(dir, "podman", "podman.sock"))
	}
	for _, s := range sockets {
		urls = append(urls, "unix://"+s)
	}
	return urls
}

// Refusal is why there is no engine to use; nil: there is one.
func (e *Engine) Refusal() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.away
}

// Facts is what the engine is, as it was last seen.
func (e *Engine) Facts() Facts {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.facts
}

// Look finds the engine, or finds that it is away, and tells whether that changed.
func (e *Engine) Look(ctx context.Context) (changed bool) {
	ctx, cancel := context.WithTimeout(ctx, findWithin)
	defer cancel()
	cli, facts, err := e.find(ctx)
	e.mu.Lock()
	defer e.mu.Unlock()
	if errors.Is(err, context.DeadlineExceeded) && e.away == nil {
		if e.slow++; e.slow <= maxMissed {
			return false // it is there, and busy
		}
	}
	e.slow = 0
	changed = (err == nil) != (e.away == nil) || err != nil && err.Error() != e.away.Error()
	e.away = err
	if err == nil {
		if e.cli != nil {
			e.cli.Close() // what is under way goes on
		}
		e.cli, e.facts = cli, facts
	}
	return changed
}

// find takes the first engine that answers and can hold a job. The error tells of
// each that was found and refused, or that none was.
func (e *Engine) find(ctx context.Context) (*client.Client, Facts, error) {
	var refused []error
	for _, url := range e.urls {
		if path, ok := strings.CutPrefix(url, "unix://"); ok {
			if _, err := os.Stat(path); err != nil {
				if len(e.urls) == 1 {
					refused = append(refused, err)
				}
				continue // nobody listens
			}
		}
		cli, facts, err := dial(ctx, url)
		if err == nil {
			err = facts.usable()
		}
		if err == nil {
			return cli, facts, nil
		}
		refused = append(refused, fmt.Errorf("%s: %w", url, err))
	}
	if len(refused) == 0 {
		return nil, Facts{}, errors.New("no container engine answers on this machine: install Podman or Docker, or say where it is with --engine")
	}
	return nil, Facts{}, errors.Join(refused...)
}

// dial asks one engine what it is.
func dial(ctx context.Context, url string) (*client.Client, Facts, error) {
	if !strings.HasPrefix(url, "unix://") {
		return nil, Facts{}, errors.New("not on this machine, where the folders of jobs are: name its socket, unix:///PATH")
	}
	cli, err := client.New(client.WithHost(url))
	if err != nil {
		return nil, Facts{}, err
	}
	facts, err := ask(ctx, cli)
	if err != nil {
		cli.Close()
		return nil, Facts{}, err
	}
	facts.URL = url
	return cli, facts, nil
}

// ready is the facts of an engine that can be used now.
func (e *Engine) ready() (Facts, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.away != nil {
		return Facts{}, fmt.Errorf("the container engine: %w", e.away)
	}
	return e.facts, nil
}

// client is the connection; nil where there was never an engine.
func (e *Engine) client() *client.Client {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.cli
}
