package xmlrewrite

import (
	"slices"
	"testing"

	v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"
)

// plannerOf returns the workplace for a guest with these devices and other elements.
func plannerOf(t *testing.T, top, devices string, data *v1alpha1.MigrateData, inactive bool) *planner {
	t.Helper()
	p, err := newPlanner(smallGuest(top, devices), data, Options{Inactive: inactive})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestWhatADiskIsBasedOnIsJudged, and where each of that keeps its data.
func TestWhatADiskIsBasedOnIsJudged(t *testing.T) {
	t.Parallel()
	const shared, own = "/srv/base.qcow2", "/dev/sda"
	store := func(dev string) string {
		return "<dataStore type='block'><format type='raw'/><source dev='" + dev + "'/></dataStore>"
	}
	base := func(file, store, inside string) string {
		return "<backingStore type='file'><format type='qcow2'/><source file='" + file + "'>" + store + "</source>" + inside + "</backingStore>"
	}
	for name, c := range map[string]struct {
		chain   string
		refused bool
	}{
		"on nothing":                   {"", false},
		"on a file":                    {base(shared, "", ""), false},
		"on a device":                  {base(own, "", ""), true},
		"with its data on one":         {base(shared, store(own), ""), true},
		"with its data in a volume":    {base(shared, store("/dev/mapper/x"), ""), false},
		"on a file on a device":        {base(shared, "", base(own, "", "")), true},
		"on a device on a file":        {base(own, "", base(shared, "", "")), true},
		"with the data of the last":    {base(shared, "", base(shared, store(own), "")), true},
		"with the data of the first":   {base(shared, store(own), base(shared, "", "")), true},
		"with the data of both spared": {base(shared, store("/dev/mapper/x"), base(shared, store("/dev/mapper/y"), "")), false},
	} {
		p := plannerOf(t, oneVCPU, chainedDisk("vda", "/srv/a.qcow2", c.chain), nil, false)
		if got := p.judgeKeptSources(p.devices("disk")[0]); got != c.refused || (len(p.problems) > 0) != c.refused {
			t.Errorf("%s: refused: %t, %v", name, got, p.problems)
		}
	}
}

// TestWhetherAnotherProcessCanShareTheMemory: as the guest has it or, in the persistent
// definition, as the migrate data will have it.
func TestWhetherAnotherProcessCanShareTheMemory(t *testing.T) {
	t.Parallel()
	required := &v1alpha1.MigrateData{MemoryBacking: &v1alpha1.MemoryBackingMigrateData{FileBacking: v1alpha1.FileBackingRequired}}
	const backing = "<memoryBacking><access mode='shared'/></memoryBacking>"
	for name, c := range map[string]struct {
		top      string
		data     *v1alpha1.MigrateData
		inactive bool
		want     bool
	}{
		"private":                         {oneVCPU, nil, false, false},
		"shared":                          {oneVCPU + backing, nil, false, true},
		"to be shared from the next boot": {oneVCPU, required, true, true},
		"to be shared, and running":       {oneVCPU, required, false, false},
		"of a guest that does not run":    {oneVCPU, nil, true, false},
		"not said of the memory":          {oneVCPU, &v1alpha1.MigrateData{MemoryBacking: &v1alpha1.MemoryBackingMigrateData{}}, true, false},
	} {
		if got := plannerOf(t, c.top, "", c.data, c.inactive).sharesMemory(); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// TestNetworksThatAreNeeded are those that interfaces are on, each once.
func TestNetworksThatAreNeeded(t *testing.T) {
	t.Parallel()
	const nics = "<interface type='network'><source network='a'/></interface><interface type='network'><source network='a' portgroup='x'/></interface>" +
		"<interface type='network'><source/></interface><interface type='bridge'><source bridge='br0' network='b'/></interface><interface type='network'><source network='c'/></interface>"
	needs, err := ReadNeeds(smallGuest(oneVCPU, nics))
	if err != nil || !slices.Equal(needs.Networks, []string{"a", "c"}) {
		t.Errorf("they are %q, %v", needs.Networks, err)
	}
}

// TestACPUThatLibvirtChecks is told, so that the target can be asked about it.
func TestACPUThatLibvirtChecks(t *testing.T) {
	t.Parallel()
	for cpu, told := range map[string]bool{
		"<cpu mode='custom' check='partial'/>":          true,
		"<cpu mode='custom' check='full'/>":             true,
		"<cpu mode='custom' check='none'/>":             false,
		"<cpu mode='custom'/>":                          false,
		"<cpu mode='host-passthrough' check='none'/>":   false,
		"<cpu mode='host-passthrough' check='full'/>":   false,
		"<cpu mode='host-model' check='partial'/>":      false,
		"<cpu check='full'><topology cores='1'/></cpu>": false,
	} {
		needs, err := ReadNeeds(smallGuest(oneVCPU+cpu, ""))
		if err != nil || (needs.CPU != "") != told {
			t.Errorf("%s: %q, %v", cpu, needs.CPU, err)
		}
	}
}

// TestMemoryThatBelongsToNoCell may be bound to nodes of the host by itself.
func TestMemoryThatBelongsToNoCell(t *testing.T) {
	t.Parallel()
	memory := func(source, node string) string {
		return "<memory model='virtio-pmem'><source>" + source + "<path>/a</path></source><target><size unit='KiB'>4</size>" + node + "</target></memory>"
	}
	const bound = "<nodemask>0</nodemask>"
	for devices, want := range map[string]bool{
		"": false, memory("", ""): false, memory(bound, ""): true,
		memory(bound, "<node>0</node>"): false, memory("", "<node>0</node>"): false,
	} {
		if got := plannerOf(t, oneVCPU, devices, nil, false).hasDeviceWithoutCell(); got != want {
			t.Errorf("%s: %t", devices, got)
		}
	}
}

// TestSourcesThatAreTheSame say the same of where the data are, in whatever way.
func TestSourcesThatAreTheSame(t *testing.T) {
	t.Parallel()
	network := func(attrs, inside string) string {
		return "<source protocol='nbd' " + attrs + ">" + inside + "</source>"
	}
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"", "", true},
		{"", "<source file='/a'/>", false},
		{"<source file='/a'/>", "<source file='/a' index='1'/>", true},
		{"<source file='/a'/>", "<source file='/b'/>", false},
		{"<source file='/a'/>", "<source file='/a' startupPolicy='optional'/>", true},
		{network("name='a'", ""), network("name='a' tls='yes'", ""), true},
		{network("name='a'", ""), network("", ""), false},
		{network("", "<host name='h'/>"), network("", "<host name='h' port='10809'/>"), true},
		{network("", "<host name='h'/>"), network("", "<host name='h' transport='tcp'/>"), true},
		{network("", "<host name='h'/>"), network("", "<host name='h' transport='rdma'/>"), false},
		{network("", "<host name='h' port='10809'/>"), network("", "<host name='h' port='10810'/>"), false},
		{network("", "<host transport='unix' socket='/a'/>"), network("", "<host transport='unix' socket='/a'/>"), true},
		{network("", "<snapshot name='s'/>"), network("", ""), false},
		{network("", "<snapshot name='s'/>"), network("", "<snapshot name='s'/>"), true},
		{"<source type='pci'><address domain='0' bus='1' slot='0' function='0'/></source>", "<source type='pci'><address domain='0x0000' bus='0x01' slot='0' function='0'/></source>", true},
		{"<source type='pci'><address domain='0' bus='1' slot='0' function='0'/></source>", "<source type='pci'><address domain='0' bus='2' slot='0' function='0'/></source>", false},
	} {
		doc, err := parseGuest("<domain><devices><disk>" + c.a + "</disk><disk>" + c.b + "</disk></devices></domain>")
		if err != nil {
			t.Fatal(err)
		}
		a, b := doc.devices("disk")[0].Child("source"), doc.devices("disk")[1].Child("source")
		if sameSource(a, b) != c.same || sameSource(b, a) != c.same {
			t.Errorf("%s and %s: %t, %t", c.a, c.b, sameSource(a, b), sameSource(b, a))
		}
	}
}

// TestPortsThatAreKeptAreWarnedOf, each device once.
func TestPortsThatAreKeptAreWarnedOf(t *testing.T) {
	t.Parallel()
	const listens = "<source mode='bind' host='127.0.0.1' service='4000'/><protocol type='raw'/>"
	for name, c := range map[string]struct {
		devices  string
		warnings int
	}{
		"one port":                   {"<serial type='tcp'>" + listens + "<target port='0'/></serial>", 1},
		"a console and its serial":   {"<serial type='tcp'>" + listens + "<target port='0'/></serial><console type='tcp'>" + listens + "<target type='serial' port='0'/></console>", 1},
		"two of them":                {"<serial type='tcp'>" + listens + "<target port='0'/></serial><serial type='tcp'><source mode='bind' host='127.0.0.1' service='4001'/><protocol type='raw'/><target port='1'/></serial>", 2},
		"one that has no port there": {"<serial type='tcp'><source mode='bind' host='127.0.0.1'/><protocol type='raw'/><target port='0'/></serial>", 0},
	} {
		p := plannerOf(t, oneVCPU, c.devices, nil, false)
		p.warnOfKeptPorts(serialListeners(p.doc))
		if len(p.warnings) != c.warnings {
			t.Errorf("%s: %v", name, p.warnings)
		}
	}
}

// TestAServersNameForAnImageIsNoPath, even if it looks like one.
func TestAServersNameForAnImageIsNoPath(t *testing.T) {
	t.Parallel()
	p := plannerOf(t, oneVCPU, "<disk><source protocol='http' name='/a' file='/b'/><source name='/a'/><target name='/a' protocol='x'/></disk>", nil, false)
	disk := p.devices("disk")[0]
	sources := disk.Children("source")
	if !isServersName(sources[0], "name") || isServersName(sources[0], "file") || isServersName(sources[1], "name") || isServersName(disk.Child("target"), "name") {
		t.Error("a name is taken for a path, or a path for a name")
	}
}
