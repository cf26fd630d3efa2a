package market

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	"github.com/souk-market/souk/proto/wire"
	"google.golang.org/protobuf/proto"
)

func TestOpenOrder(t *testing.T) {
	payload := encode(t, goodOrder())
	o, err := OpenOrder(wire.Seal(signer(1), souk.DomainOrder, payload), start)
	if err != nil {
		t.Fatal(err)
	}
	if o.Client != keyOf(1) || o.Digest != digestOf(payload) || !o.For(keyOf(2)) || o.For(keyOf(1)) {
		t.Errorf("opened %+v", o)
	}
}

func TestOpenOrderRefuses(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*marketv1.Order, *marketv1.Resources)
		detail string // empty: it opens
	}{
		{"good", func(*marketv1.Order, *marketv1.Resources) {}, ""},
		{"late: for the scheduler to decline", func(m *marketv1.Order, _ *marketv1.Resources) { m.DeadlineMs = 1 }, ""},
		{"no GPU", func(_ *marketv1.Order, r *marketv1.Resources) { r.GpuCount = 0 }, ""},
		{"short nonce", func(m *marketv1.Order, _ *marketv1.Resources) { m.Nonce = m.Nonce[:15] }, "nonce"},
		{"no resources", func(m *marketv1.Order, _ *marketv1.Resources) { m.Resources = nil }, "resources"},
		{"no duration", func(m *marketv1.Order, _ *marketv1.Resources) { m.MaxDurationMs = 0 }, "max_duration_ms"},
		{"price", func(m *marketv1.Order, _ *marketv1.Resources) { m.MaxPriceAtomsPerHour = MaxPrice + 1 }, "max_price_atoms_per_hour"},
		{"no deadline", func(m *marketv1.Order, _ *marketv1.Resources) { m.DeadlineMs = 0 }, "deadline_ms"},
		{"for nobody", func(m *marketv1.Order, _ *marketv1.Resources) { m.ProviderKey = nil }, "provider_key"},
		{"too many GPUs", func(_ *marketv1.Order, r *marketv1.Resources) { r.GpuCount = 65 }, "gpu_count"},
		{"vram", func(_ *marketv1.Order, r *marketv1.Resources) { r.VramMinBytes = math.MaxUint64 }, "vram"},
		{"vram upside down", func(_ *marketv1.Order, r *marketv1.Resources) { r.VramMaxBytes = 1 }, "vram"},
		{"compute capability upside down", func(_ *marketv1.Order, r *marketv1.Resources) { r.ComputeCapMax = 1 }, "compute_cap"},
		{"many models", func(_ *marketv1.Order, r *marketv1.Resources) { r.Models = slices.Repeat([]string{"A"}, 17) }, "models"},
		{"model", func(_ *marketv1.Order, r *marketv1.Resources) { r.Models = []string{"a b"} }, "models"},
		{"cores", func(_ *marketv1.Order, r *marketv1.Resources) { r.CpuMilli = math.MaxUint32 }, "cpu_milli"},
		{"memory", func(_ *marketv1.Order, r *marketv1.Resources) { r.MemoryBytes = math.MaxUint64 }, "memory_bytes"},
		{"disk", func(_ *marketv1.Order, r *marketv1.Resources) { r.DiskBytes = math.MaxUint64 }, "disk_bytes"},
		{"no runner", func(_ *marketv1.Order, r *marketv1.Resources) { r.Runners = nil }, "runners"},
		{"region", func(_ *marketv1.Order, r *marketv1.Resources) { r.Regions = []string{""} }, "regions"},
		{"no evidence", func(_ *marketv1.Order, r *marketv1.Resources) { r.MinEvidence = 0 }, "min_evidence"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := goodOrder()
			tt.change(m, m.Resources)
			_, err := OpenOrder(seal(t, 1, souk.DomainOrder, m), start)
			reason := Malformed
			if tt.detail == "" {
				reason = ""
			}
			wantReject(t, err, reason, tt.detail)
		})
	}
	late := goodOrder()
	late.DeadlineMs = start.Add(time.Hour).UnixMilli()
	_, err := OpenOrder(seal(t, 1, souk.DomainOrder, late), start)
	wantReject(t, err, Malformed, "deadline_ms: 1h0m0s ahead")
}

func TestOpenBidRefuses(t *testing.T) {
	order := openedOrder(t, goodOrder())
	for _, tt := range []struct {
		name   string
		change func(*marketv1.Bid)
		reason Reason
		detail string
	}{
		{"good", func(*marketv1.Bid) {}, "", ""},
		{"a clock a little behind", func(m *marketv1.Bid) { m.ValidUntilMs = start.Add(-Skew).UnixMilli() }, "", ""},
		{"over", func(m *marketv1.Bid) { m.ValidUntilMs = start.Add(-Skew - time.Second).UnixMilli() }, Expired, ""},
		{"firm for too long", func(m *marketv1.Bid) { m.ValidUntilMs = start.Add(time.Hour).UnixMilli() }, Malformed, ""},
		{"on another order", func(m *marketv1.Bid) { m.Order = make([]byte, 32) }, Mismatch, ""},
		{"above the cap", func(m *marketv1.Bid) { m.PriceAtomsPerHour = 500_001 }, Mismatch, ""},
		{"too few devices", func(m *marketv1.Bid) { m.Devices = m.Devices[:1] }, Mismatch, ""},
		{"another class", func(m *marketv1.Bid) { m.Class = "H100" }, Mismatch, ""},
		{"the CPU for GPUs", func(m *marketv1.Bid) { m.Class = CPUClass }, Mismatch, ""},
		{"another runner", func(m *marketv1.Bid) { m.Runner = marketv1.Runner_RUNNER_OCI }, Mismatch, ""},
		{"no order", func(m *marketv1.Bid) { m.Order = nil }, Malformed, "order"},
		{"no class", func(m *marketv1.Bid) { m.Class = "" }, Malformed, "class"},
		{"no device", func(m *marketv1.Bid) { m.Devices = nil }, Malformed, "devices"},
		{"a device twice", func(m *marketv1.Bid) { m.Devices[1] = m.Devices[0] }, Malformed, "devices"},
		{"a device with a space", func(m *marketv1.Bid) { m.Devices[1] = "GPU 2" }, Malformed, "devices"},
		{"too many devices", func(m *marketv1.Bid) { m.Devices = make([]string, 65) }, Malformed, "devices"},
		{"price", func(m *marketv1.Bid) { m.PriceAtomsPerHour = MaxPrice + 1 }, Malformed, "price_atoms_per_hour"},
		{"no end", func(m *marketv1.Bid) { m.ValidUntilMs = 0 }, Malformed, "valid_until_ms"},
		{"no settlement", func(m *marketv1.Bid) { m.Settlement = nil }, Malformed, "settlement"},
		{"no chain", func(m *marketv1.Bid) { m.Settlement.ChainId = 0 }, Malformed, "settlement.chain_id"},
		{"short address", func(m *marketv1.Bid) { m.Settlement.Token = make([]byte, 19) }, Malformed, "settlement.token"},
		{"delay upside down", func(m *marketv1.Bid) { m.Settlement.WithdrawDelayMaxS = 1 }, Malformed, "settlement.withdraw_delay_min_s"},
		{"huge delay", func(m *marketv1.Bid) { m.Settlement.WithdrawDelayMaxS = math.MaxUint64 }, Malformed, "settlement.withdraw_delay_max_s"},
		{"huge deposit", func(m *marketv1.Bid) { m.Settlement.MinDepositAtoms = math.MaxUint64 }, Malformed, "settlement.min_deposit_atoms"},
		{"no keys", func(m *marketv1.Bid) { m.Keys = nil }, Malformed, "keys"},
		{"no runner", func(m *marketv1.Bid) { m.Runner = 0 }, Malformed, "runner"},
		{"interval", func(m *marketv1.Bid) { m.MinIntervalMs = math.MaxUint64 }, Malformed, "min_interval_ms"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := goodBid(order)
			tt.change(m)
			_, err := OpenBid(seal(t, 2, souk.DomainBid, m), start, order)
			wantReject(t, err, tt.reason, tt.detail)
		})
	}
	_, err := OpenBid(seal(t, 3, souk.DomainBid, goodBid(order)), start, order)
	wantReject(t, err, Mismatch, "bid of another provider")
}

func TestOpenDecline(t *testing.T) {
	subject := digestOf([]byte("order"))
	good := marketv1.Decline{Subject: subject[:], Reason: marketv1.DeclineReason_DECLINE_REASON_BUSY, Shortfall: 1, Detail: "back at noon"}
	for _, tt := range []struct {
		name   string
		change func(*marketv1.Decline)
		reason Reason
		detail string
	}{
		{"good", func(*marketv1.Decline) {}, "", ""},
		{"a reason of a later version", func(m *marketv1.Decline) { m.Reason = 99 }, "", ""},
		{"no reason", func(m *marketv1.Decline) { m.Reason = 0 }, Malformed, "reason"},
		{"no subject", func(m *marketv1.Decline) { m.Subject = nil }, Malformed, "subject"},
		{"of something else", func(m *marketv1.Decline) { m.Subject = make([]byte, 32) }, Mismatch, ""},
		{"long detail", func(m *marketv1.Decline) { m.Detail = strings.Repeat("x", 201) }, Malformed, "detail"},
		{"detail of two lines", func(m *marketv1.Decline) { m.Detail = "a\nb" }, Malformed, "detail"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := proto.CloneOf(&good)
			tt.change(m)
			d, err := OpenDecline(seal(t, 2, souk.DomainDecline, m), subject)
			wantReject(t, err, tt.reason, tt.detail)
			if err == nil && d.Provider != keyOf(2) {
				t.Errorf("declined by %s", d.Provider)
			}
		})
	}
}

func FuzzOpenOrder(f *testing.F) {
	f.Add(encode(f, goodOrder()))
	f.Add(encode(f, mixedOrder()))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := OpenOrder(b, start); err == nil {
			t.Fatal("opened what nobody signed")
		}
		o, err := OpenOrder(wire.Seal(signer(1), souk.DomainOrder, b), start)
		if err != nil {
			return
		}
		if n := Devices(o.Resources); n < 1 || n > MaxDevices || o.MaxDurationMs == 0 {
			t.Errorf("out of bounds: %v", o.Order)
		}
		// Whatever a peer asks for can be asked of the book, and written down.
		o.Resources.Runners = slices.DeleteFunc(o.Resources.Runners, func(r marketv1.Runner) bool { return !isKnownRunner(r) })
		q := RequestQuery(o.Resources, o.MaxPriceAtomsPerHour, o.MaxDurationMs)
		if again, err := ParseQuery(q.String()); err != nil || again.String() != q.String() {
			t.Errorf("%s: read back as %s, %v", q, again, err)
		}
	})
}

func FuzzOpenBid(f *testing.F) {
	order := openedOrder(f, goodOrder())
	f.Add(encode(f, goodBid(order)))
	mixed := openedOrder(f, mixedOrder())
	f.Add(encode(f, mixedBid(mixed)))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := OpenBid(b, start, order); err == nil {
			t.Fatal("opened what nobody signed")
		}
		envelope := wire.Seal(signer(2), souk.DomainBid, b)
		if bid, err := OpenBid(envelope, start, mixed); err == nil {
			checkGroups(t, bid)
		}
		bid, err := OpenBid(envelope, start, order)
		if err != nil {
			return
		}
		if bid.PriceAtomsPerHour > order.MaxPriceAtomsPerHour || len(bid.Devices) != 2 || len(bid.Settlement.Receiver) != 20 {
			t.Errorf("out of bounds: %v", bid.Bid)
		}
	})
}

// checkGroups holds a bid that was opened for the mixed order to what it wants: three
// devices, of classes that it accepts and that have a price.
func checkGroups(t *testing.T, b *Bid) {
	t.Helper()
	devices, parts := 0, b.Parts()
	for _, p := range parts {
		devices += p.Count
		if p.Class != "RTX_4090" && p.Class != "L40S" {
			t.Errorf("class %q", p.Class)
		}
	}
	terms := payment.Terms{Version: 2, Tariff: b.Lines, Devices: b.Classes(), Interval: time.Second}
	if err := terms.Validate(); err != nil || devices != 3 || len(parts) > 2 || b.Lines.Hourly() > 500_000 {
		t.Errorf("out of bounds, %v: %v", err, b.Bid)
	}
}

func FuzzOpenDecline(f *testing.F) {
	subject := digestOf([]byte("order"))
	f.Add(encode(f, &marketv1.Decline{Subject: subject[:], Reason: 1, Shortfall: math.MaxUint64, Detail: "full"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := OpenDecline(b, subject); err == nil {
			t.Fatal("opened what nobody signed")
		}
		d, err := OpenDecline(wire.Seal(signer(2), souk.DomainDecline, b), subject)
		if err != nil {
			return
		}
		if text := d.Error(); !isText(text, 400) {
			t.Errorf("%q cannot be shown", text)
		}
	})
}
