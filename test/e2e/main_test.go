//go:build e2e

// Package e2e holds user stories, told in the lab: a real API server, real
// libvirt hosts and real guests that really move.
package e2e

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/virtferry/virtferry/test/lab"
)

// env is the lab that all stories share.
var env *environment

// generations has hosts of several generations take the place of two that are like this
// machine. Any story can be told between the first two of them.
var generations = flag.String("generations", "",
	"the hosts run these releases of Debian, such as bookworm,trixie,forky; empty means two hosts that run this machine's own system")

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	flag.Parse()
	log.SetLogger(logr.Discard()) // Of the client's; the tests speak for themselves.
	options := lab.Options{
		Hosts: 2, ControlPlane: true,
		KeepState: os.Getenv("KEEP_LAB") != "",
		Log:       func(format string, args ...any) { fmt.Printf("lab: "+format+"\n", args...) },
	}
	if *generations != "" {
		for name := range strings.SplitSeq(*generations, ",") {
			options.Generations = append(options.Generations, lab.Generation(name))
		}
		options.Hosts = len(options.Generations)
	}
	l, err := lab.Start(ctx, options)
	if err != nil {
		fmt.Fprintln(os.Stderr, "starting the lab:", err)
		return 1
	}
	defer func() {
		if err := l.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "stopping the lab:", err)
		}
	}()
	// Tests that are under way do not end by themselves.
	l.EndWith(ctx.Done(), 0)
	if env, err = newEnvironment(ctx, l); err != nil {
		fmt.Fprintln(os.Stderr, "starting Virtferry:", err)
		return 1
	}
	code := m.Run()
	moves.report()
	return code
}
