package log

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
)

// Handler serves the log as C2SP tlog-tiles does: /checkpoint, /tile/<level>/…
// and /tile/entries/…, at the root of its paths. Only what the latest checkpoint
// covers is served, so a tile's content never changes.
func (l *Log) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /checkpoint", func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "text/plain; charset=utf-8")
		h.Set("Cache-Control", "no-cache")
		h.Set("Access-Control-Allow-Origin", "*") // public by design, and no credentials
		_, _ = w.Write(l.Checkpoint())
	})
	mux.HandleFunc("GET /tile/", func(w http.ResponseWriter, r *http.Request) {
		id, ok := parsePath(strings.TrimPrefix(r.URL.Path, "/"))
		if !ok {
			http.NotFound(w, r)
			return
		}
		data, err := l.tile(id)
		if errors.Is(err, ErrRange) {
			http.NotFound(w, r)
			return
		}
		if err != nil {
			l.log.Error("serve tile", "tile", id.path(), "err", err)
			http.Error(w, "tile cannot be read", http.StatusInternalServerError)
			return
		}
		h := w.Header()
		h.Set("Content-Type", "application/octet-stream")
		h.Set("Content-Length", strconv.Itoa(len(data)))
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
		h.Set("Access-Control-Allow-Origin", "*")
		_, _ = w.Write(data)
	})
	return mux
}
