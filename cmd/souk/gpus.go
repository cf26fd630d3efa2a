package main

import (
	"context"
	"fmt"
	"io"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/gpu"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
	"github.com/spf13/cobra"
)

func newGPUs(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "gpus",
		Short: "Devices of this machine",
		Long: `Lists this machine's devices, the processor among them: id, model, memory in use
and in all, compute capability, multi-instance slice, utilisation, temperature,
power and its limit, driver, health, level of evidence, price, lease. What a device
cannot tell is a dash. Below the list stands what is wrong with devices that are
not well, which nobody can lease, and what to do about it. With --json there is
more: clocks, errors, NVLinks, the energy counter.`,
		Example: "  souk gpus\n  souk gpus --json",
		Args:    exactly(),
		RunE:    body(a.gpus),
	}
}

func (a *app) gpus(ctx context.Context, _ []string) error {
	d, err := a.daemon.Node.Devices(ctx, &apiv1.DevicesRequest{})
	if err != nil {
		return err
	}
	return a.show(d, func(w io.Writer) error {
		var rows [][]string
		for _, d := range d.Devices {
			rows = append(rows, deviceRow(d))
		}
		if err := table(w, "ID CLASS MODEL MEMORY CC MIG USE TEMP POWER DRIVER HEALTH EVIDENCE PRICE/H LEASE", rows); err != nil {
			return err
		}
		for _, d := range d.Devices {
			if d.Health != gpu.Healthy {
				fmt.Fprintf(w, "\n%s is not for sale: %s\n", d.Id, d.Health)
			} else if d.OffSale != "" {
				fmt.Fprintf(w, "\n%s is off sale after a fault: %s\n", d.Id, d.OffSale)
			} else if d.Unclean != "" {
				fmt.Fprintf(w, "\n%s is not for sale until its memory is clean: %s\n", d.Id, d.Unclean)
			} else if d.Withheld != "" {
				fmt.Fprintf(w, "\n%s is left to you: %s\n", d.Id, d.Withheld)
			}
		}
		for _, off := range d.Devices {
			if off.Scrub == "off" {
				fmt.Fprintln(w, "\nthe driver was told not to clear memory that programs give back (RMDisableScrubOnFree): souk wipes it between leases all the same")
				break
			}
		}
		if d.Unknown != "" {
			fmt.Fprintf(w, "\nthere may be other devices: %s\n", d.Unknown)
		}
		return nil
	})
}

// deviceRow is one line of souk gpus.
func deviceRow(d *apiv1.Device) []string {
	price, health, model, now := "-", d.Health, d.Model, d.Now
	if d.PriceAtomsPerHour > 0 {
		price = money(d.PriceAtomsPerHour)
	}
	if d.Health != gpu.Healthy {
		health = "bad"
	}
	if d.Simulated {
		model += " (simulated)"
	}
	if now == nil {
		now = &apiv1.DeviceSample{}
	}
	memory := souk.FormatSize(d.MemoryBytes)
	if now.MemoryUsedBytes != nil {
		memory = souk.FormatSize(*now.MemoryUsedBytes) + "/" + memory
	}
	return []string{d.Id, d.Class, model, memory, capability(d.ComputeCap), dash(d.Mig), percent(now.GpuUtil), celsius(now.GpuTempC),
		watts(now.PowerMw, d.PowerLimitMw), dash(d.DriverVersion), health, evidence(d.Evidence), price, dash(short(d.Lease))}
}

// What a device cannot tell is a dash.

func percent(n *uint32) string {
	if n == nil {
		return "-"
	}
	return fmt.Sprintf("%d%%", *n)
}

func celsius(n *uint32) string {
	if n == nil {
		return "-"
	}
	return fmt.Sprintf("%d°C", *n)
}

func watts(milliwatts, limit *uint64) string {
	switch {
	case milliwatts == nil:
		return "-"
	case limit == nil:
		return fmt.Sprintf("%dW", (*milliwatts+500)/1000)
	}
	return fmt.Sprintf("%d/%dW", (*milliwatts+500)/1000, (*limit+500)/1000)
}
