package log

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/souk-market/souk"
	"golang.org/x/mod/sumdb/note"
)

// MaxCheckpointBytes bounds a note that [OpenCheckpoint] reads: a checkpoint and
// the cosignatures of its witnesses.
const MaxCheckpointBytes = 32 << 10

// noteEd25519 is the byte before an Ed25519 key in a note's key.
const noteEd25519 = 1

// emptyRoot is the root of a log without entries: the SHA-256 of nothing.
var emptyRoot = souk.Digest(sha256.Sum256(nil))

// Checkpoint is the head of a log.
type Checkpoint struct {
	Origin string // the log's name
	Size   uint64 // number of entries
	Root   souk.Digest
}

// Body is the text that is signed: origin, size and root, a line each. It is also
// the checkpoint's leaf under an anchor.
func (c Checkpoint) Body() []byte {
	return fmt.Appendf(nil, "%s\n%d\n%s\n", c.Origin, c.Size, base64.StdEncoding.EncodeToString(c.Root[:]))
}

// OpenCheckpoint checks that note is a checkpoint of the log of that origin,
// signed with key. Signatures by others are ignored. The error is
// [ErrCheckpoint].
func OpenCheckpoint(signed []byte, origin string, key souk.NodeKey) (Checkpoint, error) {
	if len(signed) > MaxCheckpointBytes {
		return Checkpoint{}, fmt.Errorf("%d bytes, limit %d: %w", len(signed), MaxCheckpointBytes, ErrCheckpoint)
	}
	v, err := note.NewVerifier(VerifierKey(origin, key))
	if err != nil {
		return Checkpoint{}, fmt.Errorf("%w: origin %q: %w", ErrCheckpoint, origin, err)
	}
	n, err := note.Open(signed, note.VerifierList(v))
	if err != nil {
		return Checkpoint{}, fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	c, err := parseBody(n.Text)
	if err == nil && c.Origin != origin {
		err = fmt.Errorf("origin is %q, want %q: %w", c.Origin, origin, ErrCheckpoint)
	}
	return c, err
}

// parseBody reads three lines; what may follow them is not for us. Only the one
// spelling of a number and a root is taken.
func parseBody(text string) (c Checkpoint, err error) {
	lines := strings.SplitN(text, "\n", 4)
	if len(lines) != 4 || strings.Contains("\n"+lines[3], "\n\n") {
		return Checkpoint{}, fmt.Errorf("%w: not three lines", ErrCheckpoint)
	}
	c.Origin = lines[0]
	if c.Size, err = strconv.ParseUint(lines[1], 10, 63); err != nil {
		return Checkpoint{}, fmt.Errorf("%w: size: %w", ErrCheckpoint, err)
	}
	root, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil {
		return Checkpoint{}, fmt.Errorf("%w: root: %w", ErrCheckpoint, err)
	}
	if c.Root, err = souk.DigestFrom(root); err != nil {
		return Checkpoint{}, fmt.Errorf("%w: root: %w", ErrCheckpoint, err)
	}
	if c.Origin == "" || !strings.HasPrefix(text, string(c.Body())) {
		return Checkpoint{}, fmt.Errorf("%w: unusual spelling", ErrCheckpoint)
	}
	return c, nil
}

// VerifierKey is a log's key as text, as verifiers of signed notes want it.
func VerifierKey(origin string, key souk.NodeKey) string {
	typed := append([]byte{noteEd25519}, key[:]...)
	return fmt.Sprintf("%s+%08x+%s", origin, keyHash(origin, typed), base64.StdEncoding.EncodeToString(typed))
}

// keyHash names a key in a signature line.
func keyHash(origin string, typed []byte) uint32 {
	h := sha256.Sum256(append([]byte(origin+"\n"), typed...))
	return binary.BigEndian.Uint32(h[:])
}

// sign makes the checkpoint's note.
func sign(s note.Signer, c Checkpoint) ([]byte, error) {
	signed, err := note.Sign(&note.Note{Text: string(c.Body())}, s)
	if err != nil {
		return nil, fmt.Errorf("sign checkpoint: %w", err)
	}
	return signed, nil
}

// newSigner uses a node's key as a note key. It refuses an origin that no
// verifier would take.
func newSigner(origin string, key ed25519.PrivateKey) (note.Signer, error) {
	public := souk.NodeKey(key.Public().(ed25519.PublicKey))
	if _, err := note.NewVerifier(VerifierKey(origin, public)); err != nil {
		return nil, err
	}
	typed := append([]byte{noteEd25519}, key.Seed()...)
	hash := keyHash(origin, append([]byte{noteEd25519}, public[:]...))
	return note.NewSigner(fmt.Sprintf("PRIVATE+KEY+%s+%08x+%s", origin, hash, base64.StdEncoding.EncodeToString(typed)))
}
