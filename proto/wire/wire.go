// Package wire reads and writes what travels between nodes: length-delimited
// frames, and envelopes whose signature covers the payload bytes as they came.
//
// Everything it reads is bounded before it is allocated, and an envelope is
// accepted in exactly one encoding: a signed payload cannot be dressed up as
// many different messages.
package wire

import (
	"bufio"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/souk-market/souk"
	wirev1 "github.com/souk-market/souk/proto/souk/wire/v1"
	"google.golang.org/protobuf/proto"
)

var (
	// ErrTooLarge is returned for a frame or envelope past its limit.
	ErrTooLarge = errors.New("message too large")
	// ErrEnvelope is returned for an envelope that is not in its one encoding.
	ErrEnvelope = errors.New("malformed envelope")
	// ErrSignature is returned when the signature does not cover the payload.
	ErrSignature = errors.New("wrong signature")
)

// Seal signs payload in domain d and returns the encoded envelope.
func Seal(key ed25519.PrivateKey, d souk.Domain, payload []byte) []byte {
	return encode(&wirev1.Signed{
		Payload:   payload,
		PublicKey: key.Public().(ed25519.PublicKey),
		Signature: ed25519.Sign(key, d.Message(payload)),
	})
}

// Open checks an envelope of at most max bytes and returns its payload, which
// is part of envelope, and its signer.
func Open(d souk.Domain, envelope []byte, max int) (payload []byte, signer souk.NodeKey, err error) {
	if len(envelope) > max {
		return nil, signer, fmt.Errorf("%d bytes, limit %d: %w", len(envelope), max, ErrTooLarge)
	}
	fields := [3][]byte{}
	rest := envelope
	for i := range fields {
		if fields[i], rest, err = field(rest, byte(i+1)); err != nil {
			return nil, signer, err
		}
	}
	if len(rest) != 0 || len(fields[1]) != ed25519.PublicKeySize || len(fields[2]) != ed25519.SignatureSize {
		return nil, signer, ErrEnvelope
	}
	if !ed25519.Verify(fields[1], d.Message(fields[0]), fields[2]) {
		return nil, signer, fmt.Errorf("%s: %w", d, ErrSignature)
	}
	return fields[0], souk.NodeKey(fields[1]), nil
}

// field reads one length-delimited field with the shortest length prefix.
func field(b []byte, number byte) (value, rest []byte, err error) {
	if len(b) < 2 || b[0] != number<<3|2 {
		return nil, nil, ErrEnvelope
	}
	n, used := binary.Uvarint(b[1:])
	if used <= 0 || used > 1 && b[used] == 0 || n > uint64(len(b)-1-used) {
		return nil, nil, ErrEnvelope
	}
	b = b[1+used:]
	return b[:n:n], b[n:], nil
}

// encode writes the envelope in its one encoding: the three fields in order,
// none left out.
func encode(s *wirev1.Signed) []byte {
	b := make([]byte, 0, len(s.Payload)+len(s.PublicKey)+len(s.Signature)+12)
	for i, f := range [][]byte{s.Payload, s.PublicKey, s.Signature} {
		b = append(b, byte(i+1)<<3|2)
		b = binary.AppendUvarint(b, uint64(len(f)))
		b = append(b, f...)
	}
	return b
}

// Reader reads frames from one stream. It is not safe for concurrent use.
type Reader struct {
	r   *bufio.Reader
	max int
}

// NewReader reads frames of at most max bytes each from r.
func NewReader(r io.Reader, max int) *Reader {
	return &Reader{bufio.NewReaderSize(r, min(max+binary.MaxVarintLen64, 64<<10)), max}
}

// Next reads one frame. At a clean end of the stream the error is io.EOF.
func (r *Reader) Next() ([]byte, error) {
	n, err := binary.ReadUvarint(r.r)
	if err != nil {
		return nil, err
	}
	if n > uint64(r.max) {
		return nil, fmt.Errorf("frame of %d bytes, limit %d: %w", n, r.max, ErrTooLarge)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r.r, b); err != nil {
		return nil, fmt.Errorf("frame of %d bytes: %w", n, io.ErrUnexpectedEOF)
	}
	return b, nil
}

// Read decodes the next frame into m.
func (r *Reader) Read(m proto.Message) error {
	b, err := r.Next()
	if err != nil {
		return err
	}
	if err := proto.Unmarshal(b, m); err != nil {
		return fmt.Errorf("decode %s: %w", m.ProtoReflect().Descriptor().Name(), err)
	}
	return nil
}

// Write encodes m as one frame, in a single call to w.
func Write(w io.Writer, m proto.Message) error {
	size := proto.Size(m)
	b := binary.AppendUvarint(make([]byte, 0, size+binary.MaxVarintLen32), uint64(size))
	b, err := proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(b, m)
	if err != nil {
		return fmt.Errorf("encode %s: %w", m.ProtoReflect().Descriptor().Name(), err)
	}
	_, err = w.Write(b)
	return err
}
