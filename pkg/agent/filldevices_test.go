package agent

import (
	"slices"
	"strings"
	"testing"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
)

// mdevOf is a mediated device by its number.
func mdevOf(n string) string { return "b1d2f3a4-0000-4000-8000-00000000000" + n }

// deviceGuest has a mediated device and a PCI function.
func deviceGuest(uuid, n string) fake.Guest {
	return bigGuest(uuid, "", "<hostdev mode='subsystem' type='mdev' model='vfio-pci'><source><address uuid='"+mdevOf(n)+"'/></source></hostdev>"+
		"<hostdev mode='subsystem' type='pci'><source><address domain='0x0000' bus='0x81' slot='0x10' function='0x"+n+"'/></source></hostdev>")
}

// withDevices gives a host mediated devices of the type vgpu, and virtual functions, with these
// numbers.
func withDevices(host *fake.Host, numbers ...string) {
	devices := &hypervisor.HostDevices{}
	for _, n := range numbers {
		devices.Mediated = append(devices.Mediated, hypervisor.MediatedDevice{UUID: mdevOf(n), Type: "vgpu", Cell: hypervisor.NoCell})
		devices.PCI = append(devices.PCI, hypervisor.PCIDevice{Address: "0000:81:10." + n, Vendor: "0x8086", Product: "0x1520", Driver: "vfio-pci", Virtual: true, Cell: hypervisor.NoCell})
	}
	host.SetFacts(func(f *hypervisor.HostFacts) { f.Devices = devices })
}

func devicesOn(lm *v1alpha1.LiveMigration) string {
	var out []string
	if o := lm.Status.Target.Offer; o != nil {
		for _, d := range o.MediatedDevices {
			out = append(out, string(d.Target)[35:])
		}
		for _, d := range o.PCIDevices {
			out = append(out, string(d.Target)[11:])
		}
	}
	return strings.Join(out, " ")
}

// TestAGuestGetsDevicesOfTheTarget that are like its own, and free.
func TestAGuestGetsDevicesOfTheTarget(t *testing.T) {
	given := func(n string) *v1alpha1.MigrateData {
		return &v1alpha1.MigrateData{
			MediatedDevices: []v1alpha1.MediatedDeviceMigrateData{{Source: v1alpha1.UUID(mdevOf("1")), Target: v1alpha1.UUID(strings.ToUpper(mdevOf(n)))}},
			PCIDevices:      []v1alpha1.PCIDeviceMigrateData{{Source: "81:10.1", Target: v1alpha1.PCIAddress("81:10." + n)}},
		}
	}
	for _, c := range []struct {
		name    string
		there   []string // The devices of the target.
		other   string   // Those of a guest that runs there.
		unknown bool     // The source does not know its devices.
		data    *v1alpha1.MigrateData
		dry     bool
		want    string
		blocker []v1alpha1.BlockerCode
	}{
		{name: "others by number", there: []string{"2", "3"}, want: "2 2"},
		{name: "in a dry run", there: []string{"2", "3"}, dry: true, want: "2 2"},
		{name: "beside another guest", there: []string{"2", "3"}, other: "2", want: "3 3"},
		{name: "none is free", there: []string{"2"}, other: "2", blocker: []v1alpha1.BlockerCode{v1alpha1.BlockerHostDeviceMissing, v1alpha1.BlockerHostDeviceMissing}},
		{name: "the user gives them", there: []string{"2", "3"}, data: given("3"), want: ""},
		{name: "the user gives those of another guest", there: []string{"2", "3"}, other: "3", data: given("3"), blocker: []v1alpha1.BlockerCode{v1alpha1.BlockerHostDeviceTaken, v1alpha1.BlockerHostDeviceTaken}},
		{name: "the source does not know what they are", there: []string{"2"}, unknown: true, blocker: []v1alpha1.BlockerCode{"RewriteMissingData", "RewriteMissingData"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				if !c.unknown {
					withDevices(w.fleet.Host("node-a"), "1")
				}
				withDevices(w.fleet.Host("node-b"), c.there...)
				w.fleet.Host("node-a").AddGuest(deviceGuest(bigUUID, "1"))
				if c.other != "" {
					w.fleet.Host("node-b").AddGuest(deviceGuest(otherUUID, c.other))
				}
				lm := w.settle(w.migrateWith(bigUUID, func(lm *v1alpha1.LiveMigration) { lm.Spec.MigrateData, lm.Spec.DryRun = c.data, &c.dry }))
				if c.blocker != nil {
					problem := lm.Status.Target.Problem
					if problem == nil {
						problem = lm.Status.Source.Problem
					}
					var codes []v1alpha1.BlockerCode
					if problem != nil {
						for _, b := range problem.Blockers {
							codes = append(codes, b.Code)
						}
					}
					if !slices.Equal(codes, c.blocker) {
						t.Errorf("the problem is %+v", problem)
					}
					return
				}
				if lm.Status.Phase != v1alpha1.PhaseSucceeded || devicesOn(lm) != c.want {
					t.Fatalf("the end is %s with %q, want %q: %s", lm.Status.Phase, devicesOn(lm), c.want, lm.Status.Conditions[0].Message)
				}
				if c.dry || c.want == "" {
					return
				}
				calls := w.fleet.Calls()
				sent := string(calls[slices.IndexFunc(calls, func(c fake.Call) bool { return c.Method == fake.MethodMigrate })].Params.LiveXML)
				n := c.want[:1]
				if !strings.Contains(sent, mdevOf(n)) || !strings.Contains(sent, "function='0x"+n+"'") {
					t.Errorf("sent is %s", sent)
				}
			})
		})
	}
}

// TestNoTwoGuestsGetTheSameDevice, though both are on their way, and also if the target's agent is
// another process; nor is one given that was promised.
func TestNoTwoGuestsGetTheSameDevice(t *testing.T) {
	for name, restart := range map[string]bool{"at once": false, "the agent is another process": true} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				withDevices(w.fleet.Host("node-a"), "1", "2")
				withDevices(w.fleet.Host("node-b"), "3", "4")
				w.fleet.Host("node-a").AddGuest(deviceGuest(bigUUID, "1"))
				w.fleet.Host("node-a").AddGuest(deviceGuest(otherUUID, "2"))
				w.api.full = true // Nothing is copied.
				ready := func(lm *v1alpha1.LiveMigration) bool {
					return lm.Status.Target != nil && lm.Status.Target.ReadyTime != nil
				}
				w.await(w.migrate(bigUUID), "the target", ready)
				if restart {
					w.b.restart()
				}
				second := w.await(w.migrateWith(otherUUID, func(*v1alpha1.LiveMigration) {}), "the target", ready)
				if got := devicesOn(second); got != "4 4" {
					t.Errorf("the second gets %q", got)
				}
				third := w.settle(w.migrateWith(guestUUID, func(lm *v1alpha1.LiveMigration) {
					lm.Name, lm.UID = "third", "third"
					lm.Spec.MigrateData = &v1alpha1.MigrateData{PCIDevices: []v1alpha1.PCIDeviceMigrateData{{Source: "0000:01:00.0", Target: "0000:81:10.3"}}}
				}))
				if p := third.Status.Target.Problem; p == nil || p.Blockers[0].Code != v1alpha1.BlockerHostDeviceTaken {
					t.Errorf("the problem of the third is %+v", p)
				}
			})
		})
	}
}
