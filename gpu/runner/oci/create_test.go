package oci

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/client"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/gpu/runner"
	jobv1 "github.com/souk-market/souk/proto/souk/job/v1"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
)

// typical is a run with all that a job can ask for.
func typical() runner.Spec {
	return runner.Spec{Lease: souk.LeaseID{Digest: souk.Digest{0xab, 0xcd}}, Program: runner.Program{Image: "python@sha256:1"},
		Args: []string{"/bin/sh", "-c", "true"}, Env: []string{"A=1"}, In: "/jobs/x/in", Out: "/jobs/x/out",
		Memory: 1 << 30, Disk: 1 << 20, CPUMilli: 1500, Duration: time.Hour}
}

func made(t *testing.T, s runner.Spec, f Facts, img image, who identity) client.ContainerCreateOptions {
	t.Helper()
	c, err := settings(s, f, img, who, "0123456789abcdef")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestHardened holds the whole container against what it must be: whatever is
// added to it later must be looked at here.
func TestHardened(t *testing.T) {
	pids := int64(maxPIDs)
	want := &container.HostConfig{
		NetworkMode: "none", IpcMode: "private", CgroupnsMode: "private", CapDrop: []string{"ALL"},
		SecurityOpt: []string{"no-new-privileges"}, ReadonlyRootfs: true, Runtime: "runc",
		Tmpfs: map[string]string{"/tmp": "rw,exec,nosuid,nodev,mode=1777,size=536870912"}, ShmSize: 512 << 20, OomScoreAdj: 500,
		LogConfig: container.LogConfig{Type: "none"}, RestartPolicy: container.RestartPolicy{Name: "no"},
		Resources: container.Resources{Memory: 1 << 30, MemorySwap: 1 << 30, NanoCPUs: 1.5e9, PidsLimit: &pids, Ulimits: []*container.Ulimit{
			{Name: "core"}, {Name: "fsize", Soft: 1 << 20, Hard: 1 << 20}, {Name: "nofile", Soft: maxFiles, Hard: maxFiles},
			{Name: "nproc", Soft: maxPIDs, Hard: maxPIDs}}},
		Mounts: []mount.Mount{
			{Type: "bind", Source: "/jobs/x/in", Target: "/in", ReadOnly: true, BindOptions: &mount.BindOptions{Propagation: "rprivate"}},
			{Type: "bind", Source: "/jobs/x/out", Target: "/out", BindOptions: &mount.BindOptions{Propagation: "rprivate"}}},
	}
	got := made(t, typical(), Facts{Default: "runc"}, image{}, identity{user: "7:7"})
	if !reflect.DeepEqual(got.HostConfig, want) {
		t.Errorf("%+v\nwant\n%+v", got.HostConfig, want)
	}
	config := &container.Config{Image: "python@sha256:1", User: "7:7", Hostname: "job", Entrypoint: []string{"/bin/sh"}, Cmd: []string{"-c", "true"},
		Env: []string{"A=1", "NVIDIA_VISIBLE_DEVICES=void"}, Healthcheck: &container.HealthConfig{Test: []string{"NONE"}}, StopSignal: "SIGTERM",
		Labels: map[string]string{"souk.home": "0123456789abcdef", "souk.lease": typical().Lease.String()}}
	if !reflect.DeepEqual(got.Config, config) {
		t.Errorf("%+v\nwant\n%+v", got.Config, config)
	}
}

func TestShm(t *testing.T) {
	for asked, want := range map[uint64]int64{0: 512 << 20, 4096: 4096, 1 << 30: 1 << 30, 1 << 40: 1 << 30} {
		s := typical()
		s.Shm = asked
		if got := made(t, s, Facts{}, image{}, identity{}).HostConfig.ShmSize; got != want {
			t.Errorf("asked for %d of %d bytes: it has %d, want %d", asked, s.Memory, got, want)
		}
	}
	for shm, fits := range map[uint64]bool{0: true, 64 << 20: true, 64<<20 + 1: false} {
		j := &jobv1.Job{Image: "a@sha256:" + strings.Repeat("0", 64), Resources: &marketv1.Resources{MemoryBytes: 64 << 20}, ShmBytes: shm}
		if _, err := new(Runner).Plan(j, "/jobs/x"); (err == nil) != fits {
			t.Errorf("a job with %d bytes: %v", shm, err)
		}
	}
}

func TestContainerByEngine(t *testing.T) {
	for _, tt := range []struct {
		name  string
		facts Facts
		who   identity
		holds func(*container.HostConfig) bool
	}{
		{"NVIDIA's runtime is the default", Facts{Default: "nvidia", Runtimes: []string{"nvidia", "runc"}}, identity{}, func(h *container.HostConfig) bool { return h.Runtime == "runc" }},
		{"Podman ignores runtimes", Facts{Podman: true, Default: "crun"}, identity{}, func(h *container.HostConfig) bool { return h.Runtime == "" }},
		{"Podman copies images up", Facts{Podman: true}, identity{}, func(h *container.HostConfig) bool { return strings.HasSuffix(h.Tmpfs["/tmp"], ",notmpcopyup") }},
		{"SELinux", Facts{SELinux: true}, identity{}, func(h *container.HostConfig) bool {
			return len(h.Mounts) == 0 && slices.Equal(h.Binds, []string{"/jobs/x/in:/in:ro,Z", "/jobs/x/out:/out:rw,Z"})
		}},
		{"own user namespace", Facts{Podman: true}, identity{userns: "auto"}, func(h *container.HostConfig) bool {
			return h.UsernsMode == "auto" && slices.Equal(h.Binds, []string{"/jobs/x/in:/in:ro", "/jobs/x/out:/out:rw,U"})
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if h := made(t, typical(), tt.facts, image{}, tt.who).HostConfig; !tt.holds(h) {
				t.Errorf("%+v", h)
			}
		})
	}
}

func TestEnvironment(t *testing.T) {
	for _, tt := range []struct {
		name            string
		job, image, out []string
	}{
		{"nothing", nil, nil, []string{"NVIDIA_VISIBLE_DEVICES=void"}},
		{"of the image, kept by the engine", []string{"A=1"}, []string{"PATH=/bin", "A=0"}, []string{"A=1", "NVIDIA_VISIBLE_DEVICES=void"}},
		{"a loader's, of the job", []string{"LD_PRELOAD=/out/x.so", "LDFLAGS=-s"}, nil, []string{"LDFLAGS=-s", "NVIDIA_VISIBLE_DEVICES=void"}},
		{"a loader's, of the image", nil, []string{"LD_PRELOAD=/x.so", "LD_LIBRARY_PATH=/usr/local/nvidia"}, []string{"LD_PRELOAD=", "LD_LIBRARY_PATH=", "NVIDIA_VISIBLE_DEVICES=void"}},
		{"every device", []string{"NVIDIA_VISIBLE_DEVICES=all"}, []string{"NVIDIA_VISIBLE_DEVICES=all", "NVIDIA_DRIVER_CAPABILITIES=all"},
			[]string{"NVIDIA_DRIVER_CAPABILITIES=", "NVIDIA_VISIBLE_DEVICES=void"}},
		{"what Podman would read of its own", nil, []string{"LD_*=", "LD_PRELOAD"}, []string{"LD_PRELOAD=", "NVIDIA_VISIBLE_DEVICES=void"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := environment(tt.job, tt.image); !slices.Equal(got, tt.out) {
				t.Errorf("%q, want %q", got, tt.out)
			}
		})
	}
}

func TestVolumes(t *testing.T) {
	many := map[string]struct{}{}
	for _, c := range "abcdefghijklmnopq" {
		many["/"+string(c)] = struct{}{}
	}
	for _, tt := range []struct {
		name    string
		volumes map[string]struct{}
		want    []string // folders in memory; nil: refused
	}{
		{"none", nil, []string{"/tmp"}},
		{"one", map[string]struct{}{"/data": {}}, []string{"/data", "/tmp"}},
		{"over ours", map[string]struct{}{"/out": {}, "/in/x": {}, "/tmp": {}}, []string{"/tmp"}},
		{"the root", map[string]struct{}{"/": {}}, nil},
		{"relative", map[string]struct{}{"data": {}}, nil},
		{"upward", map[string]struct{}{"/a/../../x": {}}, nil},
		{"options", map[string]struct{}{"/a:rw,suid": {}}, nil},
		{"the kernel's", map[string]struct{}{"/proc/sys": {}}, nil},
		{"devices", map[string]struct{}{"/dev": {}}, nil},
		{"too many", many, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := memoryFolders(typical(), Facts{}, image{Volumes: tt.volumes})
			var names []string
			for name := range got {
				names = append(names, name)
			}
			if slices.Sort(names); !slices.Equal(names, tt.want) || (err == nil) != (tt.want != nil) {
				t.Errorf("%q, %v", names, err)
			}
		})
	}
}

func TestIdentity(t *testing.T) {
	root, someone := user{}, user{uid: 1000, gid: 100}
	lease := [32]byte{0, 0, 1}
	for _, tt := range []struct {
		name  string
		facts Facts
		us    user
		want  identity
	}{
		{"root", Facts{}, root, identity{user: "1900000001:1900000001", uid: 1900000001, gid: 1900000001}},
		{"a member of the group docker", Facts{}, someone, identity{user: "1000:100", uid: 1000, gid: 100}},
		{"rootless", Facts{Podman: true, Rootless: true}, someone, identity{user: "0:0", uid: 1000, gid: 100}},
		{"root with ranges of users", Facts{Podman: true, AutoUserNS: true}, root, identity{user: "1000:1000", userns: "auto"}},
		{"root, users of the engine are others", Facts{UserNS: true}, root, identity{user: "65534:65534", open: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := identityOf(tt.facts, tt.us, lease); got != tt.want {
				t.Errorf("%+v, want %+v", got, tt.want)
			}
		})
	}
}
