package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// What became of a mutant.
const (
	statusKilled     = "KILLED"
	statusLived      = "LIVED"
	statusTimedOut   = "TIMED OUT"
	statusNotCovered = "NOT COVERED"
)

const (
	// hangs is how many times as long as without mutants a test may take, and leastTime how
	// long in any case: on a busy machine, one that is slow must not be taken for one that
	// hangs.
	hangs     = 20
	leastTime = 30 * time.Second
	// mostMemory is how much address space a test may use, in KiB: a mutant may fill memory
	// for ever.
	mostMemory = 12 << 20
)

// try runs the tests of a package with each of its mutants, and tells of those that survive.
func (u *unit) try(dir string, tell func(mutant)) error {
	reached := filepath.Join(dir, "reached")
	if err := os.WriteFile(reached, nil, 0o600); err != nil {
		return err
	}
	began := time.Now()
	if out, err := u.run(0, 10*time.Minute, "MUTANTS_REACHED="+reached); err != nil {
		return fmt.Errorf("the tests of %s fail without a mutant: %w: %s", u.folder, err, out)
	}
	limit := max(leastTime, hangs*time.Since(began))
	text, err := os.ReadFile(reached)
	if err != nil {
		return err
	}
	covered := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		covered[strings.TrimSpace(line)] = true
	}
	for i := range u.mutants {
		m := &u.mutants[i]
		if !covered[strconv.Itoa(m.id)] {
			m.status = statusNotCovered
			tell(*m)
			continue
		}
		out, err := u.run(m.id, limit)
		switch exit, failed := errors.AsType[*exec.ExitError](err); {
		case err == nil:
			m.status = statusLived
			tell(*m)
		case !failed:
			return err
		case exit.Exited() && bytes.Contains(out, []byte("panic: test timed out after")):
			m.status = statusTimedOut
		default:
			m.status = statusKilled
		}
	}
	return nil
}

// run runs the tests with a mutant switched on, or none.
func (u *unit) run(id int, limit time.Duration, env ...string) ([]byte, error) {
	cmd := exec.Command("sh", "-c", `ulimit -v "$1" && shift && exec "$@"`, "sh", strconv.Itoa(mostMemory),
		u.program, "-test.failfast", "-test.timeout", limit.String())
	cmd.Dir = u.folder
	cmd.Env = append(append(os.Environ(), "MUTANT="+strconv.Itoa(id)), env...)
	return cmd.CombinedOutput()
}
