//go:build linux

package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/internal/statuscheck"
	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// observer follows a LiveMigration, across interruptions of the API server, and
// the events of its guest on all hosts.
type observer struct {
	api client.WithWatch
	key client.ObjectKey

	mu sync.Mutex
	// now is the object as last seen; nil before that.
	now  *v1alpha1.LiveMigration
	gone bool
	// settledAt is since when the object has shown its present verdict.
	settledAt time.Time
	events    []hostEvent
	history   []string
	problems  []string
	changed   chan struct{}
}

// hostEvent is what a host's libvirt told about the guest.
type hostEvent struct {
	host string
	at   time.Time
	hypervisor.Event
}

func (e hostEvent) String() string {
	switch e.Type {
	case hypervisor.EventLifecycle:
		return fmt.Sprintf("%s: %s/%s", e.host, e.Lifecycle, e.Detail)
	case hypervisor.EventIteration:
		return fmt.Sprintf("%s: pass %d", e.host, e.Iteration)
	case hypervisor.EventJobCompleted, hypervisor.EventResync:
		return fmt.Sprintf("%s: %s", e.host, e.Type)
	default:
		return fmt.Sprintf("%s: %s", e.host, e.Type)
	}
}

func newObserver(api client.WithWatch, key client.ObjectKey) *observer {
	return &observer{api: api, key: key, changed: make(chan struct{})}
}

// requestTimeout bounds each request of the harness; the API server may be down.
const requestTimeout = 5 * time.Second

// follow follows the object until ctx ends. It looks for itself, too: a watch that
// begins while the API server starts may hear nothing for half a minute.
func (o *observer) follow(ctx context.Context) {
	var wait sync.WaitGroup
	defer wait.Wait()
	wait.Go(func() {
		for ; ctx.Err() == nil; sleep(ctx, time.Second) {
			_, _ = o.read(ctx)
		}
	})
	for ; ctx.Err() == nil; sleep(ctx, pollInterval) {
		o.followOnce(ctx)
	}
}

// read reads the object once.
func (o *observer) read(ctx context.Context) (*v1alpha1.LiveMigration, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	lm := &v1alpha1.LiveMigration{}
	err := o.api.Get(ctx, o.key, lm)
	switch {
	case apierrors.IsNotFound(err):
		o.noteGone()
	case err == nil:
		o.note(lm)
	}
	return lm, err
}

// followOnce reads the object and every state of it from there on, until the
// connection is lost.
func (o *observer) followOnce(ctx context.Context) {
	lm, err := o.read(ctx)
	if err != nil {
		return
	}
	w, err := o.api.Watch(ctx, &v1alpha1.LiveMigrationList{}, &client.ListOptions{
		Namespace: o.key.Namespace,
		Raw: &metav1.ListOptions{
			FieldSelector: "metadata.name=" + o.key.Name, ResourceVersion: lm.ResourceVersion,
		},
	})
	if err != nil {
		return
	}
	defer w.Stop()
	for event := range w.ResultChan() {
		lm, ok := event.Object.(*v1alpha1.LiveMigration)
		switch {
		case !ok:
			return
		case event.Type == "DELETED":
			o.noteGone()
		default:
			o.note(lm)
		}
	}
}

// note checks a state of the object and remembers it.
func (o *observer) note(lm *v1alpha1.LiveMigration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.gone || o.now != nil && !newer(lm, o.now) {
		return
	}
	o.check(statuscheck.Check(lm), "in phase %s", lm.Status.Phase)
	if before := o.now; before != nil {
		o.check(statuscheck.CheckTransition(before, lm), "from phase %s to %s", before.Status.Phase, lm.Status.Phase)
	}
	verdict := verdictOf(lm)
	if o.now == nil || verdictOf(o.now) != verdict {
		o.settledAt = time.Now()
	}
	if line := fmt.Sprintf("%s/%s", lm.Status.Phase, reasonOf(lm)); o.now == nil || line != fmt.Sprintf("%s/%s", o.now.Status.Phase, reasonOf(o.now)) {
		o.remember("status: " + line)
	}
	o.now = lm
	o.wake()
}

// newer compares resource versions, which are numbers that rise.
func newer(a, b *v1alpha1.LiveMigration) bool {
	x, errX := strconv.ParseUint(a.ResourceVersion, 10, 64)
	y, errY := strconv.ParseUint(b.ResourceVersion, 10, 64)
	return errX != nil || errY != nil || x > y
}

func (o *observer) check(err error, where string, args ...any) {
	if err == nil {
		return
	}
	problem := fmt.Sprintf("status "+where+": %v", append(args, err)...)
	if !slices.Contains(o.problems, problem) {
		o.problems = append(o.problems, problem)
	}
}

func (o *observer) noteGone() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.gone {
		o.gone = true
		o.remember("status: gone")
		o.wake()
	}
}

// followHost remembers the events of the guest on one host until ctx ends.
func (o *observer) followHost(host string, events <-chan hypervisor.Event) {
	for e := range events {
		o.mu.Lock()
		event := hostEvent{host: host, at: time.Now(), Event: e}
		o.events = append(o.events, event)
		o.remember(event.String())
		o.wake()
		o.mu.Unlock()
	}
}

// remark puts a line of the harness's own into the history.
func (o *observer) remark(format string, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.remember(fmt.Sprintf("harness: "+format, args...))
}

// soFar returns all that was remembered.
func (o *observer) soFar() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.history)
}

func (o *observer) remember(line string) {
	o.history = append(o.history, time.Now().UTC().Format("15:04:05.000 ")+line)
}

func (o *observer) wake() {
	close(o.changed)
	o.changed = make(chan struct{})
}

// sight is all that has been seen so far.
type sight struct {
	lm        *v1alpha1.LiveMigration
	gone      bool
	settledAt time.Time
	events    []hostEvent
}

func (o *observer) look() (sight, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return sight{lm: o.now, gone: o.gone, settledAt: o.settledAt, events: slices.Clone(o.events)}, o.changed
}

// await waits until what is seen is as wanted. Changes wake it at once; the time
// that passes, soon.
func (o *observer) await(ctx context.Context, what string, ok func(sight) bool) (sight, error) {
	for {
		seen, changed := o.look()
		if ok(seen) {
			return seen, nil
		}
		select {
		case <-changed:
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return seen, fmt.Errorf("waiting for %s: %w", what, context.Cause(ctx))
		}
	}
}

func reasonOf(lm *v1alpha1.LiveMigration) string {
	if c := meta.FindStatusCondition(lm.Status.Conditions, v1alpha1.ConditionSucceeded); c != nil {
		return c.Reason
	}
	return ""
}

func messageOf(lm *v1alpha1.LiveMigration) string {
	if c := meta.FindStatusCondition(lm.Status.Conditions, v1alpha1.ConditionSucceeded); c != nil {
		return c.Message
	}
	return ""
}
