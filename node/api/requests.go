package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"regexp"
	"strings"

	"connectrpc.com/connect"
	"github.com/souk-market/souk/market"
	"github.com/souk-market/souk/node/disk"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
	"github.com/souk-market/souk/proto/souk/api/v1/apiv1connect"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

// procedures are what the API answers, by path: "/souk.api.v1.Market/Offers".
func procedures() map[string]protoreflect.MethodDescriptor {
	all := map[string]protoreflect.MethodDescriptor{}
	services := apiv1.File_souk_api_v1_api_proto.Services()
	for i := range services.Len() {
		methods := services.Get(i).Methods()
		for j := range methods.Len() {
			m := methods.Get(j)
			all[fmt.Sprintf("/%s/%s", services.Get(i).FullName(), m.Name())] = m
		}
	}
	return all
}

// spoken passes on the requests that Connect can read, and says in words what is
// wrong with others: people write them by hand. A field that no message has
// is wrong too, where Connect would leave it out and act on the rest.
func spoken(next http.Handler) http.Handler {
	known := procedures()
	var paths []string
	for p := range known {
		paths = append(paths, p)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m, ok := known[r.URL.Path]
		kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
		switch {
		case !ok:
			answer(w, http.StatusNotFound, "unimplemented", "%s is no procedure%s", r.URL.Path, meant(r.URL.Path, paths))
		case r.Method != http.MethodPost:
			w.Header().Set("Allow", http.MethodPost)
			answer(w, http.StatusMethodNotAllowed, "unimplemented", "%s is not answered: POST a JSON object, {} for the least", r.Method)
		case kind == "application/json" && (m.IsStreamingServer() || m.IsStreamingClient()):
			answer(w, http.StatusUnsupportedMediaType, "invalid_argument", "%s answers with a stream: its Content-Type is application/connect+json", r.URL.Path)
		case kind == "application/json":
			if body, ok := readable(w, r, m); ok {
				r.Body = io.NopCloser(body)
				next.ServeHTTP(w, r)
			}
		case strings.HasPrefix(kind, "application/grpc"), kind == "application/proto", strings.HasPrefix(kind, "application/connect+"):
			next.ServeHTTP(w, r)
		default:
			answer(w, http.StatusUnsupportedMediaType, "invalid_argument", "Content-Type %q is not understood: JSON is application/json", kind)
		}
	})
}

// readable reads a JSON request, and answers it if it is none of m's.
func readable(w http.ResponseWriter, r *http.Request, m protoreflect.MethodDescriptor) (*bytes.Reader, bool) {
	if r.Header.Get("Content-Encoding") != "" {
		answer(w, http.StatusUnsupportedMediaType, "invalid_argument", "Content-Encoding %q is not understood: send JSON as it is", r.Header.Get("Content-Encoding"))
		return nil, false
	}
	b, err := io.ReadAll(io.LimitReader(r.Body, maxAPIBytes+1))
	switch {
	case err != nil:
		answer(w, http.StatusBadRequest, "invalid_argument", "the request broke off")
	case len(b) > maxAPIBytes:
		answer(w, http.StatusRequestEntityTooLarge, "resource_exhausted", "the request is longer than %d bytes", maxAPIBytes)
	case len(bytes.TrimSpace(b)) == 0:
		answer(w, http.StatusBadRequest, "invalid_argument", "the request is empty: it is a JSON object, {} for the least")
	default:
		err := protojson.Unmarshal(b, dynamicpb.NewMessage(m.Input()))
		if err == nil {
			return bytes.NewReader(b), true
		}
		answer(w, http.StatusBadRequest, "invalid_argument", "%s", plainJSON(err, m.Input()))
	}
	return nil, false
}

var unknownField = regexp.MustCompile(`unknown field "([^"]*)"`)

// plainJSON says what is wrong with a request's JSON, and which field was meant.
func plainJSON(err error, in protoreflect.MessageDescriptor) string {
	// The library varies the space after its name, so that nobody relies on it.
	text := strings.TrimLeft(strings.TrimPrefix(strings.ReplaceAll(err.Error(), "\u00a0", " "), "proto:"), " ")
	text = strings.TrimPrefix(text, "syntax error ")
	text = strings.NewReplacer("(line", "line", "): ", ": ", "for uint32 field", "for whole number", "for uint64 field", "for whole number",
		"for int32 field", "for whole number", "for int64 field", "for whole number", "for bool field", "for true or false,").Replace(text)
	if strings.Contains(text, "EOF") {
		return "the request ends before its JSON does"
	}
	if u := unknownField.FindStringSubmatch(text); u != nil {
		text += meant(u[1], fieldNames(in, map[protoreflect.FullName]bool{}))
	}
	return text
}

// fieldNames are the names of the fields of a message and of those in it.
func fieldNames(m protoreflect.MessageDescriptor, seen map[protoreflect.FullName]bool) (names []string) {
	if seen[m.FullName()] {
		return nil
	}
	seen[m.FullName()] = true
	for i := range m.Fields().Len() {
		f := m.Fields().Get(i)
		names = append(names, f.JSONName(), string(f.Name()))
		if f.Message() != nil {
			names = append(names, fieldNames(f.Message(), seen)...)
		}
	}
	return names
}

func meant(word string, known []string) string {
	if n := market.Nearest(word, known); n != "" {
		return fmt.Sprintf("; did you mean %s?", n)
	}
	return ""
}

// answer is an error as Connect writes it.
func answer(w http.ResponseWriter, status int, code, format string, args ...any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.Encode(map[string]string{"code": code, "message": fmt.Sprintf(format, args...)}) // whoever hung up misses it
}

// growing are the calls that make a node take on more.
var growing = map[string]bool{
	apiv1connect.JobsSubmitProcedure:    true,
	apiv1connect.FilesAddProcedure:      true,
	apiv1connect.WalletDepositProcedure: true,
	apiv1connect.WalletFaucetProcedure:  true,
}

// guardCalls refuses what would grow on a disk that is nearly full.
func guardCalls(s *disk.Space) connect.UnaryInterceptorFunc {
	return func(next connect.UnaryFunc) connect.UnaryFunc {
		return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
			if growing[req.Spec().Procedure] {
				if low := s.Room(0); low != nil {
					return nil, connect.NewError(connect.CodeFailedPrecondition, low)
				}
			}
			return next(ctx, req)
		}
	}
}
