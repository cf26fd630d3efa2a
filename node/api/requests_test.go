package api

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// noWords is what no answer may have in it.
var noWords = regexp.MustCompile(`proto:|unmarshal|EOF|%!|goroutine|\x{a0}|\bu?int(32|64)\b`)

// ask sends a request to what lies behind spoken, and returns the status, the
// code and the message; reached tells whether it went through.
func ask(t *testing.T, method, path, kind, body string) (status int, message string, reached bool) {
	t.Helper()
	h := spoken(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		reached = true
		if b, err := io.ReadAll(r.Body); err != nil || string(b) != body {
			t.Errorf("%s: what went through is %q, %v; want %q", path, b, err, body)
		}
	}))
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Content-Type", kind)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if reached {
		return w.Code, "", true
	}
	var e struct{ Code, Message string }
	if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || e.Code == "" || e.Message == "" {
		t.Errorf("%s %s: answer %q, %v", path, body, w.Body, err)
	}
	if bad := noWords.FindString(e.Message); bad != "" {
		t.Errorf("%s %s: %q means nothing to people: %s", path, body, bad, e.Message)
	}
	return w.Code, e.Message, false
}

const jsonKind = "application/json"

// TestBadRequests asks every procedure with each field of its request of a wrong
// type and misspelt, and with what is no JSON. None reaches the node.
func TestBadRequests(t *testing.T) {
	all := procedures()
	if len(all) < 20 {
		t.Fatalf("%d procedures", len(all))
	}
	tried := 0
	refused := func(path, body, want string) {
		t.Helper()
		tried++
		status, message, reached := ask(t, "POST", path, jsonKind, body)
		if reached || status != http.StatusBadRequest || !strings.Contains(message, want) {
			t.Errorf("%s %s: status %d, %q; want %q", path, body, status, message, want)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(all)) {
		m := all[path]
		if m.IsStreamingServer() {
			if status, message, reached := ask(t, "POST", path, jsonKind, "{}"); reached || status != http.StatusUnsupportedMediaType {
				t.Errorf("%s: %d, %s", path, status, message)
			}
			continue
		}
		if _, _, reached := ask(t, "POST", path, jsonKind, "{}"); !reached {
			t.Errorf("%s: an empty object did not get through", path)
		}
		for _, body := range []string{"", " ", "{", "[]", "5", "query", `{"a"}`, `{"a":}`, "{}{}", "\x00", `{"zzzzzzzz":1}`} {
			refused(path, body, "")
		}
		fields(m.Input(), nil, func(at []protoreflect.FieldDescriptor) {
			f := at[len(at)-1]
			for _, v := range wrongValues(f) {
				refused(path, object(at, string(f.Name()), v), "line 1:")
			}
			slip := string(f.Name())
			if last := len(slip) - 1; last > 0 && slip[last] != slip[last-1] {
				slip = slip[:last-1] + slip[last:] + slip[last-1:last]
				refused(path, object(at, slip, "1"), fmt.Sprintf("unknown field %q; did you mean ", slip))
			}
		})
	}
	t.Logf("%d wrong requests of %d procedures", tried, len(all))
}

// fields calls f with the path to each field of a message.
func fields(m protoreflect.MessageDescriptor, above []protoreflect.FieldDescriptor, f func([]protoreflect.FieldDescriptor)) {
	for i := range m.Fields().Len() {
		at := append(slices.Clone(above), m.Fields().Get(i))
		f(at)
		if in := at[len(at)-1].Message(); in != nil && !slices.Contains(above, at[len(at)-1]) && !at[len(at)-1].IsMap() {
			fields(in, at, f)
		}
	}
}

// object is JSON with one value at the end of a path, under another name.
func object(at []protoreflect.FieldDescriptor, name, value string) string {
	text := fmt.Sprintf("{%q:%s}", name, value)
	for i := len(at) - 2; i >= 0; i-- {
		if at[i].IsList() {
			text = "[" + text + "]"
		}
		text = fmt.Sprintf("{%q:%s}", at[i].Name(), text)
	}
	return text
}

// wrongValues are JSON values that a field cannot have.
func wrongValues(f protoreflect.FieldDescriptor) []string {
	if f.IsList() {
		return []string{"5", `"x"`, "{}"}
	}
	switch f.Kind() {
	case protoreflect.StringKind:
		return []string{"5", "true", "[]", "{}"}
	case protoreflect.BytesKind:
		return []string{"5", `"!"`, "[]"}
	case protoreflect.BoolKind:
		return []string{"5", `"yes"`, "[]"}
	case protoreflect.MessageKind:
		return []string{"5", `"x"`, "[]"}
	case protoreflect.EnumKind:
		return []string{`"NO_SUCH"`, "[]", "1.5"}
	case protoreflect.Uint32Kind, protoreflect.Uint64Kind:
		return []string{"-1", "1.5", `"many"`, "[]", "99999999999999999999"}
	default:
		return []string{"1.5", `"many"`, "[]"}
	}
}

func TestRequestsInOtherWords(t *testing.T) {
	const offers = "/souk.api.v1.Market/Offers"
	for _, tt := range []struct {
		method, path, kind, body string
		status                   int
		want                     string
	}{
		{"GET", offers, "", "", 405, "GET is not answered: POST a JSON object"},
		{"POST", "/souk.api.v1.Market/Ofers", jsonKind, "{}", 404, "is no procedure; did you mean " + offers + "?"},
		{"POST", "/souk.api.v1.Nonsense/X", jsonKind, "{}", 404, "is no procedure"},
		{"POST", offers, "application/x-www-form-urlencoded", "{}", 415, "JSON is application/json"},
		{"POST", offers, "", "{}", 415, "JSON is application/json"},
		{"POST", offers, jsonKind, `{"query":"` + strings.Repeat("x", maxAPIBytes) + `"}`, 413, "longer than"},
		{"POST", offers, jsonKind, `{"qeury":"x"}`, 400, `line 1:2: unknown field "qeury"; did you mean query?`},
		{"POST", offers, jsonKind, `{"query":5}`, 400, "line 1:10: invalid value for string field query: 5"},
		{"POST", offers, jsonKind, `{"query":"x"`, 400, "the request ends before its JSON does"},
	} {
		status, message, reached := ask(t, tt.method, tt.path, tt.kind, tt.body)
		if reached || status != tt.status || !strings.Contains(message, tt.want) {
			t.Errorf("%s %s %.40s: %d, %q; want %d, %q", tt.method, tt.path, tt.body, status, message, tt.status, tt.want)
		}
	}
	for _, kind := range []string{"application/json", "application/json; charset=utf-8", "application/proto", "application/grpc-web+proto", "application/connect+json"} {
		if _, message, reached := ask(t, "POST", offers, kind, "{}"); !reached {
			t.Errorf("%s did not get through: %s", kind, message)
		}
	}
}
