package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/souk-market/souk/market"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// badFlags are wrong values of each flag that takes text, by command. Those of
// run that stand for a key of the job file come from badKeys' lists.
var badFlags = map[string][]string{
	"souk --home":                 {"./in.csv"},
	"souk --log-level":            {"loud", "wran", "5"},
	"souk up --price":             {"CPU", "CPU=", "cpu=1", "CPU=-1", "CPU=0", "CPU=cheap", "CPU=0.05,RTX_4090", "CPU=2000000", "=1", `"CPU=1`},
	"souk up --payout":            badAccount,
	"souk up --region":            badRegion,
	"souk up --engine":            badEngine,
	"souk up --devices":           {"", "nvidia", "engines", "Souk"},
	"souk up --listen":            badAddresses,
	"souk up --bootstrap":         append(slices.Clone(badAddresses), "/ip4/127.0.0.1/tcp/4011"),
	"souk up --chain":             badURL,
	"souk up --devnet-listen":     badHostPort,
	"souk up --api":               badHostPort,
	"souk challenge --class":      {"", "rtx_4090", "RTX 4090", "-"},
	"souk challenge --size":       {"0", "300", "65536", "-1", "big"},
	"souk challenge --rounds":     {"0", "1025", "-1", "many"},
	"souk doctor --report":        {"", "./full", "./missing/x.json"},
	"souk reclaim --notice":       {"-1s", "2h", "5", "soon"},
	"souk run --in":               {"", "./missing", "./in.csv:/in/../etc", "https://example.com/x"},
	"souk run --out":              {"", "./full", "./in.csv"},
	"souk run --env":              {"A", "1A=x", "=x", "A B=x"},
	"souk run --image":            {"", "UPPER", "a b", "ipfs://bafy", "python@sha256:12", "python"},
	"souk run --name":             badName,
	"souk run --cpu":              badCores,
	"souk run --memory":           append(slices.Clone(badSize), "5GB"),
	"souk run --disk":             badSize,
	"souk run --gpu":              append(slices.Clone(badDevices), "1"),
	"souk run --vram":             badSizes,
	"souk run --model":            badModel,
	"souk run --isolation":        append(slices.Clone(badIsolation), "oci"),
	"souk run --max-price":        badAmount,
	"souk run --max-total":        append(slices.Clone(badAmount), "5"),
	"souk run --pay-every":        append(slices.Clone(badTime), "100ms", "2h"),
	"souk run --start-within":     append(slices.Clone(badTime), "100ms", "25h"),
	"souk run --max-duration":     append(slices.Clone(badTime), "1ms", "721h"),
	"souk wallet deposit --to":    {"", "0x1234", "12D3 KooW", "lO0I"},
	"souk wallet history --after": {"-1", "soon", "1.5", "99999999999999999999"},
	"souk wallet history --limit": {"-1", "all", "1.5", "4294967296"},
}

// goodArgs are the arguments with which a command would go on, were it not for a flag.
var goodArgs = map[string][]string{
	"souk run": {"a.wasm"}, "souk logs": {"7f3a"}, "souk reclaim": {"GPU-1"}, "souk challenge": {"12D3"}, "souk add": {"in.csv"}, "souk wallet deposit": {"1", "--to", "12D3"},
}

// badArgs are wrong arguments of each command. One too many is tried of all.
var badArgs = map[string][][]string{
	"souk":                 {{"statsu"}, {"frobnicate"}, {"wlalet", "faucet"}, {"nurse"}},
	"souk demo":            nil,
	"souk init":            nil,
	"souk up":              nil,
	"souk status":          nil,
	"souk doctor":          nil,
	"souk gpus":            nil,
	"souk reclaim":         {{}, {""}, {"GPU-1", "--return", "--force"}, {"GPU-1", "--return", "--notice", "5s"}},
	"souk dashboard":       nil,
	"souk offers":          {{"--watch", "--explain"}},
	"souk challenge":       {{}, {"0x1234"}, {""}},
	"souk run":             {{}, {"a.wasm", "b.wasm"}, {"missing.yaml"}, {"job.yaml", "--", "--epochs", "5"}, {"a.wasm", "--epochs", "5"}, {"-y", "a.wasm"}, {"--detach", "a.wasm"}},
	"souk jobs":            nil,
	"souk job":             {{}, {"xyz"}, {"7F3A"}, {""}, {strings.Repeat("a", 65)}},
	"souk logs":            {{}, {"xyz"}, {"-f", "7F3A"}},
	"souk stop":            {{}, {"xyz"}},
	"souk get":             {{}, {"xyz"}, {"7f3a", "full"}, {"7f3a", "in.csv"}, {"7f3a", ""}, {someCID}},
	"souk add":             {{}, {""}, {"missing"}},
	"souk cat":             {{}, {"model.bin"}, {"bafkrei"}, {"/ipfs/x"}},
	"souk wallet":          {{"fuacet"}, {"wtihdraw", "x"}},
	"souk wallet faucet":   nil,
	"souk wallet deposit":  {{}, {"lots", "--to", "12D3"}, {"0", "--to", "12D3"}, {"-5", "--to", "12D3"}, {"1"}, {"0.0000001", "--to", "12D3"}},
	"souk wallet refund":   {{}, {"0x1234"}, {""}},
	"souk wallet withdraw": {{}, {"0x1234"}},
	"souk wallet channels": nil,
	"souk wallet history":  nil,
	"souk receipts":        {{"xyz"}},
	"souk receipt":         {{}, {"verfy", "x"}},
	"souk receipt verify":  {{}, {"missing.json"}, {"in.csv"}, {"full"}},
	"souk anchors":         nil,
	"souk help":            {{"wallte"}, {"wallet", "depsit"}},
}

const someCID = "bafkreifzjut3te7nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"

// commands calls f with each command that people can call.
func commands(f func(c *cobra.Command)) {
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Hidden {
			return
		}
		f(c)
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(newRoot(&app{env: os.Getenv, environ: os.Environ}))
}

// line is a command line as people would type it.
func line(args []string) string {
	shown := []string{"souk"}
	for _, a := range args {
		if a == "" || strings.ContainsAny(a, " \"'$*<>&|()[]{};`") {
			a = "'" + a + "'"
		}
		shown = append(shown, a)
	}
	return strings.Join(shown, " ")
}

func (r *trial) refusedLine(args ...string) string {
	r.t.Helper()
	return r.refused(line(args), args...)
}

// TestBadCommands calls each command by a slip of the fingers, and with wrong
// arguments. A command without an entry in badArgs fails it.
func TestBadCommands(t *testing.T) {
	r := newTrial(t)
	r.write("job.yaml", "wasm: ./a.wasm\n")
	commands(func(c *cobra.Command) {
		path := c.CommandPath()
		words := strings.Fields(path)[1:]
		r.section("%s", path)
		wrong, ok := badArgs[path]
		if !ok {
			t.Errorf("%s is a command: say in badArgs which arguments of it are wrong", path)
		}
		for _, args := range wrong {
			r.refusedLine(append(slices.Clone(words), args...)...)
		}
		if len(words) == 0 {
			return
		}
		if path != "souk offers" { // whose query may be many words
			r.refusedLine(append(slices.Clone(words), "bafy", "b", "c")...)
		}
		slip := slices.Clone(words)
		slip[len(slip)-1] = swapped(slip[len(slip)-1])
		if said := r.refusedLine(slip...); !strings.Contains(said, "did you mean "+words[len(words)-1]+"?") {
			t.Errorf("%s: not told: %s", line(slip), said)
		}
	})
	r.compare("commands.txt", "What souk says to commands and arguments that are wrong; each exits 2.")
}

// TestBadFlags gives each flag of each command wrong values, none, and a slip of
// the fingers. A flag that takes text and has no entry in badFlags fails it.
func TestBadFlags(t *testing.T) {
	r := newTrial(t)
	seen := make(map[string]bool)
	commands(func(c *cobra.Command) {
		flags := c.LocalNonPersistentFlags()
		if !c.HasParent() {
			flags = c.PersistentFlags()
		}
		flags.VisitAll(func(f *pflag.Flag) {
			if f.Name == "help" {
				return
			}
			name := c.CommandPath() + " --" + f.Name
			seen[name] = true
			r.section("%s", name)
			r.flag(c, f, badFlags[name])
		})
	})
	for name := range badFlags {
		if !seen[name] {
			t.Errorf("badFlags has %s, which is no flag", name)
		}
	}
	r.compare("flags.txt", "What souk says to wrong values of each flag, to one without a value, and to one mistyped; each exits 2.")
}

// flag tries one flag of one command.
func (r *trial) flag(c *cobra.Command, f *pflag.Flag, wrong []string) {
	r.t.Helper()
	words := strings.Fields(c.CommandPath())[1:]
	if len(words) == 0 {
		words = []string{"status"}
	}
	args := append(words, goodArgs[c.CommandPath()]...)
	switch {
	case f.Value.Type() == "bool":
		wrong = append(slices.Clone(wrong), "maybe", "2", "")
	case len(wrong) == 0:
		r.t.Errorf("%s --%s is a flag that takes text: say in badFlags which text is wrong", c.CommandPath(), f.Name)
	}
	for _, v := range wrong {
		said := r.refusedLine(append(slices.Clone(args), "--"+f.Name+"="+v)...)
		if !strings.Contains(said, "--"+f.Name) {
			r.t.Errorf("--%s=%s: the flag is not named: %s", f.Name, v, said)
		}
	}
	if f.NoOptDefVal == "" {
		r.refusedLine(append(slices.Clone(args), "--"+f.Name)...)
	}
	said := r.refusedLine(append(slices.Clone(args), "--"+swapped(f.Name)+"=x")...)
	if !strings.Contains(said, "did you mean --"+f.Name+"?") {
		r.t.Errorf("--%s for --%s: not told: %s", swapped(f.Name), f.Name, said)
	}
}

// TestBadVariables gives each variable of the environment wrong values, and
// names that are nearly one.
func TestBadVariables(t *testing.T) {
	r := newTrial(t)
	wrong := map[string][]string{"SOUK_PASSWORD_FILE": {"./missing", "./full", "./empty"}, "SOUK_PASSWORD": nil}
	r.write("empty", "")
	newRoot(&app{env: os.Getenv, environ: os.Environ}).PersistentFlags().VisitAll(func(f *pflag.Flag) {
		name := "SOUK_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		wrong[name] = badFlags["souk --"+f.Name]
		if f.Value.Type() == "bool" {
			wrong[name] = []string{"maybe", "2"}
		}
		if len(wrong[name]) == 0 {
			t.Errorf("%s has no wrong value", name)
		}
	})
	for _, name := range slices.Sorted(mapKeys(wrong)) {
		r.section("%s", name)
		for _, v := range wrong[name] {
			t.Run(name+"="+v, func(t *testing.T) {
				t.Setenv(name, v)
				r.refused(name+"="+v+" souk up", "up")
			})
		}
		slip := "SOUK_" + swapped(strings.TrimPrefix(name, "SOUK_"))
		t.Run(slip, func(t *testing.T) {
			t.Setenv(slip, "x")
			if said := r.refused(slip+"=x souk up", "up"); !strings.Contains(said, "did you mean "+name+"?") {
				t.Errorf("not told: %s", said)
			}
		})
	}
	r.compare("environment.txt", "What souk says to variables of the environment that are wrong; each exits 2.")
}

func mapKeys[V any](m map[string]V) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// badFields are wrong clauses about each field of a query.
var badFields = map[string][]string{
	"model":       {"model=RTX/4090", "model=", "model=,", "model>=L40S", "model=A,,B"},
	"slice":       {"slice=half", "slice=1g", "slice=1g.10gb,", "slice>=1g.10gb", "slice=0.5"},
	"vram":        {"vram>=24", "vram>=24Gb", "vram>=-1GB", "vram=48GB..24GB", "vram=..", "vram>=1.5GB", "vram=>24GB", "vram"},
	"compute_cap": {"compute_cap>=8.95", "compute_cap>=nine", "compute_cap=9.0..8.0", "compute_cap>=99999"},
	"count":       {"count>=-1", "count>=many", "count>=1.5", "count<0"},
	"free":        {"free>=-1", "free>=all"},
	"price":       {"price<=cheap", "price<=-1", "price<=1e3", "price<=0.0000001", "price<=$5", "price<0"},
	"region":      {"region=E/U", "region>EU", "region="},
	"evidence":    {"evidence>=some", "evidence>=chalenged", "evidence<none"},
	"runner":      {"runner=wsam", "runner=docker", "runner>=oci"},
	"cpu":         {"cpu>=-1", "cpu>=many", "cpu>=0.0001", "cpu>=99999"},
	"memory":      {"memory>=4", "memory>=4G", "memory>=four"},
	"disk":        {"disk>=4", "disk>=4gb", "disk>=four"},
	"duration":    {"duration>=30", "duration>=soon", "duration>=1d", "duration>=-5s", "duration>=99999999h"},
	"provider":    {"provider=", "provider=12D3!", "provider>=12D3"},
	"extension":   {"extension=", "extension=a_b", "extension>=mixed"},
	"together":    {"together=0", "together=65", "together=many", "together>=3", "together=2 together=2"},
	"score":       {"score>=-1", "score>=high"},
	"order":       {"order=", "order=modle", "order=model", "order=price,price", "order=-", "order>price", "order=price order=score"},
	"limit":       {"limit=0", "limit=-1", "limit=many", "limit=99999", "limit>5", "limit=1 limit=2"},
}

// TestBadQueries asks for each field of a query in wrong ways.
func TestBadQueries(t *testing.T) {
	r := newTrial(t)
	for _, field := range append(market.Fields(), "together", "order", "limit") {
		r.section("%s", field)
		if len(badFields[field]) == 0 {
			t.Errorf("%s is a field of queries: say in badFields which clauses about it are wrong", field)
		}
		for _, q := range badFields[field] {
			r.refusedLine("offers", q)
		}
		said := r.refusedLine("offers", swapped(field)+"=1")
		if !strings.Contains(said, fmt.Sprintf("did you mean %q?", field)) {
			t.Errorf("%s: not told: %s", field, said)
		}
	}
	r.section("and")
	for _, q := range []string{"vram >= 24GB", "=", ">=24GB", "4090", "model=L40S,price<=1", "price<=1;region=EU", strings.Repeat("count>=1 ", 33), strings.Repeat("x", 5000),
		"model=" + strings.Repeat("A,", 17) + "A"} {
		r.refused(fmt.Sprintf("souk offers '%.60s'", q), "offers", q)
	}
	r.refusedLine("offers", "--watch", "vrma>=24GB")
	r.compare("queries.txt", "What `souk offers` says to wrong queries; each exits 2.")
}
