package cpu_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/souk-market/souk/gpu/cpu"
	"github.com/souk-market/souk/gpu/gputest"
)

func TestThisMachine(t *testing.T) {
	devices := gputest.Run(t, cpu.Probe{})
	if len(devices) != 1 || !devices[0].CPU || !strings.HasPrefix(devices[0].ID, "cpu-") {
		t.Errorf("%+v", devices)
	}
}

func machine(files map[string]string) fstest.MapFS {
	m := fstest.MapFS{
		"proc/cpuinfo": {Data: []byte("processor\t: 0\nmodel name\t: Some Processor 9000\n")},
		"proc/meminfo": {Data: []byte("MemTotal:       1048576 kB\nMemFree: 5 kB\n")},
	}
	for name, text := range files {
		m[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return m
}

func TestMachines(t *testing.T) {
	const id, other = "0123456789abcdef0123456789abcdef\n", "fedcba9876543210fedcba9876543210\n"
	base := gputest.Run(t, cpu.Probe{Root: machine(map[string]string{"etc/machine-id": id}), Hostname: "a", Cores: 3})[0]
	if base.Model != "Some Processor 9000" || base.MemoryBytes != 1<<30 || base.CPUMilli != 3000 {
		t.Errorf("%+v", base)
	}
	if strings.Contains(base.ID, strings.TrimSpace(id)) {
		t.Errorf("the id %s shows the machine's own", base.ID)
	}
	for _, tt := range []struct {
		name   string
		files  map[string]string
		host   string
		sameID bool
		memory uint64
	}{
		{"renamed", map[string]string{"etc/machine-id": id}, "b", true, 1 << 30},
		{"another machine", map[string]string{"etc/machine-id": other}, "a", false, 1 << 30},
		{"no machine id", nil, "a", false, 1 << 30},
		{"in a group", map[string]string{"etc/machine-id": id, "sys/fs/cgroup/memory.max": "1024\n"}, "a", true, 1024},
		{"in a group without bound", map[string]string{"etc/machine-id": id, "sys/fs/cgroup/memory.max": "max\n"}, "a", true, 1 << 30},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := gputest.Run(t, cpu.Probe{Root: machine(tt.files), Hostname: tt.host, Cores: 3})[0]
			if (d.ID == base.ID) != tt.sameID || d.MemoryBytes != tt.memory {
				t.Errorf("id %s (was %s), memory %d", d.ID, base.ID, d.MemoryBytes)
			}
		})
	}
}

func TestNoMemoryInfo(t *testing.T) {
	if _, err := (cpu.Probe{Root: fstest.MapFS{}}).Devices(t.Context()); err == nil {
		t.Error("a machine without memory is sold")
	}
}
