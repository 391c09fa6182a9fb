//go:build linux

package main

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
)

// gib is how much memory a guest has, and as much is copied in a second.
const gib = 1 << 30

// move is a guest that moves, and how it ends.
type move struct {
	name, from, to string
	// writes is how fast the guest writes to its memory, in bytes per second.
	writes  uint64
	options *v1alpha1.MigrationOptions
	script  fake.Script
	// cancel is whether it is cancelled once it moves.
	cancel bool
	// dryRun is whether it is only checked.
	dryRun bool
	want   v1alpha1.LiveMigrationPhase
}

// story is one of each outcome, and some more between the same nodes, so that a few wait.
func story() []move {
	const fast = 4 * gib
	yes := new(true)
	return []move{
		{name: "calm-1", from: "node-a", to: "node-b", want: v1alpha1.PhaseSucceeded},
		{name: "calm-2", from: "node-a", to: "node-b", writes: gib / 4, want: v1alpha1.PhaseSucceeded},
		{name: "calm-3", from: "node-a", to: "node-b", writes: gib / 2, want: v1alpha1.PhaseSucceeded},
		{name: "calm-4", from: "node-b", to: "node-c", want: v1alpha1.PhaseSucceeded},
		{name: "calm-5", from: "node-c", to: "node-a", writes: gib / 4, want: v1alpha1.PhaseSucceeded},
		{name: "post-copy", from: "node-b", to: "node-c", writes: fast, options: &v1alpha1.MigrationOptions{AllowPostCopy: yes}, want: v1alpha1.PhaseSucceeded},
		{name: "interrupted", from: "node-c", to: "node-b", writes: fast, options: &v1alpha1.MigrationOptions{AllowPostCopy: yes},
			script: fake.Script{Ending: fake.EndsPostCopyBroken}, want: v1alpha1.PhaseSucceeded},
		{name: "paused", from: "node-b", to: "node-a", writes: fast, options: &v1alpha1.MigrationOptions{AllowPause: yes}, want: v1alpha1.PhaseSucceeded},
		{name: "hopeless", from: "node-c", to: "node-a", writes: fast, want: v1alpha1.PhaseFailed},
		{name: "crashed", from: "node-a", to: "node-c", script: fake.Script{Ending: fake.EndsTargetLost}, want: v1alpha1.PhaseFailed},
		{name: "cancelled", from: "node-a", to: "node-c", writes: fast,
			options: &v1alpha1.MigrationOptions{OnTimeout: v1alpha1.TimeoutKeepGoing}, cancel: true, want: v1alpha1.PhaseCancelled},
		{name: "checked", from: "node-b", to: "node-a", dryRun: true, want: v1alpha1.PhaseSucceeded},
	}
}

// populate puts the guests of the story in their places.
func (w *world) populate() {
	for i, m := range story() {
		uuid := fmt.Sprintf("00000000-0000-4000-8000-%012d", i)
		w.fleet.Host(m.from).AddGuest(fake.Guest{UUID: uuid, Name: m.name, Persistent: true, MemoryBytes: gib, DirtyBytesPerSecond: m.writes})
		w.fleet.ScriptNext(uuid, m.script)
	}
}

// tell has all guests move at once, and returns when each has ended as it should.
func (w *world) tell(ctx context.Context) error {
	for _, m := range story() {
		lm := &v1alpha1.LiveMigration{
			ObjectMeta: metav1.ObjectMeta{Name: m.name, Namespace: metav1.NamespaceDefault},
			Spec:       v1alpha1.LiveMigrationSpec{Domain: m.name, TargetNode: m.to, Options: m.options},
		}
		if m.dryRun {
			lm.Spec.DryRun = &m.dryRun
		}
		if err := w.api.Create(ctx, lm); err != nil {
			return fmt.Errorf("creating the migration %s: %w", m.name, err)
		}
	}
	for _, m := range story() {
		if err := w.follow(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

// follow waits for the end of a move.
func (w *world) follow(ctx context.Context, m move) error {
	lm := &v1alpha1.LiveMigration{}
	cancelled := false
	err := await(ctx, m.name+" ends", func() (bool, error) {
		if err := w.api.Get(ctx, client.ObjectKey{Namespace: metav1.NamespaceDefault, Name: m.name}, lm); err != nil {
			return false, fmt.Errorf("reading the migration %s: %w", m.name, err)
		}
		if m.cancel && !cancelled && lm.Status.Phase == v1alpha1.PhaseMigrating {
			cancelled = true
			// Until Prometheus has seen it move.
			if err := sleep(ctx, 3*scrapeInterval); err != nil {
				return false, err
			}
			patch := client.RawPatch("application/merge-patch+json",
				fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.AnnotationCancel, time.Now().String()))
			return false, w.api.Patch(ctx, lm, patch)
		}
		return lm.Status.CompletionTime != nil, nil
	})
	if err != nil {
		return fmt.Errorf("%w: %+v", err, lm.Status)
	}
	if lm.Status.Phase != m.want {
		return fmt.Errorf("the migration %s should end as %s, but: %+v", m.name, m.want, lm.Status.Conditions)
	}
	return nil
}
