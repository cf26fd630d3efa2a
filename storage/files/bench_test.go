package files_test

import (
	"bytes"
	"io"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/souk-market/souk/storage/files"
)

const benchBytes = 128 << 20

// BenchmarkFetch moves a file between two hosts on loopback, from store to store.
func BenchmarkFetch(b *testing.B) {
	owner := start(b)
	root, _, err := owner.AddReader(b.Context(), bytes.NewReader(random(1, benchBytes)))
	if err != nil {
		b.Fatal(err)
	}
	if err := owner.Publish(b.Context(), root); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(benchBytes)
	for b.Loop() {
		b.StopTimer()
		client := start(b)
		connect(b, client, owner)
		b.StartTimer()
		if err := client.Fetch(within(b, 5*time.Minute), root, owner.host.ID(), files.Limit{}, nil); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkStream is what BenchmarkFetch is held against: one stream of libp2p.
func BenchmarkStream(b *testing.B) {
	owner, client := start(b), start(b)
	want := random(1, benchBytes)
	owner.host.SetStreamHandler("/test/raw", func(s network.Stream) {
		_, _ = s.Write(want)
		_ = s.Close()
	})
	connect(b, client, owner)
	b.SetBytes(benchBytes)
	for b.Loop() {
		s, err := client.host.NewStream(b.Context(), owner.host.ID(), "/test/raw")
		if err != nil {
			b.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, s); n != benchBytes || err != nil {
			b.Fatal(n, err)
		}
	}
}

func BenchmarkAdd(b *testing.B) {
	want := random(1, benchBytes)
	b.SetBytes(benchBytes)
	for b.Loop() {
		b.StopTimer()
		f := open(b, files.Config{})
		b.StartTimer()
		if _, _, err := f.AddReader(b.Context(), bytes.NewReader(want)); err != nil {
			b.Fatal(err)
		}
	}
}
