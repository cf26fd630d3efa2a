package nvml_test

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/gpu/gputest"
	"github.com/souk-market/souk/gpu/nvml"
	"github.com/souk-market/souk/gpu/nvml/nvmltest"
)

// TestContract holds every machine that can be asked to what a probe promises.
func TestContract(t *testing.T) {
	names, err := nvmltest.Scenarios()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if name == "mismatch" { // nothing can be asked of it
			continue
		}
		t.Run(name, func(t *testing.T) {
			machine(t, name)
			if len(gputest.Run(t, probe)) == 0 {
				t.Error("no device")
			}
		})
	}
}

// TestMachines is what each machine has, one line a device.
func TestMachines(t *testing.T) {
	for _, tt := range []struct {
		name string
		want []string
	}{
		{"rtx4090", []string{"RTX_4090 24564 MiB cc 89 cuda 124 ok"}},
		{"dgxh100", slices.Repeat([]string{"H100 81559 MiB cc 90 cuda 128 ok"}, 8)},
		{"mig", []string{
			"A100_MIG_3G_20GB 19968 MiB cc 80 cuda 122 MIG 3g.20gb ok",
			"A100_MIG_2G_10GB 9984 MiB cc 80 cuda 122 MIG 2g.10gb ok",
			"A100_MIG_1G_5GB 4864 MiB cc 80 cuda 122 MIG 1g.5gb ok",
			"A100 40960 MiB cc 80 cuda 122 MIG is on and no slice is made: nvidia-smi mig -cgi PROFILE -C makes one, nvidia-smi -mig 0 switches MIG off"}},
		{"mixed", []string{
			"RTX_4090 24564 MiB cc 89 cuda 128 ok",
			"L40S 46068 MiB cc 89 cuda 128 ok",
			"GTX_1080_TI 11264 MiB cc 61 cuda 128 ok"}},
		{"dying", []string{
			"H100 81559 MiB cc 90 cuda 128 the driver asks for a reset: stop souk, run nvidia-smi --gpu-reset -i 00000000:17:00.0, start souk again",
			"H100 81559 MiB cc 90 cuda 128 the spare rows of its memory are used up: have the card replaced",
			"H100 81559 MiB cc 90 cuda 128 ok",
			"H100 81559 MiB cc 90 cuda 128 ok"}},
		{"unknown", []string{"ZEPHYR_X9_WORKSTATION 196608 MiB cc 131 cuda 132 ok"}},
		{"laptop", []string{"RTX_4060_LAPTOP 8188 MiB cc 89 cuda 124 ok"}},
		{"confidential", []string{"H100 81559 MiB cc 90 cuda 128 ok"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			machine(t, tt.name)
			devices, err := probe.Devices(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, d := range devices {
				line := fmt.Sprintf("%s %d MiB cc %d cuda %d ", d.Class, d.MemoryBytes>>20, d.ComputeCap, d.CUDA)
				if d.MIG != "" {
					line += "MIG " + d.MIG + " "
				}
				got = append(got, line+d.Health)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

// one is the only device of a machine.
func one(t *testing.T, scenario string, lines ...string) gpu.Device {
	t.Helper()
	machine(t, scenario, lines...)
	devices, err := probe.Devices(t.Context())
	if err != nil || len(devices) != 1 {
		t.Fatalf("%+v, %v", devices, err)
	}
	return devices[0]
}

// TestWhatACardTells has a card that tells all, and two that cannot.
func TestWhatACardTells(t *testing.T) {
	d := one(t, "confidential", "energy 5000", "power 0", "compute_processes 2", "graphics_processes 1", "process_memory 1048576", "pcie_replays 9", "ecc_corrected 4", "remapped_correctable 1")
	now := d.Now
	for _, tt := range []struct{ what, got, want string }{
		{"place", d.PCI + " " + d.Driver + " " + d.Confidential, "00000000:E1:00.0 570.86.15 on"},
		{"memory", told(now.MemoryUsedBytes, now.MemoryFreeBytes), "[0 84912635904]"},
		{"power and energy", told(now.PowerMilliwatts, d.Limits.PowerMilliwatts, now.EnergyMillijoules), "[0 700000 5000]"},
		{"heat", told(now.Celsius, now.MemoryCelsius, d.Limits.SlowdownCelsius, d.Limits.ShutdownCelsius), "[29 33 89 92]"},
		{"clocks", told(now.SMClockMHz, now.MemClockMHz, d.Limits.SMClockMHz, d.Limits.MemClockMHz, now.ClockReasons), "[345 2619 1980 2619 1]"},
		{"use", told(now.GPUUtilPercent, now.MemCopyUtilPercent), "[0 0]"},
		{"processes", told(now.ComputeProcesses, now.GraphicsProcesses, now.ProcessBytes), "[2 1 2097152]"}, // two pids: one draws too
		{"errors", told(d.Errors.CorrectedECC, d.Errors.UncorrectedECC, d.Errors.RemappedRows, d.Errors.RetiredPages, d.Errors.PCIeReplays, d.Errors.Xid), "[4 0 1 ? 9 ?]"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %s, want %s", tt.what, tt.got, tt.want)
		}
	}
	d = one(t, "laptop")
	now = d.Now
	if got := told(now.PowerMilliwatts, d.Limits.PowerMilliwatts, now.EnergyMillijoules, d.Errors.UncorrectedECC, now.MemoryCelsius, now.ComputeProcesses, now.ProcessBytes, d.Limits.SlowdownCelsius); got != "[? ? ? ? ? ? ? ?]" {
		t.Errorf("a laptop tells %s of what it cannot know", got)
	}
	if d.Confidential != "" || len(d.Links) != 0 {
		t.Errorf("%+v", d)
	}
}

func TestSlicesShareTheirCard(t *testing.T) {
	machine(t, "mig")
	devices, err := probe.Devices(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	d := devices[0]
	if d.Whole != "GPU-a1000000-0000-4000-8000-000000000001" || d.PCI != "00000000:07:00.0" {
		t.Errorf("%+v", d)
	}
	if got := told(d.Now.MemoryUsedBytes, d.Now.Celsius, d.Now.SMClockMHz, d.Now.PowerMilliwatts, d.Now.EnergyMillijoules, d.Now.GPUUtilPercent); got != "[15728640 31 210 ? ? ?]" {
		t.Errorf("a slice tells %s: what all slices draw together is not its own", got)
	}
}

func TestLinks(t *testing.T) {
	machine(t, "dgxh100") // each card is linked to the same switches
	devices, err := probe.Devices(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range devices {
		if len(d.Links) != 7 || slices.Contains(d.Links, d.ID) {
			t.Errorf("%s is linked to %v", d.ID, d.Links)
		}
	}
	const other = "gpu GPU-2\nname NVIDIA H100 PCIe\nmemory_total 1024\n"
	machine(t, "", "gpu GPU-1\nname NVIDIA H100 PCIe\nmemory_total 1024\nbus 00000000:01:00.0\nlink down\nlink 00000000:02:00.0", other+"bus 00000000:02:00.0\nlink 00000000:01:00.0",
		"gpu GPU-3\nname NVIDIA H100 PCIe\nmemory_total 1024\nbus 00000000:03:00.0\nlink down")
	if devices, err = probe.Devices(t.Context()); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(devices[0].Links, devices[1].Links, devices[2].Links) != "[GPU-2] [GPU-1] []" {
		t.Errorf("%v %v %v", devices[0].Links, devices[1].Links, devices[2].Links)
	}
}

// TestSickCards changes one thing of a card that is well.
func TestSickCards(t *testing.T) {
	for _, tt := range []struct{ lines, want string }{
		{"recovery_action 1", "asks for a reset: stop souk, run nvidia-smi --gpu-reset -i 00000000:E1:00.0"},
		{"recovery_action 2", "reboot the machine"},
		{"recovery_action 3", "stop what runs"},
		{"recovery_action 4", "then for a reset"},
		{"recovery_action 5", "IMEX"},
		{"recovery_action 6", "--gpu-reset"},
		{"recovery_action 7", "reboot the machine"},
		{"recovery_action 77", "recovery action 77"},
		{"remap_pending 1", "waits to be replaced by a spare one"},
		{"remap_failed 1", "have the card replaced"},
		{"retired_pending 1", "waits to be taken out of use"},
		{"ecc_uncorrected 2", "2 memory errors could not be corrected"},
		{"xid 95", gpu.Healthy}, // the driver's own verdict, which is none here, counts more
		{"xid 13", gpu.Healthy}, // a program's own fault
		{"xid 4000000000", gpu.Healthy},
		{"temperature 89", "89 °C, and it slows down from 89 °C on"},
		{"temperature 88", gpu.Healthy},
		{"temperature 95\nmargin 4", gpu.Healthy}, // the newer call counts
		{"margin 0", "so hot that it slows down"},
		{"margin -2", "so hot that it slows down"},
		{"compute_mode 2", "nvidia-smi -c 0"},
		{"mig_pending 1", "waits for a reset"},
		{"mig_mode 1", "no slice is made"},
		{"fail * 15", "fell off the bus"},
		{"fail nvmlDeviceGetPowerUsage 15", "fell off the bus"}, // a call that may be missing
		{"fail nvmlDeviceGetPowerUsage 16", "--gpu-reset"},
		{"fail nvmlDeviceGetPowerUsage 999", gpu.Healthy},
		{"fail nvmlDeviceGetHandleByIndex_v2 15", "fell off the bus"},
		{"fail nvmlDeviceGetHandleByIndex_v2 8", "power cables"},
		{"fail nvmlDeviceGetHandleByIndex_v2 11", "interrupts"},
		{"fail nvmlDeviceGetHandleByIndex_v2 17", "rights of /dev/nvidia"},
		{"fail nvmlDeviceGetUUID 999", "NVML error 999"},
		{"fail nvmlDeviceGetName 14", "information ROM"},
		{"fail nvmlDeviceGetMemoryInfo_v2 3", gpu.Healthy}, // the older call is there
		{"fail nvmlDeviceGetMemoryInfo_v2 3\nfail nvmlDeviceGetMemoryInfo 3", "NVML error 3"},
		{"memory_total 0", "nothing sensible of its memory"},
		{"memory_total -1", "nothing sensible of its memory"},
		{"unterminated", "does not say which card it is"},
		{`name NVIDIA \xff\xfe`, "does not say which card it is"},
		{`name NVIDIA \x1b[2J H100`, "does not say which card it is"},
	} {
		t.Run(tt.lines, func(t *testing.T) {
			d := one(t, "confidential", tt.lines)
			if !strings.Contains(d.Health, tt.want) || tt.want == gpu.Healthy && d.Health != tt.want {
				t.Errorf("health %q, want %q", d.Health, tt.want)
			}
			gputest.Run(t, probe)
		})
	}
}

// TestFailedCards tells what ends a job that runs from what only keeps the next away.
func TestFailedCards(t *testing.T) {
	for _, tt := range []struct {
		line   string
		failed bool
	}{
		{"recovery_action 0", false}, {"recovery_action 1", true}, {"recovery_action 2", true}, {"recovery_action 3", false},
		{"recovery_action 4", true}, {"recovery_action 5", false}, {"recovery_action 6", true}, {"recovery_action 7", true},
		{"ecc_uncorrected 1", true}, {"remap_pending 1", false}, {"remap_failed 1", false}, {"temperature 95", false},
		{"compute_mode 2", false}, {"fail nvmlDeviceGetPowerUsage 15", true},
	} {
		if d := one(t, "confidential", tt.line); d.Failed != tt.failed {
			t.Errorf("%s: failed %t, health %s", tt.line, d.Failed, d.Health)
		}
	}
}

// TestXidsOfOlderDrivers has drivers that do not say what they ask for.
func TestXidsOfOlderDrivers(t *testing.T) {
	for _, tt := range []struct{ line, want string }{
		{"xid 95", "Xid 95, a memory error that could not be corrected, and may have reached all programs: stop souk"},
		{"xid 119", "Xid 119"},
		{"xid 31", gpu.Healthy},
	} {
		d := one(t, "rtx4090", tt.line)
		if !strings.Contains(d.Health, tt.want) || len(d.Now.Xids) != 1 {
			t.Errorf("%s: health %q, Xids %v", tt.line, d.Health, d.Now.Xids)
		}
	}
}

// TestLies has libraries that say what cannot be: no listing, or none of what is wrong.
func TestLies(t *testing.T) {
	machine(t, "", "count 4294967295")
	if d, err := probe.Devices(t.Context()); err == nil || !strings.Contains(err.Error(), "4294967295 GPUs") {
		t.Errorf("%v, %v", d, err)
	}
	machine(t, "rtx4090", "gpu GPU-4090aaaa-0000-4000-8000-000000000001", "name NVIDIA H100 80GB HBM3", "memory_total 85520809984")
	devices, err := probe.Devices(t.Context())
	if err != nil || len(devices) != 1 || !strings.Contains(devices[0].Health, "two devices say") {
		t.Errorf("two cards with one name: %+v, %v", devices, err)
	}
	d := one(t, "rtx4090", "power 4294967295", "temperature 4294967295", "gpu_util 4294967295", "sm_clock 4294967295", "power_limit 4294967295", "slowdown 4294967295", "capability -5 77")
	if got := told(d.Now.PowerMilliwatts, d.Now.Celsius, d.Now.GPUUtilPercent, d.Now.SMClockMHz, d.Limits.PowerMilliwatts, d.Limits.SlowdownCelsius); got != "[? ? ? ? ? ?]" || d.ComputeCap != 0 || d.Health != gpu.Healthy {
		t.Errorf("broken sensors tell %s, capability %d, health %s", got, d.ComputeCap, d.Health)
	}
}

func TestVersionMismatch(t *testing.T) {
	machine(t, "mismatch")
	if d, err := probe.Devices(t.Context()); err == nil || !strings.Contains(err.Error(), "different versions, after an update: reboot the machine") {
		t.Errorf("%v, %v", d, err)
	}
}

// TestOldLibraries leaves each function out by itself, and then all that can be
// missed at once. Those that are needed are named; a call to one that is not there
// would end the child.
func TestOldLibraries(t *testing.T) {
	machine(t, "dgxh100", "mig_mode 1", "slice MIG-1", "name NVIDIA H100 80GB HBM3 MIG 1g.10gb", "memory_total 1024")
	library, err := build()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("nm", "-D", "--defined-only", library.Path).Output()
	if err != nil {
		t.Fatal(err)
	}
	needed := []string{"nvmlInit_v2", "nvmlShutdown", "nvmlDeviceGetCount_v2", "nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetName", "nvmlDeviceGetUUID", "nvmlDeviceGetMemoryInfo"}
	var rest []string
	for line := range strings.Lines(string(out)) {
		name := strings.TrimSpace(line[strings.LastIndex(strings.TrimSpace(line), " ")+1:])
		path, err := library.Without(name)
		if err != nil {
			t.Fatal(err)
		}
		t.Setenv(nvml.LibraryVariable, path)
		devices, err := probe.Devices(t.Context())
		switch {
		case slices.Contains(needed, name):
			if err == nil || !strings.Contains(err.Error(), "no function "+name) {
				t.Errorf("without %s: %v, %v", name, devices, err)
			}
		case err != nil || len(devices) != 8:
			t.Errorf("without %s: %d devices, %v", name, len(devices), err)
		default:
			rest = append(rest, name)
		}
	}
	if len(rest) < 30 {
		t.Fatalf("only %d functions that may be missing: %v", len(rest), rest)
	}
	path, err := library.Without(rest...)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(nvml.LibraryVariable, path)
	devices := gputest.Run(t, probe)
	if d := devices[0]; len(devices) != 8 || d.Health != gpu.Healthy || d.MemoryBytes != 85520809984 || d.ComputeCap != 0 {
		t.Errorf("%+v", devices)
	}
}

func TestHangingLibrary(t *testing.T) {
	machine(t, "rtx4090", "hang nvmlDeviceGetPowerUsage")
	hanging := probe
	hanging.Timeout = 300 * time.Millisecond
	if devices, err := hanging.Devices(t.Context()); err == nil || !strings.Contains(err.Error(), "did not answer for 300ms") {
		t.Errorf("%v, %v", devices, err)
	}
}

func TestCrashingLibrary(t *testing.T) {
	machine(t, "rtx4090", "crash nvmlDeviceGetPowerUsage")
	if devices, err := probe.Devices(t.Context()); err == nil || !strings.Contains(err.Error(), "ended") {
		t.Errorf("%v, %v", devices, err)
	}
}

func TestNamedLibraryIsAbsent(t *testing.T) {
	t.Setenv(nvml.LibraryVariable, filepath.Join(t.TempDir(), "none.so"))
	if devices, err := probe.Devices(t.Context()); err == nil {
		t.Errorf("found %v in no library", devices)
	}
}

func TestNoLibrary(t *testing.T) {
	t.Setenv(nvml.LibraryVariable, "")
	if matches, _ := filepath.Glob("/usr/lib*/**/libnvidia-ml.so.1"); len(matches) > 0 {
		t.Skip("this machine has a driver")
	}
	if devices, err := probe.Devices(t.Context()); err != nil || len(devices) != 0 {
		t.Errorf("%v, %v", devices, err)
	}
}

func TestChildren(t *testing.T) {
	for _, tt := range []struct{ name, script, want string }{
		{"crashes", "kill -SEGV $$", "segmentation fault"},
		{"fails", "echo out of order >&2; exit 1", "out of order"},
		{"fails in another way", "echo out of order >&2; exit 3", "exit status 3: out of order"},
		{"babbles", "head -c 2000000 /dev/zero", "more than"},
		{"says nothing", "true", "ended"},
		{"says another thing", `echo '{"gpus":[],"more":1}'`, "more"},
		{"says two things", `echo '{"gpus":[]} {}'`, "more than one"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := nvml.Probe{Command: []string{"/bin/sh", "-c", tt.script}}
			devices, err := p.Devices(t.Context())
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, %v; want %q", devices, err, tt.want)
			}
		})
	}
}

func TestChildSeesNoPasswords(t *testing.T) {
	t.Setenv("SOUK_PASSWORD", "secret")
	p := nvml.Probe{Command: []string{"/bin/sh", "-c", "env >&2; exit 1"}}
	if _, err := p.Devices(t.Context()); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("%v", err)
	}
}
