//go:build linux

package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A spawner starts processes from one OS thread of its own, for two reasons. The
// kernel delivers a parent death signal when the thread that forked ends, not
// the process, and Go ends threads as it sees fit; and a thread can live in
// namespaces that its process does not live in, so that what it forks starts
// out inside them.
type spawner struct {
	tasks chan func()
	quit  chan struct{}
	ended chan struct{}
	once  sync.Once
	// deathSignal says whether children are killed with the owner. It must be
	// off inside a PID namespace: os/exec compares the child's parent with
	// itself to close a race, sees 0 there, and would kill every child. The
	// namespace's first process has the signal instead, and takes all with it.
	deathSignal bool
}

// newSpawner starts a spawner whose children die with this process.
func newSpawner() *spawner {
	s, _ := startSpawner(true, func() error { return nil }) // There is nothing to fail.
	return s
}

// newSpawnerIn starts a spawner inside namespaces of process pid. With
// CLONE_NEWPID among them, the children belong to that PID namespace, and live
// as long as it does.
func newSpawnerIn(pid, namespaces int) (*spawner, error) {
	return startSpawner(namespaces&unix.CLONE_NEWPID == 0, func() error {
		return joinNamespaces(pid, namespaces)
	})
}

// joinNamespaces moves the calling thread into namespaces of process pid. The
// thread must be locked, and is of no use for anything else from then on.
func joinNamespaces(pid, namespaces int) error {
	// Threads of a process share their root and working directory, which the
	// kernel does not allow across mount namespaces.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("unsharing the working directory: %w", err)
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return fmt.Errorf("opening process %d: %w", pid, err)
	}
	defer unix.Close(fd)
	if err := unix.Setns(fd, namespaces); err != nil {
		return fmt.Errorf("entering the namespaces of process %d: %w", pid, err)
	}
	return nil
}

// startSpawner runs join on the new thread and hands out tasks to it after.
func startSpawner(deathSignal bool, join func() error) (*spawner, error) {
	s := &spawner{
		tasks: make(chan func()), quit: make(chan struct{}), ended: make(chan struct{}),
		deathSignal: deathSignal,
	}
	joined := make(chan error)
	onOwnThread(func() {
		defer close(s.ended)
		if err := join(); err != nil {
			joined <- err
			return
		}
		joined <- nil
		for {
			select {
			case task := <-s.tasks:
				task()
			case <-s.quit:
				return
			}
		}
	})
	if err := <-joined; err != nil {
		return nil, err
	}
	return s, nil
}

// onOwnThread runs f on a thread that runs nothing else and ends with f. It is
// never the main thread: Go parks that one instead of ending it, and its
// namespaces are what /proc/self shows of the whole process.
func onOwnThread(f func()) {
	go func() {
		runtime.LockOSThread() // Never unlocked, which is what ends the thread.
		if unix.Gettid() != unix.Getpid() {
			f()
			return
		}
		taken := make(chan struct{})
		go func() {
			runtime.LockOSThread() // Another thread: the main one is still taken.
			close(taken)
			f()
		}()
		<-taken
		runtime.UnlockOSThread()
	}()
}

// stop ends the thread, and with it every child that has a death signal.
func (s *spawner) stop() {
	s.once.Do(func() { close(s.quit) })
	<-s.ended
}

// errStopped is what starting a process in a lab that has ended returns.
var errStopped = errors.New("the lab has been stopped")

// start starts cmd from the spawner's thread.
func (s *spawner) start(cmd *exec.Cmd) error {
	if s.deathSignal {
		if cmd.SysProcAttr == nil {
			cmd.SysProcAttr = &syscall.SysProcAttr{}
		}
		cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	}
	var err error
	if ended := s.do(func() { err = cmd.Start() }); ended != nil {
		return ended
	}
	return err
}

// do calls f on the spawner's thread. Sockets that f opens belong to the network
// namespace that the thread lives in, wherever they are used after.
func (s *spawner) do(f func()) error {
	done := make(chan struct{})
	select {
	case s.tasks <- func() { defer close(done); f() }:
		<-done
		return nil
	case <-s.ended:
		return errStopped
	}
}

// run runs a command to its end and returns what it wrote to standard output. An
// error holds what it wrote to standard error. When ctx ends first, the command
// is killed.
func (s *spawner) run(ctx context.Context, name string, args ...string) (string, error) {
	return s.runInput(ctx, "", name, args...)
}

// runInput is run for a command that reads input.
func (s *spawner) runInput(ctx context.Context, input, name string, args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if input != "" {
		cmd.Stdin = strings.NewReader(input)
	}
	cmd.Env = append(os.Environ(), "LC_ALL=C") // What is read is not to be translated.
	cmd.WaitDelay = 2 * time.Second            // A grandchild may hold the pipes open.
	if err := s.start(cmd); err != nil {
		return "", fmt.Errorf("starting %s: %w", name, err)
	}
	if err := cmd.Wait(); err != nil {
		if ctx.Err() != nil {
			err = errors.Join(ctx.Err(), err)
		}
		return stdout.String(), fmt.Errorf("running %s: %w: %s",
			strings.Join(append([]string{name}, args...), " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// Process is a long-running program of the lab. Its output goes to a log file.
type Process struct {
	name    string
	cmd     *exec.Cmd
	logPath string
	exited  chan struct{}
	err     error // Set before exited is closed.
}

// startProcess starts cmd with its output appended to logPath. Waiting for its
// end begins at once, so that it never stays behind as a zombie.
func (s *spawner) startProcess(name, logPath string, cmd *exec.Cmd) (*Process, error) {
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the log of %s: %w", name, err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := s.start(cmd); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	p := &Process{name: name, cmd: cmd, logPath: logPath, exited: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.exited)
	}()
	return p, nil
}

// Name is what the lab calls the process in errors and logs.
func (p *Process) Name() string { return p.name }

// PID is the process's ID as seen from outside the lab.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// LogPath is the file that holds the process's output.
func (p *Process) LogPath() string { return p.logPath }

// Exited is closed when the process has ended and has been waited for.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Running says whether the process has not ended yet.
func (p *Process) Running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// Signal sends a signal without waiting for its effect. A process that has ended
// already is no error.
func (p *Process) Signal(signal syscall.Signal) error {
	if err := p.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("sending %s to %s: %w", signal, p.name, err)
	}
	return nil
}

// Wait waits for the end of the process and returns how it ended, as exec.Cmd's
// Wait does, or the context's error.
func (p *Process) Wait(ctx context.Context) error {
	select {
	case <-p.exited:
		return p.err
	case <-ctx.Done():
		return fmt.Errorf("waiting for %s to end: %w", p.name, ctx.Err())
	}
}

// Kill sends a signal and waits for the process to end. How it ended is no error.
func (p *Process) Kill(ctx context.Context, signal syscall.Signal) error {
	if err := p.Signal(signal); err != nil {
		return err
	}
	select {
	case <-p.exited:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for %s to end by %s: %w", p.name, signal, ctx.Err())
	}
}

// Stop asks the process to end and kills it when it has not within grace.
func (p *Process) Stop(grace time.Duration) {
	_ = p.Signal(syscall.SIGTERM) // A process that cannot be signalled has ended.
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.exited:
		return
	case <-timer.C:
	}
	_ = p.Signal(syscall.SIGKILL)
	<-p.exited
}

// LogTail returns the last lines of the process's log.
func (p *Process) LogTail(lines int) string { return tailFile(p.logPath, lines) }

// tailFile returns the last lines of a file, or a note why it cannot.
func tailFile(path string, lines int) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
