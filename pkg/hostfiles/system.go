package hostfiles

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"maps"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// maxFile is how much of a file is read.
const maxFile = 1 << 20

// errNoFile is the error of what is no ordinary file.
var errNoFile = errors.New("it is not a regular file")

// read returns a file's text, as far as it is of a reasonable length. Devices and pipes are
// not read: nobody knows for how long that would take.
func read(fsys fs.FS, name string) (string, error) {
	file, err := fsys.Open(name)
	if err != nil {
		return "", err
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return "", cmp.Or(err, errNoFile)
	}
	text, err := io.ReadAll(io.LimitReader(file, maxFile))
	return string(text), err
}

// Kernel returns the version of the kernel; empty where it is not known.
func Kernel(system fs.FS) string {
	text, err := read(system, "proc/sys/kernel/osrelease")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(text)
}

// Uptime is for how long the host has been up; zero where that is not known.
func Uptime(system fs.FS) time.Duration {
	text, err := read(system, "proc/uptime")
	if err != nil {
		return 0
	}
	up, _, _ := strings.Cut(text, " ")
	seconds, err := strconv.ParseFloat(up, 64)
	if err != nil || seconds < 0 || seconds > math.MaxInt32 {
		return 0
	}
	return time.Duration(seconds * float64(time.Second))
}

// CgroupVersion returns the version of the control groups that the host, and so its guests,
// has; 0 where it is not known.
func CgroupVersion(system fs.FS) int {
	const root = "sys/fs/cgroup"
	if _, err := fs.Stat(system, root+"/cgroup.controllers"); err == nil {
		return 2
	}
	// With version 1, each controller has a directory there.
	for _, controller := range []string{"cpu", "cpuset", "memory"} {
		if info, err := fs.Stat(system, path.Join(root, controller)); err == nil && info.IsDir() {
			return 1
		}
	}
	return 0
}

// Memory is that of a host.
type Memory struct {
	TotalBytes uint64
	// AvailableBytes can be had without swapping: what is free, and most of what caches
	// occupy.
	AvailableBytes uint64
}

// ReadMemory returns the memory of a host; nil where it is not known.
func ReadMemory(system fs.FS) *Memory {
	text, err := read(system, "proc/meminfo")
	if err != nil {
		return nil
	}
	values := map[string]uint64{}
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) != 3 || fields[2] != "kB" {
			continue
		}
		if n, err := strconv.ParseUint(fields[1], 10, 54); err == nil {
			values[strings.TrimSuffix(fields[0], ":")] = n << 10
		}
	}
	total, okT := values["MemTotal"]
	available, okA := values["MemAvailable"]
	if !okT || !okA {
		return nil
	}
	return &Memory{TotalBytes: total, AvailableBytes: available}
}

// softwareEvents are the performance events, by libvirt's names, that the kernel counts by
// itself.
//
//nolint:gochecknoglobals // A constant.
var softwareEvents = []string{
	"alignment_faults", "context_switches", "cpu_clock", "cpu_migrations", "emulation_faults", "page_faults", "page_faults_maj",
	"page_faults_min", "task_clock",
}

// hardwareEvents are those that CPUs count, by the kernel's names.
//
//nolint:gochecknoglobals // A constant.
var hardwareEvents = map[string]string{
	"branch-instructions": "branch_instructions", "branch-misses": "branch_misses", "bus-cycles": "bus_cycles",
	"cache-misses": "cache_misses", "cache-references": "cache_references", "cpu-cycles": "cpu_cycles", "instructions": "instructions",
	"ref-cycles": "ref_cpu_cycles", "stalled-cycles-backend": "stalled_cycles_backend", "stalled-cycles-frontend": "stalled_cycles_frontend",
}

// cacheEvents are those of Intel's monitoring of caches and memory, which old kernels count.
//
//nolint:gochecknoglobals // A constant.
var cacheEvents = []string{"cmt", "mbml", "mbmt"}

// AllPerfEvents returns all performance events that libvirt knows, in the order of their names.
func AllPerfEvents() []string {
	return slices.Sorted(slices.Values(slices.Concat(softwareEvents, cacheEvents, slices.Collect(maps.Values(hardwareEvents)))))
}

// PerfEvents returns, by libvirt's names and in their order, the performance events of guests
// that the host can count; nil where it is not known. Of CPUs of two kinds, those count that
// either has.
func PerfEvents(system fs.FS) []string {
	const devices = "sys/bus/event_source/devices"
	sources, err := fs.ReadDir(system, devices)
	if err != nil {
		return nil
	}
	out := []string{}
	for _, source := range sources {
		switch name := source.Name(); name {
		case "software":
			out = append(out, softwareEvents...)
		case "intel_cqm":
			out = append(out, cacheEvents...)
		case "cpu", "cpu_core", "cpu_atom":
			events, err := fs.ReadDir(system, path.Join(devices, name, "events"))
			if err != nil {
				continue
			}
			for _, e := range events {
				if known := hardwareEvents[e.Name()]; known != "" {
					out = append(out, known)
				}
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Userfaultfd says who may have page faults reported to itself, without which an emulator
// cannot receive a guest in post-copy.
type Userfaultfd struct {
	// Everybody is what the kernel's setting says; nil where it has none.
	Everybody *bool
	// HasDevice is whether the kernel has a device for it, and Device who may open that; nil
	// where the device is not seen.
	HasDevice bool
	Device    *Permissions
}

// Permissions are those of a file.
type Permissions struct {
	UID, GID uint32
	Mode     fs.FileMode
}

// Allow reports whether a user may read and write the file.
func (p *Permissions) Allow(uid, gid uint32) bool {
	const readWrite = 0o6
	shift := 0
	switch {
	case uid == 0:
		return true
	case uid == p.UID:
		shift = 6
	case gid == p.GID:
		shift = 3
	}
	return p.Mode.Perm()>>shift&readWrite == readWrite
}

// ReadUserfaultfd reads the kernel's setting, and looks at the device among the host's files,
// which may be nil.
func ReadUserfaultfd(system, host fs.FS) Userfaultfd {
	var out Userfaultfd
	if text, err := read(system, "proc/sys/vm/unprivileged_userfaultfd"); err == nil {
		if n, err := strconv.Atoi(strings.TrimSpace(text)); err == nil {
			out.Everybody = new(n != 0)
		}
	}
	if _, err := fs.Stat(system, "sys/class/misc/userfaultfd"); err == nil {
		out.HasDevice = true
	}
	if host == nil {
		return out
	}
	if info, err := fs.Stat(host, "dev/userfaultfd"); err == nil {
		if stat, ok := info.Sys().(*syscall.Stat_t); ok {
			out.Device = &Permissions{UID: stat.Uid, GID: stat.Gid, Mode: info.Mode()}
		}
	}
	return out
}

// isMissing reports whether a file is not there. One that is behind a symbolic link may be
// there all the same, and only not be seen from here.
func isMissing(fsys fs.FS, name string, err error) bool {
	if !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	parts := strings.Split(name, "/")
	for n := range parts {
		part := path.Join(parts[:n+1]...)
		info, err := fs.Lstat(fsys, part)
		if err != nil {
			return errors.Is(err, fs.ErrNotExist)
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			continue
		}
		if _, err := fs.Stat(fsys, part); err != nil {
			return false
		}
	}
	return false
}
