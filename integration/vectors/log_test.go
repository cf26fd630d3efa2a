package vectors

import (
	"crypto/ed25519"
	"fmt"
	"testing"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment/log"
)

// logVector is a log of receipts, the note over its head, and an anchor.
type logVector struct {
	Name        string   `json:"name"`
	Entries     []string `json:"entries"`      // receipt digests; a leaf is SHA-256 of a zero byte and one of them
	Origin      string   `json:"origin"`       // souk/ and the libp2p peer id
	VerifierKey string   `json:"verifier_key"` // as verifiers of signed notes take it
	PrivateKey  string   `json:"private_key"`  // the Ed25519 seed
	PublicKey   string   `json:"public_key"`
	Size        uint64   `json:"size"`
	Root        string   `json:"root"`
	Body        string   `json:"body"` // what the note signs; also the leaf under an anchor
	Note        string   `json:"note"`
	Anchored    []string `json:"anchored"` // bodies of checkpoints
	AnchorRoot  string   `json:"anchor_root"`
	Index       uint64   `json:"index"` // of the body among those anchored, in ascending order
	Proof       []string `json:"proof"`
}

func TestLog(t *testing.T) {
	public, err := crypto.UnmarshalEd25519PublicKey(providerKey.Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	id, err := peer.IDFromPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	origin, key := "souk/"+id.String(), nodeKey(providerKey)
	tree, err := log.Open(log.Config{Dir: t.TempDir(), Origin: origin, Key: providerKey})
	if err != nil {
		t.Fatal(err)
	}
	v := logVector{Name: "log", Origin: origin, VerifierKey: log.VerifierKey(origin, key), PrivateKey: hexOf(providerKey.Seed()), PublicKey: hexOf(key[:])}
	var prev souk.Digest
	for version := 1; version <= 2; version++ {
		prev = souk.Digest{}
		for seq := uint64(1); seq <= 2; seq++ {
			prev = receipt(t, version, seq, prev).Digest(domain)
			if _, err := tree.Append(t.Context(), prev); err != nil {
				t.Fatal(err)
			}
			v.Entries = append(v.Entries, hexOf(prev[:]))
		}
	}
	head, err := log.OpenCheckpoint(tree.Checkpoint(), origin, key)
	if err != nil {
		t.Fatal(err)
	}
	bodies := [][]byte{head.Body()}
	for i := range 2 {
		bodies = append(bodies, log.Checkpoint{Origin: fmt.Sprintf("souk/another-%d", i), Size: 1, Root: souk.Digest{byte(i)}}.Body())
	}
	root := log.AnchorRoot(bodies)
	index, proof, err := log.AnchorProof(bodies, head.Body())
	if err != nil {
		t.Fatal(err)
	}
	v.Size, v.Root, v.Body, v.Note = head.Size, hexOf(head.Root[:]), string(head.Body()), string(tree.Checkpoint())
	v.AnchorRoot, v.Index = hexOf(root[:]), index
	for _, b := range bodies {
		v.Anchored = append(v.Anchored, string(b))
	}
	for _, d := range proof {
		v.Proof = append(v.Proof, hexOf(d[:]))
	}
	compare(t, "log.json", []logVector{v})
}
