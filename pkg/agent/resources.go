package agent

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hostfiles"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/migration"
	"github.com/virtferry/virtferry/pkg/xmlrewrite"
)

// As many networks of a guest as the API takes, and as long names: of networks, of bridges, and
// of those that are mapped.
const maxGuestNetworks, longestNetwork, longestBridge, longestMapped = 64, 256, 64, 253

// maxMACAddresses is how many of a guest's MAC addresses the API takes.
const maxMACAddresses = 64

// macAddressesOf are what the guest's peers know it by, no more than the API takes.
func macAddressesOf(needs xmlrewrite.Needs) []v1alpha1.MACAddress {
	macs := needs.MACAddresses[:min(len(needs.MACAddresses), maxMACAddresses)]
	if len(macs) == 0 {
		return nil
	}
	out := make([]v1alpha1.MACAddress, 0, len(macs))
	for _, mac := range macs {
		out = append(out, v1alpha1.MACAddress(mac))
	}
	return out
}

// resourcesOf is what a guest will take of the target; nil where that is not known.
func resourcesOf(definitions []hypervisor.DomainXML, data *v1alpha1.MigrateData) *v1alpha1.GuestResources {
	var other hypervisor.DomainXML
	if len(definitions) > 1 {
		other = definitions[1]
	}
	needs, known := xmlrewrite.ReadNeedsOnTarget(definitions[0], other, data)
	if !known {
		return nil
	}
	out := &v1alpha1.GuestResources{}
	switch size := needs.HugePageBytes; {
	case needs.MemoryBytes == 0:
	case size == 0:
		out.MemoryBytes = bytesOf(needs.MemoryBytes)
	default:
		out.HugePages = &v1alpha1.GuestHugePages{SizeBytes: bytesOf(size), Count: bytesOf((needs.MemoryBytes + size - 1) / size)}
	}
	out.Networks = few(needs.Networks, longestNetwork)
	out.Bridges, out.VirtualSwitches = few(needs.Bridges, longestBridge), few(needs.VirtualSwitches, longestBridge)
	if data == nil || data.Interfaces == nil {
		out.DefinedNetworks = onlyDefined(needs, other)
	}
	if data == nil || data.PerfEvents == nil {
		out.PerfEvents = countedFor(needs, other)
	}
	if reflect.ValueOf(*out).IsZero() {
		return nil
	}
	return out
}

// countedFor are the performance events of either of a guest's definitions.
func countedFor(running xmlrewrite.Needs, definition hypervisor.DomainXML) []v1alpha1.PerfEvent {
	events, all := running.PerfEvents, hostfiles.AllPerfEvents()
	if defined, err := xmlrewrite.ReadNeeds([]byte(definition)); err == nil {
		events = slices.Concat(events, defined.PerfEvents)
	}
	var out []v1alpha1.PerfEvent
	for _, name := range events {
		if event := v1alpha1.PerfEvent(name); slices.Contains(all, name) && !slices.Contains(out, event) {
			out = append(out, event)
		}
	}
	return out
}

// few are those names of a guest's networks that the API takes.
func few(names []string, longest int) []string {
	var out []string
	for _, name := range names {
		if fits(name, longest) && len(out) < maxGuestNetworks {
			out = append(out, name)
		}
	}
	return out
}

// onlyDefined are the networks and bridges that are in a guest's persistent definition and not
// in that of the running guest, of which the needs are.
func onlyDefined(running xmlrewrite.Needs, definition hypervisor.DomainXML) []v1alpha1.GuestNetwork {
	if definition == "" {
		return nil
	}
	defined, err := xmlrewrite.ReadNeeds([]byte(definition))
	if err != nil {
		return nil // Told already.
	}
	var out []v1alpha1.GuestNetwork
	add := func(kind v1alpha1.NetworkKind, names, known []string) {
		for _, name := range names {
			network := v1alpha1.GuestNetwork{Kind: kind, Name: name}
			if fits(name, longestMapped) && len(out) < maxGuestNetworks && !slices.Contains(known, name) && !slices.Contains(out, network) {
				out = append(out, network)
			}
		}
	}
	bridges := slices.Concat(running.Bridges, running.VirtualSwitches)
	add(v1alpha1.NetworkKindNetwork, defined.Networks, running.Networks)
	add(v1alpha1.NetworkKindBridge, slices.Concat(defined.Bridges, defined.VirtualSwitches), bridges)
	return out
}

// claims are what guests that are on their way will take of a host.
type claims struct {
	mu    sync.Mutex
	taken map[types.UID]claim
}

// claim is what one guest will take: memory, and huge pages of one size.
type claim struct {
	memoryBytes int64
	hugePages   v1alpha1.GuestHugePages
	// cells are those of the pages that have to be in a certain cell.
	cells cellPages
}

// set notes what a guest will take; nothing, of one that is there or will not come. It is never
// more than was noted before: the source, of which that comes, has been checked once.
func (c *claims) set(uid types.UID, what claim) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if before, known := c.taken[uid]; known {
		what.memoryBytes = min(what.memoryBytes, before.memoryBytes)
		switch {
		case what.hugePages == v1alpha1.GuestHugePages{}:
		case what.hugePages.SizeBytes != before.hugePages.SizeBytes, what.hugePages.Count > before.hugePages.Count:
			what.hugePages = before.hugePages
		}
		for cell := range what.cells {
			what.cells[cell] = min(what.cells[cell], before.cells[cell])
		}
	}
	c.put(uid, what)
}

// place notes in which cells the pages of a claim are to be.
func (c *claims) place(uid types.UID, cells cellPages) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if what, known := c.taken[uid]; known {
		what.cells = cells
		c.taken[uid] = what
	}
}

// cellPages are the pages of a size that others will take, by their cells.
func (c *claims) cellPages(uid types.UID, size int64) cellPages {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out cellPages
	for other, what := range c.taken {
		for cell, pages := range what.cells {
			if other != uid && what.hugePages.SizeBytes == size {
				out[cell] += min(pages, v1alpha1.MaxInteger-out[cell])
			}
		}
	}
	return out
}

func (c *claims) put(uid types.UID, what claim) {
	switch {
	case what == claim{}:
		delete(c.taken, uid)
	case c.taken == nil:
		c.taken = map[types.UID]claim{uid: what}
	default:
		c.taken[uid] = what
	}
}

// take makes a claim if all others leave room for it.
func (c *claims) take(uid types.UID, what claim, room func(others []claim) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	others := make([]claim, 0, len(c.taken))
	for other, claim := range c.taken {
		if other != uid {
			others = append(others, claim)
		}
	}
	err := room(others)
	if err == nil {
		c.put(uid, what)
	}
	return err
}

// keepClaim follows what the guest of a migration will still take of the target, as its object
// tells; nothing is known of that before the target is ready.
func (n *Node) keepClaim(lm *v1alpha1.LiveMigration) {
	source, target := migration.CurrentSource(lm), migration.CurrentTarget(lm)
	if source == nil || source.Guest == nil || source.Guest.Resources == nil || target == nil || target.ReadyTime == nil {
		return
	}
	n.claims.set(lm.UID, claimOf(lm, source, target))
}

func claimOf(lm *v1alpha1.LiveMigration, source *v1alpha1.SourceStatus, target *v1alpha1.TargetStatus) claim {
	if target.ArrivedTime != nil || source.End != nil || migration.ChecksOnly(lm) || migration.Finished(lm) {
		return claim{}
	}
	r := source.Guest.Resources
	out := claim{memoryBytes: r.MemoryBytes}
	if r.HugePages != nil && (target.Domain == nil || target.Domain.ID == 0) {
		out.hugePages = *r.HugePages // QEMU takes all of them before anything arrives.
		out.cells = cellPagesOf(lm, target.Offer)
	}
	if p := lm.Status.Progress; p != nil && p.Memory != nil && p.Memory.TotalBytes > 0 {
		out.memoryBytes = min(out.memoryBytes, p.Memory.RemainingBytes)
	}
	return out
}

// hostRoom is what a host has free at the moment. What is nil is not known.
type hostRoom struct {
	node     string
	memory   *hostfiles.Memory
	cells    []hypervisor.CellMemory
	networks []hypervisor.Network
	bridges  []string
}

// checkResources refuses a guest that the host has no room for, or lacks networks of, by the
// names that they have here.
func (s *targetSession) checkResources(ctx context.Context, r *v1alpha1.GuestResources, mappings []v1alpha1.NetworkMapping) error {
	if r == nil {
		return nil // From an agent that does not tell.
	}
	var groups []hypervisor.FactGroup
	if r.HugePages != nil {
		groups = append(groups, hypervisor.FactsMemory)
	}
	if len(r.Networks) > 0 {
		groups = append(groups, hypervisor.FactsNetworks)
	}
	if len(r.Bridges) > 0 {
		groups = append(groups, hypervisor.FactsBridges)
	}
	have := hostRoom{node: s.node.Name}
	if len(groups) > 0 {
		facts, err := s.hv.HostFacts(ctx, groups...)
		if err != nil {
			return fmt.Errorf("reading what the host has: %w", err)
		}
		have.cells, have.networks, have.bridges = facts.Memory, facts.Networks, facts.Bridges
	}
	if s.node.Files.System != nil && !s.skipsMemoryCheck() {
		have.memory = hostfiles.ReadMemory(s.node.Files.System)
	}
	problems := append(have.checkNetworks(r.Networks, mappings), have.checkBridges(r.Bridges, mappings)...)
	want := claim{memoryBytes: r.MemoryBytes}
	if r.HugePages != nil {
		want.hugePages = *r.HugePages
	}
	room := func(others []claim) error {
		return allOf([]error{have.checkMemory(want, others), have.checkHugePages(want, others)})
	}
	taken := want
	if migration.ChecksOnly(s.lm) {
		taken = claim{}
	}
	return allOf(append(problems, s.node.claims.take(s.lm.UID, taken, room)))
}

func (s *targetSession) skipsMemoryCheck() bool {
	o := s.lm.Spec.Options
	return o != nil && valueOr(o.SkipMemoryCheck, false)
}

// mapped says, if a name is not the one that the guest's definition has, where it comes from.
func mapped(from, name string) string {
	if from == name {
		return ""
	}
	return fmt.Sprintf(", which the spec of the Hypervisor gives for %q", from)
}

func (o hostRoom) checkNetworks(names []string, mappings []v1alpha1.NetworkMapping) []error {
	if o.networks == nil {
		return nil
	}
	var problems []error
	for _, from := range names {
		name := xmlrewrite.MapNetwork(mappings, v1alpha1.NetworkKindNetwork, from)
		i := slices.IndexFunc(o.networks, func(n hypervisor.Network) bool { return n.Name == name })
		switch {
		case i < 0:
			problems = append(problems, refuse(v1alpha1.ReasonTargetCheckFailed, v1alpha1.BlockerNetworkMissing,
				"libvirt on %s has no network %q%s. Ask an administrator to define it there, or to map it in spec.networkMappings of the Hypervisor %[1]s; or create another LiveMigration that maps the guest's interface in spec.migrateData.interfaces%s",
				o.node, name, mapped(from, name), o.others()))
		case !o.networks[i].Active:
			problems = append(problems, refuse(v1alpha1.ReasonTargetCheckFailed, v1alpha1.BlockerNetworkInactive,
				"The network %q on %s%s is not started. Ask an administrator to start it there with `virsh net-start`, and then create another LiveMigration", name, o.node, mapped(from, name)))
		}
	}
	return problems
}

// checkBridges looks for the bridges of the host. A host on which libvirt sees none at all may
// have some that it does not see.
func (o hostRoom) checkBridges(names []string, mappings []v1alpha1.NetworkMapping) []error {
	if len(o.bridges) == 0 {
		return nil
	}
	var problems []error
	for _, from := range names {
		name := xmlrewrite.MapNetwork(mappings, v1alpha1.NetworkKindBridge, from)
		if !slices.Contains(o.bridges, name) && !hypervisor.IsGuestPort(name) {
			problems = append(problems, refuse(v1alpha1.ReasonTargetCheckFailed, v1alpha1.BlockerBridgeMissing,
				"%s has no bridge %q%s. Ask an administrator to make it there, or to map it in spec.networkMappings of the Hypervisor %[1]s; or create another LiveMigration that maps the guest's interface in spec.migrateData.interfaces",
				o.node, name, mapped(from, name)))
		}
	}
	return problems
}

// others names the networks that there are, if that is not too much.
func (o hostRoom) others() string {
	const few = 8
	var names []string
	for _, n := range o.networks {
		if n.Active && fits(n.Name, maxWord) {
			names = append(names, n.Name)
		}
	}
	if len(names) == 0 || len(names) > few {
		return ""
	}
	return " (it has " + strings.Join(names, ", ") + ")"
}

func (o hostRoom) checkMemory(want claim, others []claim) error {
	if o.memory == nil || want.memoryBytes == 0 {
		return nil
	}
	free := bytesOf(o.memory.AvailableBytes)
	for _, other := range others {
		free -= min(max(free, 0), other.memoryBytes)
	}
	if want.memoryBytes <= free {
		return nil
	}
	return refuse(v1alpha1.ReasonTargetCheckFailed, v1alpha1.BlockerMemoryInsufficient,
		"The guest has %s of memory, and %s has %s free that no other guest on its way there will take. Choose another target, wait until there is room, or create another LiveMigration with options.skipMemoryCheck if the host may give its guests more than it has",
		mebibytes(want.memoryBytes), o.node, mebibytes(max(free, 0)))
}

func (o hostRoom) checkHugePages(want claim, others []claim) error {
	pages := want.hugePages
	if o.cells == nil || pages.Count == 0 {
		return nil
	}
	var free int64
	for _, cell := range o.cells {
		free += bytesOf(cell.FreePages[uint64(pages.SizeBytes)]) //nolint:gosec // Positive by validation.
	}
	for _, other := range others {
		if other.hugePages.SizeBytes == pages.SizeBytes {
			free -= min(max(free, 0), other.hugePages.Count)
		}
	}
	if pages.Count <= free {
		return nil
	}
	return refuse(v1alpha1.ReasonTargetCheckFailed, v1alpha1.BlockerHugePagesInsufficient,
		"The guest's memory is in %d huge pages of %d KiB, and %s has %d free that no other guest on its way there will take%s. Ask an administrator to provide more, or choose another target, and then create another LiveMigration",
		pages.Count, pages.SizeBytes>>10, o.node, max(free, 0), o.otherPages(pages.SizeBytes))
}

// otherPages tells of free huge pages of other sizes, which do not help a guest that runs.
func (o hostRoom) otherPages(size int64) string {
	free := map[uint64]uint64{}
	for _, cell := range o.cells {
		for other, pages := range cell.FreePages {
			if pages > 0 && other != uint64(size) { //nolint:gosec // Positive by validation.
				free[other] += pages
			}
		}
	}
	has := make([]string, 0, len(free))
	for _, other := range slices.Sorted(maps.Keys(free)) {
		has = append(has, fmt.Sprintf("%d of %d KiB", free[other], other>>10))
	}
	if len(has) == 0 {
		return ""
	}
	return " (it has " + strings.Join(has, ", ") + ", but a guest keeps its size of pages until it is started anew)"
}

func mebibytes(n int64) string { return fmt.Sprintf("%d MiB", n>>20) }
