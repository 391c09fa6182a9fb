//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/test/bench/rig"
	"github.com/virtferry/virtferry/test/lab"
)

// world is a control plane with nodes and a manager.
type world struct {
	plan    plan
	lab     *lab.Lab
	api     client.WithWatch
	manager *lab.Component
	agents  *rig.Helper
	audit   *auditLog
	// metrics and profiles are where the manager serves its own.
	metrics, profiles string
	seen              *tracker
	closers           []func() error
}

// newWorld starts all of it. What has begun is to be closed also after an error.
func newWorld(ctx context.Context, p plan) (*world, error) {
	w := &world{plan: p}
	err := w.start(ctx)
	return w, err
}

func (w *world) start(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "virtferry-scale-")
	if err != nil {
		return fmt.Errorf("making a directory: %w", err)
	}
	w.closers = append(w.closers, func() error { return os.RemoveAll(dir) })
	policy := filepath.Join(dir, "audit.yaml")
	if err := os.WriteFile(policy, []byte(auditPolicy), 0o600); err != nil {
		return fmt.Errorf("writing the audit policy: %w", err)
	}
	w.audit = &auditLog{path: filepath.Join(dir, "audit.log")}
	w.lab, err = lab.Start(ctx, lab.Options{
		ControlPlane: true, Log: say,
		APIServerArgs: []string{
			"--audit-policy-file=" + policy, "--audit-log-path=" + w.audit.path, "--audit-log-maxsize=100000",
		},
	})
	if err != nil {
		return err
	}
	w.closers = append(w.closers, w.lab.Stop)
	w.lab.EndWith(ctx.Done(), lab.EndGrace)
	if w.api, err = w.lab.ControlPlane().NewClient(); err != nil {
		return err
	}
	if err := w.startManager(ctx); err != nil {
		return err
	}
	if w.agents, err = startAgents(ctx, w.lab, w.plan); err != nil {
		return err
	}
	w.closers = append(w.closers, w.agents.Stop)
	w.seen, err = track(ctx, w.lab.ControlPlane().RESTConfig(), w.api.Scheme())
	return err
}

func (w *world) startManager(ctx context.Context) (err error) {
	if w.metrics, err = freeAddress(); err != nil {
		return err
	}
	if w.profiles, err = freeAddress(); err != nil {
		return err
	}
	w.manager, err = w.lab.StartVirtferry(ctx, "--metrics-bind-address="+w.metrics, "--metrics-secure=false", "--pprof-bind-address="+w.profiles)
	return err
}

// close ends all in the reverse order.
func (w *world) close() error {
	var errs []error
	for _, closer := range slices.Backward(w.closers) {
		errs = append(errs, closer())
	}
	return errors.Join(errs...)
}

// stopManager ends the manager as an update does: it gives the leadership back.
func (w *world) stopManager(ctx context.Context) error {
	return w.manager.Kill(ctx, syscall.SIGTERM)
}

// watchManager returns a context that ends with the manager.
func (w *world) watchManager(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	process := w.manager.Process()
	go func() {
		select {
		case <-process.Exited():
			cancel(fmt.Errorf("the manager has ended: %s", process.LogTail(5)))
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}

// freeAddress returns an address that nobody listens on.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("finding a free port: %w", err)
	}
	return l.Addr().String(), l.Close()
}
