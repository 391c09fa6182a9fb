//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// hostNamespaces are the namespaces that make a host.
const hostNamespaces = unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC

// hostInit prepares a host's mounts and then becomes its first process. It gets
// the host's name, the root file system of its generation and the place for it, both
// of which are empty for the machine's own, then pairs of directory and place; it
// reports on descriptor 3.
//
// Mount propagation is cut before anything is mounted, so nothing ever shows in
// the machine's own mount table. /sys is mounted anew because network interfaces
// in it are those of the namespace that mounted it. A root of its own is mounted
// read-only, since hosts share it, and gets only those devices that QEMU needs for a
// guest that is emulated: where KVM is seen, newer libvirts wait long for one that hangs.
const hostInit = `set -e
mount --make-rprivate /
mount -t proc proc /proc
name=$1 root=$2 new=$3
shift 3
if [ "$root" ]; then
	mount --bind -o ro "$root" "$new"
	mount -t tmpfs -o mode=755 dev "$new/dev"
	mkdir "$new/dev/net" "$new/dev/pts" "$new/dev/shm"
	for device in null zero full random urandom tty net/tun; do
		[ -e "/dev/$device" ] || continue
		touch "$new/dev/$device"
		mount --bind "/dev/$device" "$new/dev/$device"
	done
	mount -t devpts -o newinstance,ptmxmode=666 devpts "$new/dev/pts"
	ln -s pts/ptmx "$new/dev/ptmx"
	ln -s /proc/self/fd "$new/dev/fd"
	mount -t tmpfs shm "$new/dev/shm"
	mount -t tmpfs tmp "$new/tmp"
	mount -t proc proc "$new/proc"
else
	umount -l -R /sys
fi
mount -t sysfs sysfs "$new/sys"
echo "$name" >/proc/sys/kernel/hostname
while [ $# -gt 0 ]; do
	mount --bind "$1" "$new$2"
	shift 2
done
if [ "$root" ]; then
	cd "$new"
	pivot_root . mnt
	umount -l /mnt
fi
ip link set lo up
echo ready >&3
exec 3>&-
exec tini -- sleep infinity
`

// A bind puts a directory, or a file, of the lab's state in a place inside a host.
type bind struct{ source, target string }

// startHostInit starts the first process of a host and waits until its mounts
// are in place. root is the host's root file system, bound to a place outside of it;
// none is the machine's own.
func startHostInit(ctx context.Context, s *spawner, name, logPath string, root bind, binds []bind) (*Process, error) {
	args := slices.Grow([]string{"-c", hostInit, "host-init", name, root.source, root.target}, 2*len(binds))
	for _, b := range binds {
		args = append(args, b.source, b.target)
	}
	cmd := exec.Command("/bin/sh", args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: hostNamespaces}
	ready, err := reportPipe(cmd)
	if err != nil {
		return nil, err
	}
	defer ready.Close()
	p, err := s.startProcess(name, logPath, cmd)
	cmd.ExtraFiles[0].Close() // Only the child keeps it, so that its end shows as end of file.
	if errors.Is(err, syscall.EPERM) {
		return nil, fmt.Errorf("making namespaces (inside a container, it must be privileged): %w", err)
	}
	if err != nil {
		return nil, err
	}
	if err := awaitReport(ctx, ready); err != nil {
		killErr := p.Kill(context.WithoutCancel(ctx), syscall.SIGKILL)
		return nil, fmt.Errorf("preparing host %s: %w: %s", name, errors.Join(err, killErr), p.LogTail(5))
	}
	return p, nil
}

// reportPipe gives cmd descriptor 3 to report on, and returns the end to read.
func reportPipe(cmd *exec.Cmd) (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("making a pipe: %w", err)
	}
	cmd.ExtraFiles = []*os.File{w}
	return r, nil
}

// awaitReport waits for any text on r; the end of file means failure.
func awaitReport(ctx context.Context, r *os.File) error {
	stop := context.AfterFunc(ctx, func() { r.Close() })
	defer stop()
	buf := make([]byte, 16)
	if _, err := r.Read(buf); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == io.EOF {
			return errors.New("it ended early")
		}
		return err
	}
	return nil
}

// HostProcess is a process inside a host.
type HostProcess struct {
	PID     int    // As seen from outside the lab.
	Command string // The command line, words separated by spaces.
}

// processesInNamespace lists the processes that share process pid's PID namespace.
func processesInNamespace(pid int) ([]HostProcess, error) {
	want, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pid))
	if err != nil {
		return nil, fmt.Errorf("reading a namespace: %w", err)
	}
	links, err := filepath.Glob("/proc/[0-9]*/ns/pid")
	if err != nil {
		return nil, fmt.Errorf("listing processes: %w", err)
	}
	var found []HostProcess
	for _, link := range links {
		if got, err := os.Readlink(link); err != nil || got != want {
			continue // A process may end while it is looked at.
		}
		dir := filepath.Dir(filepath.Dir(link))
		command, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err != nil || len(command) == 0 {
			continue // Ended, or a zombie.
		}
		p := HostProcess{Command: strings.TrimSpace(strings.ReplaceAll(string(command), "\x00", " "))}
		if _, err := fmt.Sscanf(filepath.Base(dir), "%d", &p.PID); err != nil {
			continue
		}
		found = append(found, p)
	}
	return found, nil
}
