//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/migration"
	"github.com/virtferry/virtferry/test/lab"
)

const (
	namespace = "default"
	// workingSetMiB is what the guest writes to.
	workingSetMiB = 32
	// linkMiBps is what all migrations may take.
	linkMiBps = 32
	// moveTimeout bounds one move, and the waits before and after.
	moveTimeout = 3 * time.Minute
	// rest is how long the peer listens before a move and after it.
	rest = 2 * time.Second
	// stpDelay is what the kernel has a bridge wait at first, listening and learning, and a
	// little.
	stpDelay = 35 * time.Second
)

// strategy is a way in which a migration comes to its end.
type strategy struct {
	name string
	// dirtyMiBps is how fast the guest writes.
	dirtyMiBps int
	// forced is whether it is completed by request, once it has been copied for a while.
	forced  bool
	options v1alpha1.MigrationOptions
}

// strategies are all that are measured.
func strategies() []strategy {
	const slowly, tooFast = 2, 2 * linkMiBps
	transfer := func(e v1alpha1.Encryption) *v1alpha1.TransferOptions { return &v1alpha1.TransferOptions{Encryption: e} }
	plain, encrypted := transfer(v1alpha1.EncryptionDisabled), transfer(v1alpha1.EncryptionRequired)
	limit := new(int64(linkMiBps))
	endless := v1alpha1.MigrationOptions{BandwidthMiBps: limit, OnTimeout: v1alpha1.TimeoutKeepGoing, Transfer: plain, AllowPostCopy: new(false)}
	postCopy := endless
	postCopy.AllowPostCopy = new(true)
	return []strategy{
		{name: "precopy", dirtyMiBps: slowly, options: v1alpha1.MigrationOptions{BandwidthMiBps: limit, Transfer: plain}},
		{name: "encrypted", dirtyMiBps: slowly, options: v1alpha1.MigrationOptions{BandwidthMiBps: limit, Transfer: encrypted}},
		{name: "paused", dirtyMiBps: tooFast, forced: true, options: endless},
		{name: "postcopy", dirtyMiBps: tooFast, forced: true, options: postCopy},
	}
}

// bench is a lab with a guest that is moved, and a peer that calls it.
type bench struct {
	lab     *lab.Lab
	api     client.WithWatch
	guest   *lab.Guest
	address netip.Addr
	peer    *lab.Peer
	moves   int
}

func newBench(ctx context.Context, l *lab.Lab, stp bool) (*bench, error) {
	if _, err := l.StartVirtferry(ctx); err != nil {
		return nil, err
	}
	b := &bench{lab: l, address: netip.MustParseAddr("198.51.100.10")}
	var err error
	if b.api, err = l.ControlPlane().NewClient(); err != nil {
		return nil, err
	}
	if b.peer, err = l.AddPeer(ctx); err != nil {
		return nil, err
	}
	if stp {
		if err := useSTP(ctx, l); err != nil {
			return nil, err
		}
	}
	from := l.Hosts()[0]
	b.guest, err = from.StartGuest(ctx, lab.GuestConfig{
		Name: "shuttle", Persistent: true, NICs: []lab.NIC{{Address: b.address}}, Load: lab.Load{WorkingSetMiB: workingSetMiB},
	})
	if err == nil {
		_, err = b.guest.Ticks().Wait(ctx, from.Name(), 2)
	}
	return b, err
}

// useSTP has the hosts' bridges use the spanning tree protocol, and waits until they forward.
func useSTP(ctx context.Context, l *lab.Lab) error {
	for _, h := range l.Hosts() {
		if _, err := h.Exec(ctx, "ip", "link", "set", lab.GuestBridge, "type", "bridge", "stp_state", "1"); err != nil {
			return err
		}
	}
	return sleep(ctx, stpDelay)
}

// move moves the guest to the host where it is not. A guest that is quiet sends nothing by
// itself, so that only what is announced for it tells the network where it is.
func (b *bench) move(ctx context.Context, s strategy, quiet bool) (move, error) {
	ctx, cancel := context.WithTimeout(ctx, moveTimeout)
	defer cancel()
	hosts := b.lab.Hosts()
	from, to := hosts[b.moves%2], hosts[(b.moves+1)%2]
	b.moves++
	if err := from.WaitPublished(ctx, b.guest); err != nil {
		return move{}, err
	}
	if _, err := b.guest.Command(ctx, from, fmt.Sprintf("dirty %d", s.dirtyMiBps)); err != nil {
		return move{}, err
	}
	signals := lab.Signals()
	if quiet {
		signals = []lab.Signal{lab.Ping, lab.Echo}
	}
	contact, err := b.peer.Call(ctx, b.address, signals...)
	if err != nil {
		return move{}, err
	}
	defer contact.Close()
	began := time.Now()
	if err := sleep(ctx, rest); err != nil {
		return move{}, err
	}
	lm, told, err := b.migrate(ctx, s, to)
	if err != nil {
		return move{}, err
	}
	if err := contact.Wait(ctx, time.Now(), signals...); err != nil {
		return move{}, fmt.Errorf("the guest is on %s, but its peer: %w", to.Name(), err)
	}
	if err := sleep(ctx, rest); err != nil {
		return move{}, err
	}
	return measure(s.name, quiet, lm, told, contact, began, time.Now()), nil
}

// migrate moves the guest, and returns the object once all is known, and when it was first
// seen to tell of the switch-over.
func (b *bench) migrate(ctx context.Context, s strategy, to *lab.Host) (lm *v1alpha1.LiveMigration, told time.Time, err error) {
	lm = &v1alpha1.LiveMigration{
		ObjectMeta: metav1.ObjectMeta{GenerateName: s.name + "-", Namespace: namespace},
		Spec:       v1alpha1.LiveMigrationSpec{Domain: b.guest.UUID(), TargetNode: to.Name(), Options: &s.options},
	}
	if err := b.api.Create(ctx, lm); err != nil {
		return nil, told, fmt.Errorf("creating the LiveMigration: %w", err)
	}
	w, err := b.api.Watch(ctx, &v1alpha1.LiveMigrationList{}, client.InNamespace(namespace), client.MatchingFields{"metadata.name": lm.Name})
	if err != nil {
		return nil, told, fmt.Errorf("watching the LiveMigration: %w", err)
	}
	defer w.Stop()
	toForce := s.forced
	for event := range w.ResultChan() {
		now, ok := event.Object.(*v1alpha1.LiveMigration)
		if !ok {
			continue
		}
		if told.IsZero() && switchedOver(now) {
			told = time.Now()
		}
		if toForce && inThirdPass(now) {
			toForce = false
			if err := b.force(ctx, now); err != nil {
				return nil, told, err
			}
		}
		if over, err := isOver(now); over || err != nil {
			return now, told, err
		}
	}
	return nil, told, errors.Join(errors.New("the migration does not end, or its downtime is not told"), ctx.Err())
}

func inThirdPass(lm *v1alpha1.LiveMigration) bool {
	return lm.Status.Progress != nil && lm.Status.Progress.MemoryIteration >= 3
}

// isOver tells whether a migration has succeeded and all is known of it.
func isOver(lm *v1alpha1.LiveMigration) (bool, error) {
	if !migration.Finished(lm) {
		return false, nil
	}
	if !meta.IsStatusConditionTrue(lm.Status.Conditions, v1alpha1.ConditionSucceeded) {
		return false, fmt.Errorf("the migration failed: %+v", lm.Status.Conditions)
	}
	return lm.Status.DowntimeMilliseconds != nil, nil
}

func switchedOver(lm *v1alpha1.LiveMigration) bool {
	return slices.ContainsFunc(lm.Status.Notices, func(n v1alpha1.Notice) bool { return n.Reason == v1alpha1.NoticeSwitchedOver })
}

// force asks for the completion, as a user does.
func (b *bench) force(ctx context.Context, lm *v1alpha1.LiveMigration) error {
	changed := lm.DeepCopy()
	changed.Annotations = map[string]string{v1alpha1.AnnotationForceComplete: "now"}
	if err := b.api.Patch(ctx, changed, client.MergeFrom(lm)); err != nil {
		return fmt.Errorf("asking for the completion: %w", err)
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
