//go:build packages

package packages

import (
	"context"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
	"github.com/virtferry/virtferry/test/bench/rig"
)

// A guest of 1 GiB that writes to its memory as fast as it is copied, so that it is
// under way for as long as a test wants.
const (
	guestUUID = "00000000-0000-4000-8000-000000000001"
	guestSize = 1 << 30
)

// fleet is two made-up hosts, a and b, and a guest on a.
type fleet struct {
	*fake.Fleet
	t *testing.T
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	f := &fleet{Fleet: fake.NewFleet(), t: t}
	t.Cleanup(f.Close)
	f.Host("b")
	f.Host("a").AddGuest(fake.Guest{
		UUID: guestUUID, Name: "web", Persistent: true, MemoryBytes: guestSize, DirtyBytesPerSecond: 2 * guestSize,
	})
	return f
}

// start runs what the cluster would: the manager, and an agent on each host, with the
// rights that were installed. It returns what stops them.
func (f *fleet) start() (stop func()) {
	f.t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(f.t.Context()))
	var running sync.WaitGroup
	manager := exec.CommandContext(ctx, os.Getenv("VIRTFERRY"), "manager", "--kubeconfig="+kubeconfigOf(f.t, "virtferry-manager", ""),
		"--metrics-bind-address=0", "--health-probe-bind-address=0")
	manager.Stderr = f.t.Output()
	manager.Cancel = func() error { return manager.Process.Signal(syscall.SIGTERM) }
	if err := manager.Start(); err != nil {
		f.t.Fatal(err)
	}
	running.Go(func() { _ = manager.Wait() })
	for _, name := range []string{"a", "b"} {
		ready := make(chan struct{})
		kubeconfig := kubeconfigOf(f.t, "virtferry-agent", name)
		running.Go(func() {
			if err := rig.RunAgent(ctx, kubeconfig, f.Host(name), func() { close(ready) }); err != nil && ctx.Err() == nil {
				f.t.Errorf("the agent of %s: %v", name, err)
			}
		})
		await(f.t, "the agent of "+name+" is ready", func() bool {
			select {
			case <-ready:
				return true
			default:
				return false
			}
		})
	}
	stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
	})
	f.t.Cleanup(stop)
	return stop
}

// migrate begins a migration, and returns it when it is under way.
func (f *fleet) migrate() *v1alpha1.LiveMigration {
	f.t.Helper()
	lm := &v1alpha1.LiveMigration{
		ObjectMeta: metav1.ObjectMeta{Name: "web-to-b", Namespace: "default"},
		Spec: v1alpha1.LiveMigrationSpec{
			Domain: "web", TargetNode: "b", Options: &v1alpha1.MigrationOptions{OnTimeout: v1alpha1.TimeoutKeepGoing},
		},
	}
	if err := cluster.client.Create(f.t.Context(), lm); err != nil {
		f.t.Fatal(err)
	}
	await(f.t, "the guest moves", func() bool { return read(f.t, lm).Status.Phase == v1alpha1.PhaseMigrating })
	return read(f.t, lm)
}

// requireUndisturbed fails if the migration that was under way is not, as it was.
func (f *fleet) requireUndisturbed(before *v1alpha1.LiveMigration) {
	f.t.Helper()
	now := read(f.t, before)
	if now.DeletionTimestamp != nil || now.UID != before.UID || now.Status.Attempt.ID != before.Status.Attempt.ID ||
		now.Status.Phase != v1alpha1.PhaseMigrating {
		f.t.Errorf("the migration is not under way as it was: %+v", now.Status)
	}
	if calls, aborts := f.Count(fake.MethodMigrate, guestUUID), f.Count(fake.MethodAbortJob, guestUUID); calls != 1 || aborts != 0 {
		f.t.Errorf("libvirt was called %d times to migrate, and %d times to abort", calls, aborts)
	}
}

// read returns a migration as it is now.
func read(t *testing.T, lm *v1alpha1.LiveMigration) *v1alpha1.LiveMigration {
	t.Helper()
	now := &v1alpha1.LiveMigration{}
	if err := cluster.client.Get(t.Context(), client.ObjectKeyFromObject(lm), now); err != nil {
		t.Fatal(err)
	}
	return now
}
