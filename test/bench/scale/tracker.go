//go:build linux

package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/migration"
)

// groupLabel tells the migrations of the bench from the finished ones that lie
// about. Its value is the group that a migration belongs to.
const groupLabel = "virtferry-bench"

// milestones are when something of a migration was first seen by one who watches it.
type milestones struct {
	// exists is the migration itself, first the first condition, admitted the attempt, and
	// finished the end.
	exists, first, admitted, finished time.Time
	// now is its phase and condition, for messages.
	now string
}

// tracker sees what becomes of the bench's migrations.
type tracker struct {
	mu   sync.Mutex
	seen map[string]milestones
	news chan struct{}
}

// track watches the bench's migrations until ctx ends. An informer does it: the API
// server ends watches that it finds too slow, as may happen on a busy machine.
func track(ctx context.Context, config *rest.Config, scheme *runtime.Scheme) (*tracker, error) {
	ours, err := labels.NewRequirement(groupLabel, selection.Exists, nil)
	if err != nil {
		return nil, fmt.Errorf("selecting the migrations: %w", err)
	}
	informers, err := cache.New(config, cache.Options{Scheme: scheme, ByObject: map[client.Object]cache.ByObject{
		&v1alpha1.LiveMigration{}: {Label: labels.NewSelector().Add(*ours), Transform: cache.TransformStripManagedFields()},
	}})
	if err != nil {
		return nil, fmt.Errorf("watching the migrations: %w", err)
	}
	go func() { _ = informers.Start(ctx) }() // It fails only if it is started twice.
	informer, err := informers.GetInformer(ctx, &v1alpha1.LiveMigration{})
	if err != nil {
		return nil, fmt.Errorf("watching the migrations: %w", err)
	}
	t := &tracker{seen: map[string]milestones{}, news: make(chan struct{})}
	note := func(o any) {
		if lm, ok := o.(*v1alpha1.LiveMigration); ok {
			t.note(lm, time.Now())
		}
	}
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc: note, UpdateFunc: func(_, o any) { note(o) },
	})
	if err != nil {
		return nil, fmt.Errorf("watching the migrations: %w", err)
	}
	return t, nil
}

func (t *tracker) note(lm *v1alpha1.LiveMigration, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := t.seen[lm.Name]
	m.now = string(lm.Status.Phase)
	for _, c := range lm.Status.Conditions {
		if c.Type == v1alpha1.ConditionSucceeded {
			m.now = fmt.Sprintf("%s, %s: %s", lm.Status.Phase, c.Reason, c.Message)
		}
	}
	if m.exists.IsZero() {
		m.exists = now
	}
	if m.first.IsZero() && len(lm.Status.Conditions) > 0 {
		m.first = now
	}
	if m.admitted.IsZero() && lm.Status.Attempt != nil {
		m.admitted = now
	}
	if m.finished.IsZero() && migration.Finished(lm) {
		m.finished = now
	}
	t.seen[lm.Name] = m
	close(t.news)
	t.news = make(chan struct{})
}

// The milestones that one can wait for.
func existence(m milestones) time.Time      { return m.exists }
func firstCondition(m milestones) time.Time { return m.first }
func admission(m milestones) time.Time      { return m.admitted }
func end(m milestones) time.Time            { return m.finished }

// wait waits until all the named migrations have reached a milestone, and returns when
// the last of them did. The error tells of one that has not.
func (t *tracker) wait(ctx context.Context, names []string, of func(milestones) time.Time) (last time.Time, err error) {
	for {
		missing, example, latest, news := t.count(names, of)
		if missing == 0 {
			return latest, nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return latest, fmt.Errorf("%d of %d migrations are not there, %s is %q: %w",
				missing, len(names), example, t.describe(example), context.Cause(ctx))
		}
		if missing > 1 {
			// It cannot be over at once: no need to count with every event.
			time.Sleep(time.Duration(min(missing, 100)) * 100 * time.Microsecond)
		}
	}
}

func (t *tracker) count(names []string, of func(milestones) time.Time) (
	missing int, example string, latest time.Time, news chan struct{},
) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, name := range names {
		at := of(t.seen[name])
		if at.IsZero() {
			missing++
			example = name
		}
		if at.After(latest) {
			latest = at
		}
	}
	return missing, example, latest, t.news
}

func (t *tracker) describe(name string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.seen[name].now
}
