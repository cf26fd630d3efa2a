package gpu

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Blame says whose an incident is, as far as it can be known.
type Blame string

// Whom an incident can be blamed on. Only what is the job's is billed.
const (
	BlameJob     Blame = "job"     // the program did what it may not do
	BlameDevice  Blame = "device"  // the card is damaged or wears out
	BlameHost    Blame = "host"    // the machine around it: power, slot, heat, driver
	BlameUnknown Blame = "unknown" // it can be either, and nobody can tell
)

// Incident is one kind of thing that goes wrong with a device or the machine around
// it, and what it means.
type Incident struct {
	Kind    string // a stable name: "xid-79", "ecc", "thermal", "power-brake", "lost", "engine"
	What    string // for people, as a part of a sentence
	Blame   Blame
	OffSale bool   // the card is not leased before its owner has seen to it
	Fatal   bool   // what runs on the card may end by it
	Echo    bool   // it follows another incident, and means nothing alone
	Source  string // where it is written what the error is and what it asks for
}

// Sources of what incidents are. Whom they are blamed on is souk's own judgement.
const (
	xidCatalogue = "NVIDIA Xid catalogue, docs.nvidia.com/deploy/xid-errors/analyzing-xid-catalog.html: "
	nvmlReturn   = "NVML, nvmlReturn_t: "
	nvmlECC      = "NVML, nvmlDeviceGetTotalEccErrors: uncorrected, volatile"
	nvmlReasons  = "NVML, nvmlDeviceGetCurrentClocksEventReasons"
	nvmlHeat     = "NVML, nvmlDeviceGetTemperatureThreshold: slowdown"
	nvmlMargin   = "NVML, nvmlDeviceGetMarginTemperature"
	nvmlRecovery = "NVML, field 230, nvmlDeviceGpuRecoveryAction_t"
	engineAPI    = "Docker Engine API: the container's state"
)

// The kinds that are no Xid.
const (
	KindECC        = "ecc"
	KindThermal    = "thermal"
	KindPowerBrake = "power-brake"
	KindLost       = "lost"          // it does not answer as a card does, or is gone
	KindRecovery   = "recovery"      // the driver asks for a reset or a reboot
	KindPower      = "power-cable"   // its power is not attached
	KindDriver     = "driver"        // the kernel's driver, or its library, does not work
	KindROM        = "info-rom"      // its information ROM is damaged
	KindRepeated   = "repeated"      // the same error under several tenants in a row
	KindEngine     = "engine"        // the container engine went away, or failed
	KindRemoved    = "removed"       // something on the host took the container away
	KindStuck      = "stuck"         // the engine does not end a container
	KindImageStore = "image-store"   // the engine's images are damaged
	KindAccess     = "device-access" // a container cannot open its device any more
)

// IncidentOf is what a kind means; one that is not in the table is blamed on nobody.
func IncidentOf(kind string) Incident {
	if n, ok := strings.CutPrefix(kind, "xid-"); ok {
		if xid, err := strconv.ParseUint(n, 10, 64); err == nil {
			return XidIncident(xid)
		}
	}
	for _, row := range incidents() {
		if row.Kind == kind {
			return row
		}
	}
	return Incident{Kind: kind, What: "an error that souk does not know", Blame: BlameUnknown, Fatal: true, Source: "not listed by souk"}
}

// incidents are those that are no Xid.
func incidents() []Incident {
	return []Incident{
		{KindECC, "its memory gave values that could not be corrected", BlameDevice, true, true, false, nvmlECC},
		{KindThermal, "it was as hot as its own limit", BlameHost, true, false, false, nvmlMargin + "; " + nvmlHeat},
		{KindPowerBrake, "the power supply told it to slow down", BlameHost, false, false, false, nvmlReasons},
		{KindLost, "it does not answer as a card does", BlameUnknown, true, true, false, nvmlReturn + "GPU_IS_LOST, RESET_REQUIRED"},
		{KindRecovery, "the driver asks for its reset", BlameUnknown, true, true, false, nvmlRecovery},
		{KindPower, "its power cables are not attached", BlameHost, true, true, false, nvmlReturn + "INSUFFICIENT_POWER"},
		{KindDriver, "the driver does not work", BlameHost, true, true, false, nvmlReturn + "DRIVER_NOT_LOADED, IRQ_ISSUE, OPERATING_SYSTEM, LIB_RM_VERSION_MISMATCH"},
		{KindROM, "its information ROM is damaged", BlameDevice, true, true, false, nvmlReturn + "CORRUPTED_INFOROM"},
		{KindRepeated, "jobs of several clients met the same error on it, one after another", BlameDevice, true, true, false, "souk: a program's own error does not follow its card"},
		{KindEngine, "the container engine failed", BlameHost, false, true, false, engineAPI},
		{KindRemoved, "something on the host ended the container", BlameHost, false, true, false, engineAPI},
		{KindStuck, "the engine does not end a container", BlameHost, true, true, false, engineAPI},
		{KindImageStore, "the engine's store of images is damaged", BlameHost, false, true, false, engineAPI},
		{KindAccess, "a container cannot open its device any more", BlameHost, false, true, false, "nvidia-container-toolkit issue 48"},
	}
}

// Bits of [Sample.ClockReasons] that tell of an incident (nvmlClocksEventReasons).
const (
	reasonSoftwareThermal = 0x20
	reasonHardwareThermal = 0x40
	reasonPowerBrake      = 0x80
)

// IncidentsBetween lists what went wrong on a device between two readings of it, the
// later one included. It reports each kind once, and a state such as heat when it
// begins.
func IncidentsBetween(before, after Device) []Incident {
	var found []Incident
	add := func(n Incident) {
		for _, had := range found {
			if had.Kind == n.Kind {
				return
			}
		}
		found = append(found, n)
	}
	for _, xid := range after.Now.Xids {
		add(XidIncident(xid))
	}
	if now, ok := after.Errors.UncorrectedECC.Value(); ok && now > before.Errors.UncorrectedECC.Or(now) {
		add(IncidentOf(KindECC))
	}
	if after.Failed && !before.Failed && !slices.ContainsFunc(found, func(n Incident) bool { return n.OffSale }) {
		n := IncidentOf(cmp.Or(after.Fault, KindLost))
		n.What = after.Health // says more
		add(n)
	}
	if hot, was := heatOf(after), heatOf(before); hot > was {
		n := IncidentOf(KindThermal)
		if hot < atLimit {
			n.What, n.OffSale, n.Source = "it slowed down because it was too hot", false, nvmlReasons
		}
		add(n)
	}
	if after.Now.ClockReasons.Or(0)&^before.Now.ClockReasons.Or(0)&reasonPowerBrake != 0 {
		add(IncidentOf(KindPowerBrake))
	}
	return found
}

// How hot a device is.
const (
	cool = iota
	slowed
	atLimit
)

func heatOf(d Device) int {
	if margin, ok := d.Now.MarginCelsius.Value(); ok && margin == 0 {
		return atLimit
	}
	if now, ok := d.Now.Celsius.Value(); ok && d.Limits.SlowdownCelsius.Or(0) > 0 && now >= d.Limits.SlowdownCelsius.Or(0) {
		return atLimit
	}
	if d.Now.ClockReasons.Or(0)&(reasonSoftwareThermal|reasonHardwareThermal) != 0 {
		return slowed
	}
	return cool
}

// XidIncident tells what an Xid of NVIDIA's driver means. The card is off sale where
// NVIDIA's catalogue asks at once for a reset, a restart of the machine or a look at
// its cables.
func XidIncident(xid uint64) Incident {
	n := Incident{Kind: fmt.Sprintf("xid-%d", xid), What: "an error that souk does not know", Blame: BlameUnknown, Fatal: true, Source: xidCatalogue + "not listed by souk"}
	if row, ok := xids()[xid]; ok {
		n.What, n.Blame, n.Source = row.what, row.blame, xidCatalogue+row.action
		n.OffSale = row.action == resetGPU || row.action == restartHost || row.action == checkCables
		n.Fatal = row.action != ignore && row.action != changedAction || row.blame == BlameJob
		n.Echo = row.action == followsAnother
	}
	return n
}

// What the catalogue asks for at once, in its own words.
const (
	ignore      = "IGNORE"
	restartApp  = "RESTART_APP"
	resetGPU    = "RESET_GPU"
	restartHost = "RESTART_BM"
	checkCables = "CHECK_MECHANICALS"

	followsAnother = "WORKFLOW_XID_45"
	changedAction  = "XID_154"
)

type xidRow struct {
	what   string
	blame  Blame
	action string
}

// xids are those that a job's run can meet. Blame is the job's only where its program
// alone can cause the error; the same from several tenants in a row is the card's.
func xids() map[uint64]xidRow {
	return map[uint64]xidRow{
		8:   {"a kernel did not end", BlameUnknown, restartApp},
		11:  {"a program sent a damaged stream of commands", BlameJob, restartApp},
		13:  {"a program did what the graphics engine refuses", BlameJob, restartApp},
		25:  {"a program sent a stream of commands that is not allowed", BlameJob, restartApp},
		31:  {"a program reached for memory that is not its own", BlameJob, restartApp},
		32:  {"a program sent a damaged stream of commands", BlameJob, restartApp},
		39:  {"an error of a copy engine", BlameUnknown, restartApp},
		43:  {"a program's kernel stopped, and the driver ended it", BlameJob, ignore},
		45:  {"a program was ended in the middle of its work, after another error", BlameUnknown, followsAnother},
		46:  {"the card stopped processing", BlameUnknown, resetGPU},
		48:  {"a memory error of two bits, which could not be corrected", BlameDevice, "WORKFLOW_XID_48"},
		54:  {"its power cable is not attached", BlameHost, checkCables},
		62:  {"a controller inside the card halted", BlameUnknown, resetGPU},
		63:  {"a row or page of memory was put down for replacement", BlameDevice, ignore},
		64:  {"a row or page of memory could not be put down for replacement", BlameDevice, resetGPU},
		69:  {"a program set the graphics engine up wrongly", BlameJob, restartApp},
		74:  {"an error on an NVLink", BlameUnknown, "WORKFLOW_NVLINK_ERR"},
		79:  {"the card fell off the bus", BlameUnknown, restartHost},
		80:  {"damaged data was sent to the card", BlameUnknown, restartApp},
		92:  {"many single-bit memory errors, which were corrected", BlameDevice, ignore},
		94:  {"a memory error that could not be corrected, kept to the program it hit", BlameDevice, restartApp},
		95:  {"a memory error that could not be corrected, and may have reached all programs", BlameDevice, resetGPU},
		109: {"a program could not be switched away in time", BlameUnknown, resetGPU},
		110: {"a security fault inside the card", BlameUnknown, resetGPU},
		119: {"the card's own processor did not answer the driver in time", BlameHost, resetGPU},
		120: {"an error of the card's own processor", BlameHost, resetGPU},
		121: {"an error on the link between card and processor", BlameUnknown, ignore},
		136: {"a link could not be trained", BlameUnknown, resetGPU},
		140: {"a memory error that was not recovered", BlameDevice, resetGPU},
		143: {"the card could not be started", BlameUnknown, resetGPU},
		154: {"the driver changed what it asks for to recover the card", BlameUnknown, changedAction},
		155: {"an error on an NVLink that software defines", BlameUnknown, resetGPU},
		156: {"a part of the card was taken out of use", BlameDevice, resetGPU},
		157: {"a part of the card could not be taken out of use", BlameDevice, ignore},
		158: {"the card timed out for good", BlameUnknown, resetGPU},
	}
}
