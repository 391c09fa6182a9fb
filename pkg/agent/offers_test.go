package agent

import (
	"strings"
	"testing"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
)

// TestCheckpointMadeWhileItWaits: what is refused at the check is refused at the start.
func TestCheckpointMadeWhileItWaits(t *testing.T) {
	inWorld(t, func(w *world) {
		w.b.stop() // The target has not answered yet; it may as well wait for its turn.
		lm := w.migrate(guestUUID)
		w.await(lm, "the check", func(lm *v1alpha1.LiveMigration) bool {
			return lm.Status.Source != nil && lm.Status.Source.Guest != nil
		})
		w.fleet.Host("node-a").SetTies(guestUUID, hypervisor.Ties{Checkpoints: 1})
		w.b.start()
		if lm = w.settle(lm); lm.Status.Phase == v1alpha1.PhaseSucceeded {
			t.Error("a guest with a checkpoint, made while it waited, has moved; the checkpoint is lost")
		}
	})
}

// TestMappedPortsAreNotOffered: the port that portMappings gives a channel is not
// offered to the same guest's serial port.
func TestMappedPortsAreNotOffered(t *testing.T) {
	const xml = `<domain type='qemu'><name>web</name><uuid>` + guestUUID + `</uuid><devices>
  <serial type='tcp'><source mode='bind' host='192.0.2.9' service='2002'/><target port='0'/></serial>
  <channel type='tcp'><source mode='bind' host='192.0.2.9' service='2003'/><target type='virtio' name='a'/></channel>
</devices></domain>`
	inWorld(t, func(w *world) {
		w.fleet.Host("node-a").AddGuest(fake.Guest{UUID: guestUUID, Name: "web", LiveXML: xml})
		lm := w.migrateWith(guestUUID, func(lm *v1alpha1.LiveMigration) {
			lm.Spec.MigrateData = &v1alpha1.MigrateData{PortMappings: []v1alpha1.PortMapping{{From: 2003, To: 10000}}}
		})
		w.requireEnd(w.settle(lm), v1alpha1.PhaseSucceeded, v1alpha1.ReasonMigrated, "")
		out, err := w.fleet.Host("node-b").DomainXML(t.Context(), guestUUID, hypervisor.XMLMigratable)
		if n := strings.Count(string(out), "service='10000'"); err != nil || n > 1 {
			t.Errorf("%v, %d devices listen on the port 10000: %s", err, n, out)
		}
	})
}

// TestPortsOfOtherGuestsChannelsAreNotOffered: a guest on the target whose channel listens on a
// port of the range has it.
func TestPortsOfOtherGuestsChannelsAreNotOffered(t *testing.T) {
	const there = `<domain type='qemu'><name>db</name><uuid>22222222-2222-4222-8222-222222222222</uuid><devices>
  <channel type='tcp'><source mode='bind' host='192.0.2.1' service='10000'/><target type='virtio' name='a'/></channel>
</devices></domain>`
	const xml = `<domain type='qemu'><name>web</name><uuid>` + guestUUID + `</uuid><devices>
  <serial type='tcp'><source mode='bind' host='192.0.2.9' service='2002'/><target port='0'/></serial>
</devices></domain>`
	inWorld(t, func(w *world) {
		w.fleet.Host("node-b").AddGuest(fake.Guest{UUID: "22222222-2222-4222-8222-222222222222", Name: "db", LiveXML: there})
		w.fleet.Host("node-a").AddGuest(fake.Guest{UUID: guestUUID, Name: "web", LiveXML: xml})
		lm := w.settle(w.migrate(guestUUID))
		w.requireEnd(lm, v1alpha1.PhaseSucceeded, v1alpha1.ReasonMigrated, "")
		out, err := w.fleet.Host("node-b").DomainXML(t.Context(), guestUUID, hypervisor.XMLMigratable)
		if err != nil || strings.Contains(string(out), "service='10000'") {
			t.Errorf("the port of another guest's channel, known from its definition, was given away (a probe from outside may not see it): %s", out)
		}
	})
}
