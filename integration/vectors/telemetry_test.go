package vectors

import (
	"encoding/json"
	"testing"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// telemetryVector is the telemetry of one receipt.
type telemetryVector struct {
	Name    string         `json:"name"`
	Samples []sampleVector `json:"samples"`
	Root    string         `json:"root"` // telemetryRoot of the receipt
}

type sampleVector struct {
	Fields   json.RawMessage `json:"fields"`
	Bytes    string          `json:"bytes"`
	Preimage string          `json:"preimage"` // what the leaf is the SHA-256 of
	Leaf     string          `json:"leaf"`
}

// TestTelemetry makes the vectors of telemetry roots.
func TestTelemetry(t *testing.T) {
	var samples []*runv1.Sample
	for i := range int64(5) {
		samples = append(samples, &runv1.Sample{Device: "GPU-0c7e1a3a-0000-0000-0000-000000000001", AtMs: issued.UnixMilli() + 1000*i, GpuUtil: proto.Uint32(97),
			MemoryUsedBytes: proto.Uint64(20 << 30), PowerMw: proto.Uint64(412_000 + uint64(i)), TotalEnergyMj: proto.Uint64(9_000_000 + 412_000*uint64(i)), GpuTempC: proto.Uint32(71)})
	}
	samples[3].Xids = []uint64{31}
	samples[4] = &runv1.Sample{Device: "cpu-1", AtMs: issued.UnixMilli() + 4000, CpuMilli: proto.Uint32(1990), MemoryUsedBytes: proto.Uint64(300 << 20)}
	vectors := []telemetryVector{{Name: "no samples", Samples: []sampleVector{}, Root: hexOf(make([]byte, 32))}}
	for _, tt := range []struct {
		name string
		n    int
	}{{"one sample", 1}, {"two samples", 2}, {"five samples of two devices", 5}} {
		v := telemetryVector{Name: tt.name}
		var leaves []souk.Digest
		for _, s := range samples[:tt.n] {
			b, err := proto.MarshalOptions{Deterministic: true}.Marshal(s)
			if err != nil {
				t.Fatal(err)
			}
			fields, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(s)
			if err != nil {
				t.Fatal(err)
			}
			var plain any // protojson does not write the same twice
			if err := json.Unmarshal(fields, &plain); err != nil {
				t.Fatal(err)
			}
			if fields, err = json.Marshal(plain); err != nil {
				t.Fatal(err)
			}
			preimage := append([]byte("\x00souk/telemetry/1\x00"), b...)
			leaf := payment.SampleLeaf(b)
			if sum(preimage) != hexOf(leaf[:]) {
				t.Errorf("the leaf of %s is %s, not the SHA-256 of its preimage", tt.name, leaf)
			}
			leaves = append(leaves, leaf)
			v.Samples = append(v.Samples, sampleVector{fields, hexOf(b), hexOf(preimage), hexOf(leaf[:])})
		}
		root := payment.TelemetryRoot(leaves)
		v.Root = hexOf(root[:])
		vectors = append(vectors, v)
	}
	compare(t, "telemetry.json", vectors)
}
