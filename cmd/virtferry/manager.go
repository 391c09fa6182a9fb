package main

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/virtferry/virtferry/controllers"
	"github.com/virtferry/virtferry/internal/caches"
	"github.com/virtferry/virtferry/pkg/migration"
)

type managerFlags struct {
	commonFlags
	leaderElect bool
	limits      migration.Limits
	qps         float32
	burst       int
}

func newManagerCommand() *cobra.Command {
	var f managerFlags
	cmd := &cobra.Command{
		Use:   "manager",
		Short: "Run the manager, which admits migrations and decides their outcome",
		Args:  cobra.NoArgs,
		RunE:  func(*cobra.Command, []string) error { return runManager(ctrl.SetupSignalHandler(), &f) },
	}
	f.register(cmd)
	flags, limits := cmd.Flags(), migration.DefaultLimits()
	flags.BoolVar(&f.leaderElect, "leader-elect", true, "make sure that only one manager is active in the cluster")
	flags.IntVar(&f.limits.Source, "max-outgoing-per-node", limits.Source, "how many guests a node may send at a time")
	flags.IntVar(&f.limits.Target, "max-incoming-per-node", limits.Target, "how many guests a node may receive at a time")
	flags.IntVar(&f.limits.Cluster, "max-migrations", limits.Cluster,
		"how many guests may be copied at a time in the whole cluster; 0 means as many as there are ready nodes")
	flags.IntVar(&f.limits.Preparing, "max-preparing-per-node", limits.Preparing,
		"how many migrations from a node, and how many to it, may be prepared while they wait for a slot")
	flags.Float32Var(&f.qps, "kube-api-qps", 300, "how many requests per second the manager may send to the API server in the long run")
	flags.IntVar(&f.burst, "kube-api-burst", 600, "how many requests it may send at once, beyond that rate")
	return cmd
}

// checkLimits checks the flags that say how many guests move at once.
func (f *managerFlags) checkLimits() error {
	for _, limit := range []struct {
		flag         string
		value, least int
	}{
		{"max-outgoing-per-node", f.limits.Source, 1}, {"max-incoming-per-node", f.limits.Target, 1},
		{"max-migrations", f.limits.Cluster, 0}, {"max-preparing-per-node", f.limits.Preparing, 0},
	} {
		if limit.value < limit.least {
			return fmt.Errorf("--%s is %d: it must be at least %d", limit.flag, limit.value, limit.least)
		}
	}
	return nil
}

// collectGarbageEarly keeps the heap close to what is in use, which is mostly the cache: the
// manager needs the most memory at its start, when it reads all objects, and has time to
// spare. GOGC, where it is set, says otherwise.
func collectGarbageEarly() {
	const percent = 50
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(percent)
	}
}

func runManager(ctx context.Context, f *managerFlags) error {
	if err := f.checkLimits(); err != nil {
		return err
	}
	config, err := f.restConfig()
	if err != nil {
		return err
	}
	config.QPS, config.Burst = f.qps, f.burst
	served, err := f.metrics.Options()
	if err != nil {
		return err
	}
	collectGarbageEarly()
	scheme, log := newScheme(), f.logger()
	factory, err := caches.NewFactory(config, scheme, log, clock.RealClock{})
	if err != nil {
		return err
	}
	cacheOptions := controllers.CacheOptions(f.namespace)
	cacheOptions.NewInformer = factory.NewInformer()
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:                        scheme,
		Logger:                        log,
		Metrics:                       served,
		HealthProbeBindAddress:        f.healthAddress,
		PprofBindAddress:              f.profiles,
		LeaderElection:                f.leaderElect,
		LeaderElectionID:              "virtferry-manager",
		LeaderElectionNamespace:       f.namespace,
		LeaderElectionReleaseOnCancel: true,
		LeaseDuration:                 new(15 * time.Second),
		RenewDeadline:                 new(10 * time.Second),
		RetryPeriod:                   new(2 * time.Second),
		Cache:                         cacheOptions,
	})
	if err != nil {
		return fmt.Errorf("creating the manager: %w", err)
	}
	if err := setupManager(mgr, f); err != nil {
		return err
	}
	if err := mgr.AddReadyzCheck("caches", factory.Health.Check); err != nil {
		return fmt.Errorf("adding the readiness check of the caches: %w", err)
	}
	if err := registerMetrics(cachesOf(map[string]*caches.Health{"manager": factory.Health})); err != nil {
		return err
	}
	if err := mgr.Start(ctx); err != nil {
		return fmt.Errorf("running the manager: %w", err)
	}
	return nil
}

func setupManager(mgr ctrl.Manager, f *managerFlags) error {
	reader := caches.NewReader(mgr.GetAPIReader(), mgr.GetScheme(), mgr.GetLogger())
	err := (&controllers.LiveMigrationReconciler{
		Client: mgr.GetClient(), Reader: reader,
		Events: mgr.GetEventRecorder("virtferry-manager"), Clock: clock.RealClock{},
		Namespace: f.namespace, Limits: f.limits, Metrics: ctrlmetrics.Registry,
	}).SetupWithManager(mgr)
	if err != nil {
		return err
	}
	err = (&controllers.HypervisorReconciler{
		Client: mgr.GetClient(), Clock: clock.RealClock{}, Namespace: f.namespace,
		WorkersNeeded: migration.WorkersNeeded(f.limits.Source, f.limits.Target, f.limits.Preparing),
	}).SetupWithManager(mgr)
	if err != nil {
		return err
	}
	err = (&controllers.TTLReconciler{
		Client: mgr.GetClient(), Reader: reader, Clock: clock.RealClock{},
	}).SetupWithManager(mgr)
	if err != nil {
		return err
	}
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return fmt.Errorf("adding the health check: %w", err)
	}
	if err := mgr.AddReadyzCheck("ping", healthz.Ping); err != nil {
		return fmt.Errorf("adding the readiness check: %w", err)
	}
	return nil
}
