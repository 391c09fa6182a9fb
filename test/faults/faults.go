//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/test/lab"
)

// fault is something that breaks, and how it is mended.
type fault struct {
	name string
	// lasts is the time from the break to the repair.
	lasts time.Duration
	// apiAway says that the API server is out of reach for a while, for some or
	// for all: then the manager ends by itself when it cannot renew its lease, and
	// is started again.
	apiAway bool
	// reboots says that the guest starts anew.
	reboots bool
	// endsGuest says that the guest, or a copy of it, ends in a while.
	endsGuest bool
	// shared says that it hits every migration that is under way.
	shared bool
	// untilSettled says that it is repaired only once the status is settled.
	untilSettled bool
	// deletes says that the object may go.
	deletes bool
	// asks are the requests that it makes.
	asks   []v1alpha1.RequestType
	inject func(ctx context.Context, r *run) error
	// repair is nil for what cannot be repaired.
	repair func(ctx context.Context, r *run) error
	// anytime is what it may come to at a moment that nobody has chosen.
	anytime []ending
}

// daemonOf chooses a process of a case.
type daemonOf func(r *run) *daemon

func sourceAgent(r *run) *daemon { return r.world.agents[r.source.Name()] }
func targetAgent(r *run) *daemon { return r.world.agents[r.target.Name()] }
func theManager(r *run) *daemon  { return r.world.manager }

// hostOf chooses a host of a case.
type hostOf func(r *run) *lab.Host

func theSource(r *run) *lab.Host { return r.source }
func theTarget(r *run) *lab.Host { return r.target }

// killed kills a daemon with SIGKILL and starts it again.
func killed(name string, which daemonOf, anytime ...ending) fault {
	return fault{
		name: name + " killed", lasts: time.Second, anytime: anytime,
		inject: func(ctx context.Context, r *run) error { return which(r).kill(ctx) },
		repair: func(_ context.Context, r *run) error { return which(r).start() },
	}
}

// hung stops a daemon with SIGSTOP and lets it go on.
func hung(name string, lasts time.Duration, which daemonOf, anytime ...ending) fault {
	return fault{
		name: fmt.Sprintf("%s hangs %v", name, lasts), lasts: lasts, anytime: anytime,
		// A manager that hangs for longer than its lease gives up.
		apiAway: true,
		inject:  func(_ context.Context, r *run) error { return which(r).Pause() },
		repair:  func(_ context.Context, r *run) error { return which(r).Resume() },
	}
}

// cutOffAPI cuts a daemon off from the API server.
func cutOffAPI(name string, lasts time.Duration, which daemonOf, anytime ...ending) fault {
	return fault{
		name: fmt.Sprintf("%s cut off from API %v", name, lasts), lasts: lasts, apiAway: true, anytime: anytime,
		inject: func(_ context.Context, r *run) error {
			which(r).api.cut()
			return nil
		},
		repair: func(_ context.Context, r *run) error {
			which(r).api.mend()
			return nil
		},
	}
}

// libvirtdKilled ends a libvirtd by a signal and starts it again.
func libvirtdKilled(name string, signal syscall.Signal, which hostOf, anytime ...ending) fault {
	return fault{
		name: name, lasts: time.Second, shared: true, anytime: anytime,
		inject: func(ctx context.Context, r *run) error { return which(r).KillLibvirtd(ctx, signal) },
		repair: func(ctx context.Context, r *run) error { return which(r).StartLibvirtd(ctx) },
	}
}

// libvirtdHung stops a libvirtd and lets it go on.
func libvirtdHung(name string, lasts time.Duration, which hostOf, anytime ...ending) fault {
	return fault{
		name: fmt.Sprintf("%s hangs %v", name, lasts), lasts: lasts, shared: lasts >= long, anytime: anytime,
		inject: func(ctx context.Context, r *run) error { return which(r).KillLibvirtd(ctx, syscall.SIGSTOP) },
		repair: func(ctx context.Context, r *run) error { return which(r).KillLibvirtd(ctx, syscall.SIGCONT) },
	}
}

// certificatesEnd has the certificates of a host's QEMU end, as if nobody had thought of them.
func certificatesEnd(name string, which hostOf, anytime ...ending) fault {
	return fault{
		name: "certificates of " + name + " end", untilSettled: true, anytime: anytime,
		inject: func(_ context.Context, r *run) error {
			return which(r).ReplaceMigrationCertificates(time.Now().Add(-time.Second))
		},
		repair: func(_ context.Context, r *run) error { return which(r).ReplaceMigrationCertificates(time.Time{}) },
	}
}

// networkCut pulls the target's cables.
func networkCut(lasts time.Duration, anytime ...ending) fault {
	return fault{
		name: fmt.Sprintf("network between hosts cut %v", lasts), lasts: lasts, shared: lasts >= long, anytime: anytime,
		inject: func(ctx context.Context, r *run) error { return r.target.CutOff(ctx) },
		repair: func(ctx context.Context, r *run) error { return r.target.Reconnect(ctx) },
	}
}

// targetDies has all of the target's host die. It comes back, without any guest, when
// all is settled.
func targetDies(anytime ...ending) fault {
	return fault{
		name: "target dies for good", untilSettled: true, anytime: anytime,
		inject: func(ctx context.Context, r *run) error {
			if err := r.killTarget(ctx, 0); err != nil {
				return err
			}
			// A person says so: libvirt gives its connection up first.
			sleep(ctx, long)
			return r.deleteTarget(ctx)
		},
	}
}

func (r *run) deleteTarget(ctx context.Context) error {
	r.seen.remark("the target's Hypervisor is deleted")
	hv := &v1alpha1.Hypervisor{ObjectMeta: metav1.ObjectMeta{Name: r.target.Name()}}
	return client.IgnoreNotFound(r.world.api.Delete(ctx, hv))
}

// targetDiesAfterTwoRan has libvirt run the guest on both hosts, as it does when the
// target's libvirtd is killed at the right moment. One copy is paused then. The host of the
// other dies, and a person says so, and resumes the one that is left: it stays resumed. If
// libvirt ran only one, the target lives on.
func targetDiesAfterTwoRan(anytime ...ending) fault {
	return fault{
		name: "target libvirtd killed, and its host dies once two copies ran", untilSettled: true, endsGuest: true, anytime: anytime,
		inject: func(ctx context.Context, r *run) error {
			ctx, cancel := context.WithTimeout(ctx, settleTimeout)
			defer cancel()
			killed := r.target.KillLibvirtd(ctx, syscall.SIGKILL)
			sleep(ctx, time.Second)
			if err := errors.Join(killed, r.target.StartLibvirtd(ctx)); err != nil {
				return err
			}
			seen, err := r.seen.await(ctx, "a verdict", func(s sight) bool { return verdictOf(s.lm) != pending })
			if err != nil || verdictOf(seen.lm) != unknown {
				return err
			}
			r.seen.remark("the guest ran on both hosts")
			r.twice = true
			// The verdict comes before its consequence.
			if err := r.eventually(ctx, func() error { return r.wantPaused(ctx, r.source) }); err != nil {
				return err
			}
			if err := errors.Join(r.killTarget(ctx, 0), r.deleteTarget(ctx)); err != nil {
				return err
			}
			if _, err := r.source.Virsh(ctx, "resume", r.guest.UUID()); err != nil {
				return err
			}
			r.seen.remark("the copy on the source is resumed")
			_, err = r.seen.await(ctx, "another verdict", func(s sight) bool { return verdictOf(s.lm) != unknown })
			return err
		},
	}
}

// wantPaused returns an error unless the guest is paused on a host.
func (r *run) wantPaused(ctx context.Context, h *lab.Host) error {
	if s := h.DomainState(ctx, r.guest.UUID()); s.State != lab.StatePaused {
		return fmt.Errorf("the guest is to be paused: %s", s)
	}
	return nil
}

// targetFails has the target's host die piece by piece: libvirt still learns that the
// guest's copy is gone, and nobody says anything of the target after that.
func targetFails(anytime ...ending) fault {
	return fault{
		name: "target dies after its QEMU", untilSettled: true, anytime: anytime,
		inject: func(ctx context.Context, r *run) error { return r.killTarget(ctx, 2*time.Second) },
	}
}

// killTarget kills the target's agent, its copy of the guest, and so much later all
// the rest.
func (r *run) killTarget(ctx context.Context, later time.Duration) error {
	err := targetAgent(r).kill(ctx)
	if killed := r.target.KillQEMU(r.guest.Name()); !errors.Is(killed, lab.ErrNotRunning) {
		err = errors.Join(err, killed)
	}
	sleep(ctx, later)
	return errors.Join(err, r.target.KillLibvirtd(ctx, syscall.SIGKILL), r.target.CutOff(ctx))
}

// sourceSwitchedOff has all of the host die from which the guest has moved, before its agent
// tells that. Whoever moves the guest on is told what is in the way, and not that two hosts
// have the guest.
func sourceSwitchedOff(anytime ...ending) fault {
	return fault{
		name: "source switched off, and the guest is to move back", untilSettled: true, anytime: anytime,
		inject: func(ctx context.Context, r *run) error {
			err := errors.Join(sourceAgent(r).kill(ctx), r.source.KillLibvirtd(ctx, syscall.SIGKILL), r.source.CutOff(ctx))
			return errors.Join(err, r.tryToMoveBack(ctx))
		},
	}
}

// tryToMoveBack creates another migration, to the source, until that waits for its target.
func (r *run) tryToMoveBack(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, settleTimeout, errors.New("it does not wait for the node"))
	defer cancel()
	lm := &v1alpha1.LiveMigration{
		ObjectMeta: metav1.ObjectMeta{Name: r.key.Name + "-back", Namespace: r.key.Namespace},
		Spec:       v1alpha1.LiveMigrationSpec{Domain: r.guest.UUID(), TargetNode: r.source.Name()},
	}
	if err := r.world.api.Create(ctx, lm); err != nil {
		return fmt.Errorf("creating the LiveMigration back: %w", err)
	}
	var said string
	for {
		if err := r.world.api.Get(ctx, client.ObjectKeyFromObject(lm), lm); err != nil {
			return fmt.Errorf("reading the LiveMigration back: %w", err)
		}
		if reason := reasonOf(lm); reason != said {
			said = reason
			r.seen.remark("the migration back: %s", said)
		}
		if said == v1alpha1.ReasonNodeNotReady {
			return client.IgnoreNotFound(r.world.api.Delete(ctx, lm))
		}
		if ctx.Err() != nil {
			return fmt.Errorf("the migration back says %s: %w", messageOf(lm), context.Cause(ctx))
		}
		sleep(ctx, pollInterval)
	}
}

// lostCall kills the source's agent while its call to migrate waits in libvirt behind
// another job of the guest, which ends only when the next agent has looked: nothing of the
// call is to be seen then, and still it moves the guest.
func lostCall(anytime ...ending) fault {
	const looks = 5 * time.Second
	return fault{
		name: "source agent killed while its call waits for another job", lasts: time.Second, anytime: anytime,
		inject: func(ctx context.Context, r *run) error {
			if err := r.source.SignalQEMU(r.guest.Name(), syscall.SIGSTOP); err != nil {
				return err
			}
			// The job is libvirt's question to an emulator that does not answer.
			go func() { _, _ = r.source.Virsh(ctx, "qemu-monitor-command", r.guest.UUID(), "--hmp", "info status") }()
			sleep(ctx, time.Second)
			if err := targetAgent(r).Resume(); err != nil {
				return err
			}
			if err := starting.reached(ctx, r); err != nil {
				return err
			}
			sleep(ctx, time.Second)
			return sourceAgent(r).kill(ctx)
		},
		repair: func(ctx context.Context, r *run) error {
			err := sourceAgent(r).start()
			sleep(ctx, looks)
			return errors.Join(err, r.source.SignalQEMU(r.guest.Name(), syscall.SIGCONT))
		},
	}
}

// sourceDeaf has nothing of what the target's QEMU says reach the source's, for
// longer than TCP tries to tell of a connection's end.
func sourceDeaf(anytime ...ending) fault {
	const lasts = 60 * time.Second
	return fault{
		name: fmt.Sprintf("source deaf to the target %v", lasts), lasts: lasts, anytime: anytime,
		inject: func(ctx context.Context, r *run) error { return r.source.Deafen(ctx) },
		repair: func(ctx context.Context, r *run) error { return r.source.Undeafen(ctx) },
	}
}

// qemuKilled kills the QEMU of one side, as soon as there is one.
func qemuKilled(name string, which hostOf, anytime ...ending) fault {
	return fault{
		name: name + " QEMU killed", endsGuest: true, anytime: anytime,
		inject: func(ctx context.Context, r *run) error {
			var err error
			for deadline := time.Now().Add(qemuPatience); time.Now().Before(deadline); sleep(ctx, pollInterval) {
				err = which(r).KillQEMU(r.guest.Name())
				if !errors.Is(err, lab.ErrNotRunning) && !errors.Is(err, syscall.ESRCH) {
					return err
				}
			}
			r.seen.remark("there is no QEMU to kill: %v", err)
			return nil
		},
	}
}

// qemuPatience is how long a QEMU that is to be killed may take to appear.
const qemuPatience = 2 * time.Second

// apiServerKilled kills kube-apiserver and starts it again.
func apiServerKilled() fault {
	return fault{
		name: "kube-apiserver killed", lasts: 2 * time.Second, apiAway: true, anytime: []ending{moved, stayed},
		inject: func(ctx context.Context, r *run) error {
			return r.world.lab.ControlPlane().KillAPIServer(ctx, syscall.SIGKILL)
		},
		repair: func(ctx context.Context, r *run) error { return r.world.lab.ControlPlane().StartAPIServer(ctx) },
	}
}

// etcdKilled kills etcd and starts it again.
func etcdKilled() fault {
	return fault{
		name: "etcd killed", lasts: 3 * time.Second, apiAway: true, anytime: []ending{moved, stayed},
		inject: func(ctx context.Context, r *run) error {
			return r.world.lab.ControlPlane().KillEtcd(ctx, syscall.SIGKILL)
		},
		repair: func(ctx context.Context, r *run) error {
			control := r.world.lab.ControlPlane()
			return errors.Join(control.StartEtcd(ctx), control.StartAPIServer(ctx))
		},
	}
}

// apiServerHung stops kube-apiserver and lets it go on.
func apiServerHung(lasts time.Duration) fault {
	return fault{
		name: fmt.Sprintf("kube-apiserver hangs %v", lasts), lasts: lasts, apiAway: true, anytime: []ending{moved},
		inject: func(_ context.Context, r *run) error {
			return r.world.lab.ControlPlane().APIServer().Signal(syscall.SIGSTOP)
		},
		repair: func(_ context.Context, r *run) error {
			return r.world.lab.ControlPlane().APIServer().Signal(syscall.SIGCONT)
		},
	}
}

// guestSays has the guest do something to itself, on whichever side it runs.
func guestSays(name, command string, reboots bool, anytime ...ending) fault {
	return fault{
		name: name, reboots: reboots, endsGuest: !reboots, anytime: anytime,
		inject: func(ctx context.Context, r *run) error {
			r.tellGuest(ctx, command)
			return nil
		},
	}
}

// somebody runs virsh on one side.
func somebody(name string, which hostOf, command string, anytime ...ending) fault {
	return fault{
		name: name, anytime: anytime,
		inject: func(ctx context.Context, r *run) error {
			if _, err := which(r).Virsh(ctx, command, r.guest.UUID()); err != nil {
				r.seen.remark("virsh %s: %v", command, err)
			}
			return nil
		},
	}
}

// cancelRequested: a user asks for the migration's end.
func cancelRequested() fault {
	return fault{
		name: "cancel requested", anytime: []ending{moved, wasCancelled},
		inject: func(ctx context.Context, r *run) error { return r.ask(ctx, v1alpha1.AnnotationCancel) },
		asks:   []v1alpha1.RequestType{v1alpha1.RequestCancel},
	}
}

// emulatorHangs has the QEMU of one side hang while the user cancels, until the status asks
// for an administrator, who then does what helps.
func emulatorHangs(name string, which hostOf, says string, helps func(ctx context.Context, r *run) error) fault {
	return fault{
		name: name + " QEMU hangs, then cancel requested", lasts: stallPatience, asks: []v1alpha1.RequestType{v1alpha1.RequestCancel},
		inject: func(ctx context.Context, r *run) error {
			return errors.Join(which(r).SignalQEMU(r.guest.Name(), syscall.SIGSTOP), r.ask(ctx, v1alpha1.AnnotationCancel))
		},
		repair: func(ctx context.Context, r *run) error {
			telling, cancel := context.WithTimeout(ctx, reachTimeout)
			defer cancel()
			err := status("that the status says: "+says, func(lm *v1alpha1.LiveMigration) bool {
				return inPhase(v1alpha1.PhaseUnknown)(lm) && strings.Contains(messageOf(lm), says)
			})(telling, r)
			return errors.Join(err, helps(ctx, r))
		},
	}
}

// sourceHangs ends by itself, since QEMU goes on.
func sourceHangs() fault {
	return emulatorHangs("source", theSource, "has not answered about the guest", func(_ context.Context, r *run) error {
		return r.source.SignalQEMU(r.guest.Name(), syscall.SIGCONT)
	})
}

// targetHangs keeps the source from ending the migration, until somebody ends the copy.
func targetHangs() fault {
	return emulatorHangs("target", theTarget, "has not ended it", somebody("", theTarget, "destroy").inject)
}

// forceRequested: a user asks for the migration's completion.
func forceRequested() fault {
	return fault{
		name: "force-complete requested", anytime: []ending{moved},
		inject: func(ctx context.Context, r *run) error { return r.ask(ctx, v1alpha1.AnnotationForceComplete) },
		asks:   []v1alpha1.RequestType{v1alpha1.RequestForceComplete},
	}
}

// deleted: a user deletes the object, which cancels.
func deleted() fault {
	return fault{
		name: "object deleted", deletes: true, anytime: []ending{moved, wasCancelled},
		inject: func(ctx context.Context, r *run) error {
			lm := &v1alpha1.LiveMigration{ObjectMeta: metav1.ObjectMeta{Name: r.key.Name, Namespace: r.key.Namespace}}
			return client.IgnoreNotFound(r.world.api.Delete(ctx, lm))
		},
	}
}

// both breaks two things, the second when the first shows.
func both(first fault, shows func(context.Context, *run) error, second fault) fault {
	return fault{
		name: first.name + ", then " + second.name, lasts: max(first.lasts, second.lasts),
		apiAway: first.apiAway || second.apiAway,
		inject: func(ctx context.Context, r *run) error {
			if err := first.inject(ctx, r); err != nil {
				return err
			}
			showing, cancel := context.WithTimeout(ctx, reachTimeout)
			defer cancel()
			if err := shows(showing, r); err != nil {
				return err
			}
			r.seen.remark("%s", first.name)
			return second.inject(ctx, r)
		},
		repair: func(ctx context.Context, r *run) error {
			var err error
			for _, f := range []fault{second, first} {
				if f.repair != nil {
					err = errors.Join(err, f.repair(ctx, r))
				}
			}
			return err
		},
	}
}
