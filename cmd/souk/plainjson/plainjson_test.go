package plainjson_test

import (
	"math"
	"strings"
	"testing"

	"github.com/souk-market/souk/cmd/souk/plainjson"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"google.golang.org/protobuf/proto"
)

func TestMarshal(t *testing.T) {
	for _, tt := range []struct {
		name string
		m    proto.Message
		want string
	}{
		{"numbers", &apiv1.HistoryRequest{After: math.MaxUint64, Limit: 7}, `{"after":18446744073709551615,"limit":7}`},
		{"zeros stay", &apiv1.AddResponse{}, `{"cid":"","size_bytes":0}`},
		{"maps in order, unset messages left out", &apiv1.FaucetResponse{Tx: "<0x1>"}, `{"amount_atoms":0,"tx":"<0x1>"}`},
		{"list", &apiv1.AddRequest{Entries: []*apiv1.AddEntry{{From: "a"}}}, `{"path":"","entries":[{"from":"a","name":""}],"publish":false}`},
		{"enum and bytes", &runv1.Log{Stream: runv1.LogStream_LOG_STREAM_STDERR, Data: []byte{0xab}}, `{"stream":"stderr","offset":0,"data":"ab"}`},
		{"enum with dashes", &runv1.State{Reason: runv1.EndReason_END_REASON_JOB_MEMORY},
			`{"phase":"","deposit_tx":"","reason":"job-memory","exit_code":0,"output":"","detail":""}`},
		{"oneof", &apiv1.FollowResponse{Event: &apiv1.FollowResponse_Decline{Decline: &apiv1.Decline{Reason: "busy", Shortfall: 1}}},
			`{"decline":{"provider":"","reason":"busy","shortfall":1,"detail":""}}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := plainjson.Marshal(tt.m)
			if err != nil || string(got) != tt.want {
				t.Fatalf("Marshal = %s, %v; want %s", got, err, tt.want)
			}
			back := tt.m.ProtoReflect().New().Interface()
			if err := plainjson.Unmarshal(got, back); err != nil || !proto.Equal(back, tt.m) {
				t.Errorf("Unmarshal(%s) = %v, %v; want %v", got, back, err, tt.m)
			}
		})
	}
}

func TestUnmarshalRefuses(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"unknown field", `{"cidd":""}`, `unknown field "cidd"`},
		{"twice", `{"cid":"a","cid":"b"}`, "second time"},
		{"a string for a number", `{"size_bytes":"1"}`, "is not a uint64"},
		{"a number for a string", `{"cid":1}`, "is not a string"},
		{"negative", `{"size_bytes":-1}`, "size_bytes"},
		{"fraction", `{"size_bytes":1.5}`, "size_bytes"},
		{"null", `{"cid":null}`, "is not a string"},
		{"cut short", `{"cid":"a"`, "EOF"},
		{"trailing", `{} {}`, "more after"},
		{"list", `[]`, "belongs"},
		{"empty", ``, "EOF"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := plainjson.Unmarshal([]byte(tt.in), new(apiv1.AddResponse))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Unmarshal(%s) = %v; want an error with %q", tt.in, err, tt.want)
			}
		})
	}
	if err := plainjson.Unmarshal([]byte(`{"data":"AB"}`), new(runv1.Log)); err == nil {
		t.Error("upper-case hex was accepted")
	}
}

func FuzzUnmarshal(f *testing.F) {
	for _, m := range []proto.Message{
		&apiv1.ReceiptsResponse{Receipts: []*apiv1.ProvedReceipt{{Receipt: &runv1.Receipt{Seq: 1, Lease: []byte{1, 2}}, Anchor: &apiv1.Anchor{Count: 1}}}},
		&apiv1.ReceiptsResponse{},
	} {
		b, err := plainjson.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m := new(apiv1.ReceiptsResponse)
		if plainjson.Unmarshal(b, m) != nil {
			return
		}
		text, err := plainjson.Marshal(m)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		again := new(apiv1.ReceiptsResponse)
		if err := plainjson.Unmarshal(text, again); err != nil || !proto.Equal(m, again) {
			t.Fatalf("read back %v, %v; want %v", again, err, m)
		}
	})
}

func TestUnknownEnumValueSurvives(t *testing.T) {
	m := &marketv1.Bid{Runner: 77}
	b, err := plainjson.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	back := new(marketv1.Bid)
	if err := plainjson.Unmarshal(b, back); err != nil || back.Runner != 77 {
		t.Errorf("Unmarshal(%s) = %v, %v", b, back, err)
	}
}
