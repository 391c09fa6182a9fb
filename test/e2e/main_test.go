//go:build e2e

// Package e2e holds user stories, told in the lab: a real API server, real
// libvirt hosts and real guests that really move.
package e2e

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/virtferry/virtferry/test/lab"
)

// env is the lab that all stories share.
var env *environment

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	log.SetLogger(logr.Discard()) // Of the client's; the tests speak for themselves.
	l, err := lab.Start(ctx, lab.Options{
		Hosts: 2, ControlPlane: true,
		KeepState: os.Getenv("KEEP_LAB") != "",
		Log:       func(format string, args ...any) { fmt.Printf("lab: "+format+"\n", args...) },
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "starting the lab:", err)
		return 1
	}
	defer func() {
		if err := l.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "stopping the lab:", err)
		}
	}()
	if env, err = newEnvironment(ctx, l); err != nil {
		fmt.Fprintln(os.Stderr, "starting Virtferry:", err)
		return 1
	}
	return m.Run()
}
