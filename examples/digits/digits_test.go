package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func load(t *testing.T) []image {
	t.Helper()
	f, err := os.Open("digits.csv.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	images, err := readImages(f)
	if err != nil {
		t.Fatal(err)
	}
	return images
}

func TestSplitKeepsEveryImage(t *testing.T) {
	images := load(t)
	if len(images) != 1797 {
		t.Fatalf("%d images", len(images))
	}
	training, test := split(images, rand.New(rand.NewPCG(1, 0)))
	if len(training)+len(test) != 1797 || len(test) != 1797/5 {
		t.Errorf("split into %d and %d", len(training), len(test))
	}
}

func TestAccuracyRises(t *testing.T) {
	chance := rand.New(rand.NewPCG(1, 0))
	training, test := split(load(t), chance)
	net := newNetwork(48, chance)
	before := net.accuracy(test)
	first, last := 0.0, 0.0
	const epochs = 15
	for epoch := range epochs {
		last = net.epoch(training, rate(epoch, epochs), chance)
		if epoch == 0 {
			first = last
		}
	}
	if after := net.accuracy(test); after < 0.88 || after <= before || last >= first/2 {
		t.Errorf("accuracy from %.3f to %.3f, loss from %.3f to %.3f", before, after, first, last)
	}
}

func TestSameSettingsSameBytes(t *testing.T) {
	in := t.TempDir()
	data, err := os.ReadFile("digits.csv.gz")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(in, "digits.csv.gz"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"EPOCHS": "2", "HIDDEN": "16"}
	var models [2][]byte
	for i := range models {
		var stdout, stderr bytes.Buffer
		out := t.TempDir()
		if code := run(in, out, func(name string) string { return env[name] }, &stdout, &stderr); code != 0 {
			t.Fatalf("exit %d: %s", code, stderr.String())
		}
		if got := strings.Count(stdout.String(), "epoch  "); got != 2 {
			t.Errorf("%d epochs in %q", got, stdout.String())
		}
		if models[i], err = os.ReadFile(filepath.Join(out, "model.bin")); err != nil {
			t.Fatal(err)
		}
		var m metrics
		text, err := os.ReadFile(filepath.Join(out, "metrics.json"))
		if err == nil {
			err = json.Unmarshal(text, &m)
		}
		if err != nil || m.Epochs != 2 || m.Train+m.Test != 1797 || m.Accuracy <= 0 || m.Loss <= 0 {
			t.Errorf("metrics %s, %v", text, err)
		}
	}
	if !bytes.Equal(models[0], models[1]) {
		t.Error("two runs, two models")
	}
	if want := len(magic) + 12 + 4*(pixels*16+16+16*classes+classes); len(models[0]) != want {
		t.Errorf("a model of %d bytes, want %d", len(models[0]), want)
	}
	if got := binary.LittleEndian.Uint32(models[0][len(magic)+4:]); got != 16 {
		t.Errorf("%d hidden units in the model", got)
	}
}

func TestBadSettings(t *testing.T) {
	for _, name := range []string{"EPOCHS", "HIDDEN", "SEED"} {
		for _, value := range []string{"0", "-1", "many", "99999999999999999999"} {
			env := func(asked string) string {
				if asked == name {
					return value
				}
				return ""
			}
			var stdout, stderr bytes.Buffer
			if code := run(t.TempDir(), t.TempDir(), env, &stdout, &stderr); code != 1 || !strings.Contains(stderr.String(), name) {
				t.Errorf("%s=%s: exit %d, %q", name, value, code, stderr.String())
			}
		}
	}
}

func TestShifted(t *testing.T) {
	var m image
	m.pixel[0] = 1
	if got := m.shifted(1, 2); got[2*side+1] != 1 || got[0] != 0 {
		t.Error("the pixel did not move")
	}
	if got := m.shifted(-1, 0); got != [pixels]float32{} {
		t.Error("the pixel did not leave")
	}
}
