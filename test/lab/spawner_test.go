//go:build linux

package lab

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestStoppingASpawnerKillsItsProcesses(t *testing.T) {
	s := newSpawner()
	p, err := s.startProcess("sleeper", filepath.Join(t.TempDir(), "log"), exec.Command("sleep", "infinity"))
	if err != nil {
		t.Fatal(err)
	}
	if !p.Running() {
		t.Error("the process does not run")
	}
	s.stop()
	s.stop() // Twice is once.
	var exit *exec.ExitError
	if err := p.Wait(t.Context()); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("the process ended by %v", err)
	}
	if _, err := s.run(t.Context(), "true"); !errors.Is(err, errStopped) {
		t.Errorf("starting more gives %v", err)
	}
}

func TestRunReturnsOutputAndErrors(t *testing.T) {
	s := newSpawner()
	defer s.stop()
	out, err := s.run(t.Context(), "sh", "-c", "echo out; echo err >&2; exit 3")
	if out != "out\n" || err == nil || !strings.Contains(err.Error(), "exit status 3: err") {
		t.Errorf("got %q, %v", out, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	if _, err := s.run(ctx, "sleep", "60"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("the command was not killed for %s", took)
	}
}

func TestProcessesStopWithinGrace(t *testing.T) {
	s := newSpawner()
	defer s.stop()
	dir := t.TempDir()
	started := filepath.Join(dir, "started")
	p, err := s.startProcess("stubborn", filepath.Join(dir, "log"),
		exec.Command("sh", "-c", "trap '' TERM; echo begun; touch "+started+"; while :; do sleep 1; done"))
	if err != nil {
		t.Fatal(err)
	}
	err = poll(t.Context(), 10*time.Second, "the trap", func(context.Context) error {
		_, err := os.Stat(started)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	p.Stop(50 * time.Millisecond)
	if p.Running() {
		t.Error("a process that ignores SIGTERM was not killed")
	}
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Errorf("signalling a process that has ended: %v", err)
	}
	if tail := p.LogTail(1); tail != "begun" {
		t.Errorf("the log ends in %q", tail)
	}
}

func TestPollStopsAtAFinalError(t *testing.T) {
	final := errors.New("final")
	calls := 0
	err := poll(t.Context(), time.Minute, "something", func(context.Context) error {
		calls++
		if calls < 3 {
			return errors.New("not yet")
		}
		return finalError{final}
	})
	if !errors.Is(err, final) || calls != 3 {
		t.Errorf("got %v after %d calls", err, calls)
	}
	err = poll(t.Context(), time.Millisecond, "something", func(context.Context) error { return errors.New("not yet") })
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "not yet") {
		t.Errorf("got %v", err)
	}
}
