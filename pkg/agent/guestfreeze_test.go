package agent

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
	"github.com/virtferry/virtferry/pkg/migration"
)

// freezes asks for the guest to be frozen for at most so many seconds.
func freezes(seconds int32, o v1alpha1.MigrationOptions) func(*v1alpha1.LiveMigration) {
	o.GuestAgent = &v1alpha1.GuestAgentOptions{FreezeSeconds: &seconds}
	return options(o)
}

// quiet gives node-a a guest with an agent that writes little.
func (w *world) quiet() {
	w.fleet.Host("node-a").RemoveGuest(guestUUID)
	w.fleet.Host("node-a").AddGuest(fake.Guest{
		UUID: guestUUID, Name: "web", Persistent: true, MemoryBytes: 4 << 30, Agent: fake.AgentConnected, DirtyBytesPerSecond: 1 << 20,
	})
}

// requireThawed fails if the guest is frozen anywhere.
func (w *world) requireThawed() {
	w.t.Helper()
	for _, host := range []string{"node-a", "node-b"} {
		if since := w.fleet.Host(host).FrozenSince(guestUUID); !since.IsZero() {
			w.t.Errorf("the guest is still frozen on %s", host)
		}
	}
}

// told returns the notice of a reason.
func told(lm *v1alpha1.LiveMigration, reason v1alpha1.NoticeReason) string {
	for _, n := range lm.Status.Notices {
		if n.Reason == reason {
			return n.Message
		}
	}
	return ""
}

// requireTold fails unless exactly these are told of a freeze.
func (w *world) requireTold(lm *v1alpha1.LiveMigration, want map[v1alpha1.NoticeReason]string) {
	w.t.Helper()
	for _, reason := range []v1alpha1.NoticeReason{v1alpha1.NoticeGuestFrozen, v1alpha1.NoticeGuestNotFrozen, v1alpha1.NoticeGuestNotThawed} {
		message, says := told(lm, reason), want[reason]
		if (message == "") != (says == "") || !strings.Contains(message, says) {
			w.t.Errorf("of %s it says %q, want %q", reason, message, says)
		}
	}
}

// TestTheGuestIsFrozenForItsSwitchOver, and thawed on the target before its clock is set.
func TestTheGuestIsFrozenForItsSwitchOver(t *testing.T) {
	inWorld(t, func(w *world) {
		w.quiet()
		lm := w.migrateWith(guestUUID, func(lm *v1alpha1.LiveMigration) {
			freezes(20, v1alpha1.MigrationOptions{})(lm)
			lm.Spec.Options.GuestAgent.SetTime = new(true)
		})
		lm = w.settle(lm)
		freeze, target := lm.Status.Source.GuestFreeze, lm.Status.Target
		if lm.Status.Phase != v1alpha1.PhaseSucceeded || freeze == nil || freeze.State != v1alpha1.GuestFrozen || freeze.FrozenTime == nil {
			t.Fatalf("it ends in %s, and of the freeze it says %+v", lm.Status.Phase, freeze)
		}
		if thaw := target.GuestThaw; thaw == nil || thaw.State != v1alpha1.GuestThawDone || thaw.Time.Sub(target.ArrivedTime.Time) > time.Second {
			t.Errorf("it arrived at %s, and of the thaw it says %+v", target.ArrivedTime, thaw)
		}
		if target.GuestClock == nil || target.GuestClock.State != v1alpha1.GuestClockSet {
			t.Errorf("of the clock, it says %+v", target.GuestClock)
		}
		w.requireThawed()
		w.requireCalls(fake.MethodFreezeGuest, 1)
		w.requireCalls(fake.MethodThawGuest, 1)
		w.requireTold(lm, map[v1alpha1.NoticeReason]string{v1alpha1.NoticeGuestFrozen: "thawed on node-b"})
	})
}

// TestTheGuestIsFrozenBeforeItIsForced over, be it by a pause or by post-copy.
func TestTheGuestIsFrozenBeforeItIsForced(t *testing.T) {
	for name, forced := range map[string]fake.Method{"post-copy": fake.MethodStartPostCopy, "pause": fake.MethodSuspend} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.busy()
				w.fleet.Host("node-a").SetAgent(guestUUID, fake.AgentConnected)
				lm := w.migrateWith(guestUUID, freezes(20, v1alpha1.MigrationOptions{
					OnTimeout: v1alpha1.TimeoutKeepGoing, AllowPostCopy: new(forced == fake.MethodStartPostCopy),
				}))
				w.copying(lm)
				if n := w.fleet.Count(fake.MethodFreezeGuest, ""); n != 0 {
					t.Errorf("it was frozen before")
				}
				w.ask(lm, v1alpha1.AnnotationForceComplete, "1")
				lm = w.settle(lm)
				w.requireEnd(lm, v1alpha1.PhaseSucceeded, v1alpha1.ReasonMigrated, "ForceComplete 1 Done")
				var order []fake.Method
				for _, call := range w.fleet.Calls() {
					if call.Method == fake.MethodFreezeGuest || call.Method == fake.MethodThawGuest || call.Method == forced {
						order = append(order, call.Method)
					}
				}
				if !slices.Equal(order, []fake.Method{fake.MethodFreezeGuest, forced, fake.MethodThawGuest}) {
					t.Errorf("the calls are %v", order)
				}
				w.requireThawed()
				w.requireTold(lm, map[v1alpha1.NoticeReason]string{v1alpha1.NoticeGuestFrozen: "node-b"})
			})
		})
	}
}

// TestAMigrationGoesOnWithoutAFreeze where the guest's agent does not do it, soon.
func TestAMigrationGoesOnWithoutAFreeze(t *testing.T) {
	deaf := &hypervisor.Error{Kind: hypervisor.KindOther, Message: "Guest agent is not responding"}
	for _, c := range []struct {
		name   string
		before func(*world)
		state  v1alpha1.GuestFreezeState
		says   string
		thaws  int
		within time.Duration
	}{
		{"there is no channel", func(w *world) { w.fleet.Host("node-a").SetAgent(guestUUID, fake.NoAgent) }, v1alpha1.GuestNotFrozen, "no channel", 0, 15 * time.Second},
		{"nobody is at its end", func(w *world) { w.fleet.Host("node-a").SetAgent(guestUUID, fake.AgentDisconnected) }, v1alpha1.GuestNotFrozen, "not connected", 0, 15 * time.Second},
		{"it does not answer", func(w *world) { w.fleet.Host("node-a").FailNext(fake.MethodFreezeGuest, fake.NotAsked(deaf)) }, v1alpha1.GuestNotFrozen, "not responding", 0, 15 * time.Second},
		{"nobody knows what it does", func(w *world) { w.fleet.Host("node-a").FailNext(fake.MethodFreezeGuest, deaf) }, v1alpha1.GuestThawed, "not responding", 1, 15 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.quiet()
				c.before(w)
				begun := time.Now()
				lm := w.settle(w.migrateWith(guestUUID, freezes(20, v1alpha1.MigrationOptions{})))
				freeze := lm.Status.Source.GuestFreeze
				if lm.Status.Phase != v1alpha1.PhaseSucceeded || freeze == nil || !strings.Contains(freeze.Message, c.says) {
					t.Fatalf("it ends in %s, with %+v", lm.Status.Phase, freeze)
				}
				if took := time.Since(begun); took > c.within {
					t.Errorf("it takes %s", took)
				}
				if n := w.fleet.Count(fake.MethodThawGuest, ""); freeze.State != c.state && c.thaws == 0 || n < c.thaws || c.thaws == 0 && n > 0 {
					t.Errorf("the state is %s, and the guest was thawed %d times", freeze.State, n)
				}
				w.requireThawed()
				w.requireTold(lm, map[v1alpha1.NoticeReason]string{v1alpha1.NoticeGuestNotFrozen: c.says})
			})
		})
	}
}

// TestAGuestIsFrozenForNoLongerThanItsUserAllows: one that does not switch over is thawed, and goes on.
func TestAGuestIsFrozenForNoLongerThanItsUserAllows(t *testing.T) {
	inWorld(t, func(w *world) {
		lm := w.frozen(3)
		time.Sleep(4 * time.Second)
		w.requireThawed()
		w.fleet.Host("node-a").SetDirtyRate(guestUUID, 0)
		lm = w.settle(lm)
		freeze := lm.Status.Source.GuestFreeze
		if lm.Status.Phase != v1alpha1.PhaseSucceeded || freeze.State != v1alpha1.GuestThawed || freeze.ThawedTime.Sub(freeze.Time.Time) > 4*time.Second {
			t.Errorf("it ends in %s with %+v", lm.Status.Phase, freeze)
		}
		w.requireCalls(fake.MethodFreezeGuest, 1)
		w.requireTold(lm, map[v1alpha1.NoticeReason]string{v1alpha1.NoticeGuestNotFrozen: "after 3s"})
	})
}

// TestAGuestThatStaysIsThawed, at once, however its migration ends.
func TestAGuestThatStaysIsThawed(t *testing.T) {
	for _, c := range []struct {
		name  string
		end   func(w *world, lm *v1alpha1.LiveMigration)
		phase v1alpha1.LiveMigrationPhase
	}{
		{"cancelled", func(w *world, lm *v1alpha1.LiveMigration) { w.ask(lm, v1alpha1.AnnotationCancel, "1") }, v1alpha1.PhaseCancelled},
		{"libvirt dies", func(w *world, _ *v1alpha1.LiveMigration) {
			w.fleet.Host("node-a").KillDaemon()
			time.Sleep(time.Second)
			w.fleet.Host("node-a").Reconnect()
		}, v1alpha1.PhaseFailed},
		{"the target's libvirt dies", func(w *world, _ *v1alpha1.LiveMigration) {
			w.fleet.Host("node-b").KillDaemon()
			w.fleet.Host("node-b").Reconnect()
		}, v1alpha1.PhaseFailed},
		{"the agent dies, and then libvirt", func(w *world, _ *v1alpha1.LiveMigration) {
			w.a.stop()
			w.fleet.Host("node-a").KillDaemon()
			w.fleet.Host("node-a").Reconnect()
			w.a.start()
		}, v1alpha1.PhaseFailed},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				lm := w.frozen(60)
				c.end(w, lm)
				time.Sleep(5 * time.Second)
				w.requireThawed()
				lm = w.settle(lm)
				if lm.Status.Phase != c.phase || lm.Status.Source.GuestFreeze.State != v1alpha1.GuestThawed {
					t.Errorf("it ends in %s with %+v", lm.Status.Phase, lm.Status.Source.GuestFreeze)
				}
				w.requireOnce("node-a")
				w.requireTold(lm, nil)
			})
		})
	}
}

// frozen returns a migration whose guest is frozen and does not switch over.
func (w *world) frozen(seconds int32) *v1alpha1.LiveMigration {
	w.t.Helper()
	w.quiet()
	lm := w.migrateWith(guestUUID, freezes(seconds, v1alpha1.MigrationOptions{OnTimeout: v1alpha1.TimeoutKeepGoing}))
	lm = w.await(lm, "the freeze", func(lm *v1alpha1.LiveMigration) bool {
		s := lm.Status.Source
		return s != nil && s.GuestFreeze != nil && s.GuestFreeze.FrozenTime != nil
	})
	w.fleet.Host("node-a").SetDirtyRate(guestUUID, 1<<40)
	return lm
}

// TestAGuestWhoseAgentHangsIsThawedLater, even after its migration has ended, its user has been told, and the
// node's agent has been started anew. What came of it is recorded, so that it is not done again.
func TestAGuestWhoseAgentHangsIsThawedLater(t *testing.T) {
	for _, host := range []string{"node-b", "node-a"} {
		for _, restarts := range []int{0, 1, 2} {
			t.Run(fmt.Sprintf("on %s, %d restarts", host, restarts), func(t *testing.T) {
				inWorld(t, func(w *world) {
					agent := w.a
					if host == "node-b" {
						agent = w.b
					}
					release := w.fleet.Host(host).Hang(fake.MethodThawGuest)
					lm := w.leftFrozen(host)
					for range restarts {
						agent.restart()
						time.Sleep(15 * time.Second)
					}
					release()
					time.Sleep(15 * time.Second)
					w.requireThawed()
					w.requireThawRecorded(lm)
					thaws := w.fleet.Count(fake.MethodThawGuest, "")
					agent.restart()
					time.Sleep(15 * time.Second)
					w.requireCalls(fake.MethodThawGuest, thaws)
				})
			})
		}
	}
}

// leftFrozen returns a migration that has ended with its guest frozen on a host, where nobody can thaw it for now.
func (w *world) leftFrozen(host string) *v1alpha1.LiveMigration {
	w.t.Helper()
	lm := w.frozen(60)
	if host == "node-a" {
		w.ask(lm, v1alpha1.AnnotationCancel, "1")
	} else {
		w.fleet.Host("node-a").SetDirtyRate(guestUUID, 0)
	}
	lm = w.settle(lm)
	w.requireTold(lm, map[v1alpha1.NoticeReason]string{v1alpha1.NoticeGuestNotThawed: "virsh domfsthaw web` on " + host})
	if !migration.Finished(lm) || lm.Status.GuestLeftFrozenOn != host {
		w.t.Errorf("it is %s, and the guest is left frozen on %q", lm.Status.Phase, lm.Status.GuestLeftFrozenOn)
	}
	return lm
}

// requireThawRecorded fails unless the side on which the guest was left frozen says that it is thawed, and the end is
// what it was.
func (w *world) requireThawRecorded(was *v1alpha1.LiveMigration) {
	w.t.Helper()
	lm := w.api.get(was)
	if lm.Status.GuestLeftFrozenOn == "node-a" {
		if freeze := lm.Status.Source.GuestFreeze; freeze.State != v1alpha1.GuestThawed || freeze.ThawedTime == nil || freeze.ThawError != "" {
			w.t.Errorf("the source says %+v", freeze)
		}
	} else if thaw := lm.Status.Target.GuestThaw; thaw == nil || thaw.State != v1alpha1.GuestThawDone {
		w.t.Errorf("the target says %+v", thaw)
	}
	if lm.Status.Phase != was.Status.Phase || !lm.Status.CompletionTime.Equal(was.Status.CompletionTime) || len(lm.Status.Notices) != len(was.Status.Notices) ||
		!equality.Semantic.DeepEqual(lm.Status.Target.Domain, was.Status.Target.Domain) || lm.Status.Source.End.Domain != was.Status.Source.End.Domain {
		w.t.Errorf("the end is changed: %+v", lm.Status)
	}
}

// TestAGuestThatStandsPausedIsThawedWhenItGoesOn, also if that is after the end, and whoever dies meanwhile.
func TestAGuestThatStandsPausedIsThawedWhenItGoesOn(t *testing.T) {
	for _, restart := range []bool{false, true} {
		inWorld(t, func(w *world) {
			lm := w.frozen(60)
			w.fleet.Host("node-a").SetState(guestUUID, hypervisor.StatePaused, hypervisor.ReasonUser)
			w.ask(lm, v1alpha1.AnnotationCancel, "1")
			lm = w.settle(lm)
			w.requireTold(lm, map[v1alpha1.NoticeReason]string{v1alpha1.NoticeGuestNotThawed: "paused"})
			if restart {
				w.a.restart()
			}
			time.Sleep(time.Minute)
			w.requireCalls(fake.MethodThawGuest, 0)
			w.fleet.Host("node-a").SetState(guestUUID, hypervisor.StateRunning, "Unpaused")
			time.Sleep(5 * time.Second)
			w.requireThawed()
			w.requireThawRecorded(lm)
		})
	}
}

// TestNobodyElsesGuestIsThawed: after the end, the guest that is thawed is the one that was left frozen, in the run
// of it that was. Whoever finds another in its place leaves it alone, and ends.
func TestNobodyElsesGuestIsThawed(t *testing.T) {
	again := func(host string) func(*world) {
		return func(w *world) {
			h := w.fleet.Host(host)
			h.RemoveGuest(guestUUID)
			h.AddGuest(fake.Guest{UUID: guestUUID, Name: "web", Persistent: true, Agent: fake.AgentConnected})
		}
	}
	rebooted := func(host string) func(*world) {
		return func(w *world) {
			for _, a := range []*testAgent{w.a, w.b} {
				if a.name == host {
					a.system = fstest.MapFS{"proc/uptime": {Data: []byte("1.00 1.00\n")}}
				}
			}
		}
	}
	for _, host := range []string{"node-a", "node-b"} {
		for name, happens := range map[string]func(*world){
			"it was started again":       again(host),
			"it is gone":                 func(w *world) { w.fleet.Host(host).RemoveGuest(guestUUID) },
			"the host was started again": rebooted(host),
			"it was moved on": func(w *world) {
				w.fleet.Host(host).SetState(guestUUID, hypervisor.StateShutoff, hypervisor.ReasonMigrated)
			},
			"no freeze is recorded any more": func(w *world) {
				w.api.update("uid-"+guestUUID, func(lm *v1alpha1.LiveMigration) { lm.Status.Source.GuestFreeze = nil })
			},
		} {
			t.Run(host+", "+name, func(t *testing.T) {
				inWorld(t, func(w *world) {
					agent := w.a
					if host == "node-b" {
						agent = w.b
					}
					release := w.fleet.Host(host).Hang(fake.MethodThawGuest)
					w.leftFrozen(host)
					agent.stop()
					release()
					happens(w)
					thaws := w.fleet.Count(fake.MethodThawGuest, "")
					agent.start()
					time.Sleep(15 * time.Second)
					w.requireCalls(fake.MethodThawGuest, thaws)
					if agent.source.Serves(w.key()) || agent.target.Serves(w.key()) {
						t.Error("a session goes on")
					}
				})
			})
		}
	}
}

// key is the name of the first guest's migration.
func (w *world) key() types.NamespacedName {
	return types.NamespacedName{Namespace: "default", Name: "m-" + guestUUID[:4]}
}

// TestWhatIsLeftFrozenHoldsNoPromises: of the target's ports, CPUs and memory, a session that only goes on thawing takes none.
func TestWhatIsLeftFrozenHoldsNoPromises(t *testing.T) {
	inWorld(t, func(w *world) {
		release := w.fleet.Host("node-b").Hang(fake.MethodThawGuest)
		defer release()
		lm := w.leftFrozen("node-b")
		w.b.stop()
		w.api.update(lm.UID, func(lm *v1alpha1.LiveMigration) {
			lm.Status.Target.Offer = &v1alpha1.TargetOffer{Serial: &v1alpha1.SerialMigrateData{Ports: []int32{10003}}}
		})
		w.b.start()
		time.Sleep(time.Second)
		if !w.b.target.Serves(w.key()) {
			t.Error("nobody goes on thawing")
		}
		if _, err := w.b.node.ports.promise("other", 10, PortRange{First: 10000, Last: 10009}, map[int32]bool{}); err != nil {
			t.Error(err)
		}
	})
}

// TestNobodyStaysFrozenWhoeverDies: agents are killed before and after each write, also while a guest is frozen.
func TestNobodyStaysFrozenWhoeverDies(t *testing.T) {
	whoeverDies(t, (*world).quiet, freezes(5, v1alpha1.MigrationOptions{}), func(w *world, lm *v1alpha1.LiveMigration) {
		w.requireThawed()
		if n := w.fleet.Count(fake.MethodFreezeGuest, ""); n > 1 {
			t.Errorf("it was frozen %d times", n)
		}
		if !migration.Finished(lm) || told(lm, v1alpha1.NoticeGuestNotThawed) != "" {
			t.Errorf("it ends in %s with %+v", lm.Status.Phase, lm.Status.Notices)
		}
	})
}

// TestAFreezeIsRecordedBefore: an agent that dies while it is being made leaves behind what the next one needs to thaw
// the guest, whenever the freeze takes effect.
func TestAFreezeIsRecordedBefore(t *testing.T) {
	for _, early := range []bool{true, false} {
		t.Run(fmt.Sprintf("early: %t", early), func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.quiet()
				a := w.fleet.Host("node-a")
				release := a.Hang(fake.MethodFreezeGuest)
				defer release()
				lm := w.migrateWith(guestUUID, freezes(60, v1alpha1.MigrationOptions{OnTimeout: v1alpha1.TimeoutKeepGoing}))
				for a.Hanging(fake.MethodFreezeGuest) == 0 {
					time.Sleep(10 * time.Millisecond)
				}
				if freeze := w.api.get(lm).Status.Source.GuestFreeze; freeze == nil || freeze.State != v1alpha1.GuestFreezing {
					t.Errorf("it is frozen before this is recorded: %+v", freeze)
				}
				a.SetDirtyRate(guestUUID, 1<<40)
				w.a.stop()
				if early {
					release()
				}
				w.a.start()
				time.Sleep(3 * time.Second)
				if n := w.fleet.Count(fake.MethodThawGuest, ""); n == 0 {
					t.Error("the next agent does not thaw it")
				}
				if early {
					w.requireThawed()
				}
				w.requireCalls(fake.MethodFreezeGuest, 1)
			})
		})
	}
}

// TestNothingIsFrozenWithoutARecord: while the API server is away, the guest moves without a freeze.
func TestNothingIsFrozenWithoutARecord(t *testing.T) {
	inWorld(t, func(w *world) {
		w.quiet()
		lm := w.migrateWith(guestUUID, freezes(60, v1alpha1.MigrationOptions{}))
		w.await(lm, "the job", func(lm *v1alpha1.LiveMigration) bool {
			return lm.Status.Source != nil && lm.Status.Source.JobStartedTime != nil
		})
		w.setAway(true)
		time.Sleep(20 * time.Second)
		w.setAway(false)
		lm = w.settle(lm)
		w.requireCalls(fake.MethodFreezeGuest, 0)
		if lm.Status.Phase != v1alpha1.PhaseSucceeded {
			t.Errorf("it ends in %s", lm.Status.Phase)
		}
		w.requireTold(lm, map[v1alpha1.NoticeReason]string{v1alpha1.NoticeGuestNotFrozen: "recorded"})
	})
}
