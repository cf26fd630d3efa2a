package wire

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"io"
	"testing"

	"github.com/souk-market/souk"
	syncv1 "github.com/souk-market/souk/proto/souk/sync/v1"
	wirev1 "github.com/souk-market/souk/proto/souk/wire/v1"
	"google.golang.org/protobuf/proto"
)

func testKey() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
}

func TestSealOpen(t *testing.T) {
	key := testKey()
	env := Seal(key, souk.DomainOffer, []byte("hello"))
	payload, signer, err := Open(souk.DomainOffer, env, 4096)
	if err != nil || string(payload) != "hello" || !bytes.Equal(signer[:], key.Public().(ed25519.PublicKey)) {
		t.Fatalf("Open = %q, %s, %v", payload, signer, err)
	}
	// The hand-written encoding is what any protobuf library reads.
	var s wirev1.Signed
	if err := proto.Unmarshal(env, &s); err != nil || string(s.Payload) != "hello" {
		t.Fatalf("protobuf reads %q, %v", s.Payload, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	env := Seal(testKey(), souk.DomainOffer, []byte("hello"))
	flipped := bytes.Clone(env)
	flipped[3] ^= 1
	long := append([]byte{env[0], 0x85, 0x00}, env[2:]...) // length 5 in two bytes
	for _, tt := range []struct {
		name   string
		domain souk.Domain
		env    []byte
		want   error
	}{
		{"another domain", souk.DomainBid, env, ErrSignature},
		{"a flipped byte", souk.DomainOffer, flipped, ErrSignature},
		{"an unknown field", souk.DomainOffer, append(bytes.Clone(env), 0x20, 1), ErrEnvelope},
		{"a second encoding of a length", souk.DomainOffer, long, ErrEnvelope},
		{"nothing", souk.DomainOffer, nil, ErrEnvelope},
		{"a cut", souk.DomainOffer, env[:len(env)-1], ErrEnvelope},
		{"too much", souk.DomainOffer, make([]byte, 5000), ErrTooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, _, err := Open(tt.domain, tt.env, 4096); !errors.Is(err, tt.want) {
				t.Errorf("Open = %v; want %v", err, tt.want)
			}
		})
	}
}

func TestFrames(t *testing.T) {
	var buf bytes.Buffer
	want := &syncv1.SyncPage{Offers: [][]byte{{1}, {2, 3}}}
	if err := Write(&buf, want); err != nil {
		t.Fatal(err)
	}
	r, got := NewReader(&buf, 100), &syncv1.SyncPage{}
	if err := r.Read(got); err != nil || !proto.Equal(got, want) {
		t.Fatalf("Read = %v, %v", got, err)
	}
	if err := r.Read(got); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
	if _, err := NewReader(bytes.NewReader(binary.AppendUvarint(nil, 1<<40)), 100).Next(); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a huge frame: %v", err)
	}
	if _, err := NewReader(bytes.NewReader([]byte{5, 1}), 100).Next(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("half a frame: %v", err)
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(Seal(testKey(), souk.DomainOffer, []byte("hello")))
	f.Add([]byte{0x0a, 0x80})
	f.Fuzz(func(t *testing.T, env []byte) {
		payload, signer, err := Open(souk.DomainOffer, env, 4096)
		if err != nil {
			return
		}
		var s wirev1.Signed
		if err := proto.Unmarshal(env, &s); err != nil || !bytes.Equal(s.Payload, payload) || !bytes.Equal(s.PublicKey, signer[:]) {
			t.Errorf("protobuf reads another message: %v", err)
		}
		if !bytes.Equal(encode(&s), env) {
			t.Error("accepted a second encoding")
		}
	})
}

func FuzzReader(f *testing.F) {
	f.Add([]byte{1, 2, 2, 3, 4})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := NewReader(bytes.NewReader(b), 1024)
		for {
			frame, err := r.Next()
			if err != nil {
				return
			}
			if len(frame) > 1024 {
				t.Fatalf("frame of %d bytes", len(frame))
			}
		}
	})
}
