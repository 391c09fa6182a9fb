//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/controllers/node"
	"github.com/virtferry/virtferry/pkg/agent"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
	"github.com/virtferry/virtferry/test/lab"
)

const (
	sourceNode = "load-source"
	targetNode = "load-target"
)

func guestName(i int) string { return fmt.Sprintf("guest-%d", i) }

func guestUUID(i int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", i) }

// runSource is the process that is measured: the source's agent, and a made-up
// hypervisor whose guests write faster than they are copied. It runs until standard
// input ends.
func runSource(ctx context.Context, kubeconfigs []string, guests int) error {
	if len(kubeconfigs) != 1 {
		return errors.New("-source wants the kubeconfig of the agent")
	}
	fleet := fake.NewFleet()
	defer fleet.Close()
	fleet.Host(targetNode)
	for i := range guests {
		fleet.Host(sourceNode).AddGuest(fake.Guest{
			UUID: guestUUID(i), Name: guestName(i), Persistent: true,
			MemoryBytes: 4 << 30, DirtyBytesPerSecond: 4 << 30,
		})
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		return runAgent(ctx, kubeconfigs[0], fleet.Host(sourceNode), func() { fmt.Println("ready") })
	})
	group.Go(func() error {
		_, err := io.Copy(io.Discard, os.Stdin)
		cancel()
		return err
	})
	return group.Wait()
}

// runTarget runs the target's agent, until ctx ends. It has a hypervisor of its own
// in which no guest ever arrives.
func runTarget(ctx context.Context, kubeconfig string, ready func()) error {
	fleet := fake.NewFleet()
	defer fleet.Close()
	return runAgent(ctx, kubeconfig, fleet.Host(targetNode), ready)
}

// runAgent runs an agent as the agent command does, and says when its node is
// published.
func runAgent(ctx context.Context, kubeconfig string, host *fake.Host, ready func()) error {
	mgr, publisher, err := newAgent(kubeconfig, host.Name(), host)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return mgr.Start(ctx) })
	group.Go(func() error {
		for !publisher.Published() {
			if err := sleep(ctx, 50*time.Millisecond); err != nil {
				return err
			}
		}
		ready()
		return nil
	})
	return group.Wait()
}

// newAgent sets an agent up as the agent command does.
func newAgent(kubeconfig, name string, host *fake.Host) (ctrl.Manager, *agent.Publisher, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, nil, fmt.Errorf("reading %s: %w", kubeconfig, err)
	}
	config.QPS, config.Burst = 100, 200
	scheme := runtime.NewScheme()
	if err := errors.Join(v1alpha1.AddToScheme(scheme), clientgoscheme.AddToScheme(scheme)); err != nil {
		return nil, nil, err
	}
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme: scheme, Logger: logr.Discard(), Metrics: metricsserver.Options{BindAddress: "0"},
		Controller: ctrlconfig.Controller{SkipNameValidation: new(true)},
	})
	if err != nil {
		return nil, nil, fmt.Errorf("creating an agent: %w", err)
	}
	n := &agent.Node{
		Name: name, Hypervisor: host, Clock: clock.RealClock{}, Log: logr.Discard(),
		Recorder: &node.Recorder{Client: mgr.GetClient(), Reader: mgr.GetAPIReader()},
		Receive: agent.ReceiveConfig{
			MigrationAddress: name, Transport: agent.TransportTCP,
			ListenAddress: netip.MustParseAddr("192.0.2.1"), SerialPorts: agent.PortRange{First: 10000, Last: 10999},
		},
	}
	publisher := agent.NewPublisher(n, &node.HypervisorRecorder{
		Client: mgr.GetClient(), Node: name, Namespace: lab.SystemNamespace, Clock: clock.RealClock{},
	})
	return mgr, publisher, errors.Join(
		mgr.Add(publisher),
		node.SetupSessions(mgr, "source", node.SourceNodeField, name, agent.NewSourceSessions(n)),
		node.SetupSessions(mgr, "target", node.TargetNodeField, name, agent.NewTargetSessions(n)),
	)
}
