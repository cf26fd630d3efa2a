package main

import (
	"fmt"
	"strings"
	"time"

	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
)

// ranBefore is the device time that a lease's receipts have shown so far, in
// milliseconds, by the lease's id. Receipts of version 2 say what was used in
// all; people are shown what an interval adds.
type ranBefore map[string]uint64

// ran is the device time in the interval of r, which follows the receipts that
// were asked about before.
func (b ranBefore) ran(r *runv1.Receipt) (ms uint64) {
	if r.GetVersion() < 2 {
		return r.GetDeviceMilliseconds()
	}
	for _, l := range r.GetUsage() {
		if isDeviceTime(l.GetUnit()) {
			ms += l.GetQuantity()
		}
	}
	before := b[string(r.GetLease())]
	b[string(r.GetLease())] = ms
	return max(ms, before) - before
}

// isDeviceTime tells whether a unit is running time of devices.
func isDeviceTime(unit string) bool {
	return unit == "device-ms" || strings.HasPrefix(unit, "device-ms/")
}

// usageText is the device time of an interval, and what else was used so far.
func usageText(r *runv1.Receipt, ranMs uint64) string {
	text := (time.Duration(ranMs) * time.Millisecond).String()
	for _, l := range r.GetUsage() {
		if !isDeviceTime(l.GetUnit()) {
			text += fmt.Sprintf(", %d %s so far", l.GetQuantity(), l.GetUnit())
		}
	}
	return text
}
