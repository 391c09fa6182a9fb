//go:build integration

package integration

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/controllers"
	"github.com/virtferry/virtferry/pkg/migration"
)

// asServiceAccount returns a configuration that acts with the rights of one of
// the service accounts in the system's namespace.
func asServiceAccount(name string) *rest.Config {
	c := rest.CopyConfig(cluster.config)
	c.Impersonate = rest.ImpersonationConfig{
		UserName: "system:serviceaccount:" + systemNamespace + ":" + name,
		Groups:   []string{"system:serviceaccounts", "system:serviceaccounts:" + systemNamespace, "system:authenticated"},
	}
	return c
}

// shiftedClock is the real clock, ahead by some time.
type shiftedClock struct {
	clock.RealClock
	ahead time.Duration
}

// Now implements clock.Clock.
func (c shiftedClock) Now() time.Time { return c.RealClock.Now().Add(c.ahead) }

// Since implements clock.Clock.
func (c shiftedClock) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

// plenty are limits that no test reaches.
func plenty() migration.Limits {
	return migration.Limits{Source: 100, Target: 100, Cluster: 1000, Preparing: 100}
}

// startManager runs a manager, with the rights of its service account, that sees
// the objects of one world only. It runs until stop or the test's end. What its
// controllers log as errors fails the test.
func (w *world) startManager(clk clock.Clock) (stop func()) {
	w.t.Helper()
	return w.runManager(ctrl.Options{Cache: w.cacheOptions()}, managerSetup{clock: clk, limits: plenty()})
}

// cacheOptions are the manager's, for the objects of the world.
func (w *world) cacheOptions() cache.Options {
	options := controllers.CacheOptions(systemNamespace)
	for object, by := range options.ByObject {
		switch object.(type) {
		case *v1alpha1.LiveMigration:
			by.Namespaces = map[string]cache.Config{w.name: {}}
		case *v1alpha1.Hypervisor:
			by.Label = labels.SelectorFromSet(labels.Set{worldLabel: w.name})
		}
		options.ByObject[object] = by
	}
	return options
}

// managerSetup is what differs between managers.
type managerSetup struct {
	clock  clock.Clock
	limits migration.Limits
	// everywhere is whether it sees the whole cluster.
	everywhere bool
	// through changes the client that it works with.
	through func(client.Client) client.Client
	// metrics is where it tells what it counts.
	metrics prometheus.Registerer
}

// inNamespace reads what is in one namespace, as a cluster would look in which there is
// nothing else.
type inNamespace struct {
	client.Reader
	namespace string
}

// List implements client.Reader.
func (r inNamespace) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	return r.Reader.List(ctx, list, append(opts, client.InNamespace(r.namespace))...)
}

func (w *world) runManager(options ctrl.Options, setup managerSetup) (stop func()) {
	w.t.Helper()
	log := &errorLog{}
	options.Scheme = cluster.scheme
	options.Logger = logr.New(log)
	options.Metrics = metricsserver.Options{BindAddress: "0"}
	// All managers of this process have controllers of the same names.
	options.Controller = ctrlconfig.Controller{SkipNameValidation: new(true)}
	restConfig := asServiceAccount(managerAccount)
	restConfig.Wrap(func(next http.RoundTripper) http.RoundTripper { return countingTransport{next, &w.writes} })
	mgr, err := ctrl.NewManager(restConfig, options)
	if err != nil {
		w.t.Fatal(err)
	}
	c, reader, ledger := mgr.GetClient(), mgr.GetAPIReader(), w.name
	if setup.everywhere {
		ledger = systemNamespace
	} else {
		reader = inNamespace{reader, w.name}
	}
	if setup.through != nil {
		c = setup.through(c)
	}
	for _, reconciler := range []interface{ SetupWithManager(ctrl.Manager) error }{
		&controllers.LiveMigrationReconciler{
			Client: c, Reader: reader, Events: mgr.GetEventRecorder(managerAccount), Clock: setup.clock,
			Namespace: ledger, Limits: setup.limits, Metrics: setup.metrics,
		},
		&controllers.HypervisorReconciler{Client: mgr.GetClient(), Clock: setup.clock, Namespace: systemNamespace},
		&controllers.TTLReconciler{Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Clock: setup.clock},
	} {
		if err := reconciler.SetupWithManager(mgr); err != nil {
			w.t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	stop = sync.OnceFunc(func() {
		for _, message := range log.read() {
			w.t.Errorf("the manager complained: %s", message)
		}
		cancel()
		if err := <-ended; err != nil {
			w.t.Errorf("the manager ended: %v", err)
		}
	})
	w.t.Cleanup(stop)
	return stop
}

// countingTransport counts the writes that are sent through it.
type countingTransport struct {
	http.RoundTripper
	writes *atomic.Int64
}

// RoundTrip implements http.RoundTripper.
func (c countingTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodGet {
		c.writes.Add(1)
	}
	return c.RoundTripper.RoundTrip(r)
}

// errorLog keeps the errors that are logged.
type errorLog struct {
	mu     sync.Mutex
	errors []string
}

func (l *errorLog) read() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.errors
}

// Init implements logr.LogSink.
func (*errorLog) Init(logr.RuntimeInfo) {}

// Enabled implements logr.LogSink.
func (*errorLog) Enabled(int) bool { return false }

// Info implements logr.LogSink.
func (*errorLog) Info(int, string, ...any) {}

// Error implements logr.LogSink.
func (l *errorLog) Error(err error, message string, _ ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		message += ": " + err.Error()
	}
	l.errors = append(l.errors, strings.TrimSpace(message))
}

// WithValues implements logr.LogSink.
func (l *errorLog) WithValues(...any) logr.LogSink { return l }

// WithName implements logr.LogSink.
func (l *errorLog) WithName(string) logr.LogSink { return l }
