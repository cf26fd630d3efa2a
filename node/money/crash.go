//go:build crashpoints

package money

import (
	"encoding/json"

	"github.com/souk-market/souk/payment"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"google.golang.org/protobuf/proto"
)

// CrashPoints names the moments at which integration/crash ends a daemon: what a
// record of money, of a kind that the first word of its key tells, says that it did
// not say before. Of records of others it names none. It is in no other build.
func CrashPoints(kind string, had, value []byte) []string {
	switch kind {
	case "anchor":
		return []string{"anchor"}
	case "receipt":
		return receiptPoints(value)
	case "channel":
		return channelPoints(had, value)
	}
	return nil
}

func receiptPoints(value []byte) []string {
	var r runv1.Receipt
	if proto.Unmarshal(value, &r) != nil {
		return nil
	}
	point := "receipt"
	if r.Kind == uint32(payment.KindFinal) {
		point = "final"
	}
	if len(r.ClientSignature) > 0 {
		point += "-signed"
	}
	return []string{point}
}

func channelPoints(had, value []byte) (points []string) {
	var before, after Channel
	if had != nil && json.Unmarshal(had, &before) != nil || json.Unmarshal(value, &after) != nil {
		return nil
	}
	for _, p := range []struct {
		point string
		now   bool
	}{
		{"channel-deposit", after.Balance > before.Balance},
		{"channel-claim", after.Claimed > before.Claimed},
		{"channel-refund", after.RefundNonce != before.RefundNonce},
		{"channel-refunding", after.Refunding && !before.Refunding},
		{"claim-tx", after.ClaimTx != before.ClaimTx},
		{"refund-tx", after.RefundTx != before.RefundTx},
	} {
		if p.now {
			points = append(points, p.point)
		}
	}
	return points
}
