//go:build linux

package main

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/migration"
	"github.com/virtferry/virtferry/test/lab"
)

// bootTimeout is how long a guest may take to boot.
const bootTimeout = 90 * time.Second

// boot starts a guest that has a definition, and returns it when it ticks and its host has
// published it.
func (w *labWorld) boot(ctx context.Context, h *lab.Host, config lab.GuestConfig) (*lab.Guest, error) {
	ctx, cancel := context.WithTimeout(ctx, bootTimeout)
	defer cancel()
	config.Persistent = true
	g, err := h.StartGuest(ctx, config)
	if err != nil {
		return nil, err
	}
	if _, err := g.Ticks().Wait(ctx, h.Name(), 1); err != nil {
		return nil, err
	}
	return g, h.WaitPublished(ctx, g)
}

// busy is a guest that writes to its memory several times as fast as slowly lets it be
// copied.
func busy(name string) lab.GuestConfig {
	return lab.GuestConfig{Name: name, Load: lab.Load{WorkingSetMiB: 32, DirtyMiBps: 32}}
}

// slowly are options with which copying a guest takes some seconds.
func slowly() *v1alpha1.MigrationOptions {
	return &v1alpha1.MigrationOptions{BandwidthMiBps: new(int64(8))}
}

// endlessly are options with which a busy guest is copied until something else happens.
func endlessly(postCopy bool) *v1alpha1.MigrationOptions {
	o := slowly()
	o.OnTimeout, o.AllowPostCopy = v1alpha1.TimeoutKeepGoing, &postCopy
	return o
}

// create creates a LiveMigration.
func (w *labWorld) create(ctx context.Context, name string, spec v1alpha1.LiveMigrationSpec) error {
	lm := &v1alpha1.LiveMigration{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: metav1.NamespaceDefault}, Spec: spec}
	if err := w.api.Create(ctx, lm); err != nil {
		return fmt.Errorf("creating the migration %s: %w", name, err)
	}
	return nil
}

// hostOf returns the host where a guest runs.
func hostOf(ctx context.Context, g *lab.Guest) (*lab.Host, error) {
	if h := g.RunningOn(ctx); h != nil {
		return h, nil
	}
	return nil, fmt.Errorf("the guest %s does not run on exactly one host", g.Name())
}

// move has a guest move from the host where it runs to the other of the first two.
func (w *labWorld) move(ctx context.Context, name string, g *lab.Guest, o *v1alpha1.MigrationOptions) (from, to *lab.Host, err error) {
	if from, err = hostOf(ctx, g); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	to = w.other(from)
	if err := from.WaitPublished(ctx, g); err != nil {
		return nil, nil, err
	}
	return from, to, w.create(ctx, name, v1alpha1.LiveMigrationSpec{Domain: g.UUID(), TargetNode: to.Name(), Options: o})
}

func reasonOf(lm *v1alpha1.LiveMigration) string {
	if c := meta.FindStatusCondition(lm.Status.Conditions, v1alpha1.ConditionSucceeded); c != nil {
		return c.Reason
	}
	return ""
}

// until waits for a state of a migration, and gives up when that has ended otherwise.
func (w *labWorld) until(ctx context.Context, name, what string, ok func(*v1alpha1.LiveMigration) bool) error {
	lm := &v1alpha1.LiveMigration{}
	err := await(ctx, what+" of "+name, func() (bool, error) {
		if err := w.api.Get(ctx, client.ObjectKey{Namespace: metav1.NamespaceDefault, Name: name}, lm); err != nil {
			return false, fmt.Errorf("reading the migration %s: %w", name, err)
		}
		if !ok(lm) && migration.Finished(lm) {
			return false, fmt.Errorf("the migration %s has ended before this: %s", name, what)
		}
		return ok(lm), nil
	})
	if err != nil {
		return fmt.Errorf("%w: %+v", err, lm.Status.Conditions)
	}
	return nil
}

// ends waits for the end of a migration, or for it to be stuck, with a reason.
func (w *labWorld) ends(ctx context.Context, name, reason string) error {
	err := w.until(ctx, name, "the end by "+reason, func(lm *v1alpha1.LiveMigration) bool {
		return reasonOf(lm) == reason && (migration.Finished(lm) || reason == v1alpha1.ReasonOutcomeUnknown)
	})
	if err == nil {
		progressf("%s: %s", name, reason)
	}
	return err
}

// copies waits until a migration has copied its guest's memory so many times, but one.
func (w *labWorld) copies(ctx context.Context, name string, passes int64) error {
	return w.until(ctx, name, fmt.Sprintf("pass %d", passes), func(lm *v1alpha1.LiveMigration) bool {
		p := lm.Status.Progress
		return lm.Status.Phase == v1alpha1.PhaseMigrating && p != nil && p.Memory != nil && p.Memory.ProcessedBytes > 0 && p.MemoryIteration >= passes
	})
}

// reaches waits for a phase.
func (w *labWorld) reaches(ctx context.Context, name string, phase v1alpha1.LiveMigrationPhase) error {
	return w.until(ctx, name, "phase "+string(phase), func(lm *v1alpha1.LiveMigration) bool { return lm.Status.Phase == phase })
}

// runsThere waits until a guest in post-copy has been told to go on by its target's libvirt,
// which would take it down with its connection to the source's before.
func (w *labWorld) runsThere(ctx context.Context, name string) error {
	return w.until(ctx, name, "the guest on the target", func(lm *v1alpha1.LiveMigration) bool {
		t := migration.CurrentTarget(lm)
		return t != nil && t.Domain != nil && t.Domain.State == "Running" && t.Domain.Reason == "Postcopy"
	})
}

// ask annotates a migration.
func (w *labWorld) ask(ctx context.Context, name, annotation string) error {
	lm := &v1alpha1.LiveMigration{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: metav1.NamespaceDefault}}
	patch := client.RawPatch("application/merge-patch+json",
		fmt.Appendf(nil, `{"metadata":{"annotations":{%q:"please"}}}`, annotation))
	if err := w.api.Patch(ctx, lm, patch); err != nil {
		return fmt.Errorf("annotating the migration %s: %w", name, err)
	}
	return nil
}

// steps does one after the other until one fails.
func steps(all ...func() error) error {
	for _, step := range all {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}
