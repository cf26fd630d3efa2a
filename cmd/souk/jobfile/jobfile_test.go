package jobfile_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/souk-market/souk/cmd/souk/jobfile"
	"github.com/souk-market/souk/cmd/souk/plainjson"
	"github.com/souk-market/souk/cmd/souk/yamlfile"
	"github.com/souk-market/souk/market"
)

var (
	noon  = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	nonce = [16]byte{1}
)

const digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func build(src string) (*jobfile.File, error) {
	s, err := jobfile.Parse([]byte(src), "job.yaml", "/jobs")
	if err != nil {
		return nil, err
	}
	return s.Build(noon, nonce)
}

func TestDefaults(t *testing.T) {
	f, err := build("wasm: ./train.wasm")
	if err != nil {
		t.Fatal(err)
	}
	got, err := plainjson.Marshal(f.Job)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"nonce":"01000000000000000000000000000000","name":"","wasm":"","image":"","args":[],"env":[],` +
		`"resources":{"gpu_count":0,"vram_min_bytes":0,"vram_max_bytes":0,"models":[],"compute_cap_min":0,"compute_cap_max":0,` +
		`"cpu_milli":1000,"memory_bytes":512000000,"disk_bytes":1000000000,"runners":["wasm"],"regions":[],"min_evidence":"none","mixed":false,"slice":""},` +
		`"input":"","outputs":[{"from":"/out"}],` +
		`"price":{"max_atoms_per_hour":0,"max_total_atoms":0,"pay_every_ms":10000,"pay_ahead_ms":0},` +
		`"limits":{"start_within_ms":300000,"max_duration_ms":3600000,"hold_paused_ms":30000,"min_gpu_util":0,"min_gpu_util_over_ms":0},` +
		`"retry":{"on":[],"max":0},"created_ms":1767355200000,"secrets":[],"gang_size":0,"shm_bytes":0}`
	if string(got) != want {
		t.Errorf("job = %s\nwant  %s", got, want)
	}
	if f.Wasm != "/jobs/train.wasm" || f.Capped || len(f.SaveTo) != 1 || f.SaveTo[0] != "" {
		t.Errorf("file = %+v", f)
	}
}

const everything = `
kind: job
name: digits
image: docker.io/library/python@` + digest + `
run: python train.py --out /out
env: {EPOCHS: "5", LR: 0.10, A: ""}
gpu: {count: 2, vram: 24GB.., model: [RTX_4090, l40s], compute_cap: 8.9..9.0, slice: whole, mixed: true}
cpu: 2.5
memory: 4GiB
shm: 2GiB
disk: 10GB
any_of: [{region: EU}, {region: US}]
data:
  in:  [{from: ./data, to: /in}, {from: /etc/hosts, to: /in/x/hosts}, {from: bafkreifzjut3te7nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e, to: /in/cid}]
  out: [{from: /out, to: ./result}, {from: /out/log}]
network: none
isolation: gvisor
price: {max_per_hour: 0.60, max_total: 5.00, pay_every: 30s, pay_ahead: 5s}
limits: {start_within: 2m, max_duration: 6h, hold_paused: 1m, min_gpu_util: 20% over 10m}
retry: {on: [provider-lost, reclaimed], max: 3}
trust: {min_evidence: challenged}
`

func TestEverything(t *testing.T) {
	f, err := build(everything)
	if err != nil {
		t.Fatal(err)
	}
	got, err := plainjson.Marshal(f.Job)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"nonce":"01000000000000000000000000000000","name":"digits","wasm":"","image":"docker.io/library/python@` + digest + `",` +
		`"args":["/bin/sh","-c","python train.py --out /out"],` +
		`"env":[{"name":"A","value":""},{"name":"EPOCHS","value":"5"},{"name":"LR","value":"0.10"}],` +
		`"resources":{"gpu_count":2,"vram_min_bytes":24000000000,"vram_max_bytes":0,"models":["RTX_4090","L40S"],` +
		`"compute_cap_min":89,"compute_cap_max":90,"cpu_milli":2500,"memory_bytes":4294967296,"disk_bytes":10000000000,` +
		`"runners":["gvisor"],"regions":["EU","US"],"min_evidence":"challenged","mixed":true,"slice":""},` +
		`"input":"","outputs":[{"from":"/out"},{"from":"/out/log"}],` +
		`"price":{"max_atoms_per_hour":600000,"max_total_atoms":5000000,"pay_every_ms":30000,"pay_ahead_ms":5000},` +
		`"limits":{"start_within_ms":120000,"max_duration_ms":21600000,"hold_paused_ms":60000,"min_gpu_util":20,"min_gpu_util_over_ms":600000},` +
		`"retry":{"on":["provider-lost","reclaimed"],"max":3},"created_ms":1767355200000,"secrets":[],"gang_size":0,"shm_bytes":2147483648}`
	if string(got) != want {
		t.Errorf("job = %s\nwant  %s", got, want)
	}
	inputs := []jobfile.Input{{"/jobs/data", ""}, {"/etc/hosts", "x/hosts"}, {"bafkreifzjut3te7nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e", "cid"}}
	for i, in := range inputs {
		if i >= len(f.Inputs) || f.Inputs[i] != in {
			t.Errorf("input %d = %+v; want %+v", i, f.Inputs, in)
		}
	}
	if len(f.SaveTo) != 2 || f.SaveTo[0] != "/jobs/result" || f.SaveTo[1] != "" || !f.Capped {
		t.Errorf("file = %+v", f)
	}
}

func TestTotalFollowsFromTheHour(t *testing.T) {
	f, err := build("wasm: a.wasm\nprice: {max_per_hour: 0.000001}\nlimits: {max_duration: 1m}")
	if err != nil || f.Job.Price.MaxTotalAtoms != 1 {
		t.Errorf("total = %v, %v; want 1 atom, rounded up", f, err)
	}
}

func TestRefuses(t *testing.T) {
	const w = "wasm: a.wasm\n"
	for _, tt := range []struct{ name, src, want string }{
		{"nothing to run", "name: x", "wasm or image is missing"},
		{"both", w + "image: a@" + digest, "job.yaml:2:8: image: stands beside wasm"},
		{"unknown key", w + "memroy: 1GB", `job.yaml:2:1: unknown key "memroy"; did you mean "memory"?`},
		{"unknown key in a mapping", w + "price: {max_per_gpu_hour: 1}", `2:9: price: unknown key "max_per_gpu_hour"`},
		{"image in capitals", "image: Python:3", "is not an image such as"},
		{"image by a short content id", "image: ipfs://bafybeigd", "is not ipfs:// and the content id of a folder"},
		{"image by content id with a path", "image: ipfs://bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi/x", "is not ipfs:// and the content id of a folder"},
		{"image by a short digest", "image: python@sha256:12", "is not an image such as"},
		{"shell for a module", w + "run: train --fast", "2:6: run: a module has no shell: write its arguments as a list, run: [train, --fast]"},
		{"number for a name", w + "name: 5", "put it in quotes"},
		{"bad name", w + "name: a b", "is not a name"},
		{"memory without unit", w + "memory: 4", "not a size"},
		{"memory past a module", w + "memory: 5GiB", "at most 4GiB"},
		{"shm past the memory", "image: a@" + digest + "\nmemory: 1GB\nshm: 2GB", "job.yaml:3:6: shm: 2GB is more than memory"},
		{"shm of a module", w + "shm: 1MB", "2:6: shm: a module has no /dev/shm"},
		{"zero memory", w + "memory: 0GB", "0GB is not between 1B and 1024TiB"},
		{"bad cpu", w + "cpu: many", "number of cores"},
		{"zero cpu", w + "cpu: 0", "number of cores"},
		{"cpu in ten thousandths", w + "cpu: 0.0001", "number of cores"},
		{"negative price", w + "price: {max_per_hour: -1}", "price must not be negative"},
		{"free", w + "price: {max_per_hour: 0}", "price must be above zero"},
		{"a price in exponents", w + "price: {max_per_hour: 1e3}", "not an amount"},
		{"seven decimals", w + "price: {max_per_hour: 0.0000001}", "at most 6 decimals"},
		{"a total alone", w + "price: {max_total: 1}", "needs price.max_per_hour"},
		{"too much money", w + "price: {max_per_hour: 9223372036854}\nlimits: {max_duration: 720h}", "out of range"},
		{"time without unit", w + "limits: {max_duration: 30}", "with a unit"},
		{"too short", w + "limits: {max_duration: 1ms}", "is not between"},
		{"pays later than it runs", w + "price: {max_per_hour: 1, pay_every: 1h}\nlimits: {max_duration: 1m}", "longer than limits.max_duration"},
		{"gpu for a module", w + "gpu: {count: 1}", "a module cannot use a GPU"},
		{"one device of several classes", "image: a@" + digest + "\ngpu: {mixed: true}", "2:14: gpu.mixed: one device is of one class"},
		{"several classes of one", "image: a@" + digest + "\ngpu: {count: 2, model: A100, mixed: true}", "model names A100 alone"},
		{"mixed in quotes", "image: a@" + digest + "\ngpu: {count: 2, mixed: \"true\"}", "not true or false"},
		{"gpu without count", "image: a@" + digest + "\ngpu: {count: 0, vram: 24GB..}", "count is 0"},
		{"half a device", "image: a@" + digest + "\ngpu: {slice: half}", "leased are whole devices and MIG slices"},
		{"a range the wrong way", "image: a@" + digest + "\ngpu: {vram: 48GB..24GB}", "ends below its start"},
		{"an empty range", "image: a@" + digest + "\ngpu: {vram: ..}", "not a range"},
		{"capability", "image: a@" + digest + "\ngpu: {compute_cap: 8.95}", "compute capability"},
		{"isolation that does not fit", w + "isolation: oci", "does not fit"},
		{"unknown isolation", w + "isolation: wsam", `did you mean "wasm"?`},
		{"env with a bad name", w + "env: {1A: x}", "not a variable's name"},
		{"env with a bool", w + "env: {A: true}", "put it in quotes"},
		{"in elsewhere", w + "data: {in: [{from: a, to: /etc}]}", "not /in or below"},
		{"in climbing", w + "data: {in: [{from: a, to: /in/../etc}]}", "not a plain path"},
		{"in twice", w + "data: {in: [{from: a, to: /in/x}, {from: b, to: /in/x}]}", "two entries go to /in/x"},
		{"in without from", w + "data: {in: [{to: /in}]}", "from is missing"},
		{"out elsewhere", w + "data: {out: [{from: /in}]}", "not /out or below"},
		{"out twice", w + "data: {out: [{from: /out}, {from: /out}]}", "is there twice"},
		{"outs to one place", w + "data: {out: [{from: /out/a, to: r}, {from: /out/b, to: ./r}]}", "two outputs go to"},
		{"an alternative that is empty", w + "any_of: [{}]", "is empty"},
		{"no alternative", w + "any_of: []", "no offer could match"},
		{"region in small letters", w + "any_of: [{region: eu}]", "in capitals"},
		{"retry for nothing", w + "retry: {on: []}", "is empty"},
		{"retry on what is not", w + "retry: {on: [provider-list]}", `did you mean "provider-lost"?`},
		{"evidence", w + "trust: {min_evidence: some}", "none, challenged, attested"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if f, err := build(tt.src); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("build = %v, %v; want an error with %q", f, err, tt.want)
			}
		})
	}
}

func TestUnavailable(t *testing.T) {
	const w = "wasm: a.wasm\n"
	for _, src := range []string{
		"kind: service", "secrets: [HF_TOKEN]", "registry_auth: ghcr.io", "data: {sync_every: 60s}",
		"any_of: [{rtt_ms: ..60}]",
		"data: {in: [{from: \"https://example.com/x\", to: /in}]}", "gpu: {slice: half}",
		"access: {exec: true}", "access: {ports: [8000]}", "port: 8000", "ready: {http: /health}", "replicas: 1",
	} {
		t.Run(src, func(t *testing.T) {
			if _, err := build(w + src); !errors.Is(err, jobfile.ErrUnavailable) || !strings.HasPrefix(err.Error(), "job.yaml:2:") {
				t.Errorf("build = %v; want ErrUnavailable with its place", err)
			}
		})
	}
}

// TestComing says what a file gets that asks for what is to come: a word before
// anything is sent where this version could not do its own part, and otherwise an
// order that lists the extension, which no provider of this version bids on.
func TestComing(t *testing.T) {
	const wasm = "wasm: a.wasm\n"
	coming := map[string]struct {
		src     string
		refused string // what the error names; empty: it is carried
	}{
		market.ExtensionEvidence:   {wasm + "trust: {min_evidence: attested}", ""},
		market.ExtensionAccess:     {wasm + "access: {exec: true, ports: [8000]}", "access.exec: is not available"},
		market.ExtensionSecrets:    {wasm + "secrets: [HF_TOKEN]", "secrets: is not available"},
		market.ExtensionCheckpoint: {wasm + "data: {sync_every: 60s}", "data.sync_every: is not available"},
		market.ExtensionService:    {"kind: service\n" + wasm, "kind: service is not available"},
		market.ExtensionGang:       {wasm + "gang: 2", `unknown key "gang"`}, // no key of the file asks for one
	}
	for name, tt := range coming {
		f, err := build(tt.src)
		switch {
		case tt.refused != "" && (err == nil || !strings.Contains(err.Error(), tt.refused)):
			t.Errorf("%s: %v; want %q", name, err, tt.refused)
		case tt.refused == "" && (err != nil || !slices.Contains(market.JobExtensions(f.Job), name)):
			t.Errorf("%s: %v; want a job that lists it", name, err)
		}
	}
	if len(coming) != len(market.ComingExtensions()) {
		t.Errorf("%d extensions are to come; say here what the file of each gets", len(market.ComingExtensions()))
	}
	plain, err := build(wasm + "network: none\nisolation: wasm\naccess: {exec: false, ports: []}\ntrust: {min_evidence: none}")
	if err != nil || len(market.JobExtensions(plain.Job)) > 0 {
		t.Errorf("a plain job: %v", err)
	}
}

// TestImages are named by digest, or by a tag whose digest is found later.
func TestImages(t *testing.T) {
	for src, want := range map[string][2]string{ // image and tag
		"image: a@" + digest: {"a@" + digest, ""},
		"image: ipfs://bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi": {"ipfs://bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi", ""},
		"image: python":                       {"", "python"},
		"image: ghcr.io/me/mine:1.2":          {"", "ghcr.io/me/mine:1.2"},
		"image: localhost:5000/x:1\nrun: [x]": {"", "localhost:5000/x:1"},
	} {
		f, err := build(src)
		if err != nil || f.Job.Image != want[0] || f.Tag != want[1] {
			t.Errorf("%q: %+v, %v", src, f, err)
		}
	}
	f, err := build("image: a@" + digest + "\nrun: python train.py --out /out")
	if err != nil || !slices.Equal(f.Job.Args, []string{"/bin/sh", "-c", "python train.py --out /out"}) {
		t.Errorf("a command for the shell: %q, %v", f.Job.GetArgs(), err)
	}
	if want := []string{market.ExtensionImage, market.ExtensionIsolation}; !slices.Equal(market.JobExtensions(f.Job), want) {
		t.Errorf("it needs %q, want %q", market.JobExtensions(f.Job), want)
	}
}

// TestNetwork reads the hosts that an image reaches.
func TestNetwork(t *testing.T) {
	f, err := build("image: a@" + digest + "\nnetwork: {declared: [example.org:443, \"*.example.net:8443\"]}")
	if err != nil || !slices.Equal(f.Job.GetNetwork().GetHosts(), []string{"example.org:443", "*.example.net:8443"}) || !slices.Contains(market.JobExtensions(f.Job), market.ExtensionNetwork) {
		t.Errorf("%v, %v", f, err)
	}
	if f, err := build("image: a@" + digest + "\nnetwork: none"); err != nil || f.Job.Network != nil {
		t.Errorf("none: %v, %v", f, err)
	}
}

func TestExample(t *testing.T) {
	name := filepath.Join("..", "..", "..", "examples", "digits", "job.yaml")
	src, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := build(string(src)); err != nil {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(everything)
	f.Add("wasm: ./train.wasm\nrun: [--epochs, 5]\nprice: {max_per_hour: 0.5}")
	f.Add("a: &a [*a, *a]")
	f.Fuzz(func(t *testing.T, src string) {
		file, err := build(src)
		if err != nil {
			if _, ok := errors.AsType[*yamlfile.Error](err); !ok || !strings.HasPrefix(err.Error(), "job.yaml:") {
				t.Errorf("%q: %v has no place in the file", src, err)
			}
			return
		}
		if _, err := plainjson.Marshal(file.Job); err != nil {
			t.Errorf("job cannot be written: %v", err)
		}
		if file.Capped && file.Job.Price.MaxTotalAtoms == 0 {
			t.Error("capped, with no total")
		}
		if len(file.SaveTo) != len(file.Job.Outputs) {
			t.Error("outputs and their places differ in number")
		}
	})
}
