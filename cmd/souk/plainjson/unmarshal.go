package plainjson

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Unmarshal reads what [Marshal] wrote into m, which it empties first. Memory
// is bounded by the length of b; nesting is bounded by the message's own.
func Unmarshal(b []byte, m proto.Message) error {
	proto.Reset(m)
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	err := readMessage(d, m.ProtoReflect())
	if err == nil {
		if _, more := d.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("more after the object")
		}
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return fmt.Errorf("decode %s: byte %d: %w", m.ProtoReflect().Descriptor().Name(), d.InputOffset(), err)
	}
	return nil
}

func delim(d *json.Decoder, want json.Delim) error {
	t, err := d.Token()
	if err != nil {
		return err
	}
	if t != want {
		return fmt.Errorf("%v where %q belongs", t, want.String())
	}
	return nil
}

func readMessage(d *json.Decoder, m protoreflect.Message) error {
	if err := delim(d, '{'); err != nil {
		return err
	}
	seen := make(map[string]bool)
	for d.More() {
		name, err := key(d, seen)
		if err != nil {
			return err
		}
		f := m.Descriptor().Fields().ByName(protoreflect.Name(name))
		if f == nil {
			return fmt.Errorf("unknown field %q", name)
		}
		if o := f.ContainingOneof(); o != nil && m.WhichOneof(o) != nil {
			return fmt.Errorf("%s: a second choice for %s", name, o.Name())
		}
		if err := readField(d, m, f); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return delim(d, '}')
}

func key(d *json.Decoder, seen map[string]bool) (string, error) {
	t, err := d.Token()
	if err != nil {
		return "", err
	}
	name, ok := t.(string)
	if !ok || seen[name] {
		return "", fmt.Errorf("%v a second time", t)
	}
	seen[name] = true
	return name, nil
}

func readField(d *json.Decoder, m protoreflect.Message, f protoreflect.FieldDescriptor) error {
	switch {
	case f.IsMap():
		return readMap(d, m.Mutable(f).Map(), f)
	case f.IsList():
		if err := delim(d, '['); err != nil {
			return err
		}
		list := m.Mutable(f).List()
		for d.More() {
			v, err := readSingle(d, f, list.NewElement)
			if err != nil {
				return fmt.Errorf("%d: %w", list.Len(), err)
			}
			list.Append(v)
		}
		return delim(d, ']')
	}
	v, err := readSingle(d, f, func() protoreflect.Value { return m.NewField(f) })
	if err != nil {
		return err
	}
	m.Set(f, v)
	return nil
}

func readMap(d *json.Decoder, m protoreflect.Map, f protoreflect.FieldDescriptor) error {
	if f.MapKey().Kind() != protoreflect.StringKind {
		return fmt.Errorf("no plain form for keys of kind %s", f.MapKey().Kind())
	}
	if err := delim(d, '{'); err != nil {
		return err
	}
	seen := make(map[string]bool)
	for d.More() {
		k, err := key(d, seen)
		if err != nil {
			return err
		}
		v, err := readSingle(d, f.MapValue(), m.NewValue)
		if err != nil {
			return fmt.Errorf("%q: %w", k, err)
		}
		m.Set(protoreflect.ValueOfString(k).MapKey(), v)
	}
	return delim(d, '}')
}

func readSingle(d *json.Decoder, f protoreflect.FieldDescriptor, fresh func() protoreflect.Value) (v protoreflect.Value, err error) {
	if f.Kind() == protoreflect.MessageKind {
		v = fresh()
		return v, readMessage(d, v.Message())
	}
	t, err := d.Token()
	if err != nil {
		return v, err
	}
	switch t := t.(type) {
	case bool:
		if f.Kind() == protoreflect.BoolKind {
			return protoreflect.ValueOfBool(t), nil
		}
	case string:
		return readText(f, t)
	case json.Number:
		return readNumber(f, t.String())
	}
	return v, fmt.Errorf("%v is not a %s", t, f.Kind())
}

func readText(f protoreflect.FieldDescriptor, s string) (v protoreflect.Value, err error) {
	switch f.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(s), nil
	case protoreflect.BytesKind:
		b, err := hex.DecodeString(s)
		if err != nil || hex.EncodeToString(b) != s {
			return v, fmt.Errorf("%.80q is not lower-case hex", s)
		}
		return protoreflect.ValueOfBytes(b), nil
	case protoreflect.EnumKind:
		values := f.Enum().Values()
		for i := range values.Len() {
			if n := values.Get(i).Number(); enumName(f.Enum(), n) == s {
				return protoreflect.ValueOfEnum(n), nil
			}
		}
		if n, err := strconv.ParseInt(s, 10, 32); err == nil && enumName(f.Enum(), protoreflect.EnumNumber(n)) == s {
			return protoreflect.ValueOfEnum(protoreflect.EnumNumber(n)), nil
		}
		return v, fmt.Errorf("%.80q is not a %s", s, f.Enum().Name())
	}
	return v, fmt.Errorf("%.80q is not a %s", s, f.Kind())
}

func readNumber(f protoreflect.FieldDescriptor, s string) (v protoreflect.Value, err error) {
	switch f.Kind() {
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		n, err := strconv.ParseInt(s, 10, 32)
		return protoreflect.ValueOfInt32(int32(n)), err
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		n, err := strconv.ParseInt(s, 10, 64)
		return protoreflect.ValueOfInt64(n), err
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		n, err := strconv.ParseUint(s, 10, 32)
		return protoreflect.ValueOfUint32(uint32(n)), err
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		n, err := strconv.ParseUint(s, 10, 64)
		return protoreflect.ValueOfUint64(n), err
	}
	return v, fmt.Errorf("%s is not a %s", s, f.Kind())
}
