package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/souk-market/souk/gpu/child"
)

// How a stage can end.
const (
	statusOK      = "ok"
	statusFailed  = "failed"  // souk, the driver or the card did otherwise than it must
	statusSkipped = "skipped" // not asked for here
	statusCannot  = "cannot"  // the machine lacks something
)

// stage is one part of the run.
type stage struct {
	name   string
	title  string        // for people
	within time.Duration // then it is ended
	do     func(context.Context, site, *notes) error
}

// stages lists them in their order. Their limits add up to less than what run.sh allows.
func stages() []stage {
	return []stage{
		{"facts", "what this machine is", 10 * time.Second, facts},
		{"engine", "the container engine of the bundle", 30 * time.Second, engine},
		{"probe", "the cards, by souk's probe and by nvidia-smi", 20 * time.Second, probe},
		{"edits", "what a container is given for a card", 15 * time.Second, edits},
		{"proof", "products, times, memory and energy of a challenge", 110 * time.Second, proof},
		{"container", "a container with exactly the leased card", 50 * time.Second, container},
		{"market", "two daemons: a job found, run, paid and proved", 90 * time.Second, marketStage},
		{"stop", "a kernel without end is stopped; an error of the job's", 30 * time.Second, stop},
		{"memory", "what one leaves in the card's memory, and the next finds", 50 * time.Second, memory},
	}
}

// outcome is what a stage came to: a line of report.jsonl.
type outcome struct {
	Stage   int            `json:"stage"`
	Name    string         `json:"name"`
	Status  string         `json:"status"`
	Seconds float64        `json:"seconds"`
	Figures map[string]any `json:"figures"`
	Errors  []string       `json:"errors"`
	StandIn bool           `json:"stand_in"` // the driver's libraries were stand-ins

	title string
}

// note is a line that a stage's process says.
type note struct {
	Figure string `json:"figure,omitempty"`
	Value  any    `json:"value,omitempty"`
	Error  string `json:"error,omitempty"`
	Status string `json:"status,omitempty"` // the last line
}

// notes are what a stage tells while it runs: what it has told counts however it ends.
type notes struct {
	out    *json.Encoder
	failed bool
}

func (n *notes) figure(name string, value any) { n.say(note{Figure: name, Value: value}) }

// problem tells of something that is not as it must be; the stage goes on.
func (n *notes) problem(format string, args ...any) {
	n.failed = true
	n.say(note{Error: fmt.Sprintf(format, args...)})
}

// say writes a line. A parent that is gone reads none.
func (n *notes) say(l note) { _ = n.out.Encode(l) }

// cannotError is a machine that lacks something.
type cannotError struct{ reason string }

func (e *cannotError) Error() string { return e.reason }

func cannot(format string, args ...any) error {
	return &cannotError{fmt.Sprintf(format, args...)}
}

// stageMain is the body of a stage's process. It returns the exit code.
func stageMain(ctx context.Context, s site, name string, stdout io.Writer) int {
	n := &notes{out: json.NewEncoder(stdout)}
	for _, st := range stages() {
		if st.name != name {
			continue
		}
		err := st.do(ctx, s, n)
		status := statusOK
		if _, lacks := errors.AsType[*cannotError](err); lacks {
			status = statusCannot
		} else if err != nil || n.failed {
			status = statusFailed
		}
		if err != nil {
			n.say(note{Error: err.Error()})
		}
		if status == statusCannot && n.failed {
			status = statusFailed
		}
		n.say(note{Status: status})
		return 0
	}
	return 2
}

// maxNote bounds a line of a stage in bytes.
const maxNote = 1 << 20

// runStage runs a stage in a process of its own and writes down what it says.
func runStage(ctx context.Context, command []string, index int, st stage) outcome {
	o := outcome{Stage: index, Name: st.name, Status: statusFailed, Figures: map[string]any{}, Errors: []string{}, title: st.title}
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, st.within)
	defer cancel()
	c, err := child.Start(child.Config{Command: command, Env: os.Environ(), MaxLine: maxNote})
	if err != nil {
		o.Errors = append(o.Errors, err.Error())
		return o
	}
	err = o.listen(ctx, c, st.within)
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("it did not end within %v", st.within)
	}
	if err != nil {
		o.Errors = append(o.Errors, err.Error())
	}
	if c.End() {
		o.Errors = append(o.Errors, child.ErrStuck.Error())
	}
	o.Seconds = time.Since(began).Seconds()
	return o
}

// listen reads until the stage has said how it ended.
func (o *outcome) listen(ctx context.Context, c *child.Child, within time.Duration) error {
	for {
		line, err := c.Next(ctx, within)
		if err != nil {
			return err
		}
		var l note
		switch err := json.Unmarshal(line, &l); {
		case err != nil:
			return fmt.Errorf("it said something else than a note: %w", err)
		case l.Status != "":
			o.Status = l.Status
			return nil
		case l.Error != "":
			o.Errors = append(o.Errors, l.Error)
		case l.Figure != "":
			o.Figures[l.Figure] = l.Value
		}
	}
}
