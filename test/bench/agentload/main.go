//go:build linux

// Command agentload measures what it costs an agent to steer many migrations at
// once. The API server and the manager are real. The hypervisors are made up: their
// guests write faster than they are copied, so that all the migrations stay under
// way for as long as is measured. The source's agent has a process of its own,
// which is measured. The made-up hypervisor is in it, too, so what it takes is an
// upper bound for what an agent takes.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/test/bench/shuttle"
	"github.com/virtferry/virtferry/test/command"
	"github.com/virtferry/virtferry/test/lab"
)

const namespace = "default"

func main() {
	var p plan
	flag.IntVar(&p.migrations, "migrations", 50, "how many migrations are under way at once")
	flag.DurationVar(&p.settle, "settle", 20*time.Second, "how long to wait, once they are, before measuring")
	flag.DurationVar(&p.measure, "measure", 60*time.Second, "how long to measure")
	source := flag.Bool("source", false, "be the process of the source's agent; used by this command itself")
	flag.Parse()
	if !*source {
		command.RefuseArguments()
	}
	shuttle.Main("agentload", func(ctx context.Context) error {
		if *source {
			return runSource(ctx, flag.Args(), p.migrations)
		}
		return run(ctx, p)
	})
}

type plan struct {
	migrations      int
	settle, measure time.Duration
}

func run(ctx context.Context, p plan) (err error) {
	l, err := lab.Start(ctx, lab.Options{
		ControlPlane: true, Log: shuttle.Progressf,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Stop()) }()
	l.EndWith(ctx.Done(), lab.EndGrace)
	limit := strconv.Itoa(p.migrations)
	_, err = l.StartVirtferry(ctx, "--max-outgoing-per-node="+limit, "--max-incoming-per-node="+limit, "--max-migrations="+limit)
	if err != nil {
		return err
	}
	agent, err := startSource(ctx, l, p.migrations)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, agent.Stop()) }()
	stopTarget, err := startTarget(ctx, l)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stopTarget()) }()
	api, err := l.ControlPlane().NewClient()
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "the agents are ready; starting", p.migrations, "migrations ...")
	for i := range p.migrations {
		if err := api.Create(ctx, newMigration(i)); err != nil {
			return fmt.Errorf("creating a migration: %w", err)
		}
	}
	if err := awaitMigrating(ctx, api, p.migrations); err != nil {
		return err
	}
	if err := shuttle.Sleep(ctx, p.settle); err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "measuring for", p.measure, "...")
	used, err := measure(ctx, agent.PID(), p.measure)
	if err != nil {
		return err
	}
	if err := awaitMigrating(ctx, api, p.migrations); err != nil {
		return fmt.Errorf("after the measurement: %w", err)
	}
	report(os.Stdout, p, used)
	return nil
}

func newMigration(i int) *v1alpha1.LiveMigration {
	return &v1alpha1.LiveMigration{
		ObjectMeta: metav1.ObjectMeta{Name: guestName(i), Namespace: namespace},
		Spec: v1alpha1.LiveMigrationSpec{
			Domain: guestUUID(i), TargetNode: targetNode,
			Options: &v1alpha1.MigrationOptions{OnTimeout: v1alpha1.TimeoutKeepGoing},
		},
	}
}

// awaitMigrating waits until all migrations are under way.
func awaitMigrating(ctx context.Context, api client.Client, want int) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		list := &v1alpha1.LiveMigrationList{}
		if err := api.List(ctx, list, client.InNamespace(namespace)); err != nil {
			return fmt.Errorf("listing the migrations: %w", err)
		}
		under, other := 0, ""
		for _, lm := range list.Items {
			if lm.Status.Phase == v1alpha1.PhaseMigrating {
				under++
			} else {
				other = fmt.Sprintf("%s %+v", lm.Status.Phase, lm.Status.Conditions)
			}
		}
		if under == want {
			return nil
		}
		if err := shuttle.Sleep(ctx, 200*time.Millisecond); err != nil {
			return fmt.Errorf("%d of %d migrations are under way, and of the others one is %s: %w", under, want, other, err)
		}
	}
}
