//go:build cgo

package nvml

import (
	"math"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/souk-market/souk/gpu"
)

// facts reads what hardly changes.
func (s *session) facts(c *card, h nvml.Device, id string) facts {
	f := facts{UUID: id}
	var ret nvml.Return
	f.Name, ret = h.GetName()
	c.must(ret)
	if s.has("nvmlDeviceGetPciInfo_v3", "nvmlDeviceGetPciInfo_v2", "nvmlDeviceGetPciInfo") {
		if pci, ret := h.GetPciInfo(); ret == nvml.SUCCESS {
			f.BusID = busID(pci)
		}
	}
	if s.has("nvmlDeviceGetCudaComputeCapability") {
		if major, minor, ret := h.GetCudaComputeCapability(); ret == nvml.SUCCESS && major >= 0 && minor >= 0 {
			f.Major, f.Minor = gpu.Known(uint64(major)), gpu.Known(uint64(minor))
		}
	}
	f.PowerLimit = ask(s, c, h.GetEnforcedPowerLimit, "nvmlDeviceGetEnforcedPowerLimit")
	f.MaxSMClock = ask(s, c, with(h.GetMaxClockInfo, nvml.CLOCK_SM), "nvmlDeviceGetMaxClockInfo")
	f.MaxMemClock = ask(s, c, with(h.GetMaxClockInfo, nvml.CLOCK_MEM), "nvmlDeviceGetMaxClockInfo")
	f.Shutdown = ask(s, c, with(h.GetTemperatureThreshold, nvml.TEMPERATURE_THRESHOLD_SHUTDOWN), "nvmlDeviceGetTemperatureThreshold")
	f.Slowdown = ask(s, c, with(h.GetTemperatureThreshold, nvml.TEMPERATURE_THRESHOLD_SLOWDOWN), "nvmlDeviceGetTemperatureThreshold")
	f.RetiredPages = s.retired(h)
	f.LinkedTo = s.links(h)
	return f
}

// busID is the address of a PCI device as text.
func busID(pci nvml.PciInfo) string {
	var text []byte
	for _, b := range pci.BusId {
		if b == 0 {
			break
		}
		text = append(text, byte(b))
	}
	return string(text)
}

// retired counts the memory pages taken out of use.
func (s *session) retired(h nvml.Device) gpu.Reading {
	if !s.has("nvmlDeviceGetRetiredPages") {
		return gpu.Reading{}
	}
	sum := 0
	for _, cause := range []nvml.PageRetirementCause{nvml.PAGE_RETIREMENT_CAUSE_MULTIPLE_SINGLE_BIT_ECC_ERRORS, nvml.PAGE_RETIREMENT_CAUSE_DOUBLE_BIT_ECC_ERROR} {
		pages, ret := h.GetRetiredPages(cause)
		if ret != nvml.SUCCESS {
			return gpu.Reading{}
		}
		sum += len(pages)
	}
	return gpu.Known(uint64(sum))
}

// links lists where the NVLinks that are up lead to.
func (s *session) links(h nvml.Device) (to []string) {
	if !s.has("nvmlDeviceGetNvLinkState") || !s.has("nvmlDeviceGetNvLinkRemotePciInfo_v2", "nvmlDeviceGetNvLinkRemotePciInfo") {
		return nil
	}
	for link := range min(nvml.NVLINK_MAX_LINKS, maxLinks) {
		up, ret := h.GetNvLinkState(link)
		if ret != nvml.SUCCESS {
			break
		}
		if up != nvml.FEATURE_ENABLED {
			continue
		}
		if pci, ret := h.GetNvLinkRemotePciInfo(link); ret == nvml.SUCCESS {
			to = append(to, busID(pci))
		}
	}
	return to
}

// vitals reads what changes.
func (s *session) vitals(c *card, h nvml.Device) vitals {
	v := vitals{memory: s.memory(c, h),
		Power:        ask(s, c, h.GetPowerUsage, "nvmlDeviceGetPowerUsage"),
		Energy:       ask(s, c, h.GetTotalEnergyConsumption, "nvmlDeviceGetTotalEnergyConsumption"),
		Celsius:      ask(s, c, with(h.GetTemperature, nvml.TEMPERATURE_GPU), "nvmlDeviceGetTemperature"),
		SMClock:      ask(s, c, with(h.GetClockInfo, nvml.CLOCK_SM), "nvmlDeviceGetClockInfo"),
		MemClock:     ask(s, c, with(h.GetClockInfo, nvml.CLOCK_MEM), "nvmlDeviceGetClockInfo"),
		ClockReasons: s.clockReasons(c, h),
		RetirePend:   ask(s, c, h.GetRetiredPagesPendingStatus, "nvmlDeviceGetRetiredPagesPendingStatus"),
		ComputeMode:  ask(s, c, h.GetComputeMode, "nvmlDeviceGetComputeMode"),
		Replays:      ask(s, c, h.GetPcieReplayCounter, "nvmlDeviceGetPcieReplayCounter"),
	}
	if s.has("nvmlDeviceGetMarginTemperature") {
		if m, ret := h.GetMarginTemperature(); ret == nvml.SUCCESS {
			v.Margin = gpu.Known(uint64(max(m.MarginTemperature, 0)))
		}
	}
	if s.has("nvmlDeviceGetUtilizationRates") {
		if u, ret := h.GetUtilizationRates(); ret == nvml.SUCCESS {
			v.GPUUtil, v.MemUtil = number(u.Gpu), number(u.Memory)
		}
	}
	ecc := func(kind nvml.MemoryErrorType) gpu.Reading {
		return ask(s, c, func() (uint64, nvml.Return) { return h.GetTotalEccErrors(kind, nvml.VOLATILE_ECC) }, "nvmlDeviceGetTotalEccErrors")
	}
	v.Corrected, v.Uncorrected = ecc(nvml.MEMORY_ERROR_TYPE_CORRECTED), ecc(nvml.MEMORY_ERROR_TYPE_UNCORRECTED)
	if s.has("nvmlDeviceGetRemappedRows") {
		if correctable, uncorrectable, pending, failed, ret := h.GetRemappedRows(); ret == nvml.SUCCESS {
			v.Remapped = gpu.Known(uint64(max(correctable, 0)) + uint64(max(uncorrectable, 0)))
			v.RemapPending, v.RemapFailed = flag(pending), flag(failed)
		}
	}
	fields := s.fields(h, nvml.FI_DEV_GET_GPU_RECOVERY_ACTION, nvml.FI_DEV_MEMORY_TEMP)
	v.Recovery, v.MemCelsius = fields[nvml.FI_DEV_GET_GPU_RECOVERY_ACTION], fields[nvml.FI_DEV_MEMORY_TEMP]
	if s.has("nvmlDeviceGetMigMode") {
		if current, pending, ret := h.GetMigMode(); ret == nvml.SUCCESS {
			v.MIGMode, v.MIGPending = flag(current == nvml.DEVICE_MIG_ENABLE), flag(pending == nvml.DEVICE_MIG_ENABLE)
		}
	}
	s.processes(h, &v)
	return v
}

// memory prefers the call that counts what the driver keeps for itself apart.
func (s *session) memory(c *card, h nvml.Device) memory {
	if s.has("nvmlDeviceGetMemoryInfo_v2") {
		if m, ret := h.GetMemoryInfo_v2(); ret == nvml.SUCCESS {
			return memory{number(m.Total), number(m.Free), number(m.Used)}
		}
	}
	m, ret := h.GetMemoryInfo()
	if !c.must(ret) {
		return memory{}
	}
	return memory{number(m.Total), number(m.Free), number(m.Used)}
}

// processes counts what runs on a card, whoever started it.
func (s *session) processes(h nvml.Device, v *vitals) {
	seen, bytes, told := map[uint32]bool{}, uint64(0), false
	count := func(call func() ([]nvml.ProcessInfo, nvml.Return), symbol string) gpu.Reading {
		if !s.has(symbol+"_v3", symbol+"_v2", symbol) {
			return gpu.Reading{}
		}
		list, ret := call()
		if ret != nvml.SUCCESS {
			return gpu.Reading{}
		}
		for _, p := range list {
			if !seen[p.Pid] && p.UsedGpuMemory < math.MaxUint64>>1 { // all bits set: not told
				bytes, told = bytes+p.UsedGpuMemory, true
			}
			seen[p.Pid] = true
		}
		return gpu.Known(uint64(len(list)))
	}
	v.Compute = count(h.GetComputeRunningProcesses, "nvmlDeviceGetComputeRunningProcesses")
	v.Graphics = count(h.GetGraphicsRunningProcesses, "nvmlDeviceGetGraphicsRunningProcesses")
	if told {
		v.ProcessBytes = gpu.Known(bytes)
	}
}

// slices lists the MIG devices of a card. One that is taken away meanwhile is left out.
func (s *session) slices(h nvml.Device) (found []slice) {
	if !s.has("nvmlDeviceGetMaxMigDeviceCount") || !s.has("nvmlDeviceGetMigDeviceHandleByIndex") {
		return nil
	}
	most, ret := h.GetMaxMigDeviceCount()
	if ret != nvml.SUCCESS {
		return nil
	}
	for i := range min(most, maxSlices) {
		part, ret := h.GetMigDeviceHandleByIndex(i)
		if ret != nvml.SUCCESS {
			continue
		}
		var c card
		p := slice{memory: s.memory(&c, part)}
		p.UUID, ret = part.GetUUID()
		c.must(ret)
		p.Name, ret = part.GetName()
		if c.must(ret) && c.Return == 0 {
			found = append(found, p)
		}
	}
	return found
}

// clockReasons is why clocks are lower than they could be, by the name that the
// function has in newer drivers or the one it had before.
func (s *session) clockReasons(c *card, h nvml.Device) gpu.Reading {
	const newer, older = "nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons"
	if s.has(newer) {
		return ask(s, c, h.GetCurrentClocksEventReasons, newer)
	}
	return ask(s, c, h.GetCurrentClocksThrottleReasons, older)
}
