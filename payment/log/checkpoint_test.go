package log

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/souk-market/souk"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
)

func TestCheckpointIsForeignersToo(t *testing.T) {
	l := open(t, t.TempDir())
	appendTo(t, l, leaves(0, 3)...)
	vkey, err := note.NewEd25519VerifierKey(origin, ed25519.PublicKey(public[:]))
	if err != nil || vkey != VerifierKey(origin, public) {
		t.Errorf("VerifierKey = %s, x/mod has %s, %v", VerifierKey(origin, public), vkey, err)
	}
	good := string(l.Checkpoint())
	_, other, _ := ed25519.GenerateKey(nil)
	witness, err := newSigner("witness.example", other)
	if err != nil {
		t.Fatal(err)
	}
	v, _ := note.NewVerifier(vkey)
	n, err := note.Open([]byte(good), note.VerifierList(v))
	if err != nil {
		t.Fatal(err)
	}
	cosigned, err := note.Sign(n, witness)
	if err != nil {
		t.Fatal(err)
	}
	resign := func(text string) string {
		s, err := note.Sign(&note.Note{Text: text}, l.signer)
		if err != nil {
			t.Fatal(err)
		}
		return string(s)
	}
	body := string(head(t, l).Body())
	lines := strings.Split(body, "\n")
	for _, tt := range []struct {
		name, note, origin string
		key                souk.NodeKey
		ok                 bool
	}{
		{"good", good, origin, public, true},
		{"cosigned", string(cosigned), origin, public, true},
		{"an extension line", resign(body + "more\n"), origin, public, true},
		{"another origin", good, "souk/other", public, false},
		{"no origin", good, "", public, false},
		{"another key", good, origin, souk.NodeKey(other.Public().(ed25519.PublicKey)), false},
		{"another origin in the body", resign("souk/x\n" + lines[1] + "\n" + lines[2] + "\n"), origin, public, false},
		{"leading zero", resign(origin + "\n0" + lines[1] + "\n" + lines[2] + "\n"), origin, public, false},
		{"plus sign", resign(origin + "\n+" + lines[1] + "\n" + lines[2] + "\n"), origin, public, false},
		{"short root", resign(origin + "\n3\nAAAA\n"), origin, public, false},
		{"two lines", resign(origin + "\n3\n"), origin, public, false},
		{"empty extension line", resign(body + "\nmore\n"), origin, public, false},
		{"changed", strings.Replace(good, "\n3\n", "\n4\n", 1), origin, public, false},
		{"cut", good[:len(good)-3], origin, public, false},
		{"empty", "", origin, public, false},
		{"large", good + strings.Repeat("x", MaxCheckpointBytes), origin, public, false},
	} {
		c, err := OpenCheckpoint([]byte(tt.note), tt.origin, tt.key)
		if (err == nil) != tt.ok || err != nil && !errors.Is(err, ErrCheckpoint) || tt.ok && c.Size != 3 {
			t.Errorf("%s: %+v, %v", tt.name, c, err)
		}
	}
}

func TestAnchor(t *testing.T) {
	for n := range 20 {
		var bodies [][]byte
		for i := range n {
			bodies = append(bodies, Checkpoint{fmt.Sprintf("souk/%02d", (i*7)%20), uint64(i), leaf(uint64(i))}.Body())
		}
		root := AnchorRoot(bodies)
		for _, b := range bodies {
			i, p, err := AnchorProof(bodies, b)
			if err != nil {
				t.Fatal(err)
			}
			if err := VerifyAnchorProof(b, i, uint64(n), root, p); err != nil {
				t.Errorf("%d of %d: %v", i, n, err)
			}
			if err := proof.VerifyInclusion(rfc6962.DefaultHasher, i, uint64(n), rfc6962.DefaultHasher.HashLeaf(b), bytesOf(p), root[:]); err != nil {
				t.Errorf("transparency-dev, %d of %d: %v", i, n, err)
			}
			if err := VerifyAnchorProof(b[1:], i, uint64(n), root, p); !errors.Is(err, ErrProof) {
				t.Errorf("another body: %v", err)
			}
		}
		if _, _, err := AnchorProof(bodies, []byte("souk/none\n")); !errors.Is(err, ErrRange) {
			t.Errorf("a body that is not there: %v", err)
		}
	}
}

func FuzzOpenCheckpoint(f *testing.F) {
	c := Checkpoint{origin, 3, leaf(1)}
	s, err := newSigner(origin, key)
	if err != nil {
		f.Fatal(err)
	}
	signed, err := sign(s, c)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(signed, true)
	f.Add([]byte(origin+"\n3\nAAAA\n"), false)
	f.Add(c.Body(), false)
	f.Fuzz(func(t *testing.T, b []byte, whole bool) {
		if !whole { // a body gets past the signature, as a hostile log's would
			if signed, err := note.Sign(&note.Note{Text: string(b)}, s); err == nil {
				b = signed
			}
		}
		c, err := OpenCheckpoint(b, origin, public)
		if err != nil {
			if !errors.Is(err, ErrCheckpoint) {
				t.Errorf("error %v is not ErrCheckpoint", err)
			}
			return
		}
		again, err := sign(s, c)
		if err != nil {
			t.Fatal(err)
		}
		if c2, err := OpenCheckpoint(again, origin, public); err != nil || c2 != c {
			t.Errorf("%+v became %+v, %v", c, c2, err)
		}
	})
}
