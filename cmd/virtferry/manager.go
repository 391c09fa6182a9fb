package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/virtferry/virtferry/controllers"
	"github.com/virtferry/virtferry/pkg/migration"
)

type managerFlags struct {
	commonFlags
	leaderElect bool
}

func newManagerCommand() *cobra.Command {
	var f managerFlags
	cmd := &cobra.Command{
		Use:   "manager",
		Short: "Run the manager, which lets migrations go ahead and says what becomes of them",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return runManager(cmd.Context(), &f) },
	}
	f.register(cmd)
	cmd.Flags().BoolVar(&f.leaderElect, "leader-elect", true, "make sure that only one manager is active in the cluster")
	return cmd
}

func runManager(ctx context.Context, f *managerFlags) error {
	config, err := f.restConfig()
	if err != nil {
		return err
	}
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:                        newScheme(),
		Logger:                        f.logger(),
		Metrics:                       metricsserver.Options{BindAddress: f.metrics},
		HealthProbeBindAddress:        f.healthAddress,
		PprofBindAddress:              f.profiles,
		LeaderElection:                f.leaderElect,
		LeaderElectionID:              "virtferry-manager",
		LeaderElectionNamespace:       f.namespace,
		LeaderElectionReleaseOnCancel: true,
		LeaseDuration:                 new(15 * time.Second),
		RenewDeadline:                 new(10 * time.Second),
		RetryPeriod:                   new(2 * time.Second),
		Cache: cache.Options{ByObject: map[client.Object]cache.ByObject{
			&coordinationv1.Lease{}: {Namespaces: map[string]cache.Config{f.namespace: {}}},
		}},
	})
	if err != nil {
		return fmt.Errorf("creating the manager: %w", err)
	}
	if err := setupManager(mgr, f.namespace); err != nil {
		return err
	}
	if err := mgr.Start(ctx); err != nil {
		return fmt.Errorf("running the manager: %w", err)
	}
	return nil
}

func setupManager(mgr ctrl.Manager, namespace string) error {
	err := (&controllers.LiveMigrationReconciler{
		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(),
		Events: mgr.GetEventRecorder("virtferry-manager"), Clock: clock.RealClock{},
	}).SetupWithManager(mgr)
	if err != nil {
		return err
	}
	err = (&controllers.HypervisorReconciler{
		Client: mgr.GetClient(), Clock: clock.RealClock{}, Namespace: namespace,
		WorkersNeeded: migration.WorkersNeeded(1, 2, 2),
	}).SetupWithManager(mgr)
	if err != nil {
		return err
	}
	err = (&controllers.TTLReconciler{
		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Clock: clock.RealClock{},
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
