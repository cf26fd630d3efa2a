package gpu

import "fmt"

// What counts as use of a card that also draws: a desktop is busy for moments, a
// game for long.
const (
	busyPercent = 25
	busySamples = 5  // as busy as that, of those below
	lastSamples = 30 // half a minute
)

// Use tells what runs on a device, for people; it is empty while the device is idle.
// recent are its samples, oldest first. A program that computes counts at once; one
// that draws counts when it keeps the device busy, and until it no longer does.
func Use(recent []Sample) string {
	if len(recent) == 0 {
		return ""
	}
	last := recent[len(recent)-1]
	if n := last.ComputeProcesses.Or(0); n == 1 {
		return "a program computes on it"
	} else if n > 1 {
		return fmt.Sprintf("%d programs compute on it", n)
	}
	busy := 0
	for _, s := range recent[max(0, len(recent)-lastSamples):] {
		if s.GraphicsProcesses.Or(0) > 0 && s.GPUUtilPercent.Or(0) >= busyPercent {
			busy++
		}
	}
	if busy >= busySamples {
		return "a program that draws keeps it busy"
	}
	return ""
}
