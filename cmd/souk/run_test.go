package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"github.com/souk-market/souk/cmd/souk/daemon"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
	"github.com/souk-market/souk/proto/souk/api/v1/apiv1connect"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
)

// fakeDaemon answers as a daemon would whose job goes as told.
type fakeDaemon struct {
	apiv1connect.UnimplementedJobsHandler
	apiv1connect.UnimplementedFilesHandler
	plan      *apiv1.PlanResponse
	events    []*apiv1.FollowResponse
	attempts  []*apiv1.Attempt
	measured  []*apiv1.MetricsResponse
	submitErr error
	hang      bool // the job does not end

	added     []*apiv1.AddRequest
	submitted *apiv1.SubmitRequest
	following chan struct{}
}

func (f *fakeDaemon) Plan(context.Context, *apiv1.PlanRequest) (*apiv1.PlanResponse, error) {
	return f.plan, nil
}

func (f *fakeDaemon) Submit(_ context.Context, req *apiv1.SubmitRequest) (*apiv1.SubmitResponse, error) {
	f.submitted = req
	for _, to := range req.SaveTo {
		if to != "" {
			if err := os.Mkdir(to, 0o755); err != nil {
				return nil, err
			}
		}
	}
	return &apiv1.SubmitResponse{Id: jobID}, f.submitErr
}

func (f *fakeDaemon) Get(context.Context, *apiv1.GetRequest) (*apiv1.GetResponse, error) {
	return &apiv1.GetResponse{Summary: &apiv1.JobSummary{Job: jobID, State: "matching"}, Attempts: f.attempts}, nil
}

func (f *fakeDaemon) Follow(ctx context.Context, _ *apiv1.FollowRequest, stream *connect.ServerStream[apiv1.FollowResponse]) error {
	for _, e := range f.events {
		if err := stream.Send(e); err != nil {
			return err
		}
	}
	if f.hang {
		close(f.following)
		<-ctx.Done()
	}
	return nil
}

func (f *fakeDaemon) Metrics(_ context.Context, _ *apiv1.MetricsRequest, stream *connect.ServerStream[apiv1.MetricsResponse]) error {
	for _, m := range f.measured {
		if err := stream.Send(m); err != nil {
			return err
		}
	}
	return nil
}

func (f *fakeDaemon) Add(_ context.Context, req *apiv1.AddRequest) (*apiv1.AddResponse, error) {
	f.added = append(f.added, req)
	return &apiv1.AddResponse{Cid: "bafkreifzjut3te7nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"}, nil
}

// serve puts the daemon behind the socket of a home, which it returns.
func (f *fakeDaemon) serve(t *testing.T) string {
	t.Helper()
	f.following = make(chan struct{})
	home := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(home, daemon.Socket))
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle(apiv1connect.NewJobsHandler(f))
	mux.Handle(apiv1connect.NewFilesHandler(f))
	s := &http.Server{Handler: mux}
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(l) }()
	t.Cleanup(func() { s.Close(); <-done })
	return home
}

const (
	jobID    = "7f3a0000000000000000000000000000000000000000000000000000000000aa"
	provider = "12D3KooWMH92ZMuA1ZYmLFdWi8AGeyHdfADQVC3VzgoPWGdS1j1a"
)

func onePlan() *apiv1.PlanResponse {
	return &apiv1.PlanResponse{Total: 3, Query: "runner=wasm", AvailableAtoms: 1e6,
		Candidates: []*apiv1.Candidate{{CapAtoms: 500_000, EstimateAtoms: 360_000, Lines: []*apiv1.CostLine{{Unit: "device-ms", PriceAtoms: 360_000, Per: 3_600_000, Quantity: 3_600_000, Atoms: 360_000}}, Row: &apiv1.OfferRow{Provider: provider, Score: 700,
			Offer: &marketv1.Offer{Class: "CPU", PriceAtomsPerHour: 360_000, Evidence: marketv1.Evidence_EVIDENCE_NONE}}}},
		Removals: []*apiv1.Removal{{Clause: "price<=0.5", Removed: 2, Left: 1, Without: 3}},
	}
}

func state(s string, exit int32, reason, detail string, outputs map[string]string) *apiv1.FollowResponse {
	return &apiv1.FollowResponse{Event: &apiv1.FollowResponse_Summary{Summary: &apiv1.JobSummary{Job: jobID, State: s, ExitCode: exit,
		Provider: provider, Lease: "aa", Attempts: 1, PaidAtoms: 4161, Receipts: 2, Reason: reason, Detail: detail, Outputs: outputs,
		Started: "2026-01-02T12:00:00Z", Ended: "2026-01-02T12:00:30Z", PriceAtomsPerHour: 360_000, ReserveAtoms: 60_000}}}
}

func wrote(stream runv1.LogStream, text string) *apiv1.FollowResponse {
	return &apiv1.FollowResponse{Event: &apiv1.FollowResponse_Log{Log: &runv1.Log{Stream: stream, Data: []byte(text)}}}
}

func receipt(seq uint64, kind uint32) *apiv1.FollowResponse {
	return &apiv1.FollowResponse{Event: &apiv1.FollowResponse_Receipt{Receipt: &runv1.Receipt{Seq: seq, Kind: kind,
		Version: 2, CumulativeDueAtoms: 500 * seq, Usage: []*runv1.UsageLine{{Unit: "device-ms", Quantity: 5000 * seq, PriceAtoms: 360_000, Per: 3_600_000, DueAtoms: 500 * seq}}}}}
}

// emptyModule is a module whose _start does nothing.
const emptyModule = "\x00asm\x01\x00\x00\x00\x01\x04\x01\x60\x00\x00\x03\x02\x01\x00\x07\x0a\x01\x06_start\x00\x00\x0a\x04\x01\x02\x00\x0b"

// workDir is a folder with a module and something to read, and the current one.
func workDir(t *testing.T) {
	t.Helper()
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{"a.wasm": emptyModule, "in.csv": "1,2\n",
		"job.yaml": "wasm: ./a.wasm\ndata: {in: [{from: ./in.csv, to: /in}], out: [{from: /out, to: ./result}]}\nprice: {max_per_hour: 0.5}\n"} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRunExitCodes(t *testing.T) {
	started := []*apiv1.FollowResponse{state("matching", 0, "", "", nil), state("running", 0, "", "", nil)}
	declined := []*apiv1.Attempt{{Declines: []*apiv1.Decline{{Provider: provider, Reason: "price", Shortfall: 50_000, Detail: "0.05/h above your cap"}}}}
	none := onePlan()
	none.Candidates = nil
	for _, tt := range []struct {
		name   string
		fake   fakeDaemon
		code   int
		stderr string
	}{
		{"done", fakeDaemon{plan: onePlan(), events: append(started, state("done", 0, "completed", "", nil))}, exitDone, "paid 0.004161"},
		{"the job fails", fakeDaemon{plan: onePlan(), events: append(started, state("failed", 3, "completed", "", nil))}, exitJob, "exited with 3"},
		{"the job is done, with an exit code", fakeDaemon{plan: onePlan(), events: append(started, state("done", 3, "completed", "", nil))}, exitJob, "exited with 3"},
		{"the job is out of memory", fakeDaemon{plan: onePlan(), events: append(started, state("failed", 0, "job-memory", "512MB", nil))}, exitJob, "job-memory: 512MB"},
		{"the provider goes away", fakeDaemon{plan: onePlan(), events: append(started, state("failed", 0, "provider-lost", "", nil))}, exitFailed, "provider-lost"},
		{"nobody fits", fakeDaemon{plan: none}, exitNoMatch, "price<=0.5 rules out 2 of 3 offers; without it 3 would match"},
		{"nobody bids", fakeDaemon{plan: onePlan(), attempts: declined, events: []*apiv1.FollowResponse{state("no-match", 0, "no-match", "", nil)}},
			exitNoMatch, "declined, price: 0.05/h above your cap"},
		{"unpaid", fakeDaemon{plan: onePlan(), events: []*apiv1.FollowResponse{state("unpaid", 0, "client-unfunded", "", nil)}}, exitPayment, "client-unfunded"},
		{"short of funds", fakeDaemon{plan: onePlan(), submitErr: connect.NewError(connect.CodeResourceExhausted, errShort)}, exitPayment, "short by 2"},
		{"stopped", fakeDaemon{plan: onePlan(), events: []*apiv1.FollowResponse{state("stopped", 0, "client-released", "", nil)}}, exitFailed, "stopped"},
		{"silence", fakeDaemon{plan: onePlan(), events: started}, exitFailed, "souk logs -f 7f3a0000"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			workDir(t)
			var out, err bytes.Buffer
			code := run(t.Context(), []string{"--home", tt.fake.serve(t), "run", "-y", "--max-price", "0.5", "a.wasm"}, strings.NewReader(""), &out, &err)
			if code != tt.code || !strings.Contains(err.String(), tt.stderr) {
				t.Errorf("exit %d, want %d; stderr without %q: %s", code, tt.code, tt.stderr, &err)
			}
		})
	}
}

type textError string

func (e textError) Error() string { return string(e) }

const errShort = textError("short by 2")

func TestRunJSON(t *testing.T) {
	workDir(t)
	f := fakeDaemon{plan: onePlan(), events: []*apiv1.FollowResponse{state("matching", 0, "", "", nil), state("running", 0, "", "", nil),
		wrote(runv1.LogStream_LOG_STREAM_STDOUT, "epoch 1\n"), receipt(1, 1), receipt(2, 2),
		state("done", 0, "completed", "", map[string]string{"out": "bafyresult"})}}
	var out, stderr bytes.Buffer
	if code := run(t.Context(), []string{"--home", f.serve(t), "--json", "run", "-y", "job.yaml"}, strings.NewReader(""), &out, &stderr); code != exitDone {
		t.Fatalf("exit %d: %s", code, &stderr)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	var events []string
	for _, l := range lines {
		var e struct{ Event string }
		if err := json.Unmarshal([]byte(l), &e); err != nil {
			t.Fatalf("%s: %v", l, err)
		}
		events = append(events, e.Event)
	}
	if got, want := strings.Join(events, " "), "plan state state log receipt receipt state "; got != want {
		t.Errorf("events = %q; want %q", got, want)
	}
	want := `{"job":"` + jobID + `","state":"done","exit_code":0,"provider":"` + provider + `","lease":"aa","attempts":1,"paid_atoms":4161,` +
		`"receipts":2,"outputs":{"out":"bafyresult"},"started":"2026-01-02T12:00:00Z","ended":"2026-01-02T12:00:30Z","reason":"completed"}`
	if got := lines[len(lines)-1]; got != want {
		t.Errorf("last line = %s\nwant        %s", got, want)
	}
	if len(f.added) != 2 || f.added[1].Entries[0].Name != "in.csv" || f.submitted.Job.Input == "" || f.submitted.Job.Wasm == "" {
		t.Errorf("added %v, submitted %v", f.added, f.submitted)
	}
	if len(f.submitted.SaveTo) != 1 || filepath.Base(f.submitted.SaveTo[0]) != "result" {
		t.Errorf("submitted %v", f.submitted)
	}
}

func TestRunAsks(t *testing.T) {
	done := []*apiv1.FollowResponse{state("done", 0, "completed", "", nil)}
	for _, tt := range []struct {
		name, answer string
		args         []string
		code         int
		stderr       string
		ran          bool
	}{
		{"yes", "y\n", []string{"--max-price", "0.5"}, exitDone, "Run it? [y/N]", true},
		{"no", "n\n", []string{"--max-price", "0.5"}, exitFailed, "nothing was spent", false},
		{"enter", "\n", []string{"--max-price", "0.5"}, exitFailed, "nothing was spent", false},
		{"nobody", "", []string{"--max-price", "0.5"}, exitUsage, "pass -y", false},
		{"no cap", "y\n", nil, exitDone, "at most 0.36 per hour and 0.36 in all?", true},
		{"plan only", "", []string{"--plan"}, exitDone, "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			workDir(t)
			f := fakeDaemon{plan: onePlan(), events: done}
			var out, err bytes.Buffer
			code := run(t.Context(), append([]string{"--home", f.serve(t), "run", "a.wasm"}, tt.args...), strings.NewReader(tt.answer), &out, &err)
			if code != tt.code || !strings.Contains(err.String(), tt.stderr) || (f.submitted != nil) != tt.ran {
				t.Errorf("exit %d, want %d; ran %v, want %v; stderr: %s", code, tt.code, f.submitted != nil, tt.ran, &err)
			}
			if tt.name == "plan only" && !strings.Contains(out.String(), "PRICE/H") {
				t.Errorf("stdout = %s", &out)
			}
			if tt.name == "no cap" && f.submitted.Job.Price.MaxAtomsPerHour != 360_000 {
				t.Errorf("price = %v", f.submitted.Job.Price)
			}
		})
	}
}

func TestInterruptLetsTheJobRunOn(t *testing.T) {
	workDir(t)
	f := fakeDaemon{plan: onePlan(), events: []*apiv1.FollowResponse{state("running", 0, "", "", nil)}, hang: true}
	home := f.serve(t)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-f.following
		cancel()
	}()
	var out, err bytes.Buffer
	if code := run(ctx, []string{"--home", home, "run", "-y", "--max-price", "0.5", "a.wasm"}, strings.NewReader(""), &out, &err); code != exitInterrupted {
		t.Errorf("exit %d; want %d", code, exitInterrupted)
	}
	if !strings.Contains(err.String(), "the job runs on: souk logs -f 7f3a0000") {
		t.Errorf("stderr = %s", &err)
	}
}

func TestDetach(t *testing.T) {
	workDir(t)
	f := fakeDaemon{plan: onePlan()}
	var out, err bytes.Buffer
	if code := run(t.Context(), []string{"--home", f.serve(t), "run", "-y", "--detach", "job.yaml"}, strings.NewReader(""), &out, &err); code != exitDone {
		t.Fatalf("exit %d: %s", code, &err)
	}
	if out.String() != jobID+"\n" || !strings.Contains(err.String(), "souk stop 7f3a0000") {
		t.Errorf("stdout %q, stderr %q", &out, &err)
	}
}

// An offer of nought is not agreed to by silence: the cap is the least there is,
// and it is asked for.
func TestRunFreeOffer(t *testing.T) {
	workDir(t)
	free := onePlan()
	free.Candidates[0].Row.Offer.PriceAtomsPerHour, free.Candidates[0].EstimateAtoms = 0, 0
	f := fakeDaemon{plan: free, events: []*apiv1.FollowResponse{state("done", 0, "completed", "", nil)}}
	var out, err bytes.Buffer
	code := run(t.Context(), []string{"--home", f.serve(t), "run", "a.wasm"}, strings.NewReader("y\n"), &out, &err)
	if code != exitDone || !strings.Contains(err.String(), "at most 0.000001 per hour") || f.submitted.Job.Price.MaxAtomsPerHour != 1 {
		t.Errorf("exit %d, submitted %v; stderr: %s", code, f.submitted, &err)
	}
}

// TestPlanLines shows every line of a tariff that prices more than device time, and
// asks for a cap that covers them.
func TestPlanLines(t *testing.T) {
	workDir(t)
	p := onePlan()
	c := p.Candidates[0]
	c.EstimateAtoms, c.Lines = 410_000, append(c.Lines, &apiv1.CostLine{Unit: "reserved-ms", PriceAtoms: 50_000, Per: 3_600_000, Quantity: 3_600_000, Atoms: 50_000},
		&apiv1.CostLine{Unit: "parsec", PriceAtoms: 7, Per: 2, Unknown: true})
	var out, err bytes.Buffer
	f := fakeDaemon{plan: p, events: []*apiv1.FollowResponse{state("done", 0, "completed", "", nil)}}
	home := f.serve(t)
	if code := run(t.Context(), []string{"--home", home, "run", "--plan", "a.wasm"}, strings.NewReader(""), &out, &err); code != exitDone {
		t.Fatalf("exit %d: %s", code, &err)
	}
	const want = `PROVIDER        DEVICE  PRICE/H  ESTIMATE  CAP  SCORE  EVIDENCE
12D3KooWMH92ZM  1×CPU   0.36     0.41      -    700    none
PROVIDER        UNIT         PRICE     PER      USE      ESTIMATE
12D3KooWMH92ZM  device-ms    0.36      3600000  3600000  0.36
12D3KooWMH92ZM  reserved-ms  0.05      3600000  3600000  0.05
12D3KooWMH92ZM  parsec       0.000007  2        -        unit not known to this version
`
	if !strings.HasPrefix(out.String(), want) {
		t.Errorf("the plan is\n%s", &out)
	}
	out.Reset()
	if code := run(t.Context(), []string{"--home", home, "--json", "run", "--plan", "a.wasm"}, strings.NewReader(""), &out, &err); code != exitDone ||
		!strings.Contains(out.String(), `{"unit":"reserved-ms","price_atoms":50000,"per":3600000,"quantity":3600000,"atoms":50000,"unknown":false}`) {
		t.Errorf("exit %d: %s", code, &out)
	}
	if code := run(t.Context(), []string{"--home", home, "run", "a.wasm"}, strings.NewReader("y\n"), &out, &err); code != exitDone || f.submitted.Job.Price.MaxAtomsPerHour != 410_000 {
		t.Errorf("exit %d, submitted %v: %s", code, f.submitted, &err)
	}
}

// TestPlanMixed shows a line for each class of a candidate with several, and asks for
// a cap that covers the dearest device.
func TestPlanMixed(t *testing.T) {
	workDir(t)
	p := onePlan()
	c := p.Candidates[0]
	c.Row.Offer.Class, c.EstimateAtoms = "RTX_4090", 1_700_000
	c.Devices = []*apiv1.DeviceClass{{Class: "RTX_4090", Count: 2, PriceAtomsPerHour: 400_000}, {Class: "L40S", Count: 1, PriceAtomsPerHour: 900_000}}
	c.Lines = []*apiv1.CostLine{{Unit: "device-ms/RTX_4090", PriceAtoms: 400_000, Per: 3_600_000, Quantity: 7_200_000, Atoms: 800_000},
		{Unit: "device-ms/L40S", PriceAtoms: 900_000, Per: 3_600_000, Quantity: 3_600_000, Atoms: 900_000}}
	var out, err bytes.Buffer
	f := fakeDaemon{plan: p, events: []*apiv1.FollowResponse{state("done", 0, "completed", "", nil)}}
	if err := os.WriteFile("gpu.yaml", []byte("image: python@sha256:"+strings.Repeat("0", 64)+"\ngpu: {count: 3, model: [RTX_4090, L40S], mixed: true}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	home := f.serve(t)
	if code := run(t.Context(), []string{"--home", home, "run", "--plan", "gpu.yaml"}, strings.NewReader(""), &out, &err); code != exitDone {
		t.Fatalf("exit %d: %s", code, &err)
	}
	const want = `PROVIDER        DEVICE      PRICE/H  ESTIMATE  CAP  SCORE  EVIDENCE
12D3KooWMH92ZM  2×RTX_4090  0.8      1.7       -    700    none
                1×L40S      0.9                            
PROVIDER        UNIT                PRICE  PER      USE      ESTIMATE
12D3KooWMH92ZM  device-ms/RTX_4090  0.4    3600000  7200000  0.8
12D3KooWMH92ZM  device-ms/L40S      0.9    3600000  3600000  0.9
`
	if !strings.HasPrefix(out.String(), want) {
		t.Errorf("the plan is\n%s", &out)
	}
	out.Reset()
	if code := run(t.Context(), []string{"--home", home, "--json", "run", "--plan", "gpu.yaml"}, strings.NewReader(""), &out, &err); code != exitDone ||
		!strings.Contains(out.String(), `"devices":[{"class":"RTX_4090","count":2,"price_atoms_per_hour":400000},{"class":"L40S","count":1,"price_atoms_per_hour":900000}]`) {
		t.Errorf("exit %d: %s", code, &out)
	}
	if code := run(t.Context(), []string{"--home", home, "run", "gpu.yaml"}, strings.NewReader("y\n"), &out, &err); code != exitDone ||
		f.submitted.Job.Price.MaxAtomsPerHour != 2_700_000 || !f.submitted.Job.Resources.Mixed {
		t.Errorf("exit %d, submitted %v: %s", code, f.submitted, &err)
	}
}

// TestJobDevices shows the classes of what was leased in the job and its attempts.
func TestJobDevices(t *testing.T) {
	var out bytes.Buffer
	devices := []*apiv1.DeviceClass{{Class: "RTX_4090", Count: 2, PriceAtomsPerHour: 400_000}, {Class: "L40S", Count: 1, PriceAtomsPerHour: 900_000}}
	s := &apiv1.JobSummary{Job: jobID, State: "running", PriceAtomsPerHour: 900_000, Devices: devices}
	if err := printJob(&out, &apiv1.GetResponse{Summary: s, Attempts: []*apiv1.Attempt{{Devices: devices}, {}}}); err != nil {
		t.Fatal(err)
	}
	const text = "2×RTX_4090 at 0.4/h, 1×L40S at 0.9/h"
	if strings.Count(out.String(), text) != 2 || strings.Contains(out.String(), "a device") {
		t.Errorf("the job is shown as\n%s", &out)
	}
	s.Devices = devices[:1]
	out.Reset()
	if err := printJob(&out, &apiv1.GetResponse{Summary: s}); err != nil || !strings.Contains(out.String(), "2×RTX_4090\n") || !strings.Contains(out.String(), "0.9/h a device") {
		t.Errorf("of one class:\n%s%v", &out, err)
	}
}
