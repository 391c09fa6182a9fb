//go:build linux

package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/test/bench/shuttle"
	"github.com/virtferry/virtferry/test/lab"
)

const (
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
	*shuttle.Bench
	address netip.Addr
	peer    *lab.Peer
}

func newBench(ctx context.Context, shared *shuttle.Bench, stp bool) (*bench, error) {
	b := &bench{Bench: shared, address: netip.MustParseAddr("198.51.100.10")}
	var err error
	if b.peer, err = b.Lab.AddPeer(ctx); err != nil {
		return nil, err
	}
	if stp {
		if err := useSTP(ctx, b.Lab); err != nil {
			return nil, err
		}
	}
	err = b.StartGuest(ctx, lab.GuestConfig{
		Name: "shuttle", Persistent: true, NICs: []lab.NIC{{Address: b.address}}, Load: lab.Load{WorkingSetMiB: workingSetMiB},
	})
	return b, err
}

// useSTP has the hosts' bridges use the spanning tree protocol, and waits until they forward.
func useSTP(ctx context.Context, l *lab.Lab) error {
	for _, h := range l.Hosts() {
		if _, err := h.Exec(ctx, "ip", "link", "set", lab.GuestBridge, "type", "bridge", "stp_state", "1"); err != nil {
			return err
		}
	}
	return shuttle.Sleep(ctx, stpDelay)
}

// move moves the guest to the host where it is not. A guest that is quiet sends nothing by
// itself, so that only what is announced for it tells the network where it is.
func (b *bench) move(ctx context.Context, s strategy, quiet bool) (move, error) {
	ctx, cancel := context.WithTimeout(ctx, moveTimeout)
	defer cancel()
	from, to := b.Sides()
	b.Moves++
	if err := from.WaitPublished(ctx, b.Guest); err != nil {
		return move{}, err
	}
	if _, err := b.Guest.Command(ctx, from, fmt.Sprintf("dirty %d", s.dirtyMiBps)); err != nil {
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
	if err := shuttle.Sleep(ctx, rest); err != nil {
		return move{}, err
	}
	lm, told, err := b.migrate(ctx, s, to)
	if err != nil {
		return move{}, err
	}
	if err := contact.Wait(ctx, time.Now(), signals...); err != nil {
		return move{}, fmt.Errorf("the guest is on %s, but its peer: %w", to.Name(), err)
	}
	if err := shuttle.Sleep(ctx, rest); err != nil {
		return move{}, err
	}
	return measure(s.name, quiet, lm, told, contact, began, time.Now()), nil
}

// migrate moves the guest, and returns the object once all is known, and when it was first
// seen to tell of the switch-over.
func (b *bench) migrate(ctx context.Context, s strategy, to *lab.Host) (lm *v1alpha1.LiveMigration, told time.Time, err error) {
	if lm, err = b.Create(ctx, s.name, to, s.options, nil); err != nil {
		return nil, told, err
	}
	w, err := b.Watch(ctx, lm.Name)
	if err != nil {
		return nil, told, err
	}
	defer w.Stop()
	toForce := s.forced
	lm, err = shuttle.Follow(ctx, w, func(now *v1alpha1.LiveMigration) (bool, error) {
		if told.IsZero() && switchedOver(now) {
			told = time.Now()
		}
		if toForce && inThirdPass(now) {
			toForce = false
			if err := b.Annotate(ctx, now, v1alpha1.AnnotationForceComplete, "now"); err != nil {
				return false, err
			}
		}
		return isOver(now)
	})
	return lm, told, err
}

func inThirdPass(lm *v1alpha1.LiveMigration) bool {
	return lm.Status.Progress != nil && lm.Status.Progress.MemoryIteration >= 3
}

// isOver tells whether a migration has succeeded and all is known of it.
func isOver(lm *v1alpha1.LiveMigration) (bool, error) {
	succeeded, err := shuttle.Succeeded(lm)
	return succeeded && lm.Status.DowntimeMilliseconds != nil, err
}

func switchedOver(lm *v1alpha1.LiveMigration) bool {
	return slices.ContainsFunc(lm.Status.Notices, func(n v1alpha1.Notice) bool { return n.Reason == v1alpha1.NoticeSwitchedOver })
}
