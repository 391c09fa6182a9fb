//go:build integration

package integration

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/internal/statuscheck"
	"github.com/virtferry/virtferry/pkg/migration"
)

// move is a LiveMigration in the API server, all states of which are recorded
// and checked.
type move struct {
	t *testing.T

	mu     sync.Mutex
	states []*v1alpha1.LiveMigration
	gone   bool
	// cursor is where the next await begins.
	cursor int
}

// migrate creates a migration of a guest to one of the world's nodes.
func (w *world) migrate(g guest, target string) *move {
	w.t.Helper()
	return w.follow(w.newMigration(g, target))
}

// follow creates a migration and records its states until the test ends.
func (w *world) follow(lm *v1alpha1.LiveMigration) *move {
	w.t.Helper()
	w.create(lm)
	return w.observe(lm)
}

// observe records the states of a migration, from the given one on, until the test
// ends.
func (w *world) observe(lm *v1alpha1.LiveMigration) *move {
	w.t.Helper()
	m := &move{t: w.t}
	m.record(lm.DeepCopy())
	events, err := cluster.client.Watch(w.t.Context(), &v1alpha1.LiveMigrationList{}, client.InNamespace(lm.Namespace),
		client.MatchingFields{"metadata.name": lm.Name}, &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: lm.ResourceVersion}})
	if err != nil {
		w.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for event := range events.ResultChan() {
			m.note(event)
		}
	}()
	w.t.Cleanup(func() {
		events.Stop()
		<-done
		if w.t.Failed() {
			w.t.Log(describe(m.latest()))
		}
	})
	return m
}

func (m *move) note(event watch.Event) {
	lm, ok := event.Object.(*v1alpha1.LiveMigration)
	switch {
	case !ok:
		// A watch that is stopped may end with an error.
		if m.t.Context().Err() == nil {
			m.t.Errorf("the watch brought %v", event)
		}
	case event.Type == watch.Deleted:
		m.mu.Lock()
		defer m.mu.Unlock()
		m.gone = true
	case lm.UID == m.latest().UID:
		m.record(lm)
	}
}

// record checks a state and keeps it.
func (m *move) record(lm *v1alpha1.LiveMigration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := statuscheck.Check(lm); err != nil {
		m.t.Errorf("%s in phase %q: %v", lm.Name, lm.Status.Phase, err)
	}
	if len(m.states) > 0 {
		before := m.states[len(m.states)-1]
		if err := statuscheck.CheckTransition(before, lm); err != nil {
			m.t.Errorf("%s from phase %q to %q: %v", lm.Name, before.Status.Phase, lm.Status.Phase, err)
		}
		if completed := before.Status.CompletionTime; completed != nil && !completed.Equal(lm.Status.CompletionTime) {
			m.t.Errorf("%s: completionTime went from %s to %s", lm.Name, completed, lm.Status.CompletionTime)
		}
	}
	if lm.Status.Attempt != nil && !migration.Finished(lm) && !slices.Contains(lm.Finalizers, v1alpha1.FinalizerGuestSafe) {
		m.t.Errorf("%s is under way without its finalizer", lm.Name)
	}
	m.states = append(m.states, lm)
}

// latest returns the last state that was seen.
func (m *move) latest() *v1alpha1.LiveMigration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.states[len(m.states)-1]
}

// history returns all states that were seen.
func (m *move) history() []*v1alpha1.LiveMigration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.states)
}

func (m *move) key() client.ObjectKey { return client.ObjectKeyFromObject(m.latest()) }

// await waits for the first state, from the one awaited last on, that is as
// wanted.
func (m *move) await(what string, ok func(*v1alpha1.LiveMigration) bool) *v1alpha1.LiveMigration {
	m.t.Helper()
	var found *v1alpha1.LiveMigration
	if !poll(m.t.Context(), func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		for ; m.cursor < len(m.states); m.cursor++ {
			if ok(m.states[m.cursor]) {
				found = m.states[m.cursor]
				return true
			}
		}
		return false
	}) {
		m.t.Fatalf("%s never came to %s", m.latest().Name, what)
	}
	return found
}

// awaitReason waits until the Succeeded condition has a reason.
func (m *move) awaitReason(reason string) *v1alpha1.LiveMigration {
	m.t.Helper()
	return m.await("reason "+reason, func(lm *v1alpha1.LiveMigration) bool { return reasonOf(lm) == reason })
}

// isGone reports whether the object has been removed.
func (m *move) isGone() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.gone
}

// awaitGone waits until the object has been removed.
func (m *move) awaitGone() {
	m.t.Helper()
	if !poll(m.t.Context(), m.isGone) {
		m.t.Fatalf("%s is never removed", m.latest().Name)
	}
}

// requireUnchanged fails if the object is not as it was.
func (m *move) requireUnchanged(was *v1alpha1.LiveMigration) {
	m.t.Helper()
	is := &v1alpha1.LiveMigration{}
	if err := cluster.client.Get(m.t.Context(), m.key(), is); err != nil {
		m.t.Fatal(err)
	}
	if is.ResourceVersion != was.ResourceVersion {
		m.t.Errorf("the object was written to:\n%s\nbecame\n%s", describe(was), describe(is))
	}
}

// delete deletes the object, as its user does.
func (m *move) delete(ctx context.Context) {
	m.t.Helper()
	if err := cluster.client.Delete(ctx, m.latest()); err != nil && !apierrors.IsNotFound(err) {
		m.t.Error(err)
	}
}

// succeeded returns the Succeeded condition.
func succeeded(lm *v1alpha1.LiveMigration) metav1.Condition {
	if c := meta.FindStatusCondition(lm.Status.Conditions, v1alpha1.ConditionSucceeded); c != nil {
		return *c
	}
	return metav1.Condition{}
}

func reasonOf(lm *v1alpha1.LiveMigration) string { return succeeded(lm).Reason }

// steps returns the phases and reasons that a migration went through, in order,
// each as long as it did not change.
func steps(states []*v1alpha1.LiveMigration) []string {
	var out []string
	for _, lm := range states {
		out = append(out, fmt.Sprintf("%s/%s", lm.Status.Phase, reasonOf(lm)))
	}
	return slices.Compact(out)
}

// describe shows an object as its user sees it.
func describe(lm *v1alpha1.LiveMigration) string {
	raw, err := yaml.Marshal(lm.Status)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("LiveMigration %s (resourceVersion %s):\n%s", lm.Name, lm.ResourceVersion, raw)
}
