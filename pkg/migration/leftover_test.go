package migration

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// TestWhatMayBeDestroyed: of a guest that stands still, only who had it paused before the
// migration tells a copy that nobody needs from one that is about to go on.
func TestWhatMayBeDestroyed(t *testing.T) {
	for _, c := range []struct {
		name                 string
		source, target       string
		pausedBefore         bool
		postCopy, whole      bool
		incoming, destroySrc bool
	}{
		{name: "a shell, and the guest runs", source: "Running/Unpaused", target: "Paused/Migration", incoming: true},
		{name: "a shell, and somebody has paused the guest meanwhile", source: "Paused/User", target: "Paused/Migration"},
		{name: "a shell, and the guest was paused before", source: "Paused/User", target: "Paused/Migration", pausedBefore: true, incoming: true},
		{name: "a shell, and the guest's disk fails", source: "Paused/IOError", target: "Paused/Migration"},
		{name: "a shell, and the guest is leaving again", source: "Running/Booted+MigrationOut", target: "Paused/Migration"},
		{name: "a shell, and the guest has stopped", source: "Shutoff/Destroyed", target: "Paused/Migration"},
		{name: "held, and the guest runs", source: "Paused/Migration", target: "Running/Migrated", destroySrc: true},
		{name: "held, and the guest has been paused there", source: "Paused/Migration", target: "Paused/User"},
		{name: "held, and the guest was paused before", source: "Paused/Migration", target: "Paused/User", pausedBefore: true, destroySrc: true},
		{name: "held, and it waits there as well", source: "Paused/Migration", target: "Paused/Migration"},
		{name: "held, and the guest is nowhere else", source: "Paused/Migration", target: "Absent"},
		{name: "held, and the guest leaves the target", source: "Paused/Migration", target: "Running/Migrated+MigrationOut"},
		{name: "a half, and the guest is whole", source: "Paused/PostcopyFailed", target: "Running/Migrated", postCopy: true, whole: true, destroySrc: true},
		{name: "a half, and the guest is not whole", source: "Paused/PostcopyFailed", target: "Running/Postcopy", postCopy: true},
		{name: "a half, and nobody knows whether the guest is whole", source: "Paused/PostcopyFailed", target: "Running/Unpaused", postCopy: true},
		{name: "a half, and the guest was whole", source: "Paused/Postcopy", target: "Absent", postCopy: true, whole: true, destroySrc: true},
		{name: "a half of somebody else's migration", source: "Paused/Postcopy", target: "Running/Migrated", whole: true},
	} {
		b := makeMigration("m").ended("Failed", "PeerLost", c.source).onTarget(c.target, true)
		b.lm.Status.Source.GuestPaused, b.lm.Status.Target.IncomingTime = c.pausedBefore, new(metav1.NewMicroTime(epoch))
		if c.postCopy {
			b.inPostCopy()
		}
		if c.whole {
			b.whole()
		}
		for _, confirmed := range []bool{true, false} {
			if !confirmed {
				b.lm.Status.Target.ConfirmedTime = nil
			}
			got := Judge(b.obj(), epoch)
			if want := c.incoming && confirmed; got.RemoveIncoming != want {
				t.Errorf("%s: the target's copy is to be removed: %t (read after the end: %t)", c.name, got.RemoveIncoming, confirmed)
			}
			if want := c.destroySrc && confirmed; got.DestroySource != want {
				t.Errorf("%s: the source's copy is to be destroyed: %t (read after the end: %t)", c.name, got.DestroySource, confirmed)
			}
		}
	}
}

// TestAPauseThatMayStillCome: libvirt may carry a call out that nobody waits for any more.
// When the migration has ended, nobody is left to undo it but who is told.
func TestAPauseThatMayStillCome(t *testing.T) {
	const says = "may still pause it"
	for _, c := range []struct {
		name   string
		source string
		change func(*v1alpha1.SourceStatus)
		want   bool
	}{
		{"nobody knows whether it was paused", "Running/Booted", func(s *v1alpha1.SourceStatus) { s.Steering.Pause.Error = "no answer" }, true},
		{"libvirt has refused", "Running/Booted", func(s *v1alpha1.SourceStatus) {
			s.Steering.Pause.Error, s.Steering.Pause.Refused = "no", true
		}, false},
		{"it was paused, and is resumed", "Running/Unpaused", func(s *v1alpha1.SourceStatus) {
			s.Steering.Pause.Error, s.Steering.PausedTime = "no answer", new(metav1.NewMicroTime(epoch))
		}, false},
		{"it was paused without an error", "Running/Unpaused", func(*v1alpha1.SourceStatus) {}, false},
		{"it is paused", "Paused/User", func(s *v1alpha1.SourceStatus) { s.Steering.Pause.Error = "no answer" }, false},
	} {
		b := makeMigration("m").ended(v1alpha1.CallFailed, "Other", c.source).onTarget("Absent", true).pausedByUs()
		c.change(b.lm.Status.Source)
		if got := Judge(b.obj(), epoch.Add(ConfirmTimeout)); strings.Contains(got.Message, says) != c.want || got.Verdict != VerdictFailed {
			t.Errorf("%s: got %s: %s", c.name, got.Verdict, got.Message)
		}
	}
}

// TestACopyThatWentOn: where the target's copy has been migrated to another host, nobody is
// told to resume the source's: the guest would run twice.
func TestACopyThatWentOn(t *testing.T) {
	for target, says := range map[string]string{
		"Shutoff/Migrated": "migrated to another host since: ask an administrator to destroy the paused one", "Shutoff/Destroyed": "resume it", "Absent": "resume it",
	} {
		b := makeMigration("m").ended(v1alpha1.CallFailed, "PeerLost", "Paused/User").onTarget(target, true).arrived()
		b.lm.Status.Source.End.CopyPausedTime = new(metav1.NewMicroTime(epoch))
		got := Judge(b.obj(), epoch.Add(ConfirmTimeout)).Message
		if !strings.Contains(got, says) || strings.Contains(got, "resume it") != (says == "resume it") {
			t.Errorf("with %s on the target: %s", target, got)
		}
	}
}
