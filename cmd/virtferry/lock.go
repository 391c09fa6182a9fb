package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/sys/unix"
)

// lockPoll is the time between two tries to get the lock of a node.
const lockPoll = 100 * time.Millisecond

// lockNode makes this process the only agent that acts for the node on this
// host, and waits until an earlier one has ended, or ctx. The kernel frees the lock
// of a process however it ends, so that its successor need not wait for a lease to
// run out.
func lockNode(ctx context.Context, log logr.Logger, dir, nodeName string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("creating the lock directory (see --lock-dir): %w", err)
	}
	file, err := os.OpenFile(filepath.Join(dir, "agent-"+nodeName+".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the lock (see --lock-dir): %w", err)
	}
	if err := awaitLock(ctx, log, file); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("locking %s: %w", file.Name(), err)
	}
	if err := sign(file); err != nil {
		log.Error(err, "Recording who holds the lock failed; the lock is held nevertheless", "lock", file.Name())
	}
	return func() { _ = file.Close() }, nil
}

// awaitLock polls: a process that blocks in the kernel would not hear that it is to
// end.
func awaitLock(ctx context.Context, log logr.Logger, file *os.File) error {
	ticker := time.NewTicker(lockPoll)
	defer ticker.Stop()
	for told := false; ; told = true {
		err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR):
			return err
		case !told:
			log.Info("Waiting for another agent on this node to end", "lock", file.Name(), "holder", holder(file))
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
	}
}

// sign notes in the lock who holds it, for the log of whoever waits for it.
func sign(file *os.File) error {
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	if err := file.Truncate(0); err != nil {
		return err
	}
	_, err = file.WriteAt(fmt.Appendf(nil, "process %d of %s\n", os.Getpid(), host), 0)
	return err
}

// holder returns who has signed the lock last.
func holder(file *os.File) string {
	text := make([]byte, 256)
	n, _ := file.ReadAt(text, 0)
	if n == 0 {
		return "unknown"
	}
	return strings.TrimSpace(string(text[:n]))
}
