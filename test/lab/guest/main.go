//go:build linux && amd64

// Command guest is the whole user space of the lab's guests: the kernel runs
// it as /init from an initial RAM disk that holds nothing else but a few kernel
// modules.
//
// It proves that a guest lives on across a migration by printing one line per
// period on the console,
//
//	tick N uptime S.sss
//
// and gives convergence something to work on by dirtying memory, and a disk, at
// a chosen rate. What it does is chosen on the kernel command line (see
// parseParams) and changed while it runs by lines on the control port (see
// control.go).
//
// It starts no processes, so as PID 1 it has nothing to reap.
package main

import (
	"fmt"
	"os"
	"syscall"
	"time"
)

// consolePath is the serial port that the lab follows. It is opened directly
// rather than through /dev/console, so that the kernel's own log level does not
// matter.
const consolePath = "/dev/ttyS0"

func main() {
	fmt.Fprintf(os.Stderr, "guest: %v\n", run())
	time.Sleep(time.Second) // The serial port drains before the panic that follows PID 1's end.
	os.Exit(1)
}

// run brings the guest up and ticks for ever. It returns only with an error.
func run() error {
	if err := mountFilesystems(); err != nil {
		return err
	}
	console, err := os.OpenFile(consolePath, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("opening the console: %w", err)
	}
	cmdline, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return fmt.Errorf("reading the kernel command line: %w", err)
	}
	params, err := parseParams(string(cmdline))
	if err != nil {
		return fmt.Errorf("reading the kernel command line: %w", err)
	}

	memory := newDirtier(params.dirtyMiBps, params.hotPercent)
	if err := memory.allocate(params.wssMiB); err != nil {
		return err
	}
	go memory.run(console)
	disk := newDiskWriter(params.diskMiBps)
	if params.disk != "" {
		if err := loadModules("disk"); err != nil {
			return err
		}
		go disk.run(params.disk, console)
	}
	if params.address.IsValid() {
		if err := joinNetwork(params.address); err != nil {
			return err
		}
	}
	if err := (&machine{memory: memory, disk: disk, agent: &agent{}}).serve(params); err != nil {
		return err
	}
	tick(console, params.period)
	return nil
}

// serve answers the guest agent's port and the control port, if there are any, in the
// background.
func (m *machine) serve(params params) error {
	if params.agent != "" {
		port, err := openAgent(params.agent)
		if err != nil {
			return fmt.Errorf("opening the port of the guest agent: %w", err)
		}
		go m.agent.run(port)
	}
	if params.control != "" {
		port, err := openControl(params.control)
		if err != nil {
			return err
		}
		go m.serveControl(port)
	}
	return nil
}

// mountFilesystems mounts what the guest itself reads. Already mounted file
// systems are no error: a kernel may mount /dev by itself.
func mountFilesystems() error {
	for _, m := range []struct{ fstype, target string }{
		{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"},
	} {
		if err := os.MkdirAll(m.target, 0o755); err != nil {
			return fmt.Errorf("making %s: %w", m.target, err)
		}
		if err := syscall.Mount(m.fstype, m.target, m.fstype, 0, ""); err != nil && err != syscall.EBUSY {
			return fmt.Errorf("mounting %s: %w", m.target, err)
		}
	}
	return nil
}

// tick prints one numbered line per period. Deadlines are absolute on the
// guest's own monotonic clock, which stands still while the guest is paused: a
// line that arrives late by D means that the guest was stopped, or starved, for
// D. No number is ever left out.
func tick(console *os.File, period time.Duration) {
	next := time.Now()
	for n := 1; ; n++ {
		fmt.Fprintf(console, "tick %d uptime %.3f\n", n, uptime().Seconds())
		next = next.Add(period)
		time.Sleep(time.Until(next))
	}
}

// uptime is the time since the guest's boot, without the time it was paused.
func uptime() time.Duration {
	var ts syscall.Timespec
	const clockMonotonic = 1
	if errno := clockGettime(clockMonotonic, &ts); errno != 0 {
		return 0
	}
	return time.Duration(ts.Nano())
}
