package api

import (
	"context"

	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/node/client"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
)

// deviceList is the devices of this machine.
type deviceList interface {
	List() []gpu.Device
	Unknown() error // why there may be others; nil: there are none
}

// Devices lists this machine's devices.
func (s *nodeService) Devices(context.Context, *apiv1.DevicesRequest) (*apiv1.DevicesResponse, error) {
	out := &apiv1.DevicesResponse{}
	if err := s.devices.Unknown(); err != nil {
		out.Unknown = err.Error()
	}
	for _, d := range s.devices.List() {
		row := deviceRow(d)
		if s.seller != nil {
			row.PriceAtomsPerHour, row.Withheld = uint64(s.seller.Price(d.Class)), s.seller.Withheld(d.ID)
			row.OffSale = s.seller.OffSale(d.ID)
			row.Unclean = s.seller.Unclean(d.ID)
			if lease, ok := s.seller.Holder(d.ID); ok {
				row.Lease = lease.String()
			}
		}
		out.Devices = append(out.Devices, row)
	}
	return out, nil
}

// deviceRow is a device without what the market knows of it.
func deviceRow(d gpu.Device) *apiv1.Device {
	return &apiv1.Device{Id: d.ID, Class: d.Class, Model: d.Model, MemoryBytes: d.MemoryBytes, ComputeCap: d.ComputeCap,
		Mig: d.MIG, Health: d.Health, Evidence: d.Evidence, Simulated: d.Simulated, Whole: d.Whole, PciBusId: d.PCI,
		DriverVersion: d.Driver, Scrub: d.Scrub, Cuda: d.CUDA, ConfidentialComputing: d.Confidential, Nvlink: d.Links,
		PowerLimitMw: known(d.Limits.PowerMilliwatts), SlowdownC: known32(d.Limits.SlowdownCelsius),
		MaxSmClockMhz: known32(d.Limits.SMClockMHz), MaxMemClockMhz: known32(d.Limits.MemClockMHz),
		Errors: deviceErrors(d.Errors), Now: deviceSample(d.Now)}
}

// deviceErrors is nil for a device that can tell of no error at all.
func deviceErrors(e gpu.Errors) *apiv1.DeviceErrors {
	if e == (gpu.Errors{}) {
		return nil
	}
	return &apiv1.DeviceErrors{EccCorrected: known(e.CorrectedECC), EccUncorrected: known(e.UncorrectedECC),
		RetiredPages: known(e.RetiredPages), RemappedRows: known(e.RemappedRows), PcieReplays: known(e.PCIeReplays), Xid: known(e.Xid)}
}

// deviceSample is nil for a device that measured nothing.
func deviceSample(s gpu.Sample) *apiv1.DeviceSample {
	if s.At.IsZero() {
		return nil
	}
	return &apiv1.DeviceSample{At: client.Stamp(s.At), GpuUtil: known32(s.GPUUtilPercent), MemCopyUtil: known32(s.MemCopyUtilPercent),
		MemoryUsedBytes: known(s.MemoryUsedBytes), MemoryFreeBytes: known(s.MemoryFreeBytes), PowerMw: known(s.PowerMilliwatts),
		TotalEnergyMj: known(s.EnergyMillijoules), GpuTempC: known32(s.Celsius), MemoryTempC: known32(s.MemoryCelsius), ThermalMarginC: known32(s.MarginCelsius),
		SmClockMhz: known32(s.SMClockMHz), MemClockMhz: known32(s.MemClockMHz),
		ComputeProcesses: known32(s.ComputeProcesses), GraphicsProcesses: known32(s.GraphicsProcesses)}
}

// known is nil for what a device cannot tell.
func known(r gpu.Reading) *uint64 {
	v, ok := r.Value()
	if !ok {
		return nil
	}
	return &v
}

func known32(r gpu.Reading) *uint32 {
	v, ok := r.AtMost(1<<32 - 1).Value()
	if !ok {
		return nil
	}
	n := uint32(v)
	return &n
}
