//go:build linux

// Command agentload measures what it costs an agent to steer many migrations at
// once. The API server and the manager are real. The hypervisors are made up: their
// guests write faster than they are copied, so that all the migrations stay under
// way for as long as is measured. The source's agent has a process of its own,
// which is measured. The made-up hypervisor is in it, too, so what it takes is an
// upper bound for what an agent takes.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/virtferry/virtferry/api/v1alpha1"
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
	log.SetLogger(logr.Discard())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	var err error
	if *source {
		err = runSource(ctx, flag.Args(), p.migrations)
	} else {
		err = run(ctx, p)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "agentload:", err)
		os.Exit(1)
	}
}

type plan struct {
	migrations      int
	settle, measure time.Duration
}

func run(ctx context.Context, p plan) (err error) {
	l, err := lab.Start(ctx, lab.Options{
		ControlPlane: true, Log: func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) },
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Stop()) }()
	if _, err := l.StartVirtferry(ctx); err != nil {
		return err
	}
	agent, err := startSource(ctx, l, p.migrations)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, agent.stop()) }()
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
	if err := sleep(ctx, p.settle); err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "measuring for", p.measure, "...")
	used, err := measure(ctx, agent.cmd.Process.Pid, p.measure)
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
		if err := sleep(ctx, 200*time.Millisecond); err != nil {
			return fmt.Errorf("%d of %d migrations are under way, and of the others one is %s: %w", under, want, other, err)
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func agentKubeconfig(ctx context.Context, l *lab.Lab, node string) (string, error) {
	return l.ControlPlane().AccountKubeconfig(ctx, lab.Account{Namespace: lab.SystemNamespace, Name: "virtferry-agent", Node: node})
}

// startTarget starts the target's agent and returns when its node can be used.
func startTarget(ctx context.Context, l *lab.Lab) (stop func() error, err error) {
	kubeconfig, err := agentKubeconfig(ctx, l, targetNode)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- runTarget(ctx, kubeconfig, func() { close(ready) }) }()
	select {
	case <-ready:
		return func() error { cancel(); return <-ended }, nil
	case err := <-ended:
		cancel()
		return nil, err
	}
}

// agentProcess is the process of the source's agent.
type agentProcess struct {
	cmd *exec.Cmd
	in  io.Closer
}

// startSource runs this command again as the source's agent and returns when its
// node can be used.
func startSource(ctx context.Context, l *lab.Lab, guests int) (*agentProcess, error) {
	kubeconfig, err := agentKubeconfig(ctx, l, sourceNode)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program: %w", err)
	}
	cmd := exec.CommandContext(ctx, self, "-source", fmt.Sprintf("-migrations=%d", guests), kubeconfig)
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
		return nil, fmt.Errorf("starting the agent: %w", err)
	}
	p := &agentProcess{cmd: cmd, in: in}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		return nil, errors.Join(fmt.Errorf("the agent does not get ready: %w", err), p.stop())
	}
	return p, nil
}

// stop ends the agent, which runs for as long as its standard input is open.
func (p *agentProcess) stop() error {
	_ = p.in.Close()
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("the agent ended badly: %w", err)
	}
	return nil
}
