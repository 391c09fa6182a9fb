//go:build linux

package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/internal/statuscheck"
	"github.com/virtferry/virtferry/pkg/migration"
	"github.com/virtferry/virtferry/test/lab"
)

// watch follows all LiveMigrations and all Hypervisors.
type watch struct {
	api client.WithWatch

	mu  sync.Mutex
	now map[string]*v1alpha1.LiveMigration
	// finished is when each migration was seen to be over.
	finished map[string]time.Time
	notReady map[string]bool
	problems []string
}

func newWatch(api client.WithWatch) *watch {
	return &watch{api: api, now: map[string]*v1alpha1.LiveMigration{}, finished: map[string]time.Time{}, notReady: map[string]bool{}}
}

// follow hands every state of every object of a kind to note, until ctx ends.
func (w *watch) follow(ctx context.Context, list client.ObjectList, note func(client.Object)) {
	for ; ctx.Err() == nil; sleep(ctx, pollInterval) {
		// Without a resource version, a watch begins with all that there is.
		events, err := w.api.Watch(ctx, list, client.InNamespace(""))
		if err != nil {
			continue
		}
		for event := range events.ResultChan() {
			object, ok := event.Object.(client.Object)
			if ok && event.Type != apiwatch.Deleted && event.Type != apiwatch.Error {
				note(object)
			}
		}
	}
}

func (w *watch) followMigrations(ctx context.Context) {
	w.follow(ctx, &v1alpha1.LiveMigrationList{}, func(o client.Object) {
		if lm, ok := o.(*v1alpha1.LiveMigration); ok {
			w.noteMigration(lm)
		}
	})
}

func (w *watch) followNodes(ctx context.Context) {
	w.follow(ctx, &v1alpha1.HypervisorList{}, func(o client.Object) {
		if hv, ok := o.(*v1alpha1.Hypervisor); ok {
			w.noteNode(hv)
		}
	})
}

// supervise starts a daemon again that has ended by itself, as a kubelet does, until
// ctx ends.
func (w *watch) supervise(ctx context.Context, d *lab.Component) {
	for ; ctx.Err() == nil; sleep(ctx, pollInterval) {
		p := d.Process()
		select {
		case <-ctx.Done():
			return
		case <-p.Exited():
		}
		err := d.Start()
		w.mu.Lock()
		w.complain("%s ended by itself: %s", d.Name(), p.LogTail(1))
		if err != nil {
			w.complain("%s: %v", d.Name(), err)
		}
		w.mu.Unlock()
	}
}

// noteMigration checks a state of a LiveMigration and remembers it.
func (w *watch) noteMigration(lm *v1alpha1.LiveMigration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := w.now[lm.Name]
	w.now[lm.Name] = lm
	if err := statuscheck.Check(lm); err != nil {
		w.complain("%s in phase %s: %v", lm.Name, lm.Status.Phase, err)
	}
	if before != nil {
		if err := statuscheck.CheckTransition(before, lm); err != nil {
			w.complain("%s from phase %s to %s: %v", lm.Name, before.Status.Phase, lm.Status.Phase, err)
		}
	}
	if _, known := w.finished[lm.Name]; !known && migration.Finished(lm) {
		w.finished[lm.Name] = time.Now()
	}
}

// noteNode notes when a node is anything but ready.
func (w *watch) noteNode(hv *v1alpha1.Hypervisor) {
	w.mu.Lock()
	defer w.mu.Unlock()
	ready := meta.FindStatusCondition(hv.Status.Conditions, v1alpha1.ConditionReady)
	away := ready == nil || ready.Status != metav1.ConditionTrue
	if away && !w.notReady[hv.Name] {
		message := "it has no condition Ready"
		if ready != nil {
			message = ready.Message
		}
		w.complain("%s is not ready: %s", hv.Name, message)
	}
	w.notReady[hv.Name] = away
}

// complain is called with the mutex held.
func (w *watch) complain(format string, args ...any) {
	if problem := fmt.Sprintf(format, args...); !slices.Contains(w.problems, problem) {
		w.problems = append(w.problems, problem)
	}
}

// last returns the newest state of a migration, nil if there is none, and when it
// was over.
func (w *watch) last(name string) (lm *v1alpha1.LiveMigration, finished time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now[name], w.finished[name]
}

func (w *watch) copying(name string) bool {
	lm, _ := w.last(name)
	return lm != nil && isCopying(lm)
}

func (w *watch) finishedCount() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.finished)
}

// wrong returns all that was not in order.
func (w *watch) wrong() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.problems)
}
