package payment

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/souk-market/souk"
	leasev1 "github.com/souk-market/souk/proto/souk/lease/v1"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"
)

var someChannel = Channel{Address{1}, Address{2}, Address{3}, Address{4}, Address{5}, 86400, [32]byte{6}}

func someReceipt() Receipt {
	r := Receipt{
		Lease: souk.LeaseID{Digest: souk.Digest{1}}, Job: souk.JobID{Digest: souk.Digest{2}}, Channel: souk.ChannelID{Digest: souk.Digest{3}},
		ProviderKey: nodeKey(providerKey), ClientKey: nodeKey(clientKey), Seq: 1, Kind: KindInterval, StartMs: 5, EndMs: 9,
		Version: 2, CumulativeDue: 3, Usage: []UsageLine{{Line{UnitDeviceMs, 7, 10}, 4, 2}, {Line{UnitTokenOut, 1, 1}, 1, 1}},
	}
	r.SignProvider(domain, providerKey)
	return r
}

// oldReceipt is one of version 1.
func oldReceipt() Receipt {
	r := someReceipt()
	r.Version, r.Usage, r.DeviceMilliseconds, r.PriceAtomsPerHour = 1, nil, 4, 7
	r.SignProvider(domain, providerKey)
	return r
}

func TestMessagesRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := drawReceipt(t)
		if got, err := ReceiptFromProto(r.Proto()); err != nil || !reflect.DeepEqual(got, r) {
			t.Errorf("receipt %+v\nbecame  %+v, %v", r, got, err)
		}
		v := Voucher{souk.ChannelID{Digest: drawDigest(t, "channel")}, drawAtoms(t, "atoms"), drawBytes(t, 65, "signature")}
		if got, err := VoucherFromProto(v.Proto()); err != nil || !reflect.DeepEqual(got, v) {
			t.Errorf("voucher %+v became %+v, %v", v, got, err)
		}
	})
	if got, err := ChannelFromProto(someChannel.Proto()); got != someChannel || err != nil {
		t.Errorf("channel became %+v, %v", got, err)
	}
}

func TestMalformedMessages(t *testing.T) {
	channel := func(change func(*leasev1.Channel)) error {
		m := proto.CloneOf(someChannel.Proto())
		change(m)
		_, err := ChannelFromProto(m)
		return err
	}
	voucher := func(change func(*leasev1.Voucher)) error {
		m := proto.CloneOf(signedVoucher(t, 1).Proto())
		change(m)
		_, err := VoucherFromProto(m)
		return err
	}
	receipt := func(change func(*runv1.Receipt)) error {
		m := proto.CloneOf(someReceipt().Proto())
		change(m)
		_, err := ReceiptFromProto(m)
		return err
	}
	_, noChannel := ChannelFromProto(nil)
	_, noVoucher := VoucherFromProto(nil)
	_, noReceipt := ReceiptFromProto(nil)
	for name, err := range map[string]error{
		"no channel":                noChannel,
		"no voucher":                noVoucher,
		"no receipt":                noReceipt,
		"short payer":               channel(func(m *leasev1.Channel) { m.Payer = m.Payer[1:] }),
		"no authorizer":             channel(func(m *leasev1.Channel) { m.PayerAuthorizer = nil }),
		"zero authorizer":           channel(func(m *leasev1.Channel) { m.PayerAuthorizer = make([]byte, 20) }),
		"zero receiver":             channel(func(m *leasev1.Channel) { m.Receiver = make([]byte, 20) }),
		"zero receiver authorizer":  channel(func(m *leasev1.Channel) { m.ReceiverAuthorizer = make([]byte, 20) }),
		"zero token":                channel(func(m *leasev1.Channel) { m.Token = make([]byte, 20) }),
		"long salt":                 channel(func(m *leasev1.Channel) { m.Salt = make([]byte, 33) }),
		"delay past uint40":         channel(func(m *leasev1.Channel) { m.WithdrawDelayS = 1 << 40 }),
		"voucher past atoms":        voucher(func(m *leasev1.Voucher) { m.MaxClaimableAtoms = math.MaxInt64 + 1 }),
		"voucher without signature": voucher(func(m *leasev1.Voucher) { m.Signature = nil }),
		"voucher without channel":   voucher(func(m *leasev1.Voucher) { m.Channel = nil }),
		"kind 0":                    receipt(func(m *runv1.Receipt) { m.Kind = 0 }),
		"kind 3":                    receipt(func(m *runv1.Receipt) { m.Kind = 3 }),
		"kind 257":                  receipt(func(m *runv1.Receipt) { m.Kind = 257 }), // 1 in eight bits
		"seq 0":                     receipt(func(m *runv1.Receipt) { m.Seq = 0 }),
		"negative start":            receipt(func(m *runv1.Receipt) { m.StartMs = -1 }),
		"end before start":          receipt(func(m *runv1.Receipt) { m.EndMs = m.StartMs - 1 }),
		"due past atoms":            receipt(func(m *runv1.Receipt) { m.CumulativeDueAtoms = math.MaxUint64 }),
		"no input digest":           receipt(func(m *runv1.Receipt) { m.InputDigest = nil }),
		"short previous":            receipt(func(m *runv1.Receipt) { m.PrevReceipt = m.PrevReceipt[:31] }),
		"no provider signature":     receipt(func(m *runv1.Receipt) { m.ProviderSignature = nil }),
		"version 3":                 receipt(func(m *runv1.Receipt) { m.Version = 3 }),
		"no usage":                  receipt(func(m *runv1.Receipt) { m.Usage = nil }),
		"too much usage":            receipt(func(m *runv1.Receipt) { m.Usage = slices.Repeat(m.Usage[:1], MaxLines+1) }),
		"an empty line":             receipt(func(m *runv1.Receipt) { m.Usage[1] = nil }),
		"no unit":                   receipt(func(m *runv1.Receipt) { m.Usage[1].Unit = "" }),
		"a long unit":               receipt(func(m *runv1.Receipt) { m.Usage[1].Unit = strings.Repeat("x", maxUnitBytes+1) }),
		"per 0":                     receipt(func(m *runv1.Receipt) { m.Usage[1].Per = 0 }),
		"a line past atoms":         receipt(func(m *runv1.Receipt) { m.Usage[1].DueAtoms = math.MaxInt64 + 1 }),
		"device time in version 2":  receipt(func(m *runv1.Receipt) { m.DeviceMilliseconds = 1 }),
		"an hour's price likewise":  receipt(func(m *runv1.Receipt) { m.PriceAtomsPerHour = 1 }),
		"usage in version 1":        receipt(func(m *runv1.Receipt) { m.Version = 1 }),
		"usage in no version":       receipt(func(m *runv1.Receipt) { m.Version = 0 }),
		"short client signature":    receipt(func(m *runv1.Receipt) { m.ClientSignature = make([]byte, 63) }),
	} {
		if !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v, want %v", name, err, ErrMalformed)
		}
	}
}

// fuzzMessage decodes bytes into m, and then with read; what is read must be
// the same after one more turn.
func fuzzMessage[M proto.Message, T any](f *testing.F, seeds []M, empty func() M, read func(M) (T, error), write func(T) M) {
	for _, seed := range seeds {
		b, err := proto.Marshal(seed)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(b[:len(b)/2])
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		m := empty()
		if proto.Unmarshal(b, m) != nil {
			return
		}
		v, err := read(m)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Errorf("error %v is not ErrMalformed", err)
			}
			return
		}
		wire, err := proto.Marshal(write(v))
		if err != nil {
			t.Fatal(err)
		}
		again := empty()
		if err := proto.Unmarshal(wire, again); err != nil {
			t.Fatal(err)
		}
		if got, err := read(again); err != nil || !reflect.DeepEqual(got, v) {
			t.Errorf("%+v\nbecame %+v, %v", v, got, err)
		}
	})
}

func FuzzReceiptFromProto(f *testing.F) {
	fuzzMessage(f, []*runv1.Receipt{someReceipt().Proto(), oldReceipt().Proto()}, func() *runv1.Receipt { return new(runv1.Receipt) }, ReceiptFromProto, Receipt.Proto)
}

func FuzzVoucherFromProto(f *testing.F) {
	fuzzMessage(f, []*leasev1.Voucher{signedVoucher(f, 9).Proto()}, func() *leasev1.Voucher { return new(leasev1.Voucher) }, VoucherFromProto, Voucher.Proto)
}

func FuzzChannelFromProto(f *testing.F) {
	fuzzMessage(f, []*leasev1.Channel{someChannel.Proto()}, func() *leasev1.Channel { return new(leasev1.Channel) }, ChannelFromProto, Channel.Proto)
}

func FuzzOpenKeys(f *testing.F) {
	expires := time.UnixMilli(1_800_000_000_000)
	good, err := NewKeys(providerKey, voucherKey, expires)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:50])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := OpenKeys(b, expires.Add(-time.Second))
		if err == nil && k.Node == nodeKey(providerKey) && !bytes.Equal(b, good) {
			t.Errorf("a second envelope by the same node: %x", b)
		}
	})
}
