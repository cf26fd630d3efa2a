package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/souk-market/souk/gpu/runner/oci/enginetest"
)

// TestTraining runs examples/pytorch in a container, on the processor.
func TestTraining(t *testing.T) {
	engine := enginetest.Start(t)
	root, err := filepath.Abs(filepath.Join("..", "..", "bin", "images", "pytorch.tar"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(root); err != nil {
		t.Fatalf("the image of examples/pytorch, which make image makes: %v", err)
	}
	const tag = "localhost/souk/pytorch:bookworm"
	engine.Podman(t, "import", "--quiet", "--change", `CMD ["python3"]`, root, tag)
	digest := engine.Podman(t, "image", "inspect", "--format", "{{.Digest}}", tag)
	tell(t, "training", map[string]string{"ENGINE": engine.URL, "IMAGE": "localhost/souk/pytorch@" + digest})
}
