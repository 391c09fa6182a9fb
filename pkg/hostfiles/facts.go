package hostfiles

import (
	"io/fs"
	"time"
)

// Facts are all that the files of a host say of it. What is empty or nil is not known.
type Facts struct {
	Kernel        string
	CgroupVersion int
	Memory        *Memory
	PerfEvents    []string
	Userfaultfd   Userfaultfd
	QEMU          *QEMUConfig
	// Control are the certificates of libvirt, and Migration those of QEMU.
	Control, Migration *Credentials
}

// Read reads them: what the kernel tells, from the file system that has its proc and sys, and
// what the host is configured to, from one that has its etc. Either may be nil.
func Read(system, host fs.FS, now time.Time) Facts {
	var out Facts
	if system != nil {
		out.Kernel, out.CgroupVersion = Kernel(system), CgroupVersion(system)
		out.Memory, out.PerfEvents = ReadMemory(system), PerfEvents(system)
		out.Userfaultfd = ReadUserfaultfd(system, host)
	}
	if host != nil {
		out.QEMU = ReadQEMUConfig(host)
		out.Control, out.Migration = ControlCredentials(host, now), MigrationCredentials(host, out.QEMU, now)
	}
	return out
}
