package agent

import (
	"strings"
	"testing"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
)

// TestPinsAreCheckedAgainstTheTarget before anything is touched: the target's agent
// says what its host has, and the source's agent looks.
func TestPinsAreCheckedAgainstTheTarget(t *testing.T) {
	const (
		capabilities = `<capabilities><host><topology><cells num='1'><cell id='0'><cpus num='2'>` +
			`<cpu id='0' siblings='0'/><cpu id='1' siblings='1'/></cpus></cell></cells></topology></host></capabilities>`
		pinned = "<domain type='qemu'><name>web</name><uuid>" + guestUUID + "</uuid><vcpu>1</vcpu>" +
			"<cputune><vcpupin vcpu='0' cpuset='0'/></cputune></domain>"
	)
	for _, c := range []struct {
		cpus  string
		phase v1alpha1.LiveMigrationPhase
	}{{"1", v1alpha1.PhaseSucceeded}, {"7", v1alpha1.PhaseFailed}} {
		t.Run("CPU "+c.cpus, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.fleet.Host("node-b").SetInfo(hypervisor.HostInfo{UUID: "b", Capabilities: capabilities})
				w.fleet.Host("node-a").AddGuest(fake.Guest{UUID: guestUUID, Name: "web", LiveXML: pinned})
				lm := w.settle(w.migrateWith(guestUUID, func(lm *v1alpha1.LiveMigration) {
					lm.Spec.MigrateData = &v1alpha1.MigrateData{NUMA: &v1alpha1.NUMAMigrateData{
						VCPUPins: []v1alpha1.VCPUPin{{VCPU: 0, HostCPUs: v1alpha1.CPUSet(c.cpus)}},
					}}
				}))
				if lm.Status.Phase != c.phase {
					t.Errorf("the end is %s: %s", lm.Status.Phase, lm.Status.Conditions[0].Message)
				}
				if c.phase == v1alpha1.PhaseFailed {
					w.requireEnd(lm, c.phase, v1alpha1.ReasonInvalidMigrateData, "")
					if message := lm.Status.Conditions[0].Message; !strings.Contains(message, "it has 0-1") {
						t.Errorf("the message is %q", message)
					}
					w.requireCalls(fake.MethodMigrate, 0)
				}
				if h := lm.Status.Target.Host; h == nil || h.OnlineCPUs != "0-1" || h.NUMANodes != "0" {
					t.Errorf("the target's host is %+v", h)
				}
			})
		})
	}
}

// TestAllProblemsAreToldAtOnce, so that nobody has to try again for each.
func TestAllProblemsAreToldAtOnce(t *testing.T) {
	inWorld(t, func(w *world) {
		w.fleet.Host("node-a").SetInfo(hypervisor.HostInfo{UUID: "same"})
		w.fleet.Host("node-b").SetInfo(hypervisor.HostInfo{UUID: "same"})
		w.fleet.Host("node-b").AddGuest(fake.Guest{UUID: "33333333-3333-4333-8333-333333333333", Name: "web"})
		lm := w.settle(w.migrate(guestUUID))
		w.requireEnd(lm, v1alpha1.PhaseFailed, v1alpha1.ReasonTargetCheckFailed, "")
		for _, part := range []string{"same host UUID", "Another guest named"} {
			if message := lm.Status.Conditions[0].Message; !strings.Contains(message, part) {
				t.Errorf("the message %q lacks %q", message, part)
			}
		}
	})
}
