//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
	"github.com/virtferry/virtferry/test/bench/rig"
	"github.com/virtferry/virtferry/test/lab"
)

const (
	sourceNode = "load-source"
	targetNode = "load-target"
)

func guestName(i int) string { return fmt.Sprintf("guest-%d", i) }

func guestUUID(i int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", i) }

// startSource starts the process that is measured and returns when its node can be
// used.
func startSource(ctx context.Context, l *lab.Lab, guests int) (*rig.Helper, error) {
	kubeconfig, err := rig.AgentKubeconfig(ctx, l, sourceNode)
	if err != nil {
		return nil, err
	}
	return rig.StartHelper(ctx, "-source", fmt.Sprintf("-migrations=%d", guests), kubeconfig)
}

// runSource is that process: the source's agent, and a made-up hypervisor whose
// guests write faster than they are copied.
func runSource(ctx context.Context, kubeconfigs []string, guests int) error {
	if len(kubeconfigs) != 1 {
		return errors.New("-source wants the kubeconfig of the agent")
	}
	// Each migration holds one of the daemon's workers, and this is about the agent.
	fleet := fake.NewFleet(fake.WithWorkers(2*guests, guests))
	defer fleet.Close()
	fleet.Host(targetNode)
	for i := range guests {
		fleet.Host(sourceNode).AddGuest(fake.Guest{
			UUID: guestUUID(i), Name: guestName(i), Persistent: true,
			MemoryBytes: 4 << 30, DirtyBytesPerSecond: 4 << 30,
		})
	}
	return rig.Serve(ctx, func(ctx context.Context, ready func()) error {
		return rig.RunAgent(ctx, kubeconfigs[0], fleet.Host(sourceNode), ready)
	})
}

// startTarget starts the target's agent and returns when its node can be used.
func startTarget(ctx context.Context, l *lab.Lab) (stop func() error, err error) {
	kubeconfig, err := rig.AgentKubeconfig(ctx, l, targetNode)
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

// runTarget runs the target's agent, until ctx ends. It has a hypervisor of its own
// in which no guest ever arrives.
func runTarget(ctx context.Context, kubeconfig string, ready func()) error {
	fleet := fake.NewFleet()
	defer fleet.Close()
	return rig.RunAgent(ctx, kubeconfig, fleet.Host(targetNode), ready)
}
