//go:build linux

package lab

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// statePrefix begins the name of every lab's state directory. The owner's
// process ID and start time follow, which tell a live lab from a dead one even
// when the ID has been used again.
const statePrefix = "virtferry-lab-"

// newStateDir makes a state directory for this process below base.
func newStateDir(base string) (string, error) {
	pid := os.Getpid()
	start, err := ProcessStartTime(pid)
	if err != nil {
		return "", fmt.Errorf("reading the start time of the lab's owner: %w", err)
	}
	dir, err := os.MkdirTemp(base, fmt.Sprintf("%s%d-%d-", statePrefix, pid, start))
	if err != nil {
		return "", fmt.Errorf("making the state directory: %w", err)
	}
	return dir, nil
}

// removeStale removes the state directories of labs whose owner is dead. Nothing
// else can be left of such a lab.
func removeStale(base string, log func(format string, args ...any)) error {
	dirs, err := filepath.Glob(filepath.Join(base, statePrefix+"*"))
	if err != nil {
		return fmt.Errorf("looking for earlier labs: %w", err)
	}
	for _, dir := range dirs {
		pid, start, ok := parseStateDir(filepath.Base(dir))
		if !ok || ownerAlive(pid, start) {
			continue
		}
		log("removing %s, left by a lab whose owner is gone", dir)
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("removing an earlier lab: %w", err)
		}
	}
	return nil
}

// parseStateDir reads the owner out of the name of a state directory.
func parseStateDir(name string) (pid int, start uint64, ok bool) {
	rest, ok := strings.CutPrefix(name, statePrefix)
	parts := strings.Split(rest, "-")
	if !ok || len(parts) != 3 {
		return 0, 0, false
	}
	pid, errPID := strconv.Atoi(parts[0])
	start, errStart := strconv.ParseUint(parts[1], 10, 64)
	return pid, start, errPID == nil && errStart == nil
}

// ownerAlive says whether the process with this ID is still the one that started
// then.
func ownerAlive(pid int, start uint64) bool {
	now, err := ProcessStartTime(pid)
	return err == nil && now == start
}

// ProcessStartTime returns when a process started, in clock ticks since boot. It
// fails for a process that has ended, a zombie included.
func ProcessStartTime(pid int) (uint64, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	return parseStartTime(stat)
}

// parseStartTime reads the start time out of /proc/PID/stat. The second field is
// the program's name in parentheses, which may itself hold spaces and
// parentheses, so counting begins after the last one.
func parseStartTime(stat []byte) (uint64, error) {
	const stateField, startField = 0, 19 // Counted from the field after the name.
	end := bytes.LastIndexByte(stat, ')')
	if end < 0 {
		return 0, fmt.Errorf("parsing a process's state: no program name in %q", stat)
	}
	fields := strings.Fields(string(stat[end+1:]))
	if len(fields) <= startField {
		return 0, fmt.Errorf("parsing a process's state: too few fields in %q", stat)
	}
	if fields[stateField] == "Z" || fields[stateField] == "X" {
		return 0, fmt.Errorf("parsing a process's state: %w", os.ErrProcessDone)
	}
	start, err := strconv.ParseUint(fields[startField], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("parsing a process's start time: %w", err)
	}
	return start, nil
}
