package main

import (
	"fmt"
	"strings"
	"time"

	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
)

// ranBefore is the device time that a lease's receipts have shown so far, in
// milliseconds, by the lease's id and the unit. Receipts of version 2 say what was
// used in all; people are shown what an interval adds.
type ranBefore map[string]map[string]uint64

// classRan is the device time of one class in an interval. The class has no name
// where a lease holds only one.
type classRan struct {
	class string
	ms    uint64
}

// ran is the device time in the interval of r, which follows the receipts that
// were asked about before, class by class.
func (b ranBefore) ran(r *runv1.Receipt) (ran []classRan) {
	if r.GetVersion() < 2 {
		return []classRan{{"", r.GetDeviceMilliseconds()}}
	}
	before := b[string(r.GetLease())]
	if before == nil {
		before = map[string]uint64{}
		b[string(r.GetLease())] = before
	}
	for _, l := range r.GetUsage() {
		if unit, n := l.GetUnit(), l.GetQuantity(); isDeviceTime(unit) {
			_, class, _ := strings.Cut(unit, "/")
			ran = append(ran, classRan{class, max(n, before[unit]) - before[unit]})
			before[unit] = n
		}
	}
	return ran
}

// totalRan is the device time of all classes.
func totalRan(ran []classRan) (ms uint64) {
	for _, c := range ran {
		ms += c.ms
	}
	return ms
}

// isDeviceTime tells whether a unit is running time of devices.
func isDeviceTime(unit string) bool {
	return unit == "device-ms" || strings.HasPrefix(unit, "device-ms/")
}

// usageText is the device time of an interval, for each class where there are
// several, and what else was used so far.
func usageText(r *runv1.Receipt, ran []classRan) string {
	var parts []string
	for _, c := range ran {
		parts = append(parts, strings.TrimSpace((time.Duration(c.ms)*time.Millisecond).String()+" "+c.class))
	}
	for _, l := range r.GetUsage() {
		if !isDeviceTime(l.GetUnit()) {
			parts = append(parts, fmt.Sprintf("%d %s so far", l.GetQuantity(), l.GetUnit()))
		}
	}
	return strings.Join(parts, ", ")
}
