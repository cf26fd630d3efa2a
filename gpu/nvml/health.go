package nvml

import (
	"fmt"
	"strings"

	"github.com/souk-market/souk/gpu"
)

// Answers of NVML that say that a card is in trouble (nvmlReturn_t).
const (
	returnPower    = 8
	returnUnloaded = 9
	returnIRQ      = 11
	returnInfoROM  = 14
	returnLost     = 15
	returnReset    = 16
	returnBlocked  = 17
	returnMismatch = 18
)

// What the driver asks for in field 230 (nvmlDeviceGpuRecoveryAction_t).
const (
	recoverReset       = 1
	recoverReboot      = 2
	recoverDrain       = 3
	recoverDrainReset  = 4
	recoverIMEX        = 5
	recoverBusReset    = 6
	recoverSystemBoot  = 7
	computeProhibited  = 2 // of nvmlComputeMode_t
	confidentialTurned = 1 // of the feature's state
)

// What an owner does about a card. A card in use cannot be reset, and souk's own
// probe uses it.
const (
	doReset   = "stop souk, run nvidia-smi --gpu-reset -i %s, start souk again"
	doReboot  = "reboot the machine"
	doReplace = "have the card replaced"
)

// health is [gpu.Healthy], or what is wrong with a card and what its owner can do;
// and the kind of incident where what runs on it now is lost. The gravest comes first.
func (l listing) health(c card, d gpu.Device) (told, fault string) {
	for _, grave := range []struct{ told, fault string }{{c.trouble(d), faultOf(c.Return)}, {c.recovery(d), gpu.KindRecovery},
		{c.wrongValues(d), gpu.KindECC}, {c.xidHealth(d), gpu.XidIncident(d.Errors.Xid.Or(0)).Kind}} {
		if grave.told != "" {
			return grave.told, grave.fault
		}
	}
	for _, told := range []string{l.mismatch(), c.drain(), c.spareMemory(d), heat(d), l.settings(c)} {
		if told != "" {
			return told, "" // a job that runs may go on
		}
	}
	return gpu.Healthy, ""
}

// trouble is a card that does not answer as a card does.
func (c card) trouble(d gpu.Device) string {
	if text := answered(c.Return, d); text != "" {
		return text
	}
	switch {
	case d.ID == "" || d.Model == "":
		return "its driver does not say which card it is: reload the driver"
	case d.MemoryBytes == 0:
		return "its driver says nothing sensible of its memory: reload the driver"
	}
	return ""
}

// mismatch is a library of another version than the kernel's driver, which was
// updated: what runs goes on, and nothing new starts.
func (l listing) mismatch() string {
	driver, library := clean(l.Driver, plain), clean(l.Library, plain)
	if driver == "" || library == "" || !strings.Contains(library, ".") || library == driver || strings.HasSuffix(library, "."+driver) {
		return ""
	}
	return fmt.Sprintf("driver %s and library %s are of different versions, after an update: %s", driver, library, doReboot)
}

// answered tells what an answer of NVML means for people.
func answered(ret int32, d gpu.Device) string {
	switch ret {
	case 0:
		return ""
	case returnPower:
		return "its power cables are not attached: switch the machine off and attach them"
	case returnUnloaded:
		return "the kernel's driver is not loaded: run modprobe nvidia, or reboot the machine"
	case returnIRQ:
		return "its interrupts do not arrive: see dmesg, and " + doReboot
	case returnInfoROM:
		return "its information ROM is damaged: " + doReplace
	case returnLost:
		return "it fell off the bus: switch the machine off and on; if it happens again, check its seat, its power cables and its heat"
	case returnReset:
		return "it must be reset: " + resetOf(d)
	case returnBlocked:
		return "the system keeps it from us: check the rights of /dev/nvidia* and the device cgroup"
	case returnMismatch:
		return "driver and library are of different versions, after an update: " + doReboot
	}
	return fmt.Sprintf("it cannot be asked: NVML error %d; if it stays, %s", ret, doReboot)
}

// faultOf is the kind of incident that an answer of NVML tells of.
func faultOf(ret int32) string {
	switch ret {
	case returnPower:
		return gpu.KindPower
	case returnUnloaded, returnIRQ, returnBlocked, returnMismatch:
		return gpu.KindDriver
	case returnInfoROM:
		return gpu.KindROM
	}
	return gpu.KindLost
}

// resetOf is how to reset a card.
func resetOf(d gpu.Device) string {
	at := d.PCI
	if at == "" {
		at = d.ID
	}
	return fmt.Sprintf(doReset, at)
}

// recovery is the driver's own verdict.
func (c card) recovery(d gpu.Device) string {
	switch c.Recovery.Or(0) {
	case recoverReset, recoverBusReset:
		return "the driver asks for a reset: " + resetOf(d)
	case recoverReboot, recoverSystemBoot:
		return "the driver asks for a reboot: " + doReboot
	case recoverDrainReset:
		return "the driver asks that what runs on it ends, and then for a reset: " + resetOf(d)
	}
	return ""
}

// drain is what the driver asks for that a job on this card can wait for.
func (c card) drain() string {
	switch action := c.Recovery.Or(0); action {
	case 0:
		return ""
	case recoverDrain:
		return "the driver asks that work on the cards beside it ends: stop what runs on this machine's cards"
	case recoverIMEX:
		return "the driver asks that the IMEX domain is recovered: see NVIDIA's guide of the system"
	default:
		return fmt.Sprintf("the driver asks for recovery action %d: see NVIDIA's notes on field 230", action)
	}
}

// wrongValues is memory that gave values which could not be corrected.
func (c card) wrongValues(d gpu.Device) string {
	if c.Uncorrected.AtMost(maxCount).Or(0) == 0 {
		return ""
	}
	return fmt.Sprintf("%d memory errors could not be corrected since the driver was loaded: %s", c.Uncorrected.Or(0), resetOf(d))
}

// spareMemory is memory of which parts are to be replaced by spare ones.
func (c card) spareMemory(d gpu.Device) string {
	switch {
	case c.RemapFailed.Or(0) != 0:
		return "the spare rows of its memory are used up: " + doReplace
	case c.RemapPending.Or(0) != 0:
		return "a row of its memory waits to be replaced by a spare one: " + resetOf(d)
	case c.RetirePend.Or(0) != 0:
		return "a page of its memory waits to be taken out of use: " + resetOf(d)
	}
	return ""
}

// xidHealth is a fault after which the card is not to be trusted before it is reset.
// A driver that has field 230 says so there, and knows better.
func (c card) xidHealth(d gpu.Device) string {
	n, ok := d.Errors.Xid.Value()
	if _, has := c.Recovery.Value(); has || !ok {
		return ""
	}
	fault := gpu.XidIncident(n)
	if !fault.OffSale {
		return ""
	}
	return fmt.Sprintf("Xid %d, %s: %s", n, fault.What, resetOf(d))
}

// heat is a card that slows down because it is too hot. Cards since Ada tell how far
// they are from that, older ones at which temperature it is.
func heat(d gpu.Device) string {
	if margin, ok := d.Now.MarginCelsius.Value(); ok {
		if margin > 0 {
			return ""
		}
		return "it is so hot that it slows down: see to its fans and its air"
	}
	now, ok := d.Now.Celsius.Value()
	most, ok2 := d.Limits.SlowdownCelsius.Value()
	if !ok || !ok2 || most == 0 || now < most {
		return ""
	}
	return fmt.Sprintf("%d °C, and it slows down from %d °C on: see to its fans and its air", now, most)
}

// settings are the owner's own that keep jobs from a card.
func (l listing) settings(c card) string {
	mode, hasMode := c.MIGMode.Value()
	switch {
	case c.ComputeMode.Or(0) == computeProhibited:
		return "its compute mode is prohibited: nvidia-smi -c 0 allows jobs"
	case hasMode && c.MIGPending.Or(mode) != mode:
		return "MIG is to be switched over, which waits for a reset of the card"
	case c.sliced() && len(c.Slices) == 0:
		return "MIG is on and no slice is made: nvidia-smi mig -cgi PROFILE -C makes one, nvidia-smi -mig 0 switches MIG off"
	case l.CCFeature.Or(0) == confidentialTurned && l.CCReady.Or(1) == 0:
		return "confidential computing is on and the card takes no work yet: nvidia-smi conf-compute -srs 1 lets it"
	}
	return ""
}
