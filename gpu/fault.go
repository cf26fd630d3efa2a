package gpu

// Blame says whose a fault is, as far as it can be known.
type Blame string

// Whom a fault can be blamed on. What is not the job's is not billed.
const (
	BlameJob     Blame = "job"     // the program did what it may not do
	BlameDevice  Blame = "device"  // the card is damaged or wears out
	BlameHost    Blame = "host"    // the machine around it: power, slot, heat, driver
	BlameUnknown Blame = "unknown" // it can be either, and nobody can tell
)

// Fault is what one kind of error means.
type Fault struct {
	What    string // for people, as a part of a sentence
	Blame   Blame
	OffSale bool // the card is not leased before its owner has seen to it
}

// XidFault tells what an Xid of NVIDIA's driver means. What happened and what is to
// be done follows NVIDIA's catalogue of Xid errors, where the blame is not NVIDIA's
// but ours: https://docs.nvidia.com/deploy/xid-errors/.
func XidFault(xid uint64) Fault {
	if f, ok := xidFaults()[xid]; ok {
		return f
	}
	return Fault{What: "an error without an entry here", Blame: BlameUnknown}
}

func xidFaults() map[uint64]Fault {
	return map[uint64]Fault{
		13:  {"a program did what the graphics engine refuses", BlameJob, false},
		31:  {"a program reached for memory that is not its own", BlameJob, false},
		32:  {"a program sent a damaged stream of commands", BlameJob, false},
		43:  {"a program's kernel stopped, and the driver ended it", BlameJob, false},
		45:  {"a program was ended in the middle of its work, after another error", BlameUnknown, false},
		48:  {"a memory error of two bits, which could not be corrected", BlameDevice, false},
		63:  {"a row or page of memory was put down for replacement", BlameDevice, false},
		64:  {"a row or page of memory could not be put down for replacement", BlameDevice, true},
		69:  {"a program set the graphics engine up wrongly", BlameJob, false},
		74:  {"an error on an NVLink", BlameUnknown, false},
		79:  {"the card fell off the bus", BlameUnknown, true},
		92:  {"many single-bit memory errors, which were corrected", BlameDevice, false},
		94:  {"a memory error that could not be corrected, kept to the program it hit", BlameDevice, false},
		95:  {"a memory error that could not be corrected, and may have reached all programs", BlameDevice, true},
		109: {"a program could not be switched away in time", BlameUnknown, false},
		119: {"the card's own processor did not answer the driver in time", BlameHost, false},
		120: {"an error of the card's own processor", BlameHost, false},
		154: {"the driver changed what it asks for to recover the card", BlameUnknown, false},
	}
}
