//go:build e2e && linux

package lab_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/virtferry/virtferry/test/lab"
)

// identity tells a process from a later one with the same ID.
type identity struct {
	pid   int
	start uint64
}

// alive says whether the process still runs.
func (i identity) alive() bool {
	start, err := lab.ProcessStartTime(i.pid)
	return err == nil && start == i.start
}

// String names the process and what it runs.
func (i identity) String() string {
	command, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", i.pid))
	if err != nil {
		return strconv.Itoa(i.pid)
	}
	return fmt.Sprintf("%d %s", i.pid, strings.ReplaceAll(string(command), "\x00", " "))
}

// descendants lists all processes below one, by their parents. Those inside a
// host are below its first process.
func descendants(t *testing.T, pid int) []identity {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	children := map[int][]int{}
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // It ended meanwhile.
		}
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		child, errChild := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		parent, errParent := strconv.Atoi(fields[1])
		if errChild != nil || errParent != nil {
			t.Fatal(errChild, errParent)
		}
		children[parent] = append(children[parent], child)
	}
	var all []identity
	for queue := []int{pid}; len(queue) > 0; queue = queue[1:] {
		for _, child := range children[queue[0]] {
			if start, err := lab.ProcessStartTime(child); err == nil {
				all = append(all, identity{child, start})
				queue = append(queue, child)
			}
		}
	}
	return all
}

// traces is what a lab must not leave on the machine.
type traces struct {
	mounts, links, netns string
	children             []identity
}

func currentTraces(t *testing.T) traces {
	t.Helper()
	read := func(path string) string {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	links, err := filepath.Glob("/sys/class/net/*")
	if err != nil {
		t.Fatal(err)
	}
	netns, err := filepath.Glob("/run/netns/*")
	if err != nil {
		t.Fatal(err)
	}
	return traces{
		mounts: read("/proc/self/mountinfo"), links: strings.Join(links, " "), netns: strings.Join(netns, " "),
		children: descendants(t, os.Getpid()),
	}
}

func TestStopLeavesNothing(t *testing.T) {
	before := currentTraces(t)
	_, etcPKI := os.Stat("/etc/pki")
	ctx, cancel := context.WithTimeout(t.Context(), stepTimeout)
	defer cancel()
	l, err := lab.Start(ctx, lab.Options{Hosts: 2, ControlPlane: true, Log: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	startGuest(ctx, t, l.Host("node-a"), lab.GuestConfig{Name: "brief"})
	setDelay(ctx, t, l.Host("node-b"), time.Millisecond)
	during := currentTraces(t)
	if during.mounts != before.mounts || during.links != before.links || during.netns != before.netns {
		t.Errorf("a running lab shows on the machine: %+v, before %+v", during, before)
	}
	const least = 2*3 + 1 + 1 + 2 // Two hosts with init, its child and libvirtd; a guest; the switch; the control plane.
	if len(during.children) < least {
		t.Fatalf("the lab has %d processes, want at least %d", len(during.children), least)
	}
	for range 2 {
		if err := l.Stop(); err != nil {
			t.Errorf("stopping: %v", err)
		}
	}
	for _, p := range during.children {
		if p.alive() {
			t.Errorf("process %s is left", p)
		}
	}
	after := currentTraces(t)
	if after.mounts != before.mounts || after.links != before.links || after.netns != before.netns {
		t.Errorf("traces are left: %+v, before %+v", after, before)
	}
	if _, err := os.Stat(l.Dir()); !os.IsNotExist(err) {
		t.Errorf("the state directory is left: %v", err)
	}
	if _, err := os.Stat("/etc/pki"); os.IsNotExist(err) != os.IsNotExist(etcPKI) {
		t.Error("the lab made /etc/pki on the machine")
	}
	if _, err := l.Host("node-a").Exec(ctx, "true"); err == nil {
		t.Error("a stopped host runs a command")
	}
}

func TestNothingOutlivesAKilledOwner(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	owner := exec.CommandContext(t.Context(), self)
	owner.Env = append(os.Environ(), ownerVariable+"=1")
	owner.Stderr = t.Output()
	out, err := owner.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatalf("the owner ended: %v, %v", lines.Err(), owner.Wait())
	}
	dir := lines.Text()
	left := descendants(t, owner.Process.Pid)
	if !slices.ContainsFunc(left, func(p identity) bool { return strings.Contains(p.String(), "guest=orphan") }) {
		t.Fatalf("the owner's guest is not among its processes: %v", left)
	}

	if err := owner.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = owner.Wait() // Killed, as asked.
	ctx, cancel := context.WithTimeout(t.Context(), stepTimeout)
	defer cancel()
	eventually(ctx, t, "the lab's processes to end", func() bool {
		left = slices.DeleteFunc(left, func(p identity) bool { return !p.alive() })
		return len(left) == 0
	})
	if _, err := os.Stat(dir); err != nil {
		t.Errorf("the killed owner cleaned up: %v", err)
	}
	lab.ForTest(t, lab.Options{})
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the next lab leaves the dead one's directory: %v", err)
	}
}

func TestLabsRunSideBySide(t *testing.T) {
	ctx, first := start(t, lab.Options{Hosts: 1})
	_, second := start(t, lab.Options{Hosts: 1})
	for _, l := range []*lab.Lab{first, second} {
		startGuest(ctx, t, l.Host("node-a"), lab.GuestConfig{Name: "twin"})
	}
	if first.Host("node-a").Address() != second.Host("node-a").Address() {
		t.Error("the labs do not use the same addresses")
	}
	if err := first.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := second.ExactlyOneRunning(ctx, "twin"); err != nil {
		t.Error(err)
	}
}
