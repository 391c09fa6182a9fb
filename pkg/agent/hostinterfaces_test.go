package agent

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
	"github.com/virtferry/virtferry/pkg/migration"
)

// functions are the MAC addresses of two functions of SR-IOV, and where they are on node-a.
var functions = []string{"52:54:00:00:00:0a", "52:54:00:00:00:0b"} //nolint:gochecknoglobals // A constant.

// function is an interface that is a function of the host.
func function(mac string, bus, number int) string {
	return fmt.Sprintf(`<interface type='hostdev' managed='yes'><mac address='%s'/><source><address type='pci' domain='0x0000' bus='0x%02x' slot='0x00' function='0x%d'/></source></interface>`, mac, bus, number)
}

// passedThrough has a guest with two functions on node-a, of which the persistent definition
// has as many as are said.
func (w *world) passedThrough(kept int, change func(*fake.Guest)) {
	const head, tail = `<domain type='kvm'><name>web</name><uuid>` + guestUUID + `</uuid><os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os><devices>`, `</devices></domain>`
	all := make([]string, 0, len(functions))
	for i, mac := range functions {
		all = append(all, function(mac, 0x81, i+1))
	}
	live, persistent := head+strings.Join(all, ""), head+strings.Join(all[:kept], "")
	g := fake.Guest{UUID: guestUUID, Name: "web", Persistent: true, LiveXML: hypervisor.DomainXML(live + tail), PersistentXML: hypervisor.DomainXML(persistent + tail)}
	change(&g)
	w.fleet.Host("node-a").AddGuest(g)
}

// detaches has them taken from the guest, and maps them to functions of node-b.
func detaches(lm *v1alpha1.LiveMigration) {
	options(v1alpha1.MigrationOptions{DetachHostInterfaces: new(true)})(lm)
	lm.Spec.MigrateData = &v1alpha1.MigrateData{}
	for i, mac := range functions {
		lm.Spec.MigrateData.Interfaces = append(lm.Spec.MigrateData.Interfaces, v1alpha1.InterfaceMigrateData{
			MACAddress: v1alpha1.MACAddress(mac), Source: &v1alpha1.InterfaceSource{HostDevice: &v1alpha1.HostDeviceInterfaceSource{PCIAddress: v1alpha1.PCIAddress(fmt.Sprintf("0000:42:00.%d", i+1))}},
		})
	}
}

// requireFunctions fails unless the guest has its functions, each once, where it runs: on node-a
// those of before, and on node-b those that the migrate data name.
func (w *world) requireFunctions(host string) {
	w.t.Helper()
	bus := map[string]string{"node-a": "0x81", "node-b": "0x42"}[host]
	text := w.fleet.Host(host).LiveXML(guestUUID)
	for _, mac := range functions {
		if strings.Count(text, mac) != 1 {
			w.t.Errorf("on %s, the guest has %s %d times", host, mac, strings.Count(text, mac))
		}
	}
	if strings.Count(text, "bus='"+bus+"'") != len(functions) {
		w.t.Errorf("on %s, the guest has %s", host, text)
	}
}

func asItIs(*fake.Guest) {}

// TestInterfacesOfTheHostAreTakenAndGivenBack where the guest runs in the end.
func TestInterfacesOfTheHostAreTakenAndGivenBack(t *testing.T) {
	taken := &hypervisor.Error{Kind: hypervisor.KindOther, Message: "PCI device 0000:42:00.1 is in use"}
	for _, c := range []struct {
		name   string
		kept   int
		before func(w *world)
		guest  func(*fake.Guest)
		want   v1alpha1.LiveMigrationPhase
		host   string
		says   string
		code   v1alpha1.BlockerCode
	}{
		{"they are", 2, func(*world) {}, asItIs, v1alpha1.PhaseSucceeded, "node-b", "", ""},
		{"the target's are in use for a while", 2, func(w *world) { w.fleet.Host("node-b").FailNext(fake.MethodAttachDevice, taken, taken, nil, taken) }, asItIs, v1alpha1.PhaseSucceeded, "node-b", "", ""},
		{"the migration fails", 2, func(w *world) { w.fleet.Host("node-a").FailNext(fake.MethodMigrate, taken) }, asItIs, v1alpha1.PhaseFailed, "node-a", "", ""},
		{"and giving them back does at first", 2, func(w *world) {
			w.fleet.Host("node-a").FailNext(fake.MethodMigrate, taken)
			w.fleet.Host("node-a").FailNext(fake.MethodAttachDevice, taken, taken, taken)
		}, asItIs, v1alpha1.PhaseFailed, "node-a", "", ""},
		{"the guest does not let go", 2, func(*world) {}, func(g *fake.Guest) { g.Clings = true }, v1alpha1.PhaseFailed, "node-a", "does not let go of these interfaces: 52:54:00:00:00:0a, 52:54:00:00:00:0b", v1alpha1.BlockerHostInterfaceKept},
		{"its definition has one of them", 1, func(*world) {}, asItIs, v1alpha1.PhaseFailed, "node-a", "does not have these interfaces, which the guest could not be given back: 52:54:00:00:00:0b", v1alpha1.BlockerHostInterfaceOnlyLive},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.passedThrough(c.kept, c.guest)
				c.before(w)
				lm := w.settle(w.migrateWith(guestUUID, detaches))
				if lm.Status.Phase != c.want || !strings.Contains(message(lm), c.says) {
					t.Fatalf("it ends in %s: %s", lm.Status.Phase, message(lm))
				}
				if codes := blockersOf(lm); c.code != "" && !slices.Equal(codes, []v1alpha1.BlockerCode{c.code}) {
					t.Errorf("the blockers are %v, want %s", codes, c.code)
				}
				if strings.Contains(message(lm), "were taken from it") {
					t.Errorf("it says: %s", message(lm))
				}
				w.requireFunctions(c.host)
			})
		})
	}
}

// message is that of the end.
func message(lm *v1alpha1.LiveMigration) string {
	for _, c := range lm.Status.Conditions {
		if c.Type == v1alpha1.ConditionSucceeded {
			return c.Message
		}
	}
	return ""
}

// TestInterfacesThatCannotBeGivenBackAreNamed: the guest has arrived all the same.
func TestInterfacesThatCannotBeGivenBackAreNamed(t *testing.T) {
	inWorld(t, func(w *world) {
		w.passedThrough(2, asItIs)
		w.fleet.Host("node-b").Hang(fake.MethodAttachDevice)
		lm := w.settle(w.migrateWith(guestUUID, detaches))
		if lm.Status.Phase != v1alpha1.PhaseSucceeded || !strings.Contains(message(lm), "52:54:00:00:00:0a, 52:54:00:00:00:0b. Ask an administrator to attach them") {
			t.Errorf("it ends in %s: %s", lm.Status.Phase, message(lm))
		}
	})
}

// TestNothingIsTakenForWhatCannotBeMoved: whether the rest of the guest can be moved is known
// beforehand.
func TestNothingIsTakenForWhatCannotBeMoved(t *testing.T) {
	for name, change := range map[string]func(*v1alpha1.LiveMigration){
		"a dry run": func(lm *v1alpha1.LiveMigration) { lm.Spec.DryRun = new(true) },
		"migrate data that do not fit": func(lm *v1alpha1.LiveMigration) {
			lm.Spec.MigrateData.Volumes = []v1alpha1.VolumeMigrateData{{Serial: new("none"), Source: &v1alpha1.VolumeSource{File: &v1alpha1.PathSource{Path: "/images/x"}}}}
		},
		"no mapping": func(lm *v1alpha1.LiveMigration) { lm.Spec.MigrateData = nil },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.passedThrough(2, asItIs)
				lm := w.settle(w.migrateWith(guestUUID, func(lm *v1alpha1.LiveMigration) {
					detaches(lm)
					change(lm)
				}))
				if n := w.fleet.Count(fake.MethodDetachDevice, ""); n != 0 || (lm.Status.Phase == v1alpha1.PhaseFailed) == migration.DryRun(lm) {
					t.Errorf("it ends in %s: %s; asked %d times", lm.Status.Phase, message(lm), n)
				}
				w.requireFunctions("node-a")
			})
		})
	}
}

// TestInterfacesAreWhereTheGuestIsWhoeverDies: agents are killed before and after each write,
// of migrations that succeed, fail, and are cancelled before their start and after it.
func TestInterfacesAreWhereTheGuestIsWhoeverDies(t *testing.T) {
	fails := &hypervisor.Error{Kind: hypervisor.KindOther, Message: "no"}
	for name, story := range map[string]func(w *world, lm *v1alpha1.LiveMigration){
		"it succeeds": func(*world, *v1alpha1.LiveMigration) {},
		"it fails":    func(w *world, _ *v1alpha1.LiveMigration) { w.fleet.Host("node-a").FailNext(fake.MethodMigrate, fails) },
		"it is cancelled while they are taken": func(w *world, lm *v1alpha1.LiveMigration) {
			go func() {
				for w.fleet.Count(fake.MethodDetachDevice, "") == 0 {
					time.Sleep(10 * time.Millisecond)
				}
				w.ask(lm, v1alpha1.AnnotationCancel, "1")
			}()
		},
	} {
		for _, after := range []bool{false, true} {
			for write := 1; ; write++ {
				reached := false
				inWorld(t, func(w *world) {
					w.passedThrough(2, asItIs)
					crashed := w.crashAt(write, after)
					lm := w.migrateWith(guestUUID, detaches)
					story(w, lm)
					time.Sleep(10 * time.Second)
					select {
					case victim := <-crashed:
						reached = true
						victim.restart()
					default:
					}
					lm = w.settle(lm)
					on := w.fleet.RunningOn(guestUUID)
					if len(on) != 1 {
						t.Fatalf("%s, killed at write %d, after it: %t, it runs on %v", name, write, after, on)
					}
					w.requireFunctions(on[0])
					if t.Failed() {
						t.Fatalf("%s, killed at write %d, after it: %t, it ends in %s: %s", name, write, after, lm.Status.Phase, message(lm))
					}
				})
				if !reached {
					if write < 5 {
						t.Errorf("%s: there were only %d writes to crash at", name, write-1)
					}
					break
				}
			}
		}
	}
}

// withFunctions gives a host the functions of passedThrough and detaches.
func withFunctions(host *fake.Host, bus string, n int) {
	devices := &hypervisor.HostDevices{}
	for i := range n {
		devices.PCI = append(devices.PCI, hypervisor.PCIDevice{
			Address: fmt.Sprintf("0000:%s:00.%d", bus, i+1), Vendor: "0x8086", Product: "0x1520", Driver: "vfio-pci", Virtual: true, Cell: hypervisor.NoCell,
		})
	}
	host.SetFacts(func(f *hypervisor.HostFacts) { f.Devices = devices })
}

// TestInterfacesAreGivenBackAsFunctionsThatTheTargetChooses: the guest leaves without them, and
// gets others there, which nobody else was promised meanwhile.
func TestInterfacesAreGivenBackAsFunctionsThatTheTargetChooses(t *testing.T) {
	fails := &hypervisor.Error{Kind: hypervisor.KindOther, Message: "no"}
	for _, c := range []struct {
		name   string
		there  int // The functions of the target.
		before func(w *world)
		want   v1alpha1.LiveMigrationPhase
		host   string
		chosen string
		asked  bool // Whether the guest was asked to let go of its own.
	}{
		{"they are", 2, func(*world) {}, v1alpha1.PhaseSucceeded, "node-b", "1 2", true},
		{"the migration fails", 2, func(w *world) { w.fleet.Host("node-a").FailNext(fake.MethodMigrate, fails) }, v1alpha1.PhaseFailed, "node-a", "1 2", true},
		{"there are too few", 1, func(*world) {}, v1alpha1.PhaseFailed, "node-a", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.passedThrough(2, asItIs)
				withFunctions(w.fleet.Host("node-a"), "81", 2)
				withFunctions(w.fleet.Host("node-b"), "42", c.there)
				c.before(w)
				lm := w.settle(w.migrateWith(guestUUID, options(v1alpha1.MigrationOptions{DetachHostInterfaces: new(true)})))
				if lm.Status.Phase != c.want || devicesOn(lm) != c.chosen {
					t.Fatalf("it ends in %s with %q: %s", lm.Status.Phase, devicesOn(lm), message(lm))
				}
				if asked := w.fleet.Count(fake.MethodDetachDevice, "") > 0; asked != c.asked {
					t.Errorf("the guest was asked to let go of its interfaces: %t", asked)
				}
				w.requireFunctions(c.host)
				if n := len(w.b.node.parts.promised); n != 0 {
					t.Errorf("after its end, %d guests are promised parts of the target", n)
				}
			})
		})
	}
}

// TestWhatWasTakenFromAGuestIsGivenToNoOther while it may come back to it: another guest that
// comes to its host gets something else.
func TestWhatWasTakenFromAGuestIsGivenToNoOther(t *testing.T) {
	onTarget(t, func(ctx context.Context, s *targetSession, host *fake.Host) {
		const head, tail = "<domain type='kvm'><devices>", "</devices></domain>"
		for uuid, persistent := range map[string]bool{bigUUID: true, otherUUID: false} {
			host.AddGuest(fake.Guest{
				UUID: uuid, Name: uuid, Persistent: persistent, LiveXML: head + tail, PersistentXML: hypervisor.DomainXML(head + function(functions[0], 0x81, 1) + tail),
			})
		}
		domains, err := host.ListDomains(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			uuid string
			want []string
		}{{bigUUID, []string{"0000:81:00.1"}}, {otherUUID, nil}} {
			guests := slices.DeleteFunc(slices.Clone(domains), func(d hypervisor.Domain) bool { return d.UUID != c.uuid })
			uses, unknown, err := s.survey(ctx, listing{domains: guests})
			if err != nil || len(unknown) > 0 || len(uses) != 1 || !slices.Equal(uses[0].PCIDevices, c.want) {
				t.Errorf("it has %+v, %v, %v, want %v", uses, unknown, err, c.want)
			}
		}
	})
}

// TestAGuestThatLetsGoLateGetsItsInterfacesBack: it has been asked for them, and nobody can take
// that back.
func TestAGuestThatLetsGoLateGetsItsInterfacesBack(t *testing.T) {
	for name, c := range map[string]struct {
		after   time.Duration
		restart bool
	}{
		"soon": {2 * time.Second, false}, "when the migration has been refused": {25 * time.Second, false}, "by another agent": {8 * time.Second, true},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.passedThrough(2, func(g *fake.Guest) { g.LetsGoAfter = c.after })
				lm := w.migrateWith(guestUUID, detaches)
				w.await(lm, "that it is asked", func(*v1alpha1.LiveMigration) bool { return w.fleet.Count(fake.MethodDetachDevice, "") > 0 })
				if c.after < detachPatience {
					w.ask(lm, v1alpha1.AnnotationCancel, "1")
				}
				if c.restart {
					w.a.restart()
				}
				lm = w.settle(lm)
				time.Sleep(time.Minute)
				w.requireFunctions("node-a")
				if t.Failed() {
					t.Errorf("it ends in %s: %s", lm.Status.Phase, message(lm))
				}
			})
		})
	}
}
