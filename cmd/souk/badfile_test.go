package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/souk-market/souk/cmd/souk/jobfile"
)

// What a value may be, and texts that are none of it. The first lists serve the
// flags too, which say the same words.
var (
	badSize       = []string{"4", "4G", "4Gb", "4gb", "1.5GB", "-1GB", "0GB", "9999999TB", "four"}
	badCores      = []string{"0", "-1", "many", "0.0001", "2000", "1,5"}
	badDevices    = []string{"-1", "one", "1.5", "65"}
	badSizes      = []string{"24", "48GB..24GB", "..", "24GB-48GB", "24GB..48", "-1GB.."}
	badCapability = []string{"8.95", "0", "nine", "9.0..8.0", ".."}
	badModel      = []string{"RTX/4090", "RTX_4090,,L40S", "-"}
	badAmount     = []string{"0", "-1", "free", "1e3", "0.0000001", "1,5", "$5", "99999999999999999999", "0.60/h"}
	badTime       = []string{"30", "soon", "1d", "-5s", "1 hour", "0.5ms", "99999h"}
	badTries      = []string{"-1", "many", "101", "1.5"}
	badName       = []string{"a b", "-x", strings.Repeat("x", 65)}
	badIsolation  = []string{"wsam", "gvsior", "docker"}
	badImage      = []string{"Python", "py thon", "python@3.13", "ipfs://bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fb", "python@sha256:12", "Python@sha256:" + strings.Repeat("0", 64)}
	badRegion     = []string{"eu", "Europe west", strings.Repeat("E", 17)}

	// Shapes of YAML that are no single value, no list of words, no mapping.
	noValue   = []string{"", "true", "[1]", "{a: 1}"}
	noWord    = []string{"", "true", "5", "[x]", "{a: x}"}
	noWords   = []string{"", "true", "5", "{a: x}", "[[x]]"}
	noMapping = []string{"", "true", "5", "x", "[x]"}
	noList    = []string{"", "true", "5", "x", "{a: x}"}
	notYet    = []string{"x", "[x]", "{a: x}"} // keys that no version acts on yet
)

// badKeys are wrong values of each key of the job file.
var badKeys = map[string][]string{
	"kind":               slices.Concat([]string{"jbo", "service", "Job"}, noWord),
	"name":               slices.Concat(badName, noWord),
	"image":              slices.Concat(badImage, noWord),
	"wasm":               slices.Concat([]string{"./missing.wasm", "./in.csv", "./full", `""`}, noWord),
	"run":                {"", "5", "true", `""`, "{a: x}", "[[x]]", "[true]", "train --epochs 5"},
	"env":                slices.Concat([]string{"{1A: x}", "{A: [1]}", "{A: true}", "{A: }", `{"A B": x}`}, noMapping),
	"secrets":            notYet,
	"registry_auth":      notYet,
	"gpu":                slices.Concat([]string{"{count: 0, vram: 24GB..}", "{count: 0, mixed: true}", "{model: [A, B], mixed: true}", "{count: 2, model: [A], mixed: true}", "{count: 2, model: [A, A], mixed: true}"}, noMapping),
	"gpu.count":          slices.Concat(badDevices, noValue),
	"gpu.vram":           slices.Concat(badSizes, noValue),
	"gpu.model":          slices.Concat(badModel, []string{"[RTX/4090]"}, noWords),
	"gpu.compute_cap":    slices.Concat(badCapability, noValue),
	"gpu.mixed":          append(slices.Clone(noBool), "true"),
	"gpu.slice":          slices.Concat([]string{"half", "hwole", "0.5", "1g", "0g.5gb", "A100"}, noValue),
	"cpu":                slices.Concat(badCores, noValue),
	"memory":             slices.Concat(badSize, []string{"5GB"}, noValue),
	"shm":                slices.Concat(badSize, []string{"600MB"}, noValue),
	"disk":               slices.Concat(badSize, noValue),
	"any_of":             slices.Concat([]string{"[]", "[{}]", "[x]"}, noList),
	"any_of[].region":    slices.Concat(badRegion, noWords),
	"any_of[].rtt_ms":    notYet,
	"data":               noMapping,
	"data.in":            slices.Concat([]string{"[x]", "[{to: /in}]", "[{}]"}, noList),
	"data.in[].from":     slices.Concat([]string{"./missing", "https://example.com/x", "ftp://example.com/x", `""`}, noWord),
	"data.in[].to":       slices.Concat([]string{"/etc", "in", "/inside", "/in/../etc", "/in//x"}, noWord),
	"data.out":           slices.Concat([]string{"[x]", "[{to: ./r}]", "[{from: /out}, {from: /out}]"}, noList),
	"data.out[].from":    slices.Concat([]string{"/in", "out", "/out/../etc", `""`}, noWord),
	"data.out[].to":      slices.Concat([]string{"./full", "./in.csv"}, noWord),
	"data.sync_every":    notYet,
	"network":            slices.Concat([]string{"nnoe", "declared", "host", "{declared: [\"example.org:443\"]}", "[\"a:1\"]"}, []string{"", "true", "5"}),
	"network.declared":   {"", "true", "5", "{a: x}", "[]", "[\"a:1\"]", "[example.org]", "[\"localhost:80\"]", "[\"Example.org:443\"]", "[\"example.org:25\"]", "[\"example.org:443\", \"example.org:443\"]", "[5]"},
	"isolation":          slices.Concat(badIsolation, []string{"oci"}, noWord),
	"price":              noMapping,
	"price.max_per_hour": slices.Concat(badAmount, noValue),
	"price.max_total":    slices.Concat(badAmount, noValue),
	"price.pay_every":    slices.Concat(badTime, noValue, []string{"100ms", "2h"}),
	"price.pay_ahead":    slices.Concat(badTime, noValue, []string{"2h"}),
	"limits":             noMapping,
	"limits.start_within": slices.Concat(badTime, noValue,
		[]string{"100ms", "25h"}),
	"limits.max_duration":   slices.Concat(badTime, noValue, []string{"1ms", "721h"}),
	"limits.hold_paused":    slices.Concat(badTime, noValue, []string{"25h"}),
	"limits.min_gpu_util":   slices.Concat([]string{"20", "20%", "0% over 10m", "101% over 10m", "20% over 10", "20% over 10s", "20% over 25h", "-1% over 10m", "20% in 10m", "20% over 10m"}, noValue),
	"retry":                 noMapping,
	"retry.on":              slices.Concat([]string{"provider-list", "always", "[]"}, noWords),
	"retry.max":             slices.Concat(badTries, noValue),
	"on_reclaim":            noMapping,
	"on_reclaim.notice":     slices.Concat(badTime, noValue, []string{"2h"}),
	"on_reclaim.checkpoint": slices.Concat([]string{"sginal", "always", "signal"}, noWord),
	"access":                noMapping,
	"access.exec":           {"", "true", "x", "1", "[true]", "{a: true}"},
	"access.ports":          slices.Concat([]string{"[8000]"}, noList),
	"port":                  notYet,
	"ready":                 notYet,
	"replicas":              notYet,
	"trust":                 noMapping,
	"trust.min_evidence":    slices.Concat([]string{"chalenged", "some"}, noWord),
}

// keyAt is a job file with one key at its place, and the line that it is on.
func keyAt(path, value string) string {
	base := "wasm: ./a.wasm\n"
	if strings.HasPrefix(path, "gpu") || path == "shm" || path == "network.declared" {
		base = "image: python@sha256:" + strings.Repeat("0", 64) + "\n"
	} else if path == "wasm" || path == "image" {
		base = "name: x\n"
	}
	parts := strings.Split(path, ".")
	text := value
	for i := len(parts) - 1; i > 0; i-- {
		text = fmt.Sprintf("{%s: %s}", strings.TrimSuffix(parts[i], "[]"), text)
		if strings.HasSuffix(parts[i], "[]") {
			text = fmt.Sprintf("{%s: %s}", strings.TrimSuffix(parts[i], "[]"), "["+strings.TrimSuffix(strings.SplitN(text, ": ", 2)[1], "}")+"]")
		}
		if beside := besideKeys[strings.Join(parts[:i+1], ".")]; beside != "" {
			text = strings.TrimSuffix(text, "}") + ", " + beside + "}"
		}
	}
	first := strings.TrimSuffix(parts[0], "[]")
	if first != parts[0] {
		text = "[" + text + "]"
	}
	return base + first + ": " + text + "\n"
}

// besideKeys must stand beside a key for the file to be right but for it.
var besideKeys = map[string]string{"data.in[].to": "from: ./in.csv", "data.out[].to": "from: /out"}

// TestBadJobFiles says what is wrong with each key of the job file: wrong types,
// units and ranges, a slip of the fingers, and the wrong mapping. A key without
// wrong values here fails it.
func TestBadJobFiles(t *testing.T) {
	r := newTrial(t)
	for _, key := range jobfile.Keys() {
		values, ok := badKeys[key]
		if !ok {
			t.Errorf("%s is a key of the job file: say in badKeys which values of it are wrong", key)
		}
		r.section("%s", key)
		for _, v := range values {
			src := keyAt(key, v)
			r.write("job.yaml", src)
			line := strings.Split(src, "\n")[1]
			r.placed("job.yaml", line, r.refused(line, "run", "--max-price", "1", "job.yaml"))
		}
		r.slip(key, keyAt)
		last := key[strings.LastIndexByte(key, '.')+1:]
		if !slices.Contains(jobfile.Keys(), last) {
			r.write("job.yaml", "wasm: ./a.wasm\n"+last+": x\n")
			said := r.refused(last+": x", "run", "job.yaml")
			if !strings.Contains(said, "its place is ") || !strings.Contains(said, "."+last) {
				t.Errorf("%s outside its mapping: no word of its place: %s", last, said)
			}
		}
	}
	for key := range badKeys {
		if !slices.Contains(jobfile.Keys(), key) {
			t.Errorf("badKeys has %s, which is no key of the job file", key)
		}
	}
	r.compare("job-file.txt", "What `souk run job.yaml` says to each key with a wrong value. The key is on line 2; each exits 2.")
}

// placed wants the fault's place before it and the line below it.
func (r *trial) placed(file, line, said string) {
	r.t.Helper()
	if !strings.HasPrefix(said, "souk: "+file+":2:") || !strings.Contains(said, "\n    2 | "+line+"\n") || !strings.HasSuffix(said, "^\n") {
		r.t.Errorf("%s: no place, or not the line: %s", line, said)
	}
}

// slip misspells the last word of a key's path, which must be told.
func (r *trial) slip(key string, at func(path, value string) string) {
	r.t.Helper()
	i := strings.LastIndexByte(key, '.') + 1
	last := key[i:]
	src := at(key[:i]+swapped(last), "x")
	r.write("job.yaml", src)
	line := strings.Split(src, "\n")[1]
	said := r.refused(line, "run", "job.yaml")
	r.placed("job.yaml", line, said)
	if !strings.Contains(said, fmt.Sprintf("did you mean %q?", last)) {
		r.t.Errorf("%s for %s: not told: %s", swapped(last), last, said)
	}
}

// TestBadFiles gives run what is no job file at all.
func TestBadFiles(t *testing.T) {
	r := newTrial(t)
	for _, src := range []string{
		"", "# nothing\n", "wasm: [", "wasm: {", "wasm: \"./a.wasm", "wasm: ./a.wasm\n\tname: x", "wasm: ./a.wasm\n name: x",
		"wasm: ./a.wasm: x", "wasm: @a", "wasm: %a", "wasm: ./a.wasm\nname", "wasm: ./a.wasm\nrun: [a, b\nname: x", "wasm: ./a.wasm\nenv: {A: b\nname: x",
		"wasm: *a", "wasm: &a ./a.wasm\nname: *a", "wasm: !!binary aGVsbG8=", "wasm: ./a.wasm\nname: !x y", "wasm: ./a.wasm\n---\nwasm: ./a.wasm",
		"wasm: ./a.wasm\nwasm: ./a.wasm", "- wasm: ./a.wasm", "./a.wasm", "wasm: ./a.wasm\n<<: {name: x}", "wasm: ./a.wasm\n[a]: b", "{\"wasm\": \"./a.wasm\", }}",
		"wasm: \"a\\qb\"", "wasm: a\x01b", "\xff\xfew\x00a\x00s\x00m\x00", "wasm: caf\xe9.wasm", "\x7fELF\x02\x01\x01\x00", "PK\x03\x04", "#!/bin/sh\necho hi\n",
	} {
		r.write("job.yaml", src)
		said := r.refused(fmt.Sprintf("%q", src), "run", "job.yaml")
		if !strings.HasPrefix(said, "souk: job.yaml:") {
			t.Errorf("%q: the file is not named: %s", src, said)
		}
	}
	r.write("job.yaml", "name: "+strings.Repeat("x", 1<<20))
	r.refused("a file of more than a mebibyte", "run", "job.yaml")
	r.refused("a folder", "run", "full")
	r.refused("nothing", "run", "missing.yaml")
	r.refused("an empty name", "run", "")
	r.compare("no-job-file.txt", "What `souk run job.yaml` says to files that are no job files; each exits 2.")
}

// badConfig are wrong values of each key of config.yaml.
var badConfig = map[string][]string{
	"listen":    slices.Concat(badAddresses, noWords),
	"bootstrap": slices.Concat(badAddresses, []string{"/ip4/127.0.0.1/tcp/4011", "/ip4/127.0.0.1/tcp/4011/p2p/12D3", "/ip4/127.0.0.1/tcp/4011/p2p/"}, noWords),
	"mdns":      noBool,
	"api":       slices.Concat(badHostPort, noWord),
	"provide":   noBool,
	"when_idle": noBool,
	"egress":    noBool,
	"price":     slices.Concat([]string{"{cpu: 1}", "{CPU: -1}", "{CPU: 0}", "{CPU: cheap}", "{CPU: }", "{CPU: [1]}", "{\"RTX 4090\": 1}", "{CPU: 2000000}"}, noMapping),
	"tariff": slices.Concat([]string{"{cpu: {reserved-ms: 1 per 1}}", "{CPU: {reserved-ms: 1 per 1}}", "{CPU: 5}", "{CPU: {token-out: 1 per 1}}", "{CPU: {parsec: 1 per 1}}",
		"{CPU: {reserved-ms: 1}}", "{CPU: {reserved-ms: 1 per 0}}", "{CPU: {reserved-ms: -1 per 1}}", "{CPU: {reserved-ms: 0 per 1}}", "{CPU: {reserved-ms: 1 per hour}}"}, noMapping),
	"payout":        slices.Concat(badAccount, noWord),
	"region":        slices.Concat(badRegion, noWord),
	"engine":        slices.Concat(badEngine, noWord),
	"devices":       slices.Concat([]string{"nvidia", "engines", "Souk"}, noWord),
	"chain":         slices.Concat(badURL, noWords),
	"chain_id":      slices.Concat([]string{"0", "-1", "mainnet", "1.5", "0x539", "99999999999999999999"}, noValue),
	"contracts":     noMapping,
	"confirmations": slices.Concat([]string{"0", "-1", "three", "1.5"}, noValue),
	"final_above":   slices.Concat([]string{"-1", "much", "1e3", "0.0000001"}, noValue),
	"devnet":        noBool,
	"devnet_listen": slices.Concat(badHostPort, noWord),

	"contracts.settlement":    slices.Concat(badAccount, noWord),
	"contracts.collector":     slices.Concat(badAccount, noWord),
	"contracts.token":         slices.Concat(badAccount, noWord),
	"contracts.anchors":       slices.Concat(badAccount, noWord),
	"contracts.token_name":    noWord,
	"contracts.token_version": noWord,
}

var (
	noBool       = []string{"", "maybe", "1", `"true"`, "yes", "[true]", "{a: true}"}
	badHostPort  = []string{"7071", "localhost", "127.0.0.1:", "127.0.0.1:99999", "127.0.0.1:http2x", "256.1.1.1:80", "http://127.0.0.1:7071", "127.0.0.1:-1"}
	badAddresses = []string{"here", "127.0.0.1:4011", "/ip4/127.0.0.1", "/ip4/300.0.0.1/tcp/4011", "/ip4/127.0.0.1/tcp/x", "/ip4/127.0.0.1/tcp/99999", "/ip4/127.0.0.1/tpc/4011"}
	badAccount   = []string{"0x123", "4020074e9dF2ce1deE5A9C1b5c3f541D02a10003", "0x4020074e9dF2ce1deE5A9C1b5c3f541D02a10004", "vitalik.eth",
		"0x0000000000000000000000000000000000000000"}
	badEngine = []string{"docker", "/run/docker.sock", "unix://run/docker.sock", "unix:///run/../docker.sock", "tcp://127.0.0.1:2375", "ssh://root@host", "unix://"}
	badURL    = []string{"127.0.0.1:8545", "ws://127.0.0.1:8545", "htpp://127.0.0.1:8545", "http://", "http://[::1", "http://127.0.0.1:port"}
)

// TestBadConfig says what is wrong with each key of config.yaml.
func TestBadConfig(t *testing.T) {
	r := newTrial(t)
	name := filepath.Join(r.home, configName)
	try := func(src string) string {
		r.write(name, src)
		line := strings.Split(src, "\n")[1]
		said := r.refused(line, "up")
		r.placed("$SOUK_HOME/config.yaml", line, said)
		return said
	}
	for _, key := range configPaths() {
		values, ok := badConfig[key]
		if !ok {
			t.Errorf("%s is a key of config.yaml: say in badConfig which values of it are wrong", key)
		}
		r.section("%s", key)
		at := func(path, value string) string {
			outer, inner, nested := strings.Cut(path, ".")
			if nested {
				return "# one key\n" + outer + ": {" + inner + ": " + value + "}\n"
			}
			return "# one key\n" + path + ": " + value + "\n"
		}
		for _, v := range values {
			try(at(key, v))
		}
		i := strings.LastIndexByte(key, '.') + 1
		said := try(at(key[:i]+swapped(key[i:]), "x"))
		if !strings.Contains(said, fmt.Sprintf("did you mean %q?", key[i:])) {
			t.Errorf("%s for %s: not told: %s", swapped(key[i:]), key, said)
		}
	}
	r.compare("config.txt", "What `souk up` says to each key of config.yaml with a wrong value. The key is on line 2; each exits 2.")
}
