package agent

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
)

// TestAGuestWhoseFirmwareTheTargetLacksIsNotTouched: what libvirt has no such files of, or of
// another size, is known beforehand.
func TestAGuestWhoseFirmwareTheTargetLacksIsNotTouched(t *testing.T) {
	const (
		uuid  = "33333333-3333-4333-8333-333333333333"
		code  = "/usr/share/OVMF/OVMF_CODE.fd"
		vars  = "/usr/share/OVMF/OVMF_VARS.fd"
		own   = "/var/lib/libvirt/qemu/nvram/new_VARS.fd"
		moved = "/images/firmware"
	)
	xml := hypervisor.DomainXML(`<domain type='kvm'><name>new</name><uuid>` + uuid + `</uuid>` +
		`<os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type><loader readonly='yes' type='pflash'>` + code + `</loader>` +
		`<nvram template='` + vars + `'>` + own + `</nvram></os><devices/></domain>`)
	both := map[string]uint64{code: 4 << 20, vars: 1 << 19}
	mapped := func(lm *v1alpha1.LiveMigration) {
		lm.Spec.MigrateData = &v1alpha1.MigrateData{PathMappings: []v1alpha1.PathMapping{{From: "/usr/share/OVMF", To: moved}}}
	}
	asIs := func(*v1alpha1.LiveMigration) {}
	for _, c := range []struct {
		name   string
		there  map[string]uint64
		fails  bool // The target's libvirt cannot look.
		change func(*v1alpha1.LiveMigration)
		want   []string // Empty is success.
	}{
		{"it has both", both, false, asIs, nil},
		{"it has none", nil, false, asIs, []string{"node-b does not have the guest's firmware " + code, "node-b does not have the template"}},
		{"it has another", map[string]uint64{code: 2 << 20, vars: 1 << 19}, false, asIs, []string{code + " has 2097152 bytes on node-b, and must have 4194304"}},
		{"it has them elsewhere", map[string]uint64{moved + "/OVMF_CODE.fd": 4 << 20, moved + "/OVMF_VARS.fd": 1 << 19}, false, mapped, nil},
		{"it cannot tell", nil, true, asIs, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				a, b := w.fleet.Host("node-a"), w.fleet.Host("node-b")
				a.AddGuest(fake.Guest{UUID: uuid, Name: "new", LiveXML: xml})
				for _, file := range []string{code, own} {
					a.AddImage(file, hypervisor.ImageSight{CapacityBytes: map[string]uint64{code: 4 << 20, own: 1 << 19}[file]})
				}
				for _, file := range slices.Sorted(maps.Keys(c.there)) {
					b.AddImage(file, hypervisor.ImageSight{CapacityBytes: c.there[file]})
				}
				if c.fails {
					b.FailNext(fake.MethodLookAtImage, &hypervisor.Error{Kind: hypervisor.KindOther, Message: "no storage driver"},
						&hypervisor.Error{Kind: hypervisor.KindOther, Message: "no storage driver"})
				}
				lm := w.settle(w.migrateWith(uuid, c.change))
				if len(c.want) == 0 {
					if lm.Status.Phase != v1alpha1.PhaseSucceeded {
						t.Fatalf("the migration ends in %s: %+v", lm.Status.Phase, lm.Status.Conditions)
					}
					return
				}
				condition := meta.FindStatusCondition(lm.Status.Conditions, v1alpha1.ConditionSucceeded)
				if lm.Status.Phase != v1alpha1.PhaseFailed || condition.Reason != v1alpha1.ReasonTargetCheckFailed {
					t.Fatalf("the migration ends in %s: %+v", lm.Status.Phase, condition)
				}
				for _, want := range c.want {
					if !strings.Contains(condition.Message, want) {
						t.Errorf("the message lacks %q: %s", want, condition.Message)
					}
				}
				if n := w.fleet.Count(fake.MethodMigrate, uuid); n != 0 {
					t.Errorf("%d migrations were started", n)
				}
			})
		})
	}
}

// TestFirmwareIsLookedForWhereItMayBe and nowhere else on the host.
func TestFirmwareIsLookedForWhereItMayBe(t *testing.T) {
	config := ReceiveConfig{AllowedPaths: []string{"/images"}}
	for file, want := range map[string]bool{
		"/usr/share/OVMF/OVMF_CODE.fd": true, "/var/lib/libvirt/qemu/nvram/web_VARS.fd": true, "/images/fw/CODE.fd": true,
		"/etc/shadow": false, "/usr/share/../../etc/shadow": false, "/usr/local/share/x": false, "usr/share/x": false, "": false,
	} {
		if got := config.mayHoldFirmware(file); got != want {
			t.Errorf("%q: %t", file, got)
		}
	}
}
