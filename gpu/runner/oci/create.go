package oci

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/client"
	"github.com/souk-market/souk/gpu/runner"
)

// Labels of the containers that are ours.
const (
	labelOwner = "souk.home"
	labelLease = "souk.lease"
)

// Bounds of every container that no job sets.
const (
	maxPIDs    = 1024  // processes and threads
	maxFiles   = 16384 // open files of a process
	maxVolumes = 16    // folders that an image declares as volumes
	killFirst  = 500   // the kernel's preference when the host is out of memory
)

// settings is the container of a run: all that holds it is said here. An error is
// about the image.
func settings(s runner.Spec, f Facts, img image, who identity, owner string) (client.ContainerCreateOptions, error) {
	tmpfs, err := memoryFolders(s, f, img)
	if err != nil {
		return client.ContainerCreateOptions{}, err
	}
	c := &container.Config{
		Image:       s.Program.Image,
		User:        who.user,
		Hostname:    "job",
		Env:         environment(s.Env, img.Env),
		Healthcheck: &container.HealthConfig{Test: []string{"NONE"}},
		StopSignal:  "SIGTERM",
		Labels:      map[string]string{labelOwner: owner, labelLease: s.Lease.String()},
	}
	if len(s.Args) > 0 {
		c.Entrypoint, c.Cmd = s.Args[:1:1], s.Args[1:]
	}
	h := &container.HostConfig{
		NetworkMode:    "none",
		IpcMode:        "private",
		CgroupnsMode:   "private",
		UsernsMode:     container.UsernsMode(who.userns),
		CapDrop:        []string{"ALL"},
		SecurityOpt:    []string{"no-new-privileges"},
		ReadonlyRootfs: true,
		Tmpfs:          tmpfs,
		ShmSize:        shm(s),
		OomScoreAdj:    killFirst,
		LogConfig:      container.LogConfig{Type: "none"}, // what is printed goes to the client alone
		RestartPolicy:  container.RestartPolicy{Name: container.RestartPolicyDisabled},
		Runtime:        f.runtimeName(),
		Resources:      limits(s),
	}
	h.Mounts, h.Binds = folders(s, f, who)
	return client.ContainerCreateOptions{Config: c, HostConfig: h, Name: containerName(s)}, nil
}

// containerName is that of a lease's container: one that is there already is an error.
func containerName(s runner.Spec) string { return namePrefix + s.Lease.String()[:32] }

const namePrefix = "souk-"

// limits are the bounds that the kernel keeps.
func limits(s runner.Spec) container.Resources {
	pids := int64(maxPIDs)
	r := container.Resources{
		Memory: bytesOf(s.Memory), MemorySwap: bytesOf(s.Memory), // no swap beside it
		NanoCPUs: int64(s.CPUMilli) * 1e6, PidsLimit: &pids,
	}
	for name, most := range map[string]int64{"nofile": maxFiles, "nproc": maxPIDs, "fsize": bytesOf(s.Disk), "core": 0} {
		r.Ulimits = append(r.Ulimits, &container.Ulimit{Name: name, Soft: most, Hard: most})
	}
	slices.SortFunc(r.Ulimits, func(a, b *container.Ulimit) int { return strings.Compare(a.Name, b.Name) })
	return r
}

// memoryFolders are the writable folders in memory: /tmp, and those that the image
// declares as volumes, which would be unbounded folders of the host otherwise. What
// lies in them counts as the job's memory. Programs may be run from there: that is
// what compilers and package managers do.
func memoryFolders(s runner.Spec, f Facts, img image) (map[string]string, error) {
	if len(img.Volumes) > maxVolumes {
		return nil, fmt.Errorf("the image declares %d volumes, at most %d", len(img.Volumes), maxVolumes)
	}
	options := fmt.Sprintf("rw,exec,nosuid,nodev,mode=1777,size=%d", half(s.Memory))
	if f.Podman {
		options += ",notmpcopyup" // else the image's content would be copied into memory
	}
	all := map[string]string{"/tmp": options}
	for v := range maps.Keys(img.Volumes) {
		switch {
		case !path.IsAbs(v) || path.Clean(v) != v || v == "/" || strings.ContainsAny(v, ":,\n\x00"):
			return nil, fmt.Errorf("the image declares the volume %.60q, which is no plain path", v)
		case v == "/in" || v == "/out" || strings.HasPrefix(v, "/in/") || strings.HasPrefix(v, "/out/"):
			continue // ours lie there
		case slices.Contains([]string{"proc", "sys", "dev"}, strings.Split(v, "/")[1]):
			return nil, fmt.Errorf("the image declares the volume %.60q, which is the kernel's", v)
		}
		all[v] = options
	}
	return all, nil
}

// folders are /in and /out. Where files have SELinux labels, or the engine chooses
// the users of the host, only the older form of a mount can say so.
func folders(s runner.Spec, f Facts, who identity) (mounts []mount.Mount, binds []string) {
	for _, d := range []struct {
		from, to, options string
		readOnly          bool
	}{{s.In, "/in", "ro", true}, {s.Out, "/out", "rw", false}} {
		switch {
		case d.from == "":
		case f.SELinux || who.userns != "":
			if f.SELinux {
				d.options += ",Z"
			}
			if who.userns != "" && !d.readOnly {
				d.options += ",U"
			}
			binds = append(binds, d.from+":"+d.to+":"+d.options)
		default:
			mounts = append(mounts, mount.Mount{Type: mount.TypeBind, Source: d.from, Target: d.to, ReadOnly: d.readOnly,
				BindOptions: &mount.BindOptions{Propagation: mount.PropagationRPrivate}})
		}
	}
	return mounts, binds
}

// environment is the job's own, without what loaders and the hooks of NVIDIA's
// toolkit act upon; what the image says of these is made empty.
func environment(job, image []string) (env []string) {
	for _, v := range image {
		if name, _, _ := strings.Cut(v, "="); acted(name) && variableForm.MatchString(name) {
			env = append(env, name+"=")
		}
	}
	for _, v := range job {
		if name, _, _ := strings.Cut(v, "="); !acted(name) {
			env = append(env, v)
		}
	}
	return append(slices.DeleteFunc(env, func(v string) bool { return strings.HasPrefix(v, nvidiaDevices+"=") }), nvidiaDevices+"=void")
}

const nvidiaDevices = "NVIDIA_VISIBLE_DEVICES"

// acted tells whether software on the host may act upon a variable of a container.
func acted(name string) bool {
	return strings.HasPrefix(name, "LD_") || strings.HasPrefix(name, "NVIDIA_")
}

// half is half of the memory, for each folder that lies in it.
func half(memory uint64) int64 { return max(1<<20, bytesOf(memory)/2) }

// shm is the size of /dev/shm. What lies there counts as the job's memory, so no size
// takes more than that.
func shm(s runner.Spec) int64 {
	if s.Shm == 0 {
		return half(s.Memory)
	}
	return bytesOf(min(s.Shm, s.Memory))
}

func bytesOf(n uint64) int64 { return int64(min(n, math.MaxInt64)) }

// firstUser is the first of the users of the host, one for each lease, that have
// no name there and own nothing: none of the ranges that distributions give out.
const firstUser = 1_900_000_000

// identity is who a job is.
type identity struct {
	user     string // in the container: uid:gid
	uid, gid int    // on the host, of /out
	userns   string // of the container; empty: the engine's own
	open     bool   // /out is writable for all: the engine alone knows who the job is on the host
}

// user is who this process is.
type user struct{ uid, gid int }

// identityOf chooses who a job is: nobody on the host if we may choose, else us,
// as outputs must be read after the job.
func identityOf(f Facts, us user, lease [32]byte) identity {
	someone := firstUser + int(binary.BigEndian.Uint32(lease[:])>>8)
	switch {
	case f.Rootless: // the root of its namespace is us
		return identity{user: "0:0", uid: us.uid, gid: us.gid}
	case us.uid == 0 && f.AutoUserNS: // Podman gives the namespace a thousand users
		return identity{user: "1000:1000", userns: "auto", uid: us.uid, gid: us.gid}
	case us.uid == 0 && f.UserNS:
		return identity{user: "65534:65534", uid: us.uid, gid: us.gid, open: true}
	case us.uid == 0:
		return identity{user: ids(someone, someone), uid: someone, gid: someone}
	}
	return identity{user: ids(us.uid, us.gid), uid: us.uid, gid: us.gid}
}

func ids(uid, gid int) string { return strconv.Itoa(uid) + ":" + strconv.Itoa(gid) }

// runsOn refuses an image of another machine.
func (i image) runsOn(f Facts) error {
	if i.OS != "" && i.OS != "linux" {
		return fmt.Errorf("the image is for %.20s, not for linux", i.OS)
	}
	if i.Arch != "" && f.Arch != "" && i.Arch != f.Arch {
		return fmt.Errorf("the image is for %.20s, this machine is %s", i.Arch, f.Arch)
	}
	return nil
}

// invalidError is why an image cannot be run anywhere.
type invalidError struct{ detail string }

func (e *invalidError) Error() string { return e.detail }

// asInvalid tells whether an engine's error is the image's or the job's fault: its
// command is not there or is no program. Engines say so in words alone.
func asInvalid(err error) error {
	text := strings.ToLower(err.Error())
	for _, words := range []string{
		"executable file", "container init: exec:", "container process caused: exec:", "exec format error", "no such file or directory: oci runtime", "oci runtime attempted to invoke a command that was not found",
		"permission denied: oci", "oci permission denied", "no command specified", "no command or entrypoint", "is a directory",
	} {
		if strings.Contains(text, words) {
			return &invalidError{"the image's command cannot be run: " + lastLine(err)}
		}
	}
	if _, ok := errors.AsType[*invalidError](err); ok {
		return err
	}
	return nil
}

// lastLine is the end of an engine's error, where its cause is.
func lastLine(err error) string {
	lines := strings.Split(strings.TrimSpace(err.Error()), "\n")
	return lines[len(lines)-1]
}
