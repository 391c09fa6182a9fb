package agent

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
)

const otherUUID = "66666666-6666-4666-8666-666666666666"

// pinnedGuest has two virtual CPUs, each pinned to a CPU, and its emulator to both.
func pinnedGuest(uuid string, first, second int) fake.Guest {
	return fake.Guest{UUID: uuid, Name: "pinned-" + uuid[:4], LiveXML: hypervisor.DomainXML(fmt.Sprintf(
		"<domain type='kvm'><name>pinned-%s</name><uuid>%s</uuid><vcpu>2</vcpu><cputune><vcpupin vcpu='0' cpuset='%[3]d'/><vcpupin vcpu='1' cpuset='%[4]d'/>"+
			"<emulatorpin cpuset='%[3]d,%[4]d'/></cputune><numatune><memory mode='strict' nodeset='0'/></numatune></domain>", uuid[:4], uuid, first, second))}
}

// pinsOn is what a status says of the CPUs that were filled in.
func pinsOn(lm *v1alpha1.LiveMigration) string {
	if lm.Status.Target == nil || lm.Status.Target.Offer == nil || lm.Status.Target.Offer.NUMA == nil {
		return ""
	}
	var out []string
	for _, pin := range lm.Status.Target.Offer.NUMA.VCPUPins {
		out = append(out, string(pin.HostCPUs))
	}
	return strings.Join(out, " ")
}

// TestAPinnedGuestGetsFreeCPUs of the target, in a dry run as well, unless its user has said
// which.
func TestAPinnedGuestGetsFreeCPUs(t *testing.T) {
	user := &v1alpha1.MigrateData{NUMA: &v1alpha1.NUMAMigrateData{
		VCPUPins: []v1alpha1.VCPUPin{{VCPU: 0, HostCPUs: "0"}, {VCPU: 1, HostCPUs: "0"}}, EmulatorPin: new(v1alpha1.CPUSet("0")), MemoryNodes: new(v1alpha1.CPUSet("0")),
	}}
	cpus := func(lists ...[]int) func(*hypervisor.HostFacts) {
		return func(f *hypervisor.HostFacts) {
			f.Capabilities.Cells = nil
			for id, list := range lists {
				f.Capabilities.Cells = append(f.Capabilities.Cells, hypervisor.Cell{ID: id, CPUs: list})
			}
		}
	}
	for _, c := range []struct {
		name   string
		there  *fake.Guest // On the target.
		facts  func(*hypervisor.HostFacts)
		config ReceiveConfig
		data   *v1alpha1.MigrateData
		dry    bool
		want   string // What is filled in.
		xml    string // What is sent.
		says   string // Of the refusal.
	}{
		{name: "nobody else is there", want: "0 1", xml: "<vcpupin vcpu='0' cpuset='0'/><vcpupin vcpu='1' cpuset='1'/><emulatorpin cpuset='0-1'/>"},
		{name: "another guest is pinned there", there: new(pinnedGuest(otherUUID, 0, 2)), want: "1 3"},
		{name: "in a dry run", there: new(pinnedGuest(otherUUID, 0, 1)), dry: true, want: "2 3"},
		{name: "the other cell has room", facts: cpus([]int{0}, []int{1, 2}), want: "1 2", xml: "nodeset='1'"},
		{name: "no cell has room", facts: cpus([]int{0, 1}, []int{2, 3}), there: new(pinnedGuest(otherUUID, 0, 2)), says: "it needs 2 CPUs, in a NUMA cell each. node-b has, free of other guests that are pinned there or on their way: 1 CPU in cell 0, 1 CPU in cell 1."},
		{name: "in a dry run, no cell has room", facts: cpus([]int{0}), dry: true, says: "1 CPU in cell 0."},
		{name: "what is dedicated", config: ReceiveConfig{DedicatedCPUs: "2-3"}, want: "2 3"},
		{name: "what is shared", config: ReceiveConfig{SharedCPUs: "0-1"}, want: "2 3"},
		{name: "the user says which", data: user, want: "", xml: "<vcpupin vcpu='0' cpuset='0'/><vcpupin vcpu='1' cpuset='0'/>"},
		{name: "an offline CPU", facts: func(f *hypervisor.HostFacts) { f.Capabilities.Cells[0].Offline = []int{0} }, want: "1 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.fleet.Host("node-a").AddGuest(pinnedGuest(bigUUID, 2, 3))
				host := w.fleet.Host("node-b")
				if c.there != nil {
					host.AddGuest(*c.there)
				}
				host.SetFacts(func(f *hypervisor.HostFacts) {
					caps := *f.Capabilities
					caps.Cells = slices.Clone(caps.Cells)
					f.Capabilities = &caps
					if c.facts != nil {
						c.facts(f)
					}
				})
				w.b.node.Receive.DedicatedCPUs, w.b.node.Receive.SharedCPUs = c.config.DedicatedCPUs, c.config.SharedCPUs
				lm := w.settle(w.migrateWith(bigUUID, func(lm *v1alpha1.LiveMigration) { lm.Spec.MigrateData, lm.Spec.DryRun = c.data, &c.dry }))
				if c.says != "" {
					w.requireEnd(lm, v1alpha1.PhaseFailed, v1alpha1.ReasonTargetCheckFailed, "")
					if p := lm.Status.Target.Problem; p == nil || len(p.Blockers) != 1 || p.Blockers[0].Code != v1alpha1.BlockerCPUsInsufficient || !strings.Contains(p.Message, c.says) {
						t.Errorf("the problem is %+v", p)
					}
					return
				}
				if lm.Status.Phase != v1alpha1.PhaseSucceeded || pinsOn(lm) != c.want {
					t.Fatalf("the end is %s, on %q, want %q: %s", lm.Status.Phase, pinsOn(lm), c.want, lm.Status.Conditions[0].Message)
				}
				if c.dry {
					return
				}
				calls := w.fleet.Calls()
				sent := calls[slices.IndexFunc(calls, func(c fake.Call) bool { return c.Method == fake.MethodMigrate })].Params
				if !strings.Contains(string(sent.LiveXML), c.xml) {
					t.Errorf("sent is %s", sent.LiveXML)
				}
			})
		})
	}
}

// TestNoTwoGuestsGetTheSameCPU, though both are on their way, and also if the target's agent is
// another process.
func TestNoTwoGuestsGetTheSameCPU(t *testing.T) {
	for _, c := range []struct {
		name    string
		restart bool
		data    *v1alpha1.MigrateData // Of the first.
		second  string
	}{
		{"at once", false, nil, "2 3"},
		{"the agent is another process", true, nil, "2 3"},
		{"the first has them from its user", true, &v1alpha1.MigrateData{NUMA: &v1alpha1.NUMAMigrateData{
			VCPUPins: []v1alpha1.VCPUPin{{VCPU: 0, HostCPUs: "0"}, {VCPU: 1, HostCPUs: "2"}}, EmulatorPin: new(v1alpha1.CPUSet("0")), MemoryNodes: new(v1alpha1.CPUSet("0")),
		}}, "1 3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.fleet.Host("node-a").AddGuest(pinnedGuest(bigUUID, 2, 3))
				w.fleet.Host("node-a").AddGuest(pinnedGuest(otherUUID, 0, 1))
				w.api.full = true // Nothing is copied.
				ready := func(lm *v1alpha1.LiveMigration) bool {
					return lm.Status.Target != nil && lm.Status.Target.ReadyTime != nil
				}
				first := w.migrateWith(bigUUID, func(lm *v1alpha1.LiveMigration) { lm.Spec.MigrateData = c.data })
				w.await(first, "the target", ready)
				if c.restart {
					w.b.restart()
				}
				second := w.await(w.migrateWith(otherUUID, func(*v1alpha1.LiveMigration) {}), "the target", ready)
				if got := pinsOn(second); got != c.second {
					t.Errorf("the second gets %q, want %q", got, c.second)
				}
			})
		})
	}
}

// waysToEnd are all ways in which a migration ends, of which each gives back what was promised.
func waysToEnd() map[string]wayToEnd {
	waits := func(w *world) { w.api.full = true }
	ends := func(ending fake.Ending) func(*world) {
		return func(w *world) { w.fleet.ScriptNext(bigUUID, fake.Script{Ending: ending}) }
	}
	cancel := func(w *world, lm *v1alpha1.LiveMigration) { w.ask(lm, v1alpha1.AnnotationCancel, "now") }
	return map[string]wayToEnd{
		"it succeeds":                      {},
		"libvirt fails":                    {before: ends(fake.EndsTargetLost)},
		"the guest shuts down":             {before: ends(fake.EndsPoweredOff)},
		"it is cancelled before its start": {before: waits, during: cancel},
		"it is refused":                    {before: func(w *world) { w.fleet.Host("node-b").AddGuest(fake.Guest{UUID: otherUUID, Name: "pinned-4444"}) }},
		"the source refuses it":            {before: func(w *world) { w.fleet.Host("node-a").SetTies(bigUUID, hypervisor.Ties{Snapshots: 1}) }},
		"nothing is to be moved":           {dry: true},
		"the object is gone": {before: waits, during: func(w *world, lm *v1alpha1.LiveMigration) {
			w.b.target.Remove(types.NamespacedName{Namespace: lm.Namespace, Name: lm.Name})
			cancel(w, lm)
		}},
		"the target's agent is another process": {before: waits, during: func(w *world, lm *v1alpha1.LiveMigration) {
			w.b.restart()
			time.Sleep(time.Second)
			cancel(w, lm)
		}},
	}
}

type wayToEnd struct {
	before func(w *world)
	during func(w *world, lm *v1alpha1.LiveMigration)
	dry    bool
}

// TestPartsAreGivenBackAfterEachWayToEnd: nothing of the host is promised any more to a migration
// that is over.
func TestPartsAreGivenBackAfterEachWayToEnd(t *testing.T) {
	for name, c := range waysToEnd() {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				g := pinnedGuest(bigUUID, 2, 3)
				_, devices, _ := strings.Cut(string(deviceGuest(bigUUID, "1").LiveXML), "<devices>")
				g.LiveXML = hypervisor.DomainXML(strings.Replace(string(g.LiveXML), "</domain>", "<devices>"+devices, 1))
				w.fleet.Host("node-a").AddGuest(g)
				withDevices(w.fleet.Host("node-a"), "1")
				withDevices(w.fleet.Host("node-b"), "2")
				if c.before != nil {
					c.before(w)
				}
				lm := w.migrateWith(bigUUID, func(lm *v1alpha1.LiveMigration) { lm.Spec.DryRun = new(c.dry) })
				if c.during != nil {
					w.await(lm, "the target", func(lm *v1alpha1.LiveMigration) bool { return pinsOn(lm) != "" && len(promisedParts(w.b.node)) == 4 })
					c.during(w, lm)
				}
				w.settle(lm)
				time.Sleep(time.Minute) // Until the sessions have ended.
				if kept := promisedParts(w.b.node); len(kept) > 0 {
					t.Errorf("kept are %v", kept)
				}
			})
		})
	}
}

func promisedParts(n *Node) []hostPart {
	n.parts.mu.Lock()
	defer n.parts.mu.Unlock()
	return slices.Concat(slices.Collect(maps.Values(n.parts.promised))...)
}

// TestEventsThatTheTargetCannotCountAreDropped, and the user is warned.
func TestEventsThatTheTargetCannotCountAreDropped(t *testing.T) {
	for _, dry := range []bool{false, true} {
		inWorld(t, func(w *world) {
			w.b.system = fstest.MapFS{"sys/bus/event_source/devices/software/type": {}}
			w.b.restart()
			g := bigGuest(bigUUID, "", "")
			perf := "<perf><event name='cmt' enabled='yes'/><event name='cpu_clock' enabled='yes'/><event name='new_event' enabled='yes'/></perf>"
			g.LiveXML = hypervisor.DomainXML(strings.Replace(string(g.LiveXML), "<devices>", perf+"<devices>", 1))
			w.fleet.Host("node-a").AddGuest(g)
			lm := w.settle(w.migrateWith(bigUUID, func(lm *v1alpha1.LiveMigration) { lm.Spec.DryRun = &dry }))
			if lm.Status.Phase != v1alpha1.PhaseSucceeded || !slices.Equal(lm.Status.Target.Offer.DroppedPerfEvents, []v1alpha1.PerfEvent{"cmt"}) {
				t.Fatalf("the end is %s, without %v: %s", lm.Status.Phase, lm.Status.Target.Offer.DroppedPerfEvents, lm.Status.Conditions[0].Message)
			}
			if warnings := lm.Status.Source.Warnings; len(warnings) != 1 || !strings.Contains(warnings[0], "the target cannot count this event") {
				t.Errorf("the warnings are %q", warnings)
			}
		})
	}
}

// TestNothingIsGivenWhileAGuestsPartsAreUnknown: libvirt would let two guests have the same
// CPU.
func TestNothingIsGivenWhileAGuestsPartsAreUnknown(t *testing.T) {
	const third = "77777777-7777-4777-8777-777777777777"
	for name, seen := range map[string]bool{"it was never seen": false, "it was seen before": true} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				a, b := w.fleet.Host("node-a"), w.fleet.Host("node-b")
				a.AddGuest(pinnedGuest(otherUUID, 0, 1))
				b.AddGuest(pinnedGuest(third, 0, 1))
				dry := func(lm *v1alpha1.LiveMigration) { lm.Spec.DryRun = new(true) }
				if seen {
					w.settle(w.migrateWith(otherUUID, dry))
				}
				domains, err := b.ListDomains(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				w.b.node.listed.Store(&listing{domains: domains, stuck: map[string]bool{third: true}}) // As it is published.
				defer b.Wedge(third)()
				lm := w.settle(w.migrateWith(otherUUID, dry))
				p := lm.Status.Target.Problem
				if refused := p != nil && len(p.Blockers) == 1 && p.Blockers[0].Code == v1alpha1.BlockerHostUseUnknown; refused == seen {
					t.Errorf("the problem is %+v", p)
				}
				if got := pinsOn(lm); seen && got != "2 3" || !seen && got != "" {
					t.Errorf("it is given %q", got)
				}
			})
		})
	}
}
