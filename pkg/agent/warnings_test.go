package agent

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
	"github.com/virtferry/virtferry/pkg/monitor"
)

// TestWarningsOfTheRewriteAreReported: what is kept although it depends on the host is
// in the status, once for both definitions, and told.
func TestWarningsOfTheRewriteAreReported(t *testing.T) {
	const uuid = "33333333-3333-4333-8333-333333333333"
	xml := hypervisor.DomainXML(`<domain type='kvm'><name>console</name><uuid>` + uuid + `</uuid><devices>` +
		`<graphics type='vnc' port='-1' autoport='yes' listen='0.0.0.0'><listen type='address' address='0.0.0.0'/></graphics></devices></domain>`)
	inWorld(t, func(w *world) {
		w.fleet.Host("node-a").AddGuest(fake.Guest{UUID: uuid, Name: "console", Persistent: true, LiveXML: xml, PersistentXML: xml})
		lm := w.settle(w.migrate(uuid))
		if lm.Status.Phase != v1alpha1.PhaseSucceeded {
			t.Fatalf("the migration ends in %s: %+v", lm.Status.Phase, lm.Status.Conditions)
		}
		warnings := lm.Status.Source.Warnings
		if len(warnings) != 1 || !strings.Contains(warnings[0], "graphics listen on a wildcard") {
			t.Errorf("the warnings are %q", warnings)
		}
		if n := lm.Status.Notices; len(n) == 0 || n[0].Reason != v1alpha1.NoticeHostPartsKept || !strings.Contains(n[0].Message, warnings[0]) {
			t.Errorf("the notices are %+v", n)
		}
	})
}

// TestPersistentDefinitionIsJudgedToo: what only the persistent definition has would be
// another guest's on the target. It is refused like what the running guest has, unless the
// migrate data say what it becomes.
func TestPersistentDefinitionIsJudgedToo(t *testing.T) {
	const uuid = "44444444-4444-4444-8444-444444444444"
	guest := func(device string) hypervisor.DomainXML {
		return hypervisor.DomainXML(`<domain type='kvm'><name>mixed</name><uuid>` + uuid + `</uuid><devices>` + device + `</devices></domain>`)
	}
	const device = `<hostdev mode='subsystem' type='pci'><source><address domain='0x0000' bus='0x81' slot='0x00' function='0x1'/></source></hostdev>`
	mapped := &v1alpha1.MigrateData{PCIDevices: []v1alpha1.PCIDeviceMigrateData{{Source: "0000:81:00.1", Target: "0000:3b:00.1"}}}
	for name, data := range map[string]*v1alpha1.MigrateData{"unmapped": nil, "mapped": mapped} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.fleet.Host("node-a").AddGuest(fake.Guest{UUID: uuid, Name: "mixed", Persistent: true, LiveXML: guest(""), PersistentXML: guest(device)})
				lm := w.settle(w.migrateWith(uuid, func(lm *v1alpha1.LiveMigration) { lm.Spec.MigrateData = data }))
				if data != nil {
					if lm.Status.Phase != v1alpha1.PhaseSucceeded {
						t.Fatalf("the migration ends in %s: %+v", lm.Status.Phase, lm.Status.Conditions)
					}
					return
				}
				problem := lm.Status.Source.Problem
				if problem != nil && (len(problem.Blockers) != 1 || problem.Blockers[0].Code != "RewriteMissingData") {
					t.Errorf("the blockers are %+v", problem.Blockers)
				}
				if problem == nil || problem.Reason != v1alpha1.ReasonInvalidMigrateData ||
					!strings.Contains(problem.Message, "in the guest's persistent definition, the guest uses the PCI device 0000:81:00.1") {
					t.Errorf("the problem is %+v", problem)
				}
			})
		})
	}
}

// TestDefinitionIsJudgedByTheTargetsLibvirt: what that would refuse is refused before the
// guest starts to move.
func TestDefinitionIsJudgedByTheTargetsLibvirt(t *testing.T) {
	const uuid = "55555555-5555-4555-8555-555555555555"
	xml := hypervisor.DomainXML(`<domain type='kvm'><name>light</name><uuid>` + uuid + `</uuid><cputune><shares>1</shares></cputune></domain>`)
	inWorld(t, func(w *world) {
		w.fleet.Host("node-a").AddGuest(fake.Guest{UUID: uuid, Name: "light", LiveXML: xml})
		lm := w.settle(w.migrate(uuid))
		if host := lm.Status.Target.Host; host == nil || host.LibvirtVersion != "9.0.0" {
			t.Errorf("the target's host is %+v", host)
		}
		if p := lm.Status.Source.Problem; p == nil || p.Reason != v1alpha1.ReasonInvalidMigrateData || !strings.Contains(p.Message, "spec.migrateData.cpuShares: ") {
			t.Errorf("the problem is %+v", p)
		}
	})
}

// TestReasonOfARequestedStep: the manager knows by it whom to name.
func TestReasonOfARequestedStep(t *testing.T) {
	if string(monitor.ReasonRequested) != v1alpha1.StepReasonRequested {
		t.Errorf("pkg/monitor says %q, the API %q", monitor.ReasonRequested, v1alpha1.StepReasonRequested)
	}
}

// TestADryRunTouchesNothing, and says what the migration itself would say.
func TestADryRunTouchesNothing(t *testing.T) {
	const uuid = "55555555-5555-4555-8555-555555555555"
	for name, c := range map[string]struct{ device, reason, message string }{
		"possible": {
			`<graphics type='vnc' port='-1' autoport='yes' listen='0.0.0.0'><listen type='address' address='0.0.0.0'/></graphics>`,
			v1alpha1.ReasonChecksPassed, "Dry run: the guest can be moved from node-a to node-b; nothing was touched; see status.source.warnings",
		},
		"impossible": {
			`<hostdev mode='subsystem' type='pci'><source><address domain='0x0000' bus='0x81' slot='0x00' function='0x1'/></source></hostdev>`,
			v1alpha1.ReasonInvalidMigrateData, "the guest uses the PCI device 0000:81:00.1",
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				xml := hypervisor.DomainXML(`<domain type='kvm'><name>dry</name><uuid>` + uuid + `</uuid><devices>` + c.device + `</devices></domain>`)
				w.fleet.Host("node-a").AddGuest(fake.Guest{UUID: uuid, Name: "dry", Persistent: true, LiveXML: xml, PersistentXML: xml})
				lm := w.settle(w.migrateWith(uuid, func(lm *v1alpha1.LiveMigration) { lm.Spec.DryRun = new(true) }))
				condition := meta.FindStatusCondition(lm.Status.Conditions, v1alpha1.ConditionSucceeded)
				if condition == nil || condition.Reason != c.reason || !strings.Contains(condition.Message, c.message) {
					t.Errorf("it ends with %+v", condition)
				}
				if n := w.fleet.Count(fake.MethodMigrate, uuid); n != 0 || lm.Status.Source.StartRequestedTime != nil {
					t.Errorf("it was started %d times", n)
				}
			})
		})
	}
}
