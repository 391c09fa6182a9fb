//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/migration"
	"github.com/virtferry/virtferry/test/lab"
	"github.com/virtferry/virtferry/test/traffic"
)

// scenario is a case: a fault at a phase, and what it may come to.
type scenario struct {
	fault fault
	phase phase
	guest guestKind
	// company says that other guests move at the same time, both ways. They must
	// arrive, whatever the fault does to the guest of the case; where it hits all
	// that is under way, they may as well stay.
	company bool
	allowed []ending
}

func (s scenario) name() string {
	name := s.fault.name + " @ " + s.phase.name
	if s.guest.transient {
		name += ", transient guest"
	}
	if s.guest.paused {
		name += ", paused guest"
	}
	if s.guest.disk {
		name += ", local disk"
	}
	if s.guest.frozen {
		name += ", to be frozen"
	}
	if s.company {
		name += ", in company"
	}
	return name
}

// result is what became of a case.
type result struct {
	scenario
	was    ending
	reason string
	// settle is the time from the repair until the status was settled, lag that
	// part of it in which nothing happened to the guest any more.
	settle, lag time.Duration
	took        time.Duration
	violations  []string
	history     []string
	// logged is what the daemons said about it.
	logged []string
}

// run is a case under way.
type run struct {
	world          *world
	scenario       scenario
	guest          *lab.Guest
	source, target *lab.Host
	key            client.ObjectKey
	seen           *observer
	repaired       time.Time
	// twice is whether the guest ran on both hosts for a while.
	twice   bool
	company []*companion
	// arrivals counts the guests that are on their way to each host.
	arrivals map[string]*traffic.Counter
}

// Limits of a case.
const (
	reachTimeout  = 60 * time.Second
	settleTimeout = 150 * time.Second
	// unknownPatience is how long an outcome that is not known may take to give
	// way to one that is, once everything is in order again.
	unknownPatience = 10 * time.Second
)

// copyMiBps is the bandwidth of a copying that is to last, and briskMiBps what a
// brisk guest then writes. swiftMiBps is the bandwidth of all others.
const (
	copyMiBps  = 16
	briskMiBps = 32
	swiftMiBps = 48
)

// carryOut does one case. Its error is the harness's own.
func (w *world) carryOut(ctx context.Context, number int, s scenario) (result, error) {
	began := time.Now()
	guest, source, err := w.guest(ctx, s.guest)
	if err != nil {
		return result{}, fmt.Errorf("getting a guest: %w", err)
	}
	r := &run{
		world: w, scenario: s, guest: guest, source: source, target: w.other(source),
		key:      client.ObjectKey{Namespace: "default", Name: fmt.Sprintf("case-%d", number)},
		arrivals: map[string]*traffic.Counter{},
	}
	if s.company {
		if r.company, err = w.gather(ctx, number); err != nil {
			return result{}, fmt.Errorf("gathering the company: %w", err)
		}
	}
	r.seen = newObserver(w.api, r.key)
	following, stop := context.WithCancel(ctx)
	var wait sync.WaitGroup
	for _, h := range w.lab.Hosts() {
		events := w.events[h.Name()].Subscribe(following, guest.UUID())
		wait.Go(func() { r.seen.followHost(h.Name(), events) })
		counter, all := &traffic.Counter{}, w.events[h.Name()].Subscribe(following, "")
		r.arrivals[h.Name()] = counter
		wait.Go(func() {
			for e := range all {
				counter.Note(e)
			}
		})
	}
	defer wait.Wait()
	defer stop()

	out := result{scenario: s}
	if err := r.begin(ctx); err != nil {
		return out, err
	}
	wait.Go(func() { r.seen.follow(following) })
	err = r.breakAndMend(ctx)
	if err != nil {
		out.violations = append(out.violations, "harness: "+err.Error())
	}
	r.judge(ctx, &out)
	if err := r.cleanUp(ctx, &out); err != nil {
		return out, err
	}
	out.took = time.Since(began)
	out.history = r.seen.soFar()
	for _, line := range w.news() {
		if strings.Contains(line, "name="+r.key.Name+" ") {
			out.logged = append(out.logged, line)
		}
	}
	w.keep(number, out)
	return out, nil
}

// begin prepares the guest and creates the object.
func (r *run) begin(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	bandwidth, dirty := int64(swiftMiBps), 0
	if r.scenario.phase.brisk {
		bandwidth, dirty = copyMiBps, briskMiBps
	}
	if r.scenario.phase.postCopy {
		if err := r.target.LimitBandwidth(ctx, copyMiBps); err != nil {
			return err
		}
	}
	if _, err := r.guest.Command(ctx, r.source, fmt.Sprintf("dirty %d", dirty)); err != nil {
		return err
	}
	if err := r.source.WaitPublished(ctx, r.guest); err != nil {
		return err
	}
	if r.scenario.guest.paused {
		if _, err := r.source.Virsh(ctx, "suspend", r.guest.UUID()); err != nil {
			return err
		}
	}
	if holder := r.holder(); holder != nil {
		if err := holder.Pause(); err != nil {
			return err
		}
	}
	lm := &v1alpha1.LiveMigration{
		ObjectMeta: metav1.ObjectMeta{Name: r.key.Name, Namespace: r.key.Namespace},
		Spec: v1alpha1.LiveMigrationSpec{
			Domain: r.guest.UUID(), TargetNode: r.target.Name(),
			// A guest that writes too fast is not given up: it is told to stop.
			Options: &v1alpha1.MigrationOptions{
				BandwidthMiBps: &bandwidth, OnTimeout: v1alpha1.TimeoutKeepGoing, AllowPostCopy: &r.scenario.phase.postCopy,
				StorageCopy: r.scenario.guest.storageCopy(), GuestAgent: r.scenario.guest.freezes(),
			},
		},
	}
	if r.scenario.phase.force {
		lm.Annotations = map[string]string{v1alpha1.AnnotationForceComplete: "at once"}
	}
	if err := r.world.api.Create(ctx, lm); err != nil {
		return fmt.Errorf("creating the LiveMigration: %w", err)
	}
	return r.setOut(ctx)
}

// ask annotates the object with a request.
func (r *run) ask(ctx context.Context, annotation string) error {
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:"please"}}}`, annotation)
	lm := &v1alpha1.LiveMigration{ObjectMeta: metav1.ObjectMeta{Name: r.key.Name, Namespace: r.key.Namespace}}
	if err := r.world.api.Patch(ctx, lm, client.RawPatch(types.MergePatchType, []byte(patch))); err != nil {
		return fmt.Errorf("annotating the LiveMigration: %w", err)
	}
	return nil
}

// holder is the agent that keeps the phase from passing: the target's, unless the
// fault is about that one.
func (r *run) holder() *daemon {
	switch {
	case !r.scenario.phase.hold:
		return nil
	case strings.Contains(r.scenario.fault.name, "target agent"):
		return sourceAgent(r)
	default:
		return targetAgent(r)
	}
}

// breakAndMend waits for the phase, breaks what is to break, and mends it. It
// leaves a guest behind that can be moved.
func (r *run) breakAndMend(ctx context.Context) error {
	s := r.scenario
	reaching, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	err := s.phase.reached(reaching, r)
	if err == nil {
		err = s.fault.inject(ctx, r)
	}
	r.seen.remark("%s", s.fault.name)
	if holder := r.holder(); holder != nil {
		err = errors.Join(err, holder.Resume())
	}
	sleep(ctx, s.fault.lasts)
	if s.fault.repair != nil {
		mending, cancel := context.WithTimeout(ctx, 90*time.Second)
		defer cancel()
		err = errors.Join(err, s.fault.repair(mending, r))
	}
	r.repaired = time.Now()
	r.seen.remark("repaired")
	if s.phase.brisk && !s.guest.paused {
		r.tellGuest(ctx, "dirty 0")
	}
	return err
}

// tellPatience: a guest in post-copy may have to wait for its memory.
const tellPatience = 5 * time.Second

// tellGuest sends the guest a command on whichever side it listens. A guest that
// cannot be told is no error: it may be gone.
func (r *run) tellGuest(ctx context.Context, command string) {
	for _, h := range []*lab.Host{r.source, r.target} {
		asking, cancel := context.WithTimeout(ctx, tellPatience)
		_, err := r.guest.Command(asking, h, command)
		cancel()
		if err == nil {
			return
		}
	}
	r.seen.remark("the guest could not be told %q", command)
}

// judge waits until the status is settled and checks it, and everything else.
func (r *run) judge(ctx context.Context, out *result) {
	waiting, cancel := context.WithTimeoutCause(ctx, settleTimeout, errors.New("the status did not settle"))
	defer cancel()
	seen, err := r.seen.await(waiting, "a settled status", r.settled)
	if err != nil {
		out.violations = append(out.violations, err.Error())
	}
	if seen.lm == nil {
		out.violations = append(out.violations, "the object was never seen")
		return
	}
	if seen.gone && !r.scenario.fault.deletes {
		out.violations = append(out.violations, "the object is gone")
	}
	if verdictOf(seen.lm) == pending {
		seen.settledAt = time.Now() // It has taken this long at least.
	}
	r.measure(seen, out)
	out.reason = reasonOf(seen.lm)
	if r.scenario.fault.untilSettled {
		if err := r.world.heal(ctx); err != nil {
			out.violations = append(out.violations, err.Error())
		}
	}
	out.violations = append(out.violations, r.check(ctx, verdictOf(seen.lm), out)...)
	out.violations = append(out.violations, r.checkCompany(ctx)...)
	if out.was == held && len(out.violations) == 0 {
		out.violations = append(out.violations, r.decide(ctx)...)
	}
	if len(out.violations) > 0 {
		r.seen.remark("message: %s", messageOf(seen.lm))
		r.seen.remark("source: %s", compact(seen.lm.Status.Source))
		r.seen.remark("target: %s", compact(seen.lm.Status.Target))
	}
}

// measure says how long the status took to settle.
func (r *run) measure(seen sight, out *result) {
	out.settle = max(0, seen.settledAt.Sub(r.repaired))
	out.lag = out.settle
	for _, e := range seen.events {
		if e.Type == hypervisor.EventLifecycle && e.at.Before(seen.settledAt) {
			out.lag = min(out.lag, seen.settledAt.Sub(e.at))
		}
	}
}

// decide does what a person does where libvirt had the guest run twice: destroy the
// copy that was paused. Then the status must settle.
func (r *run) decide(ctx context.Context) []string {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	r.seen.remark("the source's copy is destroyed")
	if _, err := r.source.Virsh(ctx, "destroy", r.guest.UUID()); err != nil {
		return []string{err.Error()}
	}
	_, err := r.seen.await(ctx, "success, now that one copy is left", func(s sight) bool { return verdictOf(s.lm) == succeeded })
	if err != nil {
		return []string{err.Error()}
	}
	var wrong []string
	for _, h := range []*lab.Host{r.source, r.target} {
		if err := r.eventually(ctx, func() error { return r.checkLeftovers(ctx, h, moved) }); err != nil {
			wrong = append(wrong, err.Error())
		}
	}
	return wrong
}

// compact shows a part of the status.
func compact(part any) string {
	raw, err := json.Marshal(part)
	if err != nil {
		return err.Error()
	}
	return string(raw)
}

// settled says whether the status has come to rest.
func (r *run) settled(s sight) bool {
	if s.gone || s.lm == nil {
		return s.gone
	}
	switch verdictOf(s.lm) {
	case pending:
		return false
	case unknown:
		return time.Since(s.settledAt) > unknownPatience && time.Since(r.repaired) > unknownPatience
	case succeeded, failed, ended, cancelled:
		return true
	default:
		return false
	}
}

// cleanUp deletes the object and makes all well again.
func (r *run) cleanUp(ctx context.Context, out *result) error {
	if err := r.world.heal(ctx); err != nil {
		return err
	}
	if len(out.violations) > 0 || !out.was.reusable() || r.scenario.fault.reboots || r.twice {
		r.world.discard(ctx, r.guest)
	}
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	if err := r.part(ctx); err != nil {
		return err
	}
	lm := &v1alpha1.LiveMigration{ObjectMeta: metav1.ObjectMeta{Name: r.key.Name, Namespace: r.key.Namespace}}
	if err := client.IgnoreNotFound(r.world.api.Delete(ctx, lm)); err != nil {
		return fmt.Errorf("deleting the LiveMigration: %w", err)
	}
	if out.was.verdict == unknown || out.was.verdict == pending {
		// What is not known keeps the object. A person lets it go.
		if err := r.letGo(ctx); err != nil {
			return err
		}
	}
	if _, err := r.seen.await(ctx, "the object to go", func(s sight) bool { return s.gone }); err != nil {
		out.violations = append(out.violations, err.Error())
		return r.letGo(ctx)
	}
	return nil
}

// letGo takes the finalizer away, as a person does who knows the truth.
func (r *run) letGo(ctx context.Context) error {
	lm := &v1alpha1.LiveMigration{}
	if err := r.world.api.Get(ctx, r.key, lm); err != nil {
		return client.IgnoreNotFound(err)
	}
	patch := client.MergeFrom(lm.DeepCopy())
	lm.Finalizers = slices.DeleteFunc(lm.Finalizers, func(f string) bool { return f == v1alpha1.FinalizerGuestSafe })
	if err := r.world.api.Patch(ctx, lm, patch); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("letting go of the object: %w", err)
	}
	return nil
}

// finishedAndFree says whether the migration has ended and nothing holds its
// object any more.
func finishedAndFree(lm *v1alpha1.LiveMigration) bool {
	return migration.Finished(lm) && !slices.Contains(lm.Finalizers, v1alpha1.FinalizerGuestSafe)
}
