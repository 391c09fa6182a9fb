//go:build linux

package rig

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sync/errgroup"
)

// Helper is this command run again, as a process of its own. It runs for as long as
// its standard input is open.
type Helper struct {
	cmd *exec.Cmd
	in  io.Closer
}

// StartHelper runs this command again with other arguments, and returns when it has
// said that it is ready, see Serve.
func StartHelper(ctx context.Context, args ...string) (*Helper, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program: %w", err)
	}
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("making a pipe: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("making a pipe: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the helper: %w", err)
	}
	h := &Helper{cmd: cmd, in: in}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		return nil, errors.Join(fmt.Errorf("the helper does not get ready: %w", err), h.Stop())
	}
	return h, nil
}

// PID is that of the helper's process.
func (h *Helper) PID() int { return h.cmd.Process.Pid }

// Stop ends the helper and waits for its end.
func (h *Helper) Stop() error {
	_ = h.in.Close()
	if err := h.cmd.Wait(); err != nil {
		return fmt.Errorf("the helper ended badly: %w", err)
	}
	return nil
}

// Serve is the helper's side: it runs a function, to which it gives what to call when
// all is ready, until standard input ends.
func Serve(ctx context.Context, run func(ctx context.Context, ready func()) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return run(ctx, func() { fmt.Println("ready") }) })
	group.Go(func() error {
		_, err := io.Copy(io.Discard, os.Stdin)
		cancel()
		return err
	})
	return group.Wait()
}
