//go:build linux

package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/migration"
	"github.com/virtferry/virtferry/test/lab"
)

const (
	namespace = "default"
	// pollInterval is the time between two looks at something that is waited for.
	pollInterval = 50 * time.Millisecond
	// sideBySide is how many guests are started, or looked at, at a time.
	sideBySide = 4
	// bandwidth makes the copying of a guest last a few seconds.
	bandwidthMiBps = 4
)

// passenger is a guest that is to move.
type passenger struct {
	guest    *lab.Guest
	from, to *lab.Host
	name     string
	// cancelled is when the cancellation was asked for; zero where none was.
	cancelled time.Time
}

// storm is all that goes on.
type storm struct {
	plan       plan
	lab        *lab.Lab
	api        client.WithWatch
	passengers []*passenger
	watch      *watch
	observers  []*observer
	began      time.Time
	took       time.Duration
	// background are the goroutines that watch, until stop.
	background sync.WaitGroup
	stop       context.CancelFunc
}

// prepare starts Virtferry and all guests.
func prepare(ctx context.Context, l *lab.Lab, p plan) (*storm, error) {
	if _, err := l.StartVirtferry(ctx); err != nil {
		return nil, err
	}
	api, err := l.ControlPlane().NewClient()
	if err != nil {
		return nil, err
	}
	s := &storm{plan: p, lab: l, api: api, watch: newWatch(api)}
	hosts := l.Hosts()
	for i := range p.guests {
		for side, from := range hosts {
			s.passengers = append(s.passengers, &passenger{
				from: from, to: hosts[1-side], name: fmt.Sprintf("%s-%02d", from.Name(), i),
			})
		}
	}
	progressf("starting %d guests on each host", p.guests)
	err = s.each(func(one *passenger) error { return one.board(ctx) })
	if err != nil {
		return nil, fmt.Errorf("starting the guests: %w", err)
	}
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	for _, d := range l.Components() {
		s.background.Go(func() { s.watch.supervise(watching, d) })
	}
	for _, h := range hosts {
		t, err := newObserver(h)
		if err != nil {
			s.close()
			return nil, err
		}
		s.observers = append(s.observers, t)
		s.background.Go(func() { t.follow(watching) })
	}
	s.background.Go(func() { s.watch.followMigrations(watching) })
	s.background.Go(func() { s.watch.followNodes(watching) })
	return s, nil
}

// close ends the watching.
func (s *storm) close() {
	s.stop()
	s.background.Wait()
}

// each does something for every passenger, a few at a time.
func (s *storm) each(do func(*passenger) error) error {
	var group errgroup.Group
	group.SetLimit(sideBySide)
	for _, one := range s.passengers {
		group.Go(func() error { return do(one) })
	}
	return group.Wait()
}

// board starts the guest and waits until it can be moved.
func (p *passenger) board(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	var err error
	if p.guest, err = p.from.StartGuest(ctx, lab.GuestConfig{Name: p.name, Persistent: true, Tiny: true}); err != nil {
		return err
	}
	if _, err := p.guest.Ticks().Wait(ctx, p.from.Name(), 1); err != nil {
		return err
	}
	return p.from.WaitPublished(ctx, p.guest)
}

// rage applies all LiveMigrations, cancels some, and waits until all are over.
func (s *storm) rage(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.plan.limit)
	defer cancel()
	s.began = time.Now()
	var group errgroup.Group
	for _, one := range s.passengers {
		group.Go(func() error { return s.apply(ctx, one) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	progressf("all %d LiveMigrations are applied", len(s.passengers))
	// The last ones have not had their turn yet.
	for _, one := range s.passengers[len(s.passengers)-2*s.plan.cancels:] {
		if err := s.cancel(ctx, one); err != nil {
			return err
		}
	}
	left := map[*lab.Host]int{}
	for _, t := range s.observers {
		left[t.host] = s.plan.cancels
	}
	for told := 0; !s.over() && ctx.Err() == nil; sleep(ctx, pollInterval) {
		if err := s.cancelOneThatCopies(ctx, left); err != nil {
			return err
		}
		if n := s.watch.finishedCount(); n >= told+10 {
			told = n
			progressf("%d of %d are over after %.0f s", n, len(s.passengers), time.Since(s.began).Seconds())
		}
	}
	s.took = time.Since(s.began)
	return nil
}

// apply creates the LiveMigration of a passenger.
func (s *storm) apply(ctx context.Context, one *passenger) error {
	lm := &v1alpha1.LiveMigration{
		ObjectMeta: metav1.ObjectMeta{Name: one.name, Namespace: namespace},
		Spec: v1alpha1.LiveMigrationSpec{
			Domain: one.guest.UUID(), TargetNode: one.to.Name(),
			Options: &v1alpha1.MigrationOptions{BandwidthMiBps: new(int64(bandwidthMiBps))},
		},
	}
	if err := s.api.Create(ctx, lm); err != nil {
		return fmt.Errorf("creating the LiveMigration %s: %w", one.name, err)
	}
	return nil
}

// cancel asks for the end of a migration.
func (s *storm) cancel(ctx context.Context, one *passenger) error {
	lm := &v1alpha1.LiveMigration{ObjectMeta: metav1.ObjectMeta{Name: one.name, Namespace: namespace}}
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:"storm"}}}`, v1alpha1.AnnotationCancel)
	one.cancelled = time.Now()
	if err := s.api.Patch(ctx, lm, client.RawPatch(types.MergePatchType, []byte(patch))); err != nil {
		return fmt.Errorf("cancelling %s: %w", one.name, err)
	}
	return nil
}

// cancelOneThatCopies cancels the migration of every third guest that is seen to be
// copied, as many as are left to cancel.
func (s *storm) cancelOneThatCopies(ctx context.Context, left map[*lab.Host]int) error {
	for i, one := range s.passengers {
		if i/2%3 != 1 || !one.cancelled.IsZero() || left[one.from] == 0 || !s.watch.copying(one.name) {
			continue
		}
		left[one.from]--
		if err := s.cancel(ctx, one); err != nil {
			return err
		}
	}
	return nil
}

// over says whether all migrations are.
func (s *storm) over() bool { return s.watch.finishedCount() == len(s.passengers) }

// isCopying says whether a guest's memory is on its way.
func isCopying(lm *v1alpha1.LiveMigration) bool {
	p := lm.Status.Progress
	return !migration.Finished(lm) && lm.Status.Phase == v1alpha1.PhaseMigrating &&
		p != nil && p.Memory != nil && p.Memory.ProcessedBytes > 0
}

// sleep waits, unless ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
