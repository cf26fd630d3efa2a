package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/souk-market/souk/market"
	"github.com/souk-market/souk/node/client"
	"github.com/souk-market/souk/node/offers"
)

// eventsPulse keeps proxies from closing a silent stream, and is how often the
// log's checkpoint is looked at.
const eventsPulse = 2 * time.Second

// events streams the market to whoever asks.
type events struct {
	book    interface{ Offers() []*market.Offer }
	changes bookWatch
	scores  scores
	tree    interface {
		Checkpoint() []byte
		Size() uint64
	}
}

// ServeHTTP streams the market as server-sent events: the offers there are, then
// each change, and our log's checkpoint as it grows.
func (e *events) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	changes, err := e.changes.Watch(r.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	out := http.NewResponseController(w)
	for _, o := range e.book.Offers() {
		e.offer(w, offers.Change{Offer: o})
	}
	size, pulse := uint64(0), time.NewTicker(eventsPulse)
	defer pulse.Stop()
	for {
		if now := e.tree.Size(); now != size {
			size = now
			sendEvent(w, "checkpoint", map[string]any{"note": string(e.tree.Checkpoint())})
		}
		if out.Flush() != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case c, ok := <-changes:
			if !ok {
				return
			}
			e.offer(w, c)
		case <-pulse.C:
			fmt.Fprint(w, ": \n\n")
		}
	}
}

func (e *events) offer(w http.ResponseWriter, c offers.Change) {
	row := offerRow(c.Offer, e.scores)
	o := row.Offer
	sendEvent(w, "offer", map[string]any{"provider": row.Provider, "class": o.Class, "model": o.Model, "region": o.Region,
		"free": o.Free, "count": o.Count, "price_atoms_per_hour": o.PriceAtomsPerHour, "memory_bytes": o.MemoryBytes,
		"epoch": o.Epoch, "sequence": o.Sequence, "expires": client.Stamp(c.Offer.Expires), "ended": c.Ended,
		"envelope": c.Offer.Envelope})
}

// sendEvent writes one server-sent event.
func sendEvent(w http.ResponseWriter, name string, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		return // plain values always encode
	}
	fmt.Fprintf(w, "event: %s\ndata: %s\n\n", name, b)
}
