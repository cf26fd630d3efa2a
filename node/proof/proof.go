// Package proof is the challenge between two nodes: a provider proves to whoever asks
// that its idle devices compute and hold what its offers say, and what came of it is
// signed and kept.
//
// [Answer] is the provider's half, a [Challenger] the other. Both bound every frame,
// every wait and the whole. What a proof shows, and what no proof can, is said at
// [challenge.Verdict].
package proof

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode"

	"google.golang.org/protobuf/proto"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/gpu/challenge"
	"github.com/souk-market/souk/market"
	"github.com/souk-market/souk/node/network"
	challengev1 "github.com/souk-market/souk/proto/souk/challenge/v1"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	"github.com/souk-market/souk/proto/wire"
)

// Protocol carries one challenge, a uvarint length before each frame: out, a Signed
// Challenge of at most [MaxRequestBytes]; back, a decline, or Ready; then in turn Start,
// the commitments, Recall, the recalls, Draw and the openings, each a ToProvider or a
// ToChallenger of at most [MaxFrameBytes]; last, the challenger's Signed Evidence.
// Within [Limits].Deadline in all; each side waits as [Times] say.
const Protocol = "/souk/challenge/1"

const (
	// MaxRequestBytes bounds the first frame: names and numbers.
	MaxRequestBytes = 2 << 10
	// MaxFrameBytes bounds a frame: a tile of 64 KiB with two paths.
	MaxFrameBytes = 72 << 10
	// MaxEvidenceBytes bounds signed evidence: 128 ids and some numbers.
	MaxEvidenceBytes = 16 << 10
	// MaxPlaces bounds the tiles that are opened: 16 MiB.
	MaxPlaces = 256
	// Fresh is how long evidence counts: what a machine was a day ago it may not be now.
	Fresh = 24 * time.Hour

	version   = 1
	nonceSize = 16
	maxDetail = 200 // bytes of a line for people
	maxWord   = 32  // bytes of a backend's name or a fault's
	skew      = 30 * time.Second
)

// Limits are those of the provider's streams: each holds devices that earn nothing
// meanwhile.
var Limits = network.StreamLimits{Concurrent: 4, PerPeer: 1, Deadline: 6 * time.Minute, Memory: 2 * MaxFrameBytes}

// Times are how long each side waits for the other.
type Times struct {
	Turn  time.Duration // for a frame that needs no work
	Start time.Duration // for devices to be ready: a driver compiles the kernels
	Work  time.Duration // for the products of all rounds, and for the recall
}

// DefaultTimes are those of every node; tests shorten them.
func DefaultTimes() Times {
	return Times{Turn: 10 * time.Second, Start: time.Minute, Work: 2 * time.Minute}
}

// Request is a challenge whose signature and fields were checked.
type Request struct {
	*challengev1.Challenge
	Challenger souk.NodeKey // who signed it
	Subject    souk.Digest  // SHA-256 of its payload, which a decline repeats
	payload    []byte
}

// digest is what the seeds of a challenge are made from. Nobody knows it before the
// devices are ready and the challenger lets them begin.
func (r *Request) digest(start []byte) souk.Digest {
	h := sha256.New()
	h.Write(r.payload) // which names the provider
	h.Write(r.Challenger[:])
	h.Write(start)
	return souk.Digest(h.Sum(nil))
}

// terms are the challenge for devices.
func (r *Request) terms(devices []string, digest souk.Digest) challenge.Challenge {
	return challenge.Challenge{Digest: digest, Devices: devices, Arithmetic: arithmeticOf(r.Arithmetic), Size: r.Size, Rounds: r.Rounds}
}

// arithmeticOf is 0, which nobody computes by, for what does not fit.
func arithmeticOf(a challengev1.Arithmetic) challenge.Arithmetic {
	if a < 0 || a > 255 {
		return 0
	}
	return challenge.Arithmetic(a)
}

// Terms are the challenge for devices before it begins.
func (r *Request) Terms(devices []string) challenge.Challenge { return r.terms(devices, souk.Digest{}) }

// OpenRequest checks the envelope of a challenge: size, signature, that it is for this
// provider, new, and that its numbers are possible. The error is a *[market.Refusal]; a
// request that was signed comes back with it, for the decline to name.
func OpenRequest(envelope []byte, provider souk.NodeKey, now time.Time) (*Request, *market.Refusal) {
	payload, signer, err := wire.Open(souk.DomainChallenge, envelope, MaxRequestBytes)
	if err != nil {
		return nil, malformed("%v", err)
	}
	m := new(challengev1.Challenge)
	if err := proto.Unmarshal(payload, m); err != nil {
		return nil, malformed("%v", err)
	}
	r := &Request{Challenge: m, Challenger: signer, Subject: sha256.Sum256(payload), payload: slices.Clone(payload)}
	switch {
	case m.Version > version:
		return r, &market.Refusal{Reason: marketv1.DeclineReason_DECLINE_REASON_UNSUPPORTED, Detail: fmt.Sprintf("version %d of challenges", m.Version)}
	case len(m.MustUnderstand) > 0: // there are no extensions yet
		return r, market.Understand(m.MustUnderstand)
	case len(m.Nonce) != nonceSize:
		return r, malformed("nonce")
	case len(m.ProviderKey) != len(provider) || souk.NodeKey(m.ProviderKey) != provider:
		return r, malformed("the challenge is for another provider")
	case !isClass(m.Class):
		return r, malformed("class")
	case time.UnixMilli(m.SignedMs).Sub(now).Abs() > skew:
		return r, malformed("the challenge was signed at another time than now")
	}
	if err := r.Terms([]string{"any"}).Validate(); err != nil {
		return r, malformed("%v", err)
	}
	return r, nil
}

func malformed(format string, args ...any) *market.Refusal {
	return &market.Refusal{Reason: marketv1.DeclineReason_DECLINE_REASON_MALFORMED, Detail: fmt.Sprintf(format, args...)}
}

// isClass tells whether s can be a class.
func isClass(s string) bool { return s != "" && len(s) <= 48 && isText(s) }

// isText tells whether s can be shown on a terminal without moving its cursor.
func isText(s string) bool {
	for _, r := range s {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return false
		}
	}
	return true
}

// Evidence is what a challenger says came of a challenge, with its signature checked.
type Evidence struct {
	*challengev1.Evidence
	Challenger souk.NodeKey // who signed it
	Provider   souk.NodeKey
	At         time.Time // by the challenger's clock
	Envelope   []byte    // as it travelled
}

// Proved tells whether it shows that the devices did the work and held it.
func (e *Evidence) Proved() bool { return e.Verdict == challengev1.Verdict_VERDICT_PROVED }

// Counts tells whether it proves, at a time, what an offer of its class says: it is
// new, and GPUs with so much memory filled half of it at least, and did not leave the
// work to the processor. A little work shows that something computes, and not what.
func (e *Evidence) Counts(now time.Time, memoryBytes uint64) bool {
	age := now.Sub(e.At)
	if !e.Proved() || age > Fresh || age < -skew {
		return false
	}
	filled := challenge.Challenge{Size: e.Size, Rounds: e.Rounds}.MemoryBytes()
	return e.Class == market.CPUClass || e.Backend != "reference" && filled >= memoryBytes/2
}

// errEvidence is what evidence can be that its signer did not sign by our rules.
var errEvidence = errors.New("malformed evidence")

// OpenEvidence checks the envelope of evidence: size, signature and fields.
func OpenEvidence(envelope []byte) (*Evidence, error) {
	payload, signer, err := wire.Open(souk.DomainEvidence, envelope, MaxEvidenceBytes)
	if err != nil {
		return nil, fmt.Errorf("evidence: %w", err)
	}
	m := new(challengev1.Evidence)
	if err := proto.Unmarshal(payload, m); err != nil {
		return nil, fmt.Errorf("evidence: %w", err)
	}
	terms := challenge.Challenge{Devices: m.Devices, Arithmetic: arithmeticOf(m.Arithmetic), Size: m.Size, Rounds: m.Rounds}
	switch {
	case m.Version > version, len(m.ProviderKey) != len(souk.NodeKey{}), !isClass(m.Class), len(m.Challenge) != len(souk.Digest{}),
		!isWord(m.Backend), !isText(m.Fault) || len(m.Fault) > maxWord, m.AtMs <= 0, m.AtMs > 1<<45, m.Tiles > MaxPlaces,
		m.Verdict == challengev1.Verdict_VERDICT_UNSPECIFIED, terms.Validate() != nil, slices.ContainsFunc(m.Devices, func(id string) bool { return !isText(id) }):
		return nil, errEvidence
	}
	return &Evidence{Evidence: m, Challenger: signer, Provider: souk.NodeKey(m.ProviderKey), At: time.UnixMilli(m.AtMs).UTC(), Envelope: slices.Clone(envelope)}, nil
}

// isWord tells whether s can be a backend's name.
func isWord(s string) bool { return s != "" && len(s) <= maxWord && isText(s) }
