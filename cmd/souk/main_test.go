package main

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/souk-market/souk/cmd/souk/daemon"
	"github.com/souk-market/souk/cmd/souk/process"
	"github.com/souk-market/souk/gpu/nvml"
	"github.com/souk-market/souk/gpu/nvml/nvmltest"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"souk": func() {
			ctx, stop := signalled()
			code := runAhead(ctx, os.Getenv("CLOCK_AHEAD"))
			stop()
			os.Exit(code)
		},
	})
}

// runAhead is run on a machine whose clock is ahead by a time, such as -1h.
func runAhead(ctx context.Context, ahead string) int {
	if ahead == "" {
		return run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	}
	d, err := time.ParseDuration(ahead)
	if err != nil {
		panic(err)
	}
	return execute(ctx, os.Args[1:], &app{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, env: os.Getenv, environ: os.Environ,
		now: func() time.Time { return time.Now().Add(d) }})
}

// TestScript runs the stories: one file, one story.
func TestScript(t *testing.T) { tell(t, "script", nil) }

// tell runs the stories of a folder, with variables beside those of every story.
func tell(t *testing.T, folder string, more map[string]string) {
	t.Helper()
	dir := t.TempDir()
	library := sync.OnceValues(func() (*nvmltest.Library, error) { return nvmltest.Build(dir) })
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", folder),
		Setup: func(e *testscript.Env) error {
			for name, value := range more {
				e.Setenv(name, value)
			}
			rpc, err := process.FreePort()
			if err != nil {
				return err
			}
			repo, err := filepath.Abs(filepath.Join("..", ".."))
			e.Setenv("RPC", rpc)
			e.Setenv("REPO", repo)
			e.Setenv("USERHOME", os.Getenv("HOME")) // where Go keeps what it has built
			e.Setenv("HOME", filepath.Join(e.WorkDir, "home"))
			e.Setenv("SOUK_HOME", filepath.Join(e.WorkDir, "souk"))
			return err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"ready":      ready,
			"cuda":       cuda,
			"eventually": eventually,
			"capture":    capture,
			"request":    request,
			"driver":     func(ts *testscript.TestScript, _ bool, args []string) { driver(ts, library, args) },
			"installed":  func(ts *testscript.TestScript, _ bool, args []string) { installed(ts, library, args) },
		},
	})
}

// within bounds each wait of a story for another process.
const within = 30 * time.Second

// ready HOME NAME waits for the daemon of a home and sets NAME_PEER and NAME_ADDR.
func ready(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	d := process.New(process.Config{Name: args[0], Home: ts.MkAbs(args[0])})
	ts.Check(process.Ready(ctx, d))
	address, err := d.Address()
	ts.Check(err)
	ts.Setenv(args[1]+"_PEER", d.Status.Peer)
	ts.Setenv(args[1]+"_ADDR", address)
}

// eventually REGEXP COMMAND… repeats a command until its output matches.
func eventually(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	want := regexp.MustCompile("(?m)" + args[0])
	err := process.Until(ctx, func() (bool, error) {
		return ts.Exec(args[1], args[2:]...) == nil && want.MatchString(ts.ReadFile("stdout")), nil
	})
	if err != nil {
		ts.Fatalf("%s: no output matches %q: %v", strings.Join(args[1:], " "), args[0], err)
	}
}

// capture NAME REGEXP sets a variable to what the group in the last output matched.
func capture(ts *testscript.TestScript, _ bool, args []string) {
	m := regexp.MustCompile("(?m)" + args[1]).FindStringSubmatch(ts.ReadFile("stdout"))
	if len(m) != 2 {
		ts.Fatalf("no group of %q in the output", args[1])
	}
	ts.Setenv(args[0], m[1])
}

// driver SCENARIO [LINE…] gives the machine the driver and the cards of a scenario of
// nvmltest, with lines put at its end. Said again, it changes the machine at once.
func driver(ts *testscript.TestScript, library func() (*nvmltest.Library, error), args []string) {
	l, err := library()
	ts.Check(err)
	text, err := nvmltest.Scenario(args[0])
	ts.Check(err)
	for _, line := range args[1:] {
		text = append(text, line+"\n"...)
	}
	path := ts.MkAbs("scenario")
	ts.Check(os.WriteFile(path+".new", text, 0o600))
	ts.Check(os.Rename(path+".new", path))
	ts.Setenv(nvml.LibraryVariable, l.Path)
	ts.Setenv(nvmltest.ScenarioVariable, path)
}

// installed SCENARIO puts the driver's files and nodes of a scenario on the machine,
// beside what the command driver does: containers can be given its cards, and the
// library shows a card where its node can be opened.
func installed(ts *testscript.TestScript, library func() (*nvmltest.Library, error), args []string) {
	driver(ts, library, args)
	l, err := library()
	ts.Check(err)
	text := "nodes 1\n" + ts.ReadFile("scenario")
	ts.Check(os.WriteFile(ts.MkAbs("scenario"), []byte(text), 0o600))
	i, err := l.Install(ts.MkAbs("machine"), []byte(text))
	ts.Check(err)
	for name, value := range i.Environment() {
		ts.Setenv(name, value)
	}
}

// cuda gives the machine the stand-in of the driver's other library, which computes.
func cuda(ts *testscript.TestScript, _ bool, _ []string) {
	repo := ts.Getenv("REPO")
	library, source := ts.MkAbs("libcuda.so.1"), filepath.Join(repo, "gpu/challenge/kernels/challenge.cl")
	ts.Check(ts.Exec("cc", "-std=gnu11", "-O1", "-shared", "-fPIC", "-o", library, filepath.Join(repo, "gpu/challenge/cuda/testdata/libcuda/libcuda.c"), "-lOpenCL"))
	ts.Setenv("SOUK_CUDA_LIBRARY", library)
	ts.Setenv("SOUK_KERNEL_SOURCE", source)
}

// request HOME PROCEDURE BODY posts a request to a daemon's socket, as curl
// would, and writes the code and the message of its answer to the file answer.
func request(ts *testscript.TestScript, _ bool, args []string) {
	socket := filepath.Join(ts.MkAbs(args[0]), daemon.Socket)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "POST", "http://souk/souk.api.v1."+args[1], strings.NewReader(args[2]))
	ts.Check(err)
	r.Header.Set("Content-Type", "application/json")
	res, err := client.Do(r)
	ts.Check(err)
	defer res.Body.Close()
	var e struct{ Code, Message string }
	ts.Check(json.NewDecoder(res.Body).Decode(&e))
	ts.Check(os.WriteFile(ts.MkAbs("answer"), []byte(e.Code+": "+e.Message+"\n"), 0o600))
	ts.Logf("%d %s: %s", res.StatusCode, e.Code, e.Message)
	if jargon.MatchString(e.Message) {
		ts.Fatalf("%q means nothing to people", jargon.FindString(e.Message))
	}
}

// TestBadRequestsAreAllTold wants each procedure that takes anything in the story
// of bad requests.
func TestBadRequestsAreAllTold(t *testing.T) {
	story, err := os.ReadFile(filepath.Join("testdata", "script", "bad-requests.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	services := apiv1.File_souk_api_v1_api_proto.Services()
	for i := range services.Len() {
		methods := services.Get(i).Methods()
		for j := range methods.Len() {
			m := methods.Get(j)
			name := string(services.Get(i).Name()) + "/" + string(m.Name())
			if m.Input().Fields().Len() > 0 && !m.IsStreamingServer() && !strings.Contains(string(story), "\nrequest souk "+name+" ") {
				t.Errorf("no bad request of %s is in the story", name)
			}
		}
	}
}
