package agent

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
)

// TestWhatIsReportedStaysWithinTheSchema: libvirt's messages may be as long as QEMU's
// log. The world holds each status against the schema; the API server would never
// take a report that is longer, and the migration would never end.
func TestWhatIsReportedStaysWithinTheSchema(t *testing.T) {
	long := &hypervisor.Error{Kind: hypervisor.KindOther, Message: strings.Repeat("ünten ", 20000)}
	inWorld(t, func(w *world) {
		w.fleet.Host("node-a").FailNext(fake.MethodMigrate, long)
		lm := w.settle(w.migrate(guestUUID))
		w.requireEnd(lm, v1alpha1.PhaseFailed, v1alpha1.ReasonMigrationFailed, "")
		if got := len(lm.Status.Source.End.ErrorMessage); got == 0 || got > 1024 {
			t.Errorf("the error's message has %d bytes", got)
		}
	})
	t.Run("a refusal", func(t *testing.T) {
		inWorld(t, func(w *world) {
			lm := w.settle(w.migrateWith(guestUUID, func(lm *v1alpha1.LiveMigration) {
				data := &v1alpha1.MigrateData{Volumes: []v1alpha1.VolumeMigrateData{}}
				for i := range 256 {
					data.Volumes = append(data.Volumes, v1alpha1.VolumeMigrateData{Serial: new(fmt.Sprintf("%s%d", strings.Repeat("s", 250), i))})
				}
				lm.Spec.MigrateData = data
			}))
			w.requireEnd(lm, v1alpha1.PhaseFailed, v1alpha1.ReasonInvalidMigrateData, "")
		})
	})
}

// TestOneWedgedGuestDoesNotKeepOthersAway: libvirt hangs for one guest of the target,
// whose storage does not answer. The node stays ready, and all others are well.
func TestOneWedgedGuestDoesNotKeepOthersAway(t *testing.T) {
	const otherUUID = "22222222-2222-4222-8222-222222222222"
	inWorld(t, func(w *world) {
		b := w.fleet.Host("node-b")
		b.AddGuest(fake.Guest{UUID: otherUUID, Name: "db", Persistent: true})
		domains, err := b.ListDomains(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		w.b.node.listed.Store(&listing{domains: domains, stuck: map[string]bool{otherUUID: true}}) // As it is published.
		release := b.Wedge(otherUUID)
		defer release()
		lm := w.settle(w.migrate(guestUUID))
		if lm.Status.Phase != v1alpha1.PhaseSucceeded {
			t.Errorf("%s %s: %s", lm.Status.Phase, reason(lm), lm.Status.Conditions[0].Message)
		}
	}, fake.WithCallTimeout(10*time.Second))
}
