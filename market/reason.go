package market

import (
	"fmt"
	"strings"
	"time"

	"github.com/souk-market/souk"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
)

// ReasonName is a decline's reason as people and JSON see it: "busy", "price".
// A reason of a later version is "reason-17".
func ReasonName(r marketv1.DeclineReason) string {
	return enumName(r.String(), "DECLINE_REASON_", "reason", int32(r))
}

// RunnerName is a runner as queries spell it: "wasm", "gvisor", "oci".
func RunnerName(r marketv1.Runner) string { return enumName(r.String(), "RUNNER_", "runner", int32(r)) }

// EvidenceName is a level of evidence as queries spell it: "none",
// "challenged", "attested".
func EvidenceName(e marketv1.Evidence) string {
	return enumName(e.String(), "EVIDENCE_", "evidence", int32(e))
}

func enumName(name, prefix, kind string, number int32) string {
	short, ok := strings.CutPrefix(name, prefix)
	if !ok {
		return fmt.Sprintf("%s-%d", kind, number)
	}
	return strings.ReplaceAll(strings.ToLower(short), "_", "-")
}

// measure says by how much a refused message fell short, or what the reason means.
func (r *Refusal) measure() string {
	n := r.Shortfall
	if len(r.Unsupported) > 0 {
		return strings.Join(r.Unsupported, ", ")
	}
	if n == 0 {
		return plain[r.Reason]
	}
	switch r.Reason {
	case marketv1.DeclineReason_DECLINE_REASON_BUSY:
		return plural(n, "device") + " short"
	case marketv1.DeclineReason_DECLINE_REASON_DEVICE:
		return plural(n, "device") + " of the kind missing"
	case marketv1.DeclineReason_DECLINE_REASON_TAKEN:
		return plural(n, "device") + " went to another"
	case marketv1.DeclineReason_DECLINE_REASON_PRICE:
		return amount(n) + "/h above your cap"
	case marketv1.DeclineReason_DECLINE_REASON_PAYMENT:
		return amount(n) + " short"
	case marketv1.DeclineReason_DECLINE_REASON_MEMORY:
		return souk.FormatSize(n) + " of memory short"
	case marketv1.DeclineReason_DECLINE_REASON_DISK:
		return souk.FormatSize(n) + " of disk short"
	case marketv1.DeclineReason_DECLINE_REASON_CPU:
		return formatCores(n) + " cores short"
	case marketv1.DeclineReason_DECLINE_REASON_DURATION:
		return span(n) + " longer than leases here"
	case marketv1.DeclineReason_DECLINE_REASON_EXPIRED:
		return span(n) + " too late"
	case marketv1.DeclineReason_DECLINE_REASON_RATE:
		return "ask again in " + span(n)
	default:
		return plain[r.Reason]
	}
}

// plain says what reasons without a measure mean.
var plain = map[marketv1.DeclineReason]string{
	marketv1.DeclineReason_DECLINE_REASON_RUNNER:       "no accepted runner",
	marketv1.DeclineReason_DECLINE_REASON_REGION:       "not in an accepted region",
	marketv1.DeclineReason_DECLINE_REASON_EVIDENCE:     "not proved well enough",
	marketv1.DeclineReason_DECLINE_REASON_DRAINING:     "the provider is stopping",
	marketv1.DeclineReason_DECLINE_REASON_MALFORMED:    "the provider cannot act on the message",
	marketv1.DeclineReason_DECLINE_REASON_UNSUPPORTED:  "the provider does not understand the message",
	marketv1.DeclineReason_DECLINE_REASON_NOT_MEASURED: "the devices cannot be measured there, which is no fault",
}

func plural(n uint64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// amount shows atoms that a peer named; its number may be past what money can be.
func amount(n uint64) string {
	if n > MaxPrice {
		return "more than " + souk.Atoms(MaxPrice).String()
	}
	return souk.Atoms(n).String()
}

func span(ms uint64) string {
	if ms > maxDurationMs {
		return "more than ten years"
	}
	return formatDuration(time.Duration(ms) * time.Millisecond)
}
