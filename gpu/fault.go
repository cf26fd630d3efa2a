package gpu

import "fmt"

// Blame says whose a fault is, as far as it can be known.
type Blame string

// Whom a fault can be blamed on. Only what is the job's is billed.
const (
	BlameJob     Blame = "job"     // the program did what it may not do
	BlameDevice  Blame = "device"  // the card is damaged or wears out
	BlameHost    Blame = "host"    // the machine around it: power, slot, heat, driver
	BlameUnknown Blame = "unknown" // it can be either, and nobody can tell
)

// Fault is one kind of error and what it means.
type Fault struct {
	Kind    string // a stable name: "xid-79", "ecc", "thermal", "power-brake", "lost"
	What    string // for people, as a part of a sentence
	Blame   Blame
	OffSale bool   // the card is not leased before its owner has seen to it
	Source  string // where it is written what the error is and what it asks for
}

// Sources of what faults are. Whom they are blamed on is souk's own judgement.
const (
	xidCatalogue = "NVIDIA Xid catalogue, docs.nvidia.com/deploy/xid-errors/analyzing-xid-catalog.html: "
	nvmlECC      = "NVML, nvmlDeviceGetTotalEccErrors: uncorrected, volatile"
	nvmlReasons  = "NVML, nvmlDeviceGetCurrentClocksEventReasons"
	nvmlHeat     = "NVML, nvmlDeviceGetTemperatureThreshold: slowdown"
	nvmlMargin   = "NVML, nvmlDeviceGetMarginTemperature"
)

// Bits of [Sample.ClockReasons] that tell of a fault (nvmlClocksEventReasons).
const (
	reasonSoftwareThermal = 0x20
	reasonHardwareThermal = 0x40
	reasonPowerBrake      = 0x80
)

// FaultsBetween lists what went wrong on a device between two readings of it, the
// later one included. It reports each kind once.
func FaultsBetween(before, after Device) []Fault {
	var found []Fault
	add := func(f Fault) {
		for _, had := range found {
			if had.Kind == f.Kind {
				return
			}
		}
		found = append(found, f)
	}
	for _, xid := range after.Now.Xids {
		add(XidFault(xid))
	}
	if now, ok := after.Errors.UncorrectedECC.Value(); ok && now > before.Errors.UncorrectedECC.Or(now) {
		add(Fault{"ecc", "its memory gave values that could not be corrected", BlameDevice, true, nvmlECC})
	}
	reasons := after.Now.ClockReasons.Or(0)
	if reasons&(reasonSoftwareThermal|reasonHardwareThermal) != 0 {
		add(Fault{"thermal", "it slowed down because it was too hot", BlameHost, false, nvmlReasons})
	}
	if margin, ok := after.Now.MarginCelsius.Value(); ok && margin == 0 {
		add(Fault{"thermal", "it was as hot as its own limit", BlameHost, true, nvmlMargin})
	}
	if now, ok := after.Now.Celsius.Value(); ok && after.Limits.SlowdownCelsius.Or(0) > 0 && now >= after.Limits.SlowdownCelsius.Or(0) {
		add(Fault{"thermal", "it was as hot as its own limit", BlameHost, true, nvmlHeat})
	}
	if reasons&reasonPowerBrake != 0 {
		add(Fault{"power-brake", "the power supply told it to slow down", BlameHost, false, nvmlReasons})
	}
	return found
}

// XidFault tells what an Xid of NVIDIA's driver means. The card is off sale where
// NVIDIA's catalogue asks at once for a reset, a restart of the machine or a look at
// its cables.
func XidFault(xid uint64) Fault {
	f := Fault{Kind: fmt.Sprintf("xid-%d", xid), What: "an error that souk does not know", Blame: BlameUnknown, Source: xidCatalogue + "not listed by souk"}
	if row, ok := xids()[xid]; ok {
		f.What, f.Blame, f.Source = row.what, row.blame, xidCatalogue+row.action
		f.OffSale = row.action == resetGPU || row.action == restartHost || row.action == checkCables
	}
	return f
}

// What the catalogue asks for at once, in its own words.
const (
	ignore      = "IGNORE"
	restartApp  = "RESTART_APP"
	resetGPU    = "RESET_GPU"
	restartHost = "RESTART_BM"
	checkCables = "CHECK_MECHANICALS"
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
		45:  {"a program was ended in the middle of its work, after another error", BlameUnknown, "WORKFLOW_XID_45"},
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
		154: {"the driver changed what it asks for to recover the card", BlameUnknown, "XID_154"},
		155: {"an error on an NVLink that software defines", BlameUnknown, resetGPU},
		156: {"a part of the card was taken out of use", BlameDevice, resetGPU},
		157: {"a part of the card could not be taken out of use", BlameDevice, ignore},
		158: {"the card timed out for good", BlameUnknown, resetGPU},
	}
}
