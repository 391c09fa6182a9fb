package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
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
	// hangs is how many times as long as without mutants tests may take, and leastTime how
	// long in any case: on a busy machine, one that is slow must not be taken for one that
	// hangs.
	hangs     = 20
	leastTime = 10 * time.Second
	// mostMemory is how much address space a test may use, in KiB: a mutant may fill memory
	// for ever.
	mostMemory = 12 << 20
	// first is how many of the tests that reach a mutant are run before the others: most
	// mutants are killed by one of the quickest.
	first = 20
)

// test is one of a package's tests, with how long it takes on its own, and the numbers of
// the mutants that it reaches.
type test struct {
	name    string
	took    time.Duration
	reaches map[int]bool
}

// try runs the tests of a package that reach a mutant with that mutant, one mutant after the
// other, and tells of those that survive.
func (u *unit) try(dir string, tell func(mutant)) error {
	// That all pass together is not said by their passing one by one.
	if out, err := u.run(0, nil, 10*time.Minute); err != nil {
		return fmt.Errorf("the tests of %s fail without a mutant: %w: %s", u.folder, err, out)
	}
	tests, err := u.tests(dir)
	if err != nil {
		return err
	}
	for i := range u.mutants {
		m := &u.mutants[i]
		var reaching []test
		for _, t := range tests {
			if t.reaches[m.id] {
				reaching = append(reaching, t)
			}
		}
		if m.status, err = u.verdict(m.id, reaching); err != nil {
			return err
		}
		if m.status == statusLived || m.status == statusNotCovered {
			tell(*m)
		}
	}
	return nil
}

// tests runs each test alone, and returns them, the quickest first.
func (u *unit) tests(dir string) ([]test, error) {
	list, err := u.command("-test.list", ".").Output()
	if err != nil {
		return nil, fmt.Errorf("listing the tests of %s: %w", u.folder, err)
	}
	var tests []test
	for line := range strings.Lines(string(list)) {
		t := test{name: strings.TrimSpace(line), reaches: map[int]bool{}}
		reached := filepath.Join(dir, "reached")
		if err := os.WriteFile(reached, nil, 0o600); err != nil {
			return nil, err
		}
		began := time.Now()
		if out, err := u.run(0, []test{t}, 10*time.Minute, "MUTANTS_REACHED="+reached); err != nil {
			return nil, fmt.Errorf("%s in %s fails when it runs alone: %w: %s", t.name, u.folder, err, out)
		}
		t.took = time.Since(began)
		text, err := os.ReadFile(reached)
		if err != nil {
			return nil, err
		}
		for number := range strings.FieldsSeq(string(text)) {
			id, err := strconv.Atoi(number)
			if err != nil {
				return nil, fmt.Errorf("what %s reaches: %w", t.name, err)
			}
			t.reaches[id] = true
		}
		tests = append(tests, t)
	}
	slices.SortStableFunc(tests, func(a, b test) int { return cmp.Compare(a.took, b.took) })
	return tests, nil
}

// verdict says what becomes of a mutant by the tests that reach it, the quickest of them
// first.
func (u *unit) verdict(id int, reaching []test) (string, error) {
	if len(reaching) == 0 {
		return statusNotCovered, nil
	}
	for _, some := range [][]test{reaching[:min(first, len(reaching))], reaching[min(first, len(reaching)):]} {
		if len(some) == 0 {
			continue
		}
		var alone time.Duration
		for _, t := range some {
			alone += t.took
		}
		out, err := u.run(id, some, max(leastTime, hangs*alone))
		exit, failed := errors.AsType[*exec.ExitError](err)
		switch {
		case err == nil:
		case !failed:
			return "", err
		case exit.Exited() && bytes.Contains(out, []byte("panic: test timed out after")):
			return statusTimedOut, nil
		default:
			return statusKilled, nil
		}
	}
	return statusLived, nil
}

// run runs tests, or all where none are named, with a mutant switched on, or none.
func (u *unit) run(id int, tests []test, limit time.Duration, env ...string) ([]byte, error) {
	args := []string{"-test.failfast", "-test.timeout", limit.String()}
	if len(tests) > 0 {
		names := make([]string, 0, len(tests))
		for _, t := range tests {
			names = append(names, regexp.QuoteMeta(t.name))
		}
		args = append(args, "-test.run", "^("+strings.Join(names, "|")+")$")
	}
	cmd := u.command(args...)
	cmd.Env = append(append(os.Environ(), "MUTANT="+strconv.Itoa(id)), env...)
	return cmd.CombinedOutput()
}

// command calls the test program.
func (u *unit) command(args ...string) *exec.Cmd {
	cmd := exec.Command("sh", append([]string{
		"-c", `ulimit -v "$1" && shift && exec "$@"`, "sh", strconv.Itoa(mostMemory), u.program,
	}, args...)...)
	cmd.Dir = u.folder
	return cmd
}
