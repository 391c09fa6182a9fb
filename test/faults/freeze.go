//go:build linux

package main

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"time"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/migration"
	"github.com/virtferry/virtferry/test/lab"
)

// What may happen to a guest that is frozen for its switch-over.

// freezeSeconds is for how long it is frozen on its source at most.
const freezeSeconds = 20

// freezes has a guest of the kind frozen.
func (k guestKind) freezes() *v1alpha1.GuestAgentOptions {
	if !k.frozen {
		return nil
	}
	return &v1alpha1.GuestAgentOptions{FreezeSeconds: new(int32(freezeSeconds))}
}

func freezeOf(lm *v1alpha1.LiveMigration) *v1alpha1.GuestFreeze {
	if source := migration.CurrentSource(lm); source != nil {
		return source.GuestFreeze
	}
	return nil
}

// The phases of a freeze, which a pause or a switch to post-copy follows. In the first, it is recorded, and perhaps
// not asked for.
var (
	freezeRecorded = phase{name: "Freezing", brisk: true, force: true, reached: status("the record of the freeze", func(lm *v1alpha1.LiveMigration) bool {
		return freezeOf(lm) != nil
	})}
	frozenBeforePause = phase{name: "Frozen", brisk: true, force: true, reached: status("the freeze", func(lm *v1alpha1.LiveMigration) bool {
		freeze := freezeOf(lm)
		return freeze != nil && freeze.FrozenTime != nil
	})}
	frozenOnTarget = phase{name: "Frozen, target runs", brisk: true, force: true, reached: arrival.reached}
)

// guestAgentHangs has the guest's agent freeze it, and say nothing any more until it is told to.
func guestAgentHangs(lasts time.Duration) fault {
	return fault{
		name: "guest's agent hangs when it has frozen it", lasts: lasts,
		inject: func(ctx context.Context, r *run) error {
			r.tellGuest(ctx, "agent deaf-for-freeze")
			return nil
		},
		repair: func(ctx context.Context, r *run) error {
			r.tellGuest(ctx, "agent hears")
			return nil
		},
	}
}

// freezeTable: a guest that is frozen is thawed, wherever it runs then and whoever dies.
func freezeTable() []block {
	all := []phase{freezeRecorded, frozenBeforePause}
	return []block{
		{killed("source agent", sourceAgent), on(all, moved)},
		{killed("target agent", targetAgent), on([]phase{frozenBeforePause, frozenOnTarget}, moved)},
		{guestAgentHangs(25 * time.Second), on([]phase{preparing, starting}, moved)},
		{libvirtdKilled("source libvirtd killed", syscall.SIGKILL, theSource), on(all, stayed, moved)},
		{libvirtdKilled("target libvirtd killed", syscall.SIGKILL, theTarget), on([]phase{frozenOnTarget}, moved, stayed, held)},
		{qemuKilled("target", theTarget), on([]phase{frozenBeforePause}, stayed, moved, movedThenStopped, lost)},
		{cancelRequested(), on(all, wasCancelled, moved)},
	}
}

var errFrozen = errors.New("the guest is left frozen")

// checkThawed: no guest stays frozen.
func (r *run) checkThawed(ctx context.Context, host *lab.Host) error {
	if !r.scenario.guest.frozen {
		return nil
	}
	said, err := r.guest.Command(ctx, host, "agent log")
	if err == nil && strings.HasPrefix(said, "true") {
		err = errFrozen
	}
	return err
}
