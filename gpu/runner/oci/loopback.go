package oci

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// loopback is a registry of one image on an address of this machine alone, while an
// engine pulls it. It is read-only. Its path cannot be guessed, so nobody else here
// can read what a client sent.
type loopback struct {
	name   string        // of the image, with its tag
	sent   atomic.Uint64 // bytes of layers
	asked  atomic.Bool   // the engine reached it
	image  *layout
	lied   func(error) // told of a part that is not what its digest says
	server *http.Server
	ended  chan error
}

// loopbackAddress is not the one at which an owner's own registries listen, for which
// engines may have mirrors and settings. Docker takes all of 127.0.0.0/8 without TLS.
const loopbackAddress = "127.0.0.2:0"

// headerWithin bounds how long the engine may take to say what it wants.
const headerWithin = 10 * time.Second

// serveLayout serves an image until [loopback.close]. Lied is called, from any goroutine,
// once a part was sent that is not what its digest says: the engine will not take it,
// however often it asks.
func serveLayout(image *layout, lied func(error)) (*loopback, error) {
	l, err := net.Listen("tcp", loopbackAddress)
	if err != nil {
		return nil, fmt.Errorf("serve the image to the engine: %w", err)
	}
	var secret [16]byte
	rand.Read(secret[:])
	repository := "souk/" + hex.EncodeToString(secret[:])
	b := &loopback{name: l.Addr().String() + "/" + repository + ":image", image: image, lied: lied, ended: make(chan error, 1)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v2/{$}", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /v2/"+repository+"/manifests/{reference}", b.manifest)
	mux.HandleFunc("GET /v2/"+repository+"/blobs/{digest}", b.blob)
	b.server = &http.Server{Handler: mux, ReadHeaderTimeout: headerWithin}
	go func() { b.ended <- b.server.Serve(l) }() // close waits for it
	return b, nil
}

// close ends the registry, and whatever the engine still reads of it.
func (b *loopback) close() {
	b.server.Close()
	<-b.ended
}

// manifest answers for the tag and for the digest, as there is one.
func (b *loopback) manifest(w http.ResponseWriter, r *http.Request) {
	b.asked.Store(true)
	digest, _, err := v1.SHA256(bytes.NewReader(b.image.manifest))
	if ref := r.PathValue("reference"); err != nil || ref != "image" && ref != digest.String() {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", string(b.image.kind))
	w.Header().Set("Docker-Content-Digest", digest.String())
	w.Header().Set("Content-Length", strconv.Itoa(len(b.image.manifest)))
	if r.Method == http.MethodGet {
		_, _ = w.Write(b.image.manifest) // an engine that went away is told by its pull
	}
}

// blob sends a part of the image. The engine holds it against its digest.
func (b *loopback) blob(w http.ResponseWriter, r *http.Request) {
	digest, err := v1.NewHash(r.PathValue("digest"))
	size, known := b.image.blobs[digest.String()]
	if err != nil || !known {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Docker-Content-Digest", digest.String())
	w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	if r.Method != http.MethodGet {
		return
	}
	sum := sha256.New()
	to := &sentBytes{to: io.MultiWriter(w, sum)}
	if _, layer := b.image.content.layers[digest.Hex]; layer {
		to.count = &b.sent
	}
	// What breaks off here is fewer bytes than were announced, which the engine sees.
	err = b.image.from.Cat(r.Context(), b.image.root+"/"+blobPath(digest), to)
	if err == nil && hex.EncodeToString(sum.Sum(nil)) != digest.Hex {
		b.lied(badLayout("a layer is not what its digest says"))
	}
}

// sentBytes counts what is written.
type sentBytes struct {
	to    io.Writer
	count *atomic.Uint64 // nil: not counted
}

func (s *sentBytes) Write(p []byte) (int, error) {
	n, err := s.to.Write(p)
	if s.count != nil {
		s.count.Add(uint64(n))
	}
	return n, err
}
