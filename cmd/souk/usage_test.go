package main

import (
	"testing"

	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
)

// Receipts of both versions show what their interval adds.
func TestUsageOfReceipts(t *testing.T) {
	lines := func(deviceMs, tokens uint64) []*runv1.UsageLine {
		return []*runv1.UsageLine{{Unit: "device-ms/A", Quantity: deviceMs}, {Unit: "device-ms/B", Quantity: deviceMs}, {Unit: "token-out", Quantity: tokens}}
	}
	before := ranBefore{}
	for _, tt := range []struct {
		receipt *runv1.Receipt
		want    string
	}{
		{&runv1.Receipt{Lease: []byte{1}, Seq: 1, DeviceMilliseconds: 5000}, "5s"},
		{&runv1.Receipt{Lease: []byte{1}, Seq: 2, Version: 1, DeviceMilliseconds: 4812}, "4.812s"},
		{&runv1.Receipt{Lease: []byte{2}, Seq: 1, Version: 2, Usage: lines(2500, 0)}, "2.5s A, 2.5s B, 0 token-out so far"},
		{&runv1.Receipt{Lease: []byte{2}, Seq: 2, Version: 2, Usage: lines(4000, 70)}, "1.5s A, 1.5s B, 70 token-out so far"},
		{&runv1.Receipt{Lease: []byte{3}, Seq: 1, Version: 2, Usage: lines(500, 1)}, "500ms A, 500ms B, 1 token-out so far"},
		{&runv1.Receipt{Lease: []byte{3}, Seq: 2, Version: 2, Usage: lines(0, 1)}, "0s A, 0s B, 1 token-out so far"},
		{&runv1.Receipt{Lease: []byte{4}, Seq: 1, Version: 2, Usage: []*runv1.UsageLine{{Unit: "device-ms", Quantity: 5000}}}, "5s"},
	} {
		if got := usageText(tt.receipt, before.ran(tt.receipt)); got != tt.want {
			t.Errorf("receipt %d of lease %x: %q, want %q", tt.receipt.Seq, tt.receipt.Lease, got, tt.want)
		}
	}
}
