package agent

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
	"github.com/virtferry/virtferry/pkg/xmlrewrite"
)

// hostWith is a system with so much memory that can be had.
func hostWith(mebibytes int) fstest.MapFS {
	return fstest.MapFS{"proc/meminfo": {Data: fmt.Appendf(nil, "MemTotal: %d kB\nMemAvailable: %d kB\n", 64<<20, mebibytes<<10)}}
}

const bigUUID = "44444444-4444-4444-8444-444444444444"

// bigGuest has 4 GiB, with what is given in its memory backing and among its devices.
func bigGuest(uuid, backing, devices string) fake.Guest {
	return fake.Guest{UUID: uuid, Name: "big-" + uuid[:4], LiveXML: hypervisor.DomainXML(
		"<domain type='kvm'><name>big-" + uuid[:4] + "</name><uuid>" + uuid + "</uuid><memory unit='KiB'>4194304</memory>" +
			"<memoryBacking>" + backing + "</memoryBacking><devices>" + devices + "</devices></domain>")}
}

// called is the spec of a node that calls the network and the bridge blue otherwise.
func called(to string) func(context.Context) (v1alpha1.HypervisorSpec, error) {
	return func(context.Context) (v1alpha1.HypervisorSpec, error) {
		return v1alpha1.HypervisorSpec{NetworkMappings: []v1alpha1.NetworkMapping{
			{Kind: v1alpha1.NetworkKindNetwork, From: "blue", To: to}, {Kind: v1alpha1.NetworkKindBridge, From: "blue", To: to},
			{Kind: v1alpha1.NetworkKindBridge, From: "pink", To: to},
		}}, nil
	}
}

// TestTheGuestComesToTheTargetsNetworks, in both of its definitions, and the status says so.
func TestTheGuestComesToTheTargetsNetworks(t *testing.T) {
	for _, dry := range []bool{false, true} {
		inWorld(t, func(w *world) {
			w.b.node.Settings = called("br0")
			w.fleet.Host("node-b").SetFacts(func(f *hypervisor.HostFacts) { f.Networks = []hypervisor.Network{{Name: "br0", Active: true}} })
			const live = "<interface type='network'><mac address='52:54:00:00:00:01'/><source network='blue'/></interface>"
			g := bigGuest(bigUUID, "", live)
			g.Persistent = true
			g.PersistentXML = bigGuest(bigUUID, "", live+"<interface type='bridge'><mac address='52:54:00:00:00:02'/><source bridge='pink'/></interface>").LiveXML
			w.fleet.Host("node-a").AddGuest(g)
			lm := w.settle(w.migrateWith(bigUUID, func(lm *v1alpha1.LiveMigration) { lm.Spec.DryRun = &dry }))
			if lm.Status.Phase != v1alpha1.PhaseSucceeded {
				t.Fatalf("the end is %s: %s", lm.Status.Phase, lm.Status.Conditions[0].Message)
			}
			want := []v1alpha1.NetworkMapping{{Kind: v1alpha1.NetworkKindNetwork, From: "blue", To: "br0"}, {Kind: v1alpha1.NetworkKindBridge, From: "pink", To: "br0"}}
			if got := lm.Status.Target.Offer.NetworkMappings; !slices.Equal(got, want) {
				t.Errorf("the status says %v", got)
			}
			if dry {
				return
			}
			calls := w.fleet.Calls()
			sent := calls[slices.IndexFunc(calls, func(c fake.Call) bool { return c.Method == fake.MethodMigrate })].Params
			if !strings.Contains(string(sent.LiveXML), "network='br0'") || !strings.Contains(string(sent.PersistentXML), "network='br0'") || !strings.Contains(string(sent.PersistentXML), "bridge='br0'") {
				t.Error("the definitions have not the target's names")
			}
		})
	}
}

func TestATargetWithoutRoomIsRefused(t *testing.T) {
	const (
		pages   = "<hugepages><page size='2048' unit='KiB'/></hugepages>"
		bridge  = "<interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='blue'/></interface>"
		network = "<interface type='network'><mac address='52:54:00:00:00:01'/><source network='blue'/></interface>"
	)
	blue := func(active bool) func(*hypervisor.HostFacts) {
		return func(f *hypervisor.HostFacts) {
			f.Networks = []hypervisor.Network{{Name: "blue", Active: active}, {Name: "red", Active: true}}
		}
	}
	free := func(pages uint64) func(*hypervisor.HostFacts) {
		return func(f *hypervisor.HostFacts) {
			f.Memory = []hypervisor.CellMemory{{FreePages: map[uint64]uint64{2 << 20: pages - 1, 1 << 30: 64}}, {FreePages: map[uint64]uint64{2 << 20: 1}}}
		}
	}
	for _, c := range []struct {
		name    string
		backing string
		devices string
		system  fstest.MapFS
		facts   func(*hypervisor.HostFacts)
		mapped  string // What the network or bridge blue is called on the target.
		change  func(*v1alpha1.LiveMigration)
		want    v1alpha1.BlockerCode
		message string
	}{
		{name: "room", system: hostWith(4096)},
		{name: "nothing is known", system: nil},
		{name: "no room", system: hostWith(4095), want: v1alpha1.BlockerMemoryInsufficient, message: "4096 MiB of memory, and node-b has 4095 MiB free"},
		{name: "no room, in a dry run", system: hostWith(4095), change: func(lm *v1alpha1.LiveMigration) { lm.Spec.DryRun = new(true) }, want: v1alpha1.BlockerMemoryInsufficient},
		{
			name: "no room, as the host is meant to be", system: hostWith(4095),
			change: func(lm *v1alpha1.LiveMigration) {
				lm.Spec.Options = &v1alpha1.MigrationOptions{SkipMemoryCheck: new(true)}
			},
		},
		{name: "huge pages", backing: pages, system: hostWith(1), facts: free(2048)},
		{name: "too few huge pages", backing: pages, system: hostWith(8192), facts: free(2047), want: v1alpha1.BlockerHugePagesInsufficient, message: "2048 huge pages of 2048 KiB, and node-b has 2047"},
		{name: "huge pages that are not known", backing: pages, facts: func(f *hypervisor.HostFacts) {
			f.Errors[hypervisor.FactsMemory] = fake.Error(hypervisor.KindOther, "no")
		}},
		{name: "the network", devices: network, facts: blue(true)},
		{name: "the network is down", devices: network, facts: blue(false), want: v1alpha1.BlockerNetworkInactive, message: "virsh net-start"},
		{name: "no such network", devices: network, want: v1alpha1.BlockerNetworkMissing, message: `no network "blue". Ask`},
		{name: "networks that are not known", devices: network, facts: func(f *hypervisor.HostFacts) {
			f.Errors[hypervisor.FactsNetworks] = fake.Error(hypervisor.KindOther, "no")
		}},
		{name: "the target says how the network is called there", devices: network, facts: blue(false), mapped: "red"},
		{name: "nothing is called so there", devices: network, facts: blue(true), mapped: "green", want: v1alpha1.BlockerNetworkMissing, message: `no network "green", which the spec of the Hypervisor gives for "blue". Ask`},
		{name: "the bridge", devices: bridge, facts: func(f *hypervisor.HostFacts) { f.Bridges = []string{"red", "blue"} }},
		{name: "no such bridge", devices: bridge, want: v1alpha1.BlockerBridgeMissing, message: `node-b has no bridge "blue". Ask an administrator to make it there, or to map it in spec.networkMappings of the Hypervisor node-b;`},
		{name: "the target says how the bridge is called there", devices: bridge, mapped: "br0"},
		{name: "no bridge is called so", devices: bridge, mapped: "br9", want: v1alpha1.BlockerBridgeMissing, message: `no bridge "br9", which the spec`},
		{name: "a bridge that nobody looks for", devices: bridge, mapped: "tapbr"},
		{name: "bridges that libvirt does not see", devices: bridge, facts: func(f *hypervisor.HostFacts) { f.Bridges = []string{} }},
		{name: "a switch that is no bridge", devices: "<interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='blue'/><virtualport type='openvswitch'/></interface>"},
		{name: "the network has another name there", devices: network, change: func(lm *v1alpha1.LiveMigration) {
			lm.Spec.MigrateData = &v1alpha1.MigrateData{Interfaces: []v1alpha1.InterfaceMigrateData{{
				MACAddress: "52:54:00:00:00:01", Source: &v1alpha1.InterfaceSource{Network: &v1alpha1.NetworkInterfaceSource{Name: "default"}},
			}}}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				if c.system != nil {
					w.b.system = c.system
				}
				w.b.restart()
				if c.mapped != "" {
					w.b.node.Settings = called(c.mapped)
				}
				w.fleet.Host("node-a").AddGuest(bigGuest(bigUUID, c.backing, c.devices))
				if c.facts != nil {
					w.fleet.Host("node-b").SetFacts(c.facts)
				}
				change := c.change
				if change == nil {
					change = func(*v1alpha1.LiveMigration) {}
				}
				lm := w.settle(w.migrateWith(bigUUID, change))
				if c.want == "" {
					if lm.Status.Phase != v1alpha1.PhaseSucceeded {
						t.Errorf("the end is %s: %s", lm.Status.Phase, lm.Status.Conditions[0].Message)
					}
					return
				}
				w.requireEnd(lm, v1alpha1.PhaseFailed, v1alpha1.ReasonTargetCheckFailed, "")
				if n := w.fleet.Count(fake.MethodMigrate, bigUUID); n != 0 {
					t.Error("it was tried all the same")
				}
				if p := lm.Status.Target.Problem; p == nil || len(p.Blockers) != 1 || p.Blockers[0].Code != c.want || !strings.Contains(p.Message, c.message) {
					t.Errorf("the problem is %+v", p)
				}
			})
		})
	}
}

// TestGuestsOnTheirWayAreNotPromisedTheSameMemory, also by an agent that was started again;
// and what one does not take any more, the next may have.
func TestGuestsOnTheirWayAreNotPromisedTheSameMemory(t *testing.T) {
	const second = "55555555-5555-4555-8555-555555555555"
	for _, c := range []struct {
		name, backing string
		restart       bool
		want          v1alpha1.BlockerCode
	}{
		{"memory", "", false, v1alpha1.BlockerMemoryInsufficient},
		{"memory, after a restart", "", true, v1alpha1.BlockerMemoryInsufficient},
		{"huge pages", "<hugepages><page size='2048' unit='KiB'/></hugepages>", false, v1alpha1.BlockerHugePagesInsufficient},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.b.system = hostWith(6000)
				w.b.restart()
				w.fleet.Host("node-b").SetFacts(func(f *hypervisor.HostFacts) {
					f.Memory = []hypervisor.CellMemory{{FreePages: map[uint64]uint64{2 << 20: 3000}}}
				})
				for _, uuid := range []string{bigUUID, second} {
					w.fleet.Host("node-a").AddGuest(bigGuest(uuid, c.backing, ""))
				}
				w.api.full = true // Nothing is copied.
				first := w.migrateWith(bigUUID, func(*v1alpha1.LiveMigration) {})
				time.Sleep(10 * time.Second)
				if target := w.api.get(first).Status.Target; target == nil || target.ReadyTime == nil {
					t.Fatalf("the target is not ready for the first: %+v", target)
				}
				if c.restart {
					w.b.restart()
				}
				refused := w.settle(w.migrateWith(second, func(*v1alpha1.LiveMigration) {}))
				w.requireEnd(refused, v1alpha1.PhaseFailed, v1alpha1.ReasonTargetCheckFailed, "")
				if p := refused.Status.Target.Problem; p == nil || !slices.ContainsFunc(p.Blockers, func(b v1alpha1.Blocker) bool { return b.Code == c.want }) {
					t.Errorf("the problem is %+v", p)
				}
				w.ask(first, v1alpha1.AnnotationCancel, "1")
				w.settle(first)
				w.api.update(first.UID, func(*v1alpha1.LiveMigration) { w.api.full = false })
				again := w.settle(w.migrateWith(second, func(lm *v1alpha1.LiveMigration) { lm.Name, lm.UID = "again", "again" }))
				w.requireEnd(again, v1alpha1.PhaseSucceeded, v1alpha1.ReasonMigrated, "")
			})
		})
	}
}

// TestNoMoreMACAddressesThanTheAPITakes, whatever the guest has.
func TestNoMoreMACAddressesThanTheAPITakes(t *testing.T) {
	t.Parallel()
	for count, want := range map[int]int{0: 0, 1: 1, 64: 64, 65: 64} {
		needs := xmlrewrite.Needs{}
		for i := range count {
			needs.MACAddresses = append(needs.MACAddresses, fmt.Sprintf("52:54:00:00:00:%02x", i))
		}
		got := macAddressesOf(needs)
		if len(got) != want || want == 0 && got != nil || want > 0 && got[want-1] != v1alpha1.MACAddress(needs.MACAddresses[want-1]) {
			t.Errorf("of %d, the first %d are told: %v", count, len(got), got)
		}
	}
}
