//go:build linux

package rig

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
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
	"github.com/virtferry/virtferry/internal/metrics"
	"github.com/virtferry/virtferry/pkg/agent"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
	"github.com/virtferry/virtferry/test/bench/shuttle"
	"github.com/virtferry/virtferry/test/lab"
)

// AgentKubeconfig writes a kubeconfig with the rights of the agent of a node, and
// returns its path.
func AgentKubeconfig(ctx context.Context, l *lab.Lab, nodeName string) (string, error) {
	return l.ControlPlane().AccountKubeconfig(ctx, lab.Account{
		Namespace: lab.SystemNamespace, Name: "virtferry-agent", Node: nodeName,
	})
}

// RunAgent runs an agent over a made-up host, as the agent command does over
// libvirt, until ctx ends. It calls ready when the node is published.
func RunAgent(ctx context.Context, kubeconfig string, host *fake.Host, ready func()) error {
	return RunAgentWithMetrics(ctx, kubeconfig, host, agent.HostFiles{}, prometheus.NewRegistry(), ready)
}

// RunAgentWithMetrics is RunAgent on a host with some files, with the agent's metrics in a
// registry, those that name guests included. Of how the agent gets on with libvirt they say
// nothing.
func RunAgentWithMetrics(ctx context.Context, kubeconfig string, host *fake.Host, files agent.HostFiles, registry prometheus.Registerer, ready func()) error {
	mgr, publisher, err := newAgent(ctx, kubeconfig, host, files, registry)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return mgr.Start(ctx) })
	group.Go(func() error {
		for !publisher.Published() {
			if err := shuttle.Sleep(ctx, 50*time.Millisecond); err != nil {
				return err
			}
		}
		ready()
		return nil
	})
	return group.Wait()
}

// newAgent sets an agent up as the agent command does.
func newAgent(ctx context.Context, kubeconfig string, host *fake.Host, files agent.HostFiles, registry prometheus.Registerer) (ctrl.Manager, *agent.Publisher, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, nil, fmt.Errorf("reading %s: %w", kubeconfig, err)
	}
	config.QPS, config.Burst = 100, 200
	// An agent in a process of its own has connections of its own.
	config.Dial = (&net.Dialer{Timeout: 10 * time.Second}).DialContext
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
	name := host.Name()
	n := &agent.Node{
		Name: name, Hypervisor: host, Files: files, Clock: clock.RealClock{}, Log: logr.Discard(),
		Recorder: node.NewRecorder(mgr.GetClient(), mgr.GetAPIReader(), time.Now()),
		Receive: agent.ReceiveConfig{
			Endpoint:      v1alpha1.TargetEndpoint{Address: name, Transport: v1alpha1.TransportTCP},
			ListenAddress: netip.MustParseAddr("192.0.2.1"), SerialPorts: agent.PortRange{First: 10000, Last: 10999},
		},
	}
	recorder := &node.HypervisorRecorder{
		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Node: name, Namespace: lab.SystemNamespace, Clock: clock.RealClock{},
	}
	publisher := agent.NewPublisher(n, recorder)
	source, sourceErr := node.SetupSessions(mgr, "source", node.SourceNodeField, name, agent.NewSourceSessions(n))
	target, targetErr := node.SetupSessions(mgr, "target", node.TargetNodeField, name, agent.NewTargetSessions(n))
	if err := errors.Join(recorder.Watch(ctx, mgr), mgr.Add(publisher), sourceErr, targetErr); err != nil {
		return nil, nil, err
	}
	return mgr, publisher, errors.Join(
		registry.Register(&metrics.Agent{
			Node: name, NameGuests: true, Load: n.Load, Contact: func() hypervisor.Contact { return hypervisor.Contact{} }, Clock: clock.RealClock{},
		}),
		registry.Register(metrics.Caches{
			"source": func() error { return source.Check(nil) }, "target": func() error { return target.Check(nil) },
		}),
	)
}
