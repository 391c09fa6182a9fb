//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/virtferry/virtferry/test/bench/shuttle"
)

// scrapeInterval is how often Prometheus scrapes: often, as the stories are short.
const scrapeInterval = time.Second

// startPrometheus starts Prometheus with a configuration and waits until it has scraped a
// manager, which knows so many nodes that are ready. It keeps its data in dir.
func startPrometheus(ctx context.Context, program, dir, config string, nodes int) (address string, stop func() error, err error) {
	path := filepath.Join(dir, "prometheus.yaml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		return "", nil, fmt.Errorf("configuring Prometheus: %w", err)
	}
	if address, err = freeAddress(ctx); err != nil {
		return "", nil, err
	}
	stop, err = startProgram(ctx, dir, program, "--config.file="+path, "--storage.tsdb.path="+filepath.Join(dir, "tsdb"),
		"--web.listen-address="+address, "--log.level=error")
	if err != nil {
		return "", nil, err
	}
	err = await(ctx, "Prometheus has scraped the manager", func() (bool, error) {
		found, err := ask(ctx, address, "sum(virtferry_hypervisor_ready)", "", time.Now(), time.Now())
		// Until it listens, there is nobody to ask.
		return err == nil && len(found) == 1 && found[0].largest() == float64(nodes), nil
	})
	if err != nil {
		return "", nil, errors.Join(err, stop())
	}
	return address, stop, nil
}

// startProgram starts a program, which writes its log to dir. stop stops it.
func startProgram(ctx context.Context, dir, path string, args ...string) (stop func() error, err error) {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	logs, err := os.Create(filepath.Join(dir, filepath.Base(path)+".log"))
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = logs, logs
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("starting %s: %w", path, err), logs.Close())
	}
	return func() error {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		return logs.Close()
	}, nil
}

// freeAddress returns one on which nothing listens.
func freeAddress(ctx context.Context) (string, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("finding a free port: %w", err)
	}
	return listener.Addr().String(), listener.Close()
}

func sleep(ctx context.Context, d time.Duration) error { return shuttle.Sleep(ctx, d) }

// awaitTimeout is how long anything that is waited for may take. What takes longest is a
// post-copy that is resumed after its link was cut, or a pause that is given up.
const awaitTimeout = 240 * time.Second

// await waits until ok returns true.
func await(ctx context.Context, what string, ok func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, awaitTimeout)
	defer cancel()
	for {
		done, err := ok()
		if done || err != nil {
			return err
		}
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return fmt.Errorf("this does not come about: %s: %w", what, err)
		}
	}
}
