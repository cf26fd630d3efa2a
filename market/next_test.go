package market

import (
	"bufio"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	"github.com/souk-market/souk/proto/wire"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

var update = flag.Bool("update", false, "record the messages of a made-up next version anew, in testdata/next.txt")

const nextFile = "testdata/next.txt"

// later adds to a message what testdata/next.proto has and this version has not: a
// message, words, a number of fixed size.
func later(m proto.Message) proto.Message {
	b := protowire.AppendTag(nil, 40, protowire.BytesType)
	b = protowire.AppendBytes(b, append(protowire.AppendVarint([]byte{0x08}, 412), "\x12\x02DE"...))
	b = protowire.AppendString(protowire.AppendTag(b, 41, protowire.BytesType), "rust")
	b = protowire.AppendString(protowire.AppendTag(b, 41, protowire.BytesType), "zig")
	b = protowire.AppendFixed64(protowire.AppendTag(b, 42, protowire.Fixed64Type), 1<<40)
	m.ProtoReflect().SetUnknown(b)
	return m
}

// today is an order of this version, which the bids and declines answer.
func today() *marketv1.Order {
	m := goodOrder()
	m.Version = Version
	return m
}

// next is what a node of the next version says, by name.
func next(t *testing.T) map[string][]byte {
	offer := func(change func(*marketv1.Offer)) []byte {
		m := goodOffer()
		change(m)
		return seal(t, 2, souk.DomainOffer, later(m))
	}
	order := func(change func(*marketv1.Order)) []byte {
		m := goodOrder()
		m.Version = 3
		change(m)
		return seal(t, 1, souk.DomainOrder, later(m))
	}
	bid := func(change func(*marketv1.Bid)) []byte {
		m := goodBid(openedOrder(t, today()))
		m.Version, m.Tariff = 2, payment.HourlyTariff(m.PriceAtomsPerHour).Proto()
		change(m)
		return seal(t, 2, souk.DomainBid, later(m))
	}
	several := func(change func(*marketv1.Bid)) []byte {
		m := mixedBid(openedOrder(t, mixedOrder()))
		for _, g := range m.Groups {
			later(g)
		}
		change(m)
		return seal(t, 2, souk.DomainBid, later(m))
	}
	decline := func(change func(*marketv1.Decline)) []byte {
		subject := openedOrder(t, today()).Digest
		m := &marketv1.Decline{Subject: subject[:], Reason: 31, Shortfall: 7, Detail: "not before six"}
		change(m)
		return seal(t, 2, souk.DomainDecline, later(m))
	}
	hour := tariffLine("device-ms", 400_000, souk.MillisPerHour)
	return map[string][]byte{
		"offer with more fields":             offer(func(*marketv1.Offer) {}),
		"offer of another runner":            offer(func(m *marketv1.Offer) { m.Runners = []marketv1.Runner{9} }),
		"offer of a runner beside ours":      offer(func(m *marketv1.Offer) { m.Runners = []marketv1.Runner{9, 1} }),
		"offer of more evidence":             offer(func(m *marketv1.Offer) { m.Evidence = 7 }),
		"offer with another unit":            offer(func(m *marketv1.Offer) { m.Tariff = []*marketv1.TariffLine{hour, tariffLine("co2-gram", 3, 1000)} }),
		"offer with more extensions":         offer(func(m *marketv1.Offer) { m.Extensions = strings.Fields(strings.Repeat("warp Über ", 20)) }),
		"offer with more lines":              offer(func(m *marketv1.Offer) { m.Tariff = manyLines(hour) }),
		"offer in bytes that no version has": wire.Seal(signer(2), souk.DomainOffer, []byte{0x0a, 0xff}),
		"revocation with more fields":        seal(t, 3, souk.DomainRevoke, later(&marketv1.Revocation{Epoch: goodOffer().Epoch, Sequence: 9, IssuedMs: start.UnixMilli()})),
		"order with more fields":             order(func(*marketv1.Order) {}),
		"order of another runner":            order(func(m *marketv1.Order) { m.Resources.Runners = []marketv1.Runner{9} }),
		"order of more evidence":             order(func(m *marketv1.Order) { m.Resources.MinEvidence = 7 }),
		"order that needs warp":              order(func(m *marketv1.Order) { m.MustUnderstand, m.Resources = []string{"warp"}, nil }),
		"order that is mixed":                order(func(m *marketv1.Order) { m.Resources.Mixed, m.MustUnderstand = true, []string{ExtensionMixed} }),
		"order that is mixed and needs warp": order(func(m *marketv1.Order) { m.Resources.Mixed, m.MustUnderstand = true, []string{ExtensionMixed, "warp"} }),
		"order that needs a gang":            order(func(m *marketv1.Order) { m.Gang = &marketv1.Gang{Id: make([]byte, 16), Size: 4} }),
		"bid with more fields":               bid(func(*marketv1.Bid) {}),
		"bid that needs warp":                bid(func(m *marketv1.Bid) { m.MustUnderstand = []string{"warp"} }),
		"bid of version 3":                   bid(func(m *marketv1.Bid) { m.Version, m.PriceAtomsPerHour = 3, 0 }),
		"bid with another unit":              bid(func(m *marketv1.Bid) { m.Tariff = append(m.Tariff, tariffLine("co2-gram", 3, 1000)) }),
		"bid of another runner":              bid(func(m *marketv1.Bid) { m.Runner = 9 }),
		"bid of several classes":             several(func(*marketv1.Bid) {}),
		"bid of several classes by power":    several(func(m *marketv1.Bid) { m.Tariff = append(m.Tariff, tariffLine("watt-hour/L40S", 3, 1000)) }),
		"decline for another reason":         decline(func(*marketv1.Decline) {}),
		"decline that names much": decline(func(m *marketv1.Decline) {
			m.Reason, m.Unsupported = unsupportedReason, []string{"warp", "co2-gram", strings.Repeat("x", 97), "two words"}
		}),
	}
}

func manyLines(first *marketv1.TariffLine) []*marketv1.TariffLine {
	lines := []*marketv1.TariffLine{first}
	for i := range payment.MaxLines {
		lines = append(lines, tariffLine(fmt.Sprint("unit-", i), 1, 1))
	}
	return lines
}

// recorded reads the messages of the next version; with -update it records them first.
func recorded(t *testing.T) map[string][]byte {
	t.Helper()
	made := next(t)
	if *update {
		var b strings.Builder
		b.WriteString("# What a node of a made-up next version sends; see next.proto.\n")
		names := make([]string, 0, len(made))
		for name := range made {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			fmt.Fprintf(&b, "%s: %x\n", name, made[name])
		}
		if err := os.WriteFile(nextFile, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Open(nextFile)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got := map[string][]byte{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, text, ok := strings.Cut(lines.Text(), ": "); ok && name[0] != '#' {
			b, err := hex.DecodeString(text)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			got[name] = b
		}
	}
	if len(got) != len(made) {
		t.Fatalf("%d messages are recorded, %d are made: run with -update", len(got), len(made))
	}
	return got
}

// TestNextVersion takes recorded messages of a made-up next version in both roles:
// what is understood is taken, what must be and is not is refused by name, and only
// bytes that no version has are malformed.
func TestNextVersion(t *testing.T) {
	messages := recorded(t)
	order, mixed := openedOrder(t, today()), openedOrder(t, mixedOrder())
	for name, want := range map[string]string{
		"offer with more fields": "taken", "offer of another runner": "taken", "offer of a runner beside ours": "taken",
		"offer of more evidence": "taken", "offer with another unit": "taken", "offer with more extensions": "taken",
		"offer with more lines": "newer: tariff", "offer in bytes that no version has": "malformed: not a message of souk/offer/1",
		"revocation with more fields": "taken",
		"order with more fields":      "taken", "order of another runner": "taken", "order of more evidence": "taken",
		"order that is mixed": "taken", "order that is mixed and needs warp": "unsupported: warp",
		"order that needs warp": "unsupported: warp", "order that needs a gang": "unsupported: gang",
		"bid with more fields": "taken", "bid that needs warp": "unsupported: warp", "bid of version 3": "unsupported: version-3",
		"bid with another unit": "unsupported: co2-gram", "bid of another runner": "mismatch: runner runner-9",
		"bid of several classes": "taken", "bid of several classes by power": "unsupported: watt-hour/L40S",
		"decline for another reason": "reason-31 (not before six)", "decline that names much": "unsupported: warp, co2-gram (not before six)",
	} {
		b, kind := messages[name], strings.Fields(name)[0]
		var err error
		switch kind {
		case "offer":
			_, err = OpenOffer(b, start)
		case "revocation":
			_, err = OpenRevocation(b, start)
		case "order":
			var o *Order
			if o, err = OpenOrder(b, start); o == nil || o.Client != keyOf(1) {
				t.Errorf("%s: cannot be declined: %v", name, o)
			}
		case "bid":
			asked := order
			if strings.Contains(name, "several") {
				asked = mixed
			}
			_, err = OpenBid(b, start, asked)
		case "decline":
			var d *Decline
			if d, err = OpenDecline(b, order.Digest); err == nil {
				err = errors.New(d.Error())
			}
		}
		if err == nil {
			err = errors.New("taken")
		}
		if err.Error() != want {
			t.Errorf("%s: %v; want %s", name, err, want)
		}
	}
}

// TestNextOffersInBook finds what is understood of offers of the next version, and
// claims nothing of the rest; what is passed on has the bytes that came.
func TestNextOffersInBook(t *testing.T) {
	for name, want := range map[string]string{
		"offer with more fields":        "model=RTX_4090 runner=wasm evidence>=challenged",
		"offer of another runner":       "model=RTX_4090 evidence>=challenged",
		"offer of a runner beside ours": "model=RTX_4090 runner=wasm evidence>=challenged",
		"offer of more evidence":        "model=RTX_4090 runner=wasm",
		"offer with another unit":       "model=RTX_4090 runner=wasm evidence>=challenged",
	} {
		envelope := recorded(t)[name]
		o, err := OpenOffer(envelope, start)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		b := NewBook(Config{})
		if _, err := b.Put(start.Add(time.Second), o); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, clause := range []string{"model=RTX_4090", "runner=wasm", "evidence>=challenged"} {
			q := mustParse(t, clause)
			if found := len(b.Match(start, q)) == 1; found != strings.Contains(want, clause) {
				t.Errorf("%s: %s finds it: %t", name, clause, found)
			}
		}
		if got := b.Offers(start)[0].Envelope; !slices.Equal(got, envelope) {
			t.Errorf("%s: another envelope is passed on", name)
		}
	}
}
