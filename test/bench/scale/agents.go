//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
	"github.com/virtferry/virtferry/test/bench/rig"
	"github.com/virtferry/virtferry/test/lab"
)

// fleetSpeed is how many times faster than really time passes in the hypervisors, so
// that migrations of small guests take a tenth of a second.
const fleetSpeed = 10

// startAgents starts the process of all agents and returns when every node is
// published.
func startAgents(ctx context.Context, l *lab.Lab, p plan) (*rig.Helper, error) {
	say("starting the agents of %d nodes ...", p.nodes)
	kubeconfigs := make([]string, p.nodes)
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for i := range kubeconfigs {
		group.Go(func() (err error) {
			kubeconfigs[i], err = rig.AgentKubeconfig(groupCtx, l, nodeName(i))
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return rig.StartHelper(ctx, append([]string{"-agents", strconv.Itoa(p.guests())}, kubeconfigs...)...)
}

// serveAgents is that process. Its arguments are how many guests there are, and the
// kubeconfig of each node's agent.
func serveAgents(ctx context.Context, args []string) error {
	if len(args) < 3 {
		return errors.New("-agents wants the number of guests and two kubeconfigs at least")
	}
	guests, err := strconv.Atoi(args[0])
	if err != nil {
		return fmt.Errorf("reading the number of guests: %w", err)
	}
	kubeconfigs := args[1:]
	p := plan{nodes: len(kubeconfigs)}
	fleet := fake.NewFleet(fake.WithSpeed(fleetSpeed))
	defer fleet.Close()
	for i := range guests {
		fleet.Host(p.guestNode(i)).AddGuest(fake.Guest{UUID: guestUUID(i), Name: guestName(i), Persistent: true})
	}
	return rig.Serve(ctx, func(ctx context.Context, ready func()) error {
		var published sync.WaitGroup
		published.Add(len(kubeconfigs))
		group, ctx := errgroup.WithContext(ctx)
		for i, kubeconfig := range kubeconfigs {
			group.Go(func() error { return rig.RunAgent(ctx, kubeconfig, fleet.Host(nodeName(i)), published.Done) })
		}
		group.Go(func() error {
			published.Wait()
			ready()
			return nil
		})
		return group.Wait()
	})
}
