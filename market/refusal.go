package market

import (
	"errors"
	"strings"
	"unicode"

	"github.com/souk-market/souk"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
)

// maxDetail bounds the bytes of the line for people in a decline.
const maxDetail = 200

// Refusal is why a provider does not act on a message: an order, a lease, a run
// stream or a channel request. It travels as a signed decline. As an error it is
// one line for people.
type Refusal struct {
	Reason      marketv1.DeclineReason
	Shortfall   uint64   // in the reason's unit; 0 where it has none
	Detail      string   // one line for people; may be empty
	Unsupported []string // with UNSUPPORTED: what is not understood, by name
}

// Error is the reason, by how much in its own unit, and what the provider adds:
// "busy: 1 device short", "price: 0.05/h above your cap".
func (r *Refusal) Error() string {
	text := ReasonName(r.Reason)
	if s := r.measure(); s != "" {
		text += ": " + s
	}
	if r.Detail != "" {
		text += " (" + r.Detail + ")"
	}
	return text
}

// Proto is the decline of the payload with the digest subject. What does not fit
// a decline is cut.
func (r *Refusal) Proto(subject souk.Digest) *marketv1.Decline {
	return &marketv1.Decline{Subject: subject[:], Reason: r.Reason, Shortfall: r.Shortfall,
		Detail: line(r.Detail, maxDetail), Unsupported: terms(r.Unsupported)}
}

// RefusalOf is the refusal that err is, or one for a message that cannot be
// acted on.
func RefusalOf(err error) *Refusal {
	if r, ok := errors.AsType[*Refusal](err); ok {
		return r
	}
	return &Refusal{Reason: marketv1.DeclineReason_DECLINE_REASON_MALFORMED, Detail: err.Error()}
}

// line makes s one line of at most n bytes that a terminal can show.
func line(s string, n int) string {
	s = strings.ToValidUTF8(strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, s), "")
	if len(s) > n {
		s = strings.ToValidUTF8(s[:n], "") // a cut may fall inside a letter
	}
	return s
}
