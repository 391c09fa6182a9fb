package xmlrewrite

import (
	"slices"

	v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"
)

// Options says how to rewrite.
type Options struct {
	// Inactive is set for the persistent definition of a guest. What would be
	// refused of the running guest is refused of it as well. What the migrate
	// data name and it lacks is no problem if Other is empty, since only the
	// running guest may have it.
	Inactive bool
	// Other is the guest's other definition: the persistent one where that of the
	// running guest is rewritten, and the other way round. An entry of the migrate
	// data has to mean something in one of the two. Entries by position or by
	// target device mean the running guest's devices, and apply to the persistent
	// definition only where it has the same. Empty if there is no other.
	Other string
	// Offer is what the target's agent offers from its host. It is used where
	// the user's migrate data is absent, and only for what cannot stay as it
	// is. Nil offers nothing.
	Offer *v1alpha1.MigrateData
	// Networks says how networks and bridges are called on the target. It is used where
	// the user's migrate data has no interfaces, and names that it does not map stay.
	// Repeating the rewrite maps again what it has led to.
	Networks []v1alpha1.NetworkMapping
	// Storage says where storage of the source is found on the target. It is used where the
	// user's migrate data has no volumes, and what it does not map stays where it is.
	// Repeating the rewrite maps again what it has led to.
	Storage []v1alpha1.StorageMapping
	// EmptyDrives are the names of drives that are to have no medium on the target, such as sda.
	EmptyDrives []string
	// Flattened are the target devices of the running guest's disks of which the target has all
	// in one image, which is based on nothing.
	Flattened []string
	// DroppedPerfEvents are perf events that the target cannot count. They are switched off
	// where the user's migrate data has no perfEvents.
	DroppedPerfEvents []v1alpha1.PerfEvent
	// Target holds facts about the target host to check the plan against.
	// Facts that are zero are not checked.
	Target TargetFacts
}

// TargetFacts is what is known about the target host.
type TargetFacts struct {
	// OnlineCPUs is the list of usable host CPUs, such as "0-31".
	OnlineCPUs string
	// NUMANodes is the list of the host's NUMA nodes, such as "0-1".
	NUMANodes string
	// CgroupVersion is 1 or 2.
	CgroupVersion int
	// LibvirtVersion is that of the host's libvirt, such as "9.0.0".
	LibvirtVersion string
}

// Plan is a rewrite that has been checked and cannot fail any more.
type Plan struct {
	result   string
	warnings Problems
}

// step plans one concern: it reads the original document, records edits on it
// and reports problems.
type step func(*planner)

// steps returns the rewriters. Their order decides the order of the problems
// and of elements inserted at the same place, nothing else.
func steps() []step {
	return []step{
		planGraphics,        // Listen addresses of VNC, SPICE and RDP.
		planSerial,          // Serial ports and other character devices that listen.
		planPortMappings,    // The ports of those other devices.
		planVolumes,         // Where the data of disks are.
		planBlockTuning,     // Limits of the block devices that disks are on.
		planRBDMonitors,     // The Ceph monitors of other RBD disks.
		planPerfEvents,      // Perf events that the target supports.
		planMemoryBacking,   // Memory in files.
		planCPUShares,       // The CPU weight.
		planInterfaces,      // What network interfaces are connected to.
		planSharedCPUs,      // The host CPUs that unpinned guests share.
		planNUMA,            // CPU pins, memory binding and the real-time scheduler.
		planHostResources,   // Shares of caches and memory bandwidth.
		planMediatedDevices, // Mediated devices.
		planPCIDevices,      // Passed-through PCI functions.
		planUSBDevices,      // Passed-through USB devices.
		planVirtualPMEM,     // The backing of persistent memory.
		judgeHostReferences, // All else that may depend on the host, by the map of paths.
	}
}

// NewPlan checks the migrate data against the guest's XML. The error is
// [Problems], with everything that is wrong. Nil migrate data is the same as
// migrate data in which everything is absent.
func NewPlan[Text ~string | ~[]byte](domainXML Text, data *v1alpha1.MigrateData, opts Options) (*Plan, error) {
	return newPlan(string(domainXML), data, opts)
}

func newPlan(domainXML string, data *v1alpha1.MigrateData, opts Options) (*Plan, error) {
	p, err := newPlanner(domainXML, data, opts)
	if err != nil {
		return nil, err
	}
	for _, plan := range steps() {
		plan(p)
	}
	if len(p.problems) > 0 {
		return nil, p.problems
	}
	result := p.doc.Render()
	if problems := compareABI(result); len(problems) > 0 {
		return nil, problems
	}
	return &Plan{result: result.String(), warnings: p.warnings}, nil
}

// Apply returns the XML for the target. It is as confidential as the source's.
func (p *Plan) Apply() string { return p.result }

// Warnings returns what was left as it is although it is bound to the host.
func (p *Plan) Warnings() Problems { return slices.Clone(p.warnings) }
