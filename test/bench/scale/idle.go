//go:build linux

package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/controllers/node"
	"github.com/virtferry/virtferry/pkg/agent"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/test/bench/shuttle"
	"github.com/virtferry/virtferry/test/lab"
)

// idleGuests is how many guests a node without an agent has.
const idleGuests = 50

// startIdleNodes publishes the nodes that have no agent, and keeps them alive until
// ctx ends. Each costs the cluster what one with an agent does while nothing happens
// on it: it has a list of guests, a lease that is renewed, and two watches.
func (w *world) startIdleNodes(ctx context.Context) error {
	if w.plan.idleNodes == 0 {
		return nil
	}
	say("publishing %d nodes more ...", w.plan.idleNodes)
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(writers)
	for i := range w.plan.idleNodes {
		group.Go(func() error {
			name := fmt.Sprintf("idle-%d", i)
			recorder := &node.HypervisorRecorder{
				Client: w.api, Node: name, Namespace: lab.SystemNamespace, Clock: clock.RealClock{},
			}
			if err := recorder.RecordHypervisor(groupCtx, idleReport(i)); err != nil {
				return err
			}
			for _, field := range []string{node.SourceNodeField, node.TargetNodeField} {
				if err := w.watchIdly(ctx, client.MatchingFields{field: name}); err != nil {
					return err
				}
			}
			phase := agent.HeartbeatInterval * time.Duration(i) / time.Duration(w.plan.idleNodes)
			go beat(ctx, recorder, phase)
			return recorder.Heartbeat(groupCtx)
		})
	}
	return group.Wait()
}

// idleReport is what the agent of such a node would say.
func idleReport(i int) agent.HypervisorReport {
	r := agent.HypervisorReport{Connected: true, Status: v1alpha1.HypervisorStatus{
		HostUUID: fmt.Sprintf("00000000-0000-4000-a000-%012d", i), LibvirtVersion: "9.0.0", HypervisorVersion: "7.2.22",
		MigrationAddress: fmt.Sprintf("idle-%d", i),
	}}
	for g := range idleGuests {
		number := i*idleGuests + g
		r.Status.Domains = append(r.Status.Domains, v1alpha1.HypervisorDomain{
			UUID: fmt.Sprintf("00000000-0000-4000-9000-%012d", number), Name: fmt.Sprintf("idle-guest-%d", number),
			State: string(hypervisor.StateRunning), Reason: string(hypervisor.ReasonBooted),
		})
	}
	return r
}

// watchIdly watches the migrations that name a node, of which there are none.
func (w *world) watchIdly(ctx context.Context, fields client.MatchingFields) error {
	watch, err := w.api.Watch(ctx, &v1alpha1.LiveMigrationList{}, fields)
	if err != nil {
		return fmt.Errorf("watching the migrations of a node: %w", err)
	}
	go func() {
		for range watch.ResultChan() {
			continue
		}
	}()
	return nil
}

// beat gives a node's signs of life until ctx ends, the first of them after some time.
// One that fails is made up for by the next: a node is lost after several.
func beat(ctx context.Context, recorder *node.HypervisorRecorder, first time.Duration) {
	for wait := first; shuttle.Sleep(ctx, wait) == nil; wait = agent.HeartbeatInterval {
		_ = recorder.Heartbeat(ctx)
	}
}
