// Command digits trains a small neural network on handwritten digits: the job
// of souk's demo.
//
// It reads /in/digits.csv.gz, keeps a fifth of it aside, and trains on the rest;
// then it writes /out/model.bin, the network in the format of README.md, and
// /out/metrics.json, how well it does on what was kept aside. With the same
// settings it writes the same bytes on every host.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
)

func main() { os.Exit(run("/in", "/out", os.Getenv, os.Stdout, os.Stderr)) }

// settings are what the environment can change.
type settings struct {
	epochs int
	hidden int
	seed   uint64
}

// metrics is the content of metrics.json.
type metrics struct {
	Accuracy float64 `json:"accuracy"` // share of the images kept aside that are told right
	Epochs   int     `json:"epochs"`
	Loss     float64 `json:"loss"`  // mean cross-entropy over the last epoch
	Train    int     `json:"train"` // images trained on
	Test     int     `json:"test"`  // images kept aside
}

func run(in, out string, env func(string) string, stdout, stderr io.Writer) int {
	if err := train(in, out, env, stdout); err != nil {
		fmt.Fprintln(stderr, "digits:", err)
		return 1
	}
	return 0
}

func train(in, out string, env func(string) string, stdout io.Writer) error {
	s, err := readSettings(env)
	if err != nil {
		return err
	}
	f, err := os.Open(filepath.Join(in, "digits.csv.gz"))
	if err != nil {
		return err
	}
	defer f.Close()
	images, err := readImages(f)
	if err != nil {
		return fmt.Errorf("read %s: %w", f.Name(), err)
	}
	chance := rand.New(rand.NewPCG(s.seed, 0))
	training, test := split(images, chance)
	net := newNetwork(s.hidden, chance)
	fmt.Fprintf(stdout, "training %d-%d-%d on %d images, %d kept aside, %d epochs\n",
		pixels, s.hidden, classes, len(training), len(test), s.epochs)
	m := metrics{Epochs: s.epochs, Train: len(training), Test: len(test)}
	for epoch := range s.epochs {
		m.Loss = net.epoch(training, rate(epoch, s.epochs), chance)
		m.Accuracy = net.accuracy(test)
		fmt.Fprintf(stdout, "epoch %3d  loss %.4f  accuracy %.4f\n", epoch+1, m.Loss, m.Accuracy)
	}
	return write(out, net, m)
}

func readSettings(env func(string) string) (settings, error) {
	s := settings{epochs: 260, hidden: 192, seed: 1}
	for _, setting := range []struct {
		name string
		most uint64
		set  func(uint64)
	}{
		{"EPOCHS", 1_000_000, func(v uint64) { s.epochs = int(v) }},
		{"HIDDEN", 65_536, func(v uint64) { s.hidden = int(v) }},
		{"SEED", 1 << 62, func(v uint64) { s.seed = v }},
	} {
		text := env(setting.name)
		if text == "" {
			continue
		}
		value, err := strconv.ParseUint(text, 10, 64)
		if err != nil || value == 0 || value > setting.most {
			return s, fmt.Errorf("%s=%s: not a number from 1 to %d", setting.name, text, setting.most)
		}
		setting.set(value)
	}
	return s, nil
}

func write(out string, net *network, m metrics) error {
	var model bytes.Buffer
	net.write(&model)
	if err := os.WriteFile(filepath.Join(out, "model.bin"), model.Bytes(), 0o644); err != nil {
		return err
	}
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(out, "metrics.json"), append(text, '\n'), 0o644)
}
