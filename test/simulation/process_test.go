package simulation

import (
	"context"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	controllerconfig "sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/controllers"
	"github.com/virtferry/virtferry/controllers/node"
	"github.com/virtferry/virtferry/internal/caches"
	"github.com/virtferry/virtferry/pkg/agent"
	"github.com/virtferry/virtferry/pkg/migration"
)

// systemNamespace is where the ledger and the leases are, and userNamespace where users
// have their LiveMigrations.
const (
	systemNamespace = "virtferry-system"
	userNamespace   = "default"
)

// process is a manager or an agent that runs. It can be told to stop, or killed: then
// nothing that is left of it reaches anybody.
type process struct {
	name   string
	wire   *wire
	conn   *conn
	gate   *gate
	cancel context.CancelFunc
	ended  sync.WaitGroup
}

// restartDelay is how long it takes until a process that has ended by itself, such as one
// that cannot fill its caches, is started again.
const restartDelay = 10 * time.Second

// launch runs a process's controllers. Where they end by themselves, another process takes
// the place of this one some time later.
func (w *world) launch(ctx context.Context, p *process, mgr manager.Manager, replace func()) {
	p.ended.Go(func() {
		_ = mgr.Start(ctx)
		if ctx.Err() == nil {
			w.later(restartDelay, replace)
		}
	})
}

// kill ends the process as a signal does that nobody can catch.
func (p *process) kill() {
	p.wire.kill()
	if p.conn != nil {
		p.conn.dead.Store(true)
		p.gate.open()
	}
	p.cancel()
}

// skewed is the clock of a host that is wrong.
type skewed struct {
	clock.Clock
	by time.Duration
}

// Now implements clock.PassiveClock.
func (c skewed) Now() time.Time { return c.Clock.Now().Add(c.by) }

// Since implements clock.PassiveClock.
func (c skewed) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

func mapper() meta.RESTMapper {
	m := meta.NewDefaultRESTMapper(nil)
	for _, r := range resources {
		var scope meta.RESTScope = meta.RESTScopeNamespace
		if r.Kind == "Hypervisor" {
			scope = meta.RESTScopeRoot
		}
		m.AddSpecific(r.GroupVersionKind, r.GroupVersion().WithResource(r.plural), r.GroupVersion().WithResource(r.plural), scope)
	}
	return m
}

func newControllers(config *rest.Config, scheme *runtime.Scheme, change func(*ctrl.Options)) (manager.Manager, error) {
	options := ctrl.Options{
		Scheme: scheme, Logger: logr.Discard(), Metrics: metricsserver.Options{BindAddress: "0"}, HealthProbeBindAddress: "0",
		MapperProvider: func(*rest.Config, *http.Client) (meta.RESTMapper, error) { return mapper(), nil },
		Controller:     controllerconfig.Controller{SkipNameValidation: new(true)},
	}
	change(&options)
	return ctrl.NewManager(config, options)
}

// startManager starts a manager, beside any other that there is.
func (w *world) startManager() {
	w.started++
	p := &process{name: w.called("manager", w.started)}
	p.wire = newWire(w.server, p.name, newPace(w.seed, p.name))
	p.wire.instant, p.wire.olderAPI = true, w.olderAPI
	p.wire.weather = w.weather
	config := p.wire.config()
	factory, err := caches.NewFactory(config, w.scheme, logr.Discard(), clock.RealClock{})
	w.must(err)
	mgr, err := newControllers(config, w.scheme, func(o *ctrl.Options) {
		o.Cache = controllers.CacheOptions(systemNamespace)
		o.Cache.NewInformer = factory.NewInformer()
	})
	w.must(err)
	w.must((&controllers.LiveMigrationReconciler{
		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Events: w.observer, Clock: clock.RealClock{},
		Namespace: systemNamespace, Limits: w.limits,
	}).SetupWithManager(mgr))
	w.must((&controllers.HypervisorReconciler{
		Client: mgr.GetClient(), Clock: clock.RealClock{}, Namespace: systemNamespace,
		WorkersNeeded: migration.WorkersNeeded(w.limits.Source, w.limits.Target, w.limits.Preparing),
	}).SetupWithManager(mgr))
	w.must((&controllers.TTLReconciler{Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Clock: clock.RealClock{}}).SetupWithManager(mgr))
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	w.managers = append(w.managers, p)
	w.launch(ctx, p, mgr, func() {
		if i := slices.Index(w.managers, p); i >= 0 {
			w.stopManager(i)
			w.startManager()
		}
	})
}

// startAgent starts the agent of a node, on which there is none.
func (w *world) startAgent(n *host) {
	if n.lost {
		return
	}
	w.started++
	p := &process{name: agentPrefix + n.name, gate: newGate()}
	p.wire = newWire(w.server, p.name, newPace(w.seed, w.called(n.name, w.started)))
	p.wire.olderAPI, p.wire.gate = w.olderAPI, p.gate
	p.wire.weather = w.weather
	p.conn = &conn{Host: n.libvirt, gate: p.gate, observer: w.observer, backups: &n.backups, pace: newPace(w.seed, w.called(n.name+"/libvirt", w.started))}
	hostClock := skewed{Clock: clock.RealClock{}, by: n.skew}
	mgr, err := newControllers(p.wire.config(), w.scheme, func(*ctrl.Options) {})
	w.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	an := &agent.Node{
		Name: n.name, Hypervisor: p.conn, Clock: hostClock, Log: logr.Discard(),
		Recorder: node.NewRecorder(mgr.GetClient(), mgr.GetAPIReader(), hostClock.Now()),
		Receive: agent.ReceiveConfig{
			Endpoint:      v1alpha1.TargetEndpoint{Address: n.name, Transport: v1alpha1.TransportTCP},
			ListenAddress: netip.MustParseAddr("192.0.2.1"), SerialPorts: agent.PortRange{First: firstPort, Last: lastPort},
		},
	}
	an.Listens = func(_ context.Context, at netip.AddrPort) bool { return w.observer.listens(n.name, int(at.Port())) }
	if n.memory > 0 {
		an.Files.System = kernel{w, n}
	}
	recorder := &node.HypervisorRecorder{
		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Node: n.name, Namespace: systemNamespace, Clock: hostClock,
	}
	w.must(recorder.Watch(ctx, mgr))
	w.must(mgr.Add(agent.NewPublisher(an, recorder)))
	_, err = node.SetupSessions(mgr, "source", node.SourceNodeField, n.name, agent.NewSourceSessions(an))
	w.must(err)
	_, err = node.SetupSessions(mgr, "target", node.TargetNodeField, n.name, agent.NewTargetSessions(an))
	w.must(err)
	n.agent = p
	w.launch(ctx, p, mgr, func() {
		if n.agent == p {
			w.stopAgent(n, true)
			w.startAgent(n)
		}
	})
}

// stopAgent ends a node's agent: at once or, as an update does, after it has handed over.
func (w *world) stopAgent(n *host, kill bool) {
	p := n.agent
	if p == nil {
		return
	}
	if kill {
		p.kill()
	}
	p.gate.open()
	p.cancel()
	n.agent = nil
	w.gone = append(w.gone, p)
	if !kill {
		p.ended.Wait()
		p.kill()
	}
}

func newScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	if err := coordinationv1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	return scheme, v1alpha1.AddToScheme(scheme)
}
