package nvml

import (
	"os"
	"regexp"
)

// paramsPath is where NVIDIA's kernel module tells what it was loaded with.
const paramsPath = "/proc/driver/nvidia/params"

// noScrub is the registry key by which a driver leaves memory as it is when a program
// gives it back (open-gpu-kernel-modules, RMDisableScrubOnFree).
var noScrub = regexp.MustCompile(`RMDisableScrubOnFree["=: ]+(0x)?0*[1-9a-fA-F]`)

// scrub tells whether the driver clears memory that a program gives back: "on", "off",
// or nothing where there is no driver that says.
func scrub() string {
	params, err := os.ReadFile(paramsPath)
	if err != nil {
		return ""
	}
	return scrubOf(params)
}

func scrubOf(params []byte) string {
	if noScrub.Match(params) {
		return "off"
	}
	return "on"
}
