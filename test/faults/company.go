//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/test/lab"
)

const (
	// crowd is how many guests move beside that of a case in company: half of them
	// from its source, and half to it.
	crowd = 4
	// companyMiBps makes the copying of one of them last two seconds.
	companyMiBps = 4
	// arrivingLimit is how many guests may be on their way to a host at once: with two
	// hosts, as many as the manager lets leave the other one.
	arrivingLimit = 1
)

// companion is a guest that moves beside that of a case.
type companion struct {
	guest    *lab.Guest
	from, to *lab.Host
	key      client.ObjectKey
}

// gather returns companions that are well.
func (w *world) gather(ctx context.Context, number int) ([]*companion, error) {
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	on := map[*lab.Host]int{}
	var well []*companion
	for _, g := range w.crowd {
		if h := g.RunningOn(ctx); h != nil {
			on[h]++
			well = append(well, &companion{guest: g, from: h})
			continue
		}
		w.discard(ctx, g)
	}
	for len(well) < crowd {
		host := slices.MinFunc(w.lab.Hosts(), func(a, b *lab.Host) int { return on[a] - on[b] })
		w.made++
		g, err := host.StartGuest(ctx, lab.GuestConfig{Name: fmt.Sprintf("guest-%d", w.made), Persistent: true, Tiny: true})
		if err != nil {
			return nil, err
		}
		on[host]++
		well = append(well, &companion{guest: g, from: host})
	}
	w.crowd = nil
	for i, c := range well {
		w.crowd = append(w.crowd, c.guest)
		c.to, c.key = w.other(c.from), client.ObjectKey{Namespace: "default", Name: fmt.Sprintf("case-%d-beside-%d", number, i)}
		if _, err := c.guest.Ticks().Wait(ctx, c.from.Name(), 1); err != nil {
			return nil, err
		}
		if err := c.from.WaitPublished(ctx, c.guest); err != nil {
			return nil, err
		}
	}
	return well, nil
}

// setOut creates the companions' objects.
func (r *run) setOut(ctx context.Context) error {
	for _, c := range r.company {
		bandwidth := int64(companyMiBps)
		lm := &v1alpha1.LiveMigration{
			ObjectMeta: metav1.ObjectMeta{Name: c.key.Name, Namespace: c.key.Namespace},
			Spec: v1alpha1.LiveMigrationSpec{
				Domain: c.guest.UUID(), TargetNode: c.to.Name(), Options: &v1alpha1.MigrationOptions{BandwidthMiBps: &bandwidth},
			},
		}
		if err := r.world.api.Create(ctx, lm); err != nil {
			return fmt.Errorf("creating the LiveMigration of a companion: %w", err)
		}
	}
	return nil
}

// checkCompany returns what has gone wrong with the companions.
func (r *run) checkCompany(ctx context.Context) []string {
	waiting, cancel := context.WithTimeoutCause(ctx, settleTimeout, errors.New("it did not settle"))
	defer cancel()
	var wrong []string
	for _, c := range r.company {
		if err := r.checkCompanion(waiting, c); err != nil {
			wrong = append(wrong, fmt.Sprintf("beside it, %s: %v", c.key.Name, err))
		}
	}
	for host, counter := range r.arrivals {
		if most := counter.Most(); r.company != nil && most > arrivingLimit {
			wrong = append(wrong, fmt.Sprintf("%d guests were on their way to %s at once, %d may be", most, host, arrivingLimit))
		}
	}
	return wrong
}

// checkCompanion waits for the end of a companion's migration and compares what its
// object says with what is.
func (r *run) checkCompanion(ctx context.Context, c *companion) error {
	lm := &v1alpha1.LiveMigration{}
	for {
		err := r.world.api.Get(ctx, c.key, lm)
		if err == nil && verdictOf(lm) != pending {
			break
		}
		if ctx.Err() != nil {
			return fmt.Errorf("in phase %s (%s): %w", lm.Status.Phase, messageOf(lm), errors.Join(err, context.Cause(ctx)))
		}
		sleep(ctx, 10*pollInterval)
	}
	r.seen.remark("beside it, %s: %s/%s", c.key.Name, lm.Status.Phase, reasonOf(lm))
	was := ending{verdictOf(lm), seek(ctx, c.guest, c.from, c.to).place()}
	// An agent that is killed between the record of a start and the call makes no call.
	mayStay := r.scenario.fault.shared || reasonOf(lm) == v1alpha1.ReasonInterrupted
	if was != moved && (was != stayed || !mayStay) {
		return fmt.Errorf("it came to %v: %s", was, messageOf(lm))
	}
	// A tiny guest ticks once a second, and less often on a machine that is busy.
	if _, err := c.guest.Ticks().Advance(ctx, was.runner(c.from, c.to).Name(), 2); err != nil {
		return err
	}
	return c.guest.Ticks().Check()
}

// part deletes the companions' objects.
func (r *run) part(ctx context.Context) error {
	for _, c := range r.company {
		lm := &v1alpha1.LiveMigration{ObjectMeta: metav1.ObjectMeta{Name: c.key.Name, Namespace: c.key.Namespace}}
		if err := client.IgnoreNotFound(r.world.api.Delete(ctx, lm)); err != nil {
			return fmt.Errorf("deleting the LiveMigration of a companion: %w", err)
		}
		for ctx.Err() == nil && !apierrors.IsNotFound(r.world.api.Get(ctx, c.key, lm)) {
			sleep(ctx, pollInterval)
		}
	}
	return ctx.Err()
}
