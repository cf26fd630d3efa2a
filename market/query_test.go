package market

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/souk-market/souk/payment"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
)

func TestParseQuery(t *testing.T) {
	for _, tt := range []struct{ query, want string }{
		{"", ""},
		{"  model=rtx_4090,L40S\tvram>=24GB ", "model=L40S,RTX_4090 vram>=24GB"},
		{"model=RTX_4090,L40S vram>=24GB compute_cap>=8.9 count>=1 price<=0.60 region=EU evidence>=challenged runner=oci order=price,-score limit=20",
			"model=L40S,RTX_4090 vram>=24GB compute_cap>=8.9 count>=1 price<=0.6 region=EU evidence>=challenged runner=oci order=price,-score limit=20"},
		{"vram=24GB..48GB", "vram=24GB..48GB"},
		{"vram=24GB..", "vram>=24GB"},
		{"vram=..48GB", "vram<=48GB"},
		{"vram=24GB..24GB", "vram=24GB"},
		{"vram!=24GB..48GB", "vram!=24GB..48GB"},
		{"vram!=24GB..", "vram!=24GB.."},
		{"vram!=..24GB", "vram!=..24GB"},
		{"vram>=25769803776B", "vram>=24GiB"},
		{"vram>=1500MB", "vram>=1500MB"},
		{"vram>=1B vram>=0B", "vram>=1B vram>=0B"},
		{"count>1 free<2", "count>=2 free<=1"},
		{"count<1", "count=0"},
		{"price<0.5 price>0", "price<=0.499999 price>=0.000001"},
		{"compute_cap=8", "compute_cap=8.0"},
		{"cpu>=0.5 cpu<=16", "cpu>=0.5 cpu<=16"},
		{"duration>=90s duration<=36h", "duration>=1m30s duration<=36h"},
		{"duration>=90m", "duration>=1h30m"},
		{"duration>1h", "duration>=1h0m0.001s"},
		{"evidence>none", "evidence>=challenged"},
		{"evidence<attested", "evidence<=challenged"},
		{"runner!=OCI region!=EU,US,EU", "runner!=oci region!=EU,US"},
		{"provider=12D3KooW score>=500", "provider=12D3KooW score>=500"},
		{"order=-vram", "order=-vram"},
	} {
		t.Run(tt.query, func(t *testing.T) {
			q, err := ParseQuery(tt.query)
			if err != nil || q.String() != tt.want {
				t.Fatalf("read as %q, %v; want %q", q, err, tt.want)
			}
			if again, err := ParseQuery(q.String()); err != nil || !reflect.DeepEqual(again, q) {
				t.Errorf("read back as %q, %v", again, err)
			}
		})
	}
}

func TestParseQueryRefuses(t *testing.T) {
	for _, tt := range []struct{ query, want string }{
		{"model=CPU vrma>=24GB", `vrma>=24GB: unknown field; did you mean "vram"?`},
		{"modle=CPU", `modle=CPU: unknown field; did you mean "model"?`},
		{"colour=red", "colour=red: unknown field"},
		{"oder=price", `oder=price: unknown field; did you mean "order"?`},
		{"vram", "vram: wants an operator (= != >= <= > <) and a value, without spaces between"},
		{"vram >=24GB", "vram: wants an operator (= != >= <= > <) and a value, without spaces between"},
		{"vram>=", "vram>=: wants a value"},
		{"vram>=24", `vram>=24: "24": not a size such as 512MB, 24GB or 16GiB`},
		{"vram=48GB..24GB", `vram=48GB..24GB: "48GB..24GB" ends below its start`},
		{"vram=..", `vram=..: ".." has no bound`},
		{"vram<0B", "vram<0B: nothing is below 0B"},
		{"score>4294967295", "score>4294967295: nothing is above 4294967295"},
		{"evidence<none", "evidence<none: nothing is below none"},
		{"evidence>=proved", `evidence>=proved: "proved": not none, challenged or attested`},
		{"compute_cap>=8.95", `compute_cap>=8.95: "8.95": not a number from 0 with at most 1 decimal`},
		{"count>=-1", `count>=-1: "-1": not a whole number from 0`},
		{"count>=5000000000", `count>=5000000000: "5000000000": too large`},
		{"price<=free", `price<=free: "free": not an amount of tokens with at most 6 decimals, such as 0.60`},
		{"duration>=long", `duration>=long: "long": not a duration such as 90s or 6h`},
		{"model>=CPU", "model>=CPU: model has no order: it takes = or !="},
		{"model=CPU,", `model=CPU,: "" cannot be a model such as RTX_4090`},
		{"runner=ocl", `runner=ocl: "ocl" cannot be a runner such as wasm, gvisor or oci; did you mean "oci"?`},
		{"provider=*", `provider=*: "*" cannot be a provider such as 12D3KooW…`},
		{"order=model", "order=model: cannot sort by model"},
		{"order=prize", `order=prize: cannot sort by "prize"; did you mean "price"?`},
		{"order=price,-price", "order=price,-price: sorts by price twice"},
		{"order=price order=score", "order=score: given twice"},
		{"order>=price", "order>=price: wants ="},
		{"limit=0", "limit=0: wants a number from 1 to 10000"},
		{"limit=5 limit=6", "limit=6: given twice"},
		{"together=65", "together=65: wants a number from 1 to 64"},
		{"together>=3", "together>=3: wants ="},
		{"together=3 together=3", "together=3: given twice"},
		{"extension=Über", `extension=Über: "Über" cannot be an extension such as mixed`},
	} {
		t.Run(tt.query, func(t *testing.T) {
			_, err := ParseQuery(tt.query)
			if err == nil || err.Error() != tt.want {
				t.Fatalf("error is %v; want %s", err, tt.want)
			}
			if e, _ := errors.AsType[*QueryError](err); e == nil || !strings.HasPrefix(tt.query[e.Pos:], e.Clause) {
				t.Errorf("the clause is not at %+v", e)
			}
		})
	}
	if _, err := ParseQuery(strings.Repeat("x", 5000)); err == nil {
		t.Error("read a query of 5,000 bytes")
	}
	if _, err := ParseQuery(strings.Repeat("count=1 ", 33)); err == nil {
		t.Error("read 33 clauses")
	}
}

func TestRequestQuery(t *testing.T) {
	for _, tt := range []struct {
		name     string
		r        *marketv1.Resources
		price    uint64
		duration uint64
		want     string
	}{
		{"the processor", &marketv1.Resources{CpuMilli: 2000, MemoryBytes: 4e9, Runners: []marketv1.Runner{marketv1.Runner_RUNNER_WASM}}, 100_000, 60_000,
			"model=CPU count>=1 price<=0.1 runner=wasm cpu>=2 memory>=4GB duration>=1m order=price,-score"},
		{"any GPU", &marketv1.Resources{GpuCount: 2, VramMinBytes: 24e9, DiskBytes: 10e9, MinEvidence: marketv1.Evidence_EVIDENCE_NONE}, 1 << 63, 0,
			"model!=CPU slice=whole vram>=24GB count>=2 price<=1000000 disk>=10GB order=price,-score"},
		{"some GPUs", &marketv1.Resources{GpuCount: 1, VramMinBytes: 24e9, VramMaxBytes: 48e9, Models: []string{"RTX_4090", "L40S"}, ComputeCapMin: 89,
			Regions: []string{"EU"}, MinEvidence: marketv1.Evidence_EVIDENCE_CHALLENGED}, 600_000, 0,
			"model=L40S,RTX_4090 vram=24GB..48GB compute_cap>=8.9 count>=1 price<=0.6 region=EU evidence>=challenged extension=challenge order=price,-score"},
		{"slices", &marketv1.Resources{GpuCount: 1, Slice: "1g.10gb", Models: []string{"H100"}}, 600_000, 0,
			"model=H100_MIG_1G_10GB slice=1g.10gb extension=slice count>=1 price<=0.6 order=price,-score"},
		{"GPUs of several classes", mixedRequest(3), 600_000, 60_000,
			"model!=CPU slice=whole free>=1 extension=mixed price<=0.6 runner=wasm duration>=1m together=3 order=price,-score"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q := RequestQuery(tt.r, tt.price, tt.duration)
			if q.String() != tt.want {
				t.Fatalf("asks %q; want %q", q, tt.want)
			}
			if ms := q.Usage.Of(payment.UnitDeviceMs); ms != tt.duration*uint64(Devices(tt.r)) {
				t.Errorf("expects %d device milliseconds", ms)
			}
			q.Usage = nil // no query's text says it
			if again, err := ParseQuery(tt.want); err != nil || !reflect.DeepEqual(again, q) {
				t.Errorf("typed, it is %q, %v", again, err)
			}
		})
	}
}

func FuzzParseQuery(f *testing.F) {
	f.Add("model=RTX_4090,L40S vram>=24GB compute_cap>=8.9 count>=1 price<=0.60 region=EU evidence>=challenged runner=oci order=price,-score limit=20")
	f.Add("vram!=..24GiB duration<1h0m0.5s cpu>0.001 provider!=12D3,ab free=0..3 extension=mixed together=3")
	f.Fuzz(func(t *testing.T, s string) {
		q, err := ParseQuery(s)
		if err != nil {
			if e, ok := errors.AsType[*QueryError](err); !ok || len(s) <= maxQueryBytes && !strings.HasPrefix(s[e.Pos:], e.Clause) {
				t.Errorf("%v does not say where", err)
			}
			return
		}
		again, err := ParseQuery(q.String())
		if err != nil || !reflect.DeepEqual(again, q) {
			t.Errorf("%q is written %q, which reads as %q, %v", s, q, again, err)
		}
	})
}
