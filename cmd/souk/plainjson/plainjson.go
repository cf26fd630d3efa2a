// Package plainjson writes protobuf messages as JSON for people and scripts,
// and reads them back.
//
// It differs from the JSON that protobuf defines where scripts would stumble:
// every integer is a number, bytes are lower-case hex, enums are lower-case
// names with dashes and without their prefix, field names are those of the
// .proto files, and fields with a zero value are there. Reading is strict: an
// unknown field, a second value for one field or a wrong type is an error.
package plainjson

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Marshal encodes m in one line. A message field that is not set is left out.
func Marshal(m proto.Message) ([]byte, error) {
	var b bytes.Buffer
	if err := message(&b, m.ProtoReflect()); err != nil {
		return nil, fmt.Errorf("encode %s: %w", m.ProtoReflect().Descriptor().Name(), err)
	}
	return b.Bytes(), nil
}

// Value lets a message be part of a struct that encoding/json encodes.
type Value struct{ Message proto.Message }

// MarshalJSON is [Marshal] of the message, or null without one.
func (v Value) MarshalJSON() ([]byte, error) {
	if v.Message == nil || !v.Message.ProtoReflect().IsValid() {
		return []byte("null"), nil
	}
	return Marshal(v.Message)
}

func message(b *bytes.Buffer, m protoreflect.Message) error {
	b.WriteByte('{')
	fields := m.Descriptor().Fields()
	first := true
	for i := range fields.Len() {
		f := fields.Get(i)
		if f.HasPresence() && !m.Has(f) {
			continue
		}
		if !first {
			b.WriteByte(',')
		}
		first = false
		b.WriteString(strconv.Quote(string(f.Name())))
		b.WriteByte(':')
		if err := field(b, f, m.Get(f)); err != nil {
			return fmt.Errorf("%s: %w", f.Name(), err)
		}
	}
	b.WriteByte('}')
	return nil
}

func field(b *bytes.Buffer, f protoreflect.FieldDescriptor, v protoreflect.Value) error {
	switch {
	case f.IsMap():
		return mapping(b, f, v.Map())
	case f.IsList():
		b.WriteByte('[')
		for i := range v.List().Len() {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := single(b, f, v.List().Get(i)); err != nil {
				return err
			}
		}
		b.WriteByte(']')
		return nil
	}
	return single(b, f, v)
}

// mapping writes keys in order, so that the same message is the same text.
func mapping(b *bytes.Buffer, f protoreflect.FieldDescriptor, m protoreflect.Map) error {
	var keys []protoreflect.MapKey
	for k := range m.Range {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(x, y protoreflect.MapKey) int { return strings.Compare(x.String(), y.String()) })
	b.WriteByte('{')
	for i, k := range keys {
		if i > 0 {
			b.WriteByte(',')
		}
		if err := text(b, k.String()); err != nil {
			return err
		}
		b.WriteByte(':')
		if err := single(b, f.MapValue(), m.Get(k)); err != nil {
			return err
		}
	}
	b.WriteByte('}')
	return nil
}

func single(b *bytes.Buffer, f protoreflect.FieldDescriptor, v protoreflect.Value) error {
	switch f.Kind() {
	case protoreflect.MessageKind:
		return message(b, v.Message())
	case protoreflect.EnumKind:
		return text(b, enumName(f.Enum(), v.Enum()))
	case protoreflect.BytesKind:
		return text(b, hex.EncodeToString(v.Bytes()))
	case protoreflect.StringKind:
		return text(b, v.String())
	case protoreflect.BoolKind,
		protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind,
		protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind,
		protoreflect.Uint32Kind, protoreflect.Fixed32Kind,
		protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		b.WriteString(v.String())
		return nil
	}
	return fmt.Errorf("no plain form for %s", f.Kind())
}

func text(b *bytes.Buffer, s string) error {
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	err := e.Encode(s)
	b.Truncate(b.Len() - 1) // the line's end, which an encoder adds
	return err
}

// Word is the word for an enum's value: "challenged" for EVIDENCE_CHALLENGED.
func Word(e protoreflect.Enum) string { return enumName(e.Descriptor(), e.Number()) }

// enumName is RUNNER_WASM of Runner as "wasm"; "" for the unspecified value,
// and the number for one this program does not know.
func enumName(d protoreflect.EnumDescriptor, n protoreflect.EnumNumber) string {
	v := d.Values().ByNumber(n)
	switch {
	case v == nil:
		return strconv.Itoa(int(n))
	case n == 0:
		return ""
	}
	return strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(string(v.Name()), enumPrefix(d))), "_", "-")
}

// enumPrefix is what buf's lint rule puts before each value's name.
func enumPrefix(d protoreflect.EnumDescriptor) string {
	return strings.TrimSuffix(string(d.Values().ByNumber(0).Name()), "UNSPECIFIED")
}
