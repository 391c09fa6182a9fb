package xmlrewrite

import (
	"slices"
	"strings"
	"testing"
)

// TestHowManyVirtualCPUs a guest can have; none where that cannot be said.
func TestHowManyVirtualCPUs(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{
		"1": 1, "2": 2, "16384": 16384, "16385": 0, "0": 0, "-5": 0, "x": 0, "": 0, "99999999999999999999": 0,
	} {
		doc, err := parseGuest("<domain><vcpu>" + text + "</vcpu></domain>")
		if err != nil {
			t.Fatal(err)
		}
		if got := doc.vcpuCount(); got != want {
			t.Errorf("of %q there are %d, want %d", text, got, want)
		}
	}
}

// TestWhichIOThreadsThereAre: those that are not listed have the lowest numbers that are left.
func TestWhichIOThreadsThereAre(t *testing.T) {
	t.Parallel()
	for inside, want := range map[string][]int{
		"<iothreads>4</iothreads>": {1, 2, 3, 4},
		"<iothreads>4</iothreads><iothreadids><iothread id='2'/><iothread id='7'/></iothreadids>": {1, 2, 3, 7},
		"<iothreads>3</iothreads><iothreadids><iothread id='x'/><iothread id='7'/></iothreadids>": {1, 2, 7},
		"<iothreads>1</iothreads><iothreadids><iothread id='3'/></iothreadids>":                   {3},
		"<iothreads>3</iothreads><iothreadids><iothread id='1'/><iothread id='2'/></iothreadids>": {1, 2, 3},
		"<iothreads>x</iothreads><iothreadids><iothread id='3'/></iothreadids>":                   {3},
		"": nil,
	} {
		doc, err := parseGuest("<domain>" + inside + "</domain>")
		if err != nil {
			t.Fatal(err)
		}
		var got []int
		for id := -1; id < 10; id++ {
			if doc.hasIOThread(id) {
				got = append(got, id)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: there are %v, want %v", inside, got, want)
		}
	}
}

// TestWhichCellsThereAre: one without a number has its position for it.
func TestWhichCellsThereAre(t *testing.T) {
	t.Parallel()
	doc, err := parseGuest("<domain><cpu><numa><cell id='5'/><cell/><cell id='x'/><cell id='0'/></numa></cpu></domain>")
	if err != nil {
		t.Fatal(err)
	}
	if got := doc.guestCells(); !slices.Equal(got, []int{5, 1, 2, 0}) {
		t.Errorf("there are %v", got)
	}
}

// TestWhetherEachCellHasAnObject of its own in QEMU, without being bound.
func TestWhetherEachCellHasAnObject(t *testing.T) {
	t.Parallel()
	machine := func(name string) string { return "<os><type machine='" + name + "'>hvm</type></os>" }
	old := machine("pc-q35-5.0")
	for inside, want := range map[string]bool{
		machine("pc-q35-4.2"): false, old: false, machine("pc-q35-5.1"): true, machine("pc-q35-5.2"): true, machine("pc-q35-6.0"): true, machine("virt-10.0"): true,
		machine("pc-q35-rhel8.6.0"): false, machine("pc"): false, machine("pc-6.x"): false, machine("pc-x.6"): false, "": false,
		old + "<memoryBacking><hugepages/></memoryBacking>":               true,
		old + "<memoryBacking><source type='file'/></memoryBacking>":      true,
		old + "<memoryBacking><source type='memfd'/></memoryBacking>":     true,
		old + "<memoryBacking><source type='anonymous'/></memoryBacking>": false,
		old + "<memoryBacking><locked/></memoryBacking>":                  false,
	} {
		p, err := newPlanner("<domain>"+inside+"</domain>", nil, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := p.hasCellBackends(); got != want {
			t.Errorf("%s: %t", inside, got)
		}
	}
}

// TestWhetherAllVirtualCPUsArePinned, by the definition or by the migrate data.
func TestWhetherAllVirtualCPUsArePinned(t *testing.T) {
	t.Parallel()
	pins := func(of ...string) string {
		var b strings.Builder
		for _, vcpu := range of {
			b.WriteString("<vcpupin vcpu='" + vcpu + "' cpuset='1'/>")
		}
		return "<cputune>" + b.String() + "</cputune>"
	}
	many := func(n int) string {
		all := make([]string, n)
		for i := range all {
			all[i] = itoa(i)
		}
		return pins(all...)
	}
	for name, c := range map[string]struct {
		vcpus, pins string
		data        string
		want        bool
	}{
		"none":                          {"2", "", "{}", false},
		"one of two":                    {"2", pins("0"), "{}", false},
		"both":                          {"2", pins("0", "1"), "{}", true},
		"the only one":                  {"1", pins("0"), "{}", true},
		"one twice":                     {"2", pins("0", "0"), "{}", false},
		"others":                        {"2", pins("0", "2", "-1"), "{}", false},
		"one that is no number":         {"1", pins("x"), "{}", false},
		"one by the migrate data":       {"2", pins("1"), "numa: {vcpuPins: [{vcpu: 0, hostCPUs: '1'}]}", true},
		"another by the migrate data":   {"2", pins("1"), "numa: {vcpuPins: [{vcpu: 2, hostCPUs: '1'}, {vcpu: -1, hostCPUs: '1'}]}", false},
		"of a guest with none":          {"0", pins("0"), "{}", false},
		"of a guest with less":          {"-1", pins("0"), "{}", false},
		"of a guest with some":          {"x", pins("0"), "{}", false},
		"of a guest with the most":      {itoa(maxVCPUs), many(maxVCPUs), "{}", true},
		"of a guest with more than may": {itoa(maxVCPUs + 1), many(maxVCPUs + 1), "{}", false},
	} {
		p, err := newPlanner("<domain><vcpu>"+c.vcpus+"</vcpu>"+c.pins+"</domain>", dataOf(t, c.data), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := p.fullyPinned(p.domain.Child("vcpu")); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// TestPins: what is wrong with one is told once, and says nothing of the others.
func TestPins(t *testing.T) {
	t.Parallel()
	const none = "<devices></devices>"
	const two = "<cputune><vcpupin vcpu='0' cpuset='0'/><vcpupin vcpu='1' cpuset='1'/></cputune>" + none
	runSmallRewrites(t, []smallRewrite{
		{name: "both", data: "numa: {vcpuPins: [{vcpu: 0, hostCPUs: '4'}, {vcpu: 1, hostCPUs: '5'}]}", before: two, after: strings.NewReplacer("cpuset='0'", "cpuset='4'", "cpuset='1'", "cpuset='5'").Replace(two)},
		{name: "one", data: "numa: {vcpuPins: [{vcpu: 0, hostCPUs: '4'}]}", before: two, problems: []string{"numa.vcpuPins"}},
		{name: "one that is malformed", data: "numa: {vcpuPins: [{vcpu: 0, hostCPUs: x}]}", before: two, problems: []string{"numa.vcpuPins[0].hostCPUs"}},
		{name: "a malformed one, and then a good one", data: "numa: {vcpuPins: [{vcpu: 0, hostCPUs: x}, {vcpu: 1, hostCPUs: '5'}]}", before: two, problems: []string{"numa.vcpuPins[0].hostCPUs"}},
		{name: "one twice", data: "numa: {vcpuPins: [{vcpu: 0, hostCPUs: '4'}, {vcpu: 0, hostCPUs: '5'}]}", before: two, problems: []string{"numa.vcpuPins[1]"}},
	})
	const noVCPU = "<domain><name>g</name></domain>"
	if plan, problems := planOf(t, noVCPU, "numa: {emulatorPin: '1'}", Options{}); plan == nil {
		t.Errorf("a guest that says nothing of its virtual CPUs is refused: %v", problems)
	}
	if _, problems := planOf(t, noVCPU, "numa: {vcpuPins: [{vcpu: 0, hostCPUs: '1'}]}", Options{}); len(problems) != 1 || problems[0].Kind != ProblemInvalidXML {
		t.Errorf("of pins of a guest that says nothing of its virtual CPUs it is said: %v", problems)
	}
}

// TestCellsOfARunningGuest are bound anew only where QEMU takes it.
func TestCellsOfARunningGuest(t *testing.T) {
	t.Parallel()
	const old = "<os><type machine='pc-q35-5.0'>hvm</type></os><cpu><numa><cell id='0'/><cell id='1'/></numa></cpu>"
	const both = "numa: {cellPins: [{cell: 0, hostNodes: '2'}, {cell: 1, hostNodes: '3'}]}"
	const first, second = "numa: {cellPins: [{cell: 0, hostNodes: '2'}]}", "numa: {cellPins: [{cell: 1, hostNodes: '2'}]}"
	bound := func(cells ...string) string {
		return old + "<numatune>" + strings.Join(cells, "") + "</numatune><devices></devices>"
	}
	cell := func(id, nodes string) string {
		return "<memnode cellid='" + id + "' mode='strict' nodeset='" + nodes + "'/>"
	}
	memory := func(cell, nodes string) string {
		mask := ""
		if nodes != "" {
			mask = "<source><nodemask>" + nodes + "</nodemask></source>"
		}
		return "<memory model='dimm'>" + mask + "<target><size unit='KiB'>1</size><node>" + cell + "</node></target></memory>"
	}
	devices := func(devices ...string) string { return old + "<devices>" + strings.Join(devices, "") + "</devices>" }
	runSmallRewrites(t, []smallRewrite{
		{name: "none is bound", data: first, before: old + "<devices></devices>", problems: []string{"numa.cellPins"}},
		{name: "one is bound", data: both, before: bound(cell("0", "0")), after: bound(cell("0", "2"), cell("1", "3"))},
		{
			name: "the persistent definition", data: first, inactive: true, before: old + "<cputune></cputune><devices></devices>",
			after: old + "<cputune></cputune><numatune>" + cell("0", "2") + "</numatune><devices></devices>",
		},
		{name: "for the persistent definition", data: first, before: old + "<devices></devices>", other: bound(cell("0", "0"))},
		{name: "for none of the two", data: second, before: old + "<devices></devices>", other: bound(cell("0", "0")), problems: []string{"numa.cellPins"}},
		{name: "for a device in it", data: first, before: devices(memory("1", ""), memory("0", "0")), after: devices(memory("1", ""), memory("0", "2"))},
		{name: "for a device in another", data: second, before: devices(memory("1", ""), memory("0", "0")), problems: []string{"numa.cellPins", "numa.cellPins"}},
		{name: "with a device that is not bound", data: first, before: devices(memory("0", "")), problems: []string{"numa.cellPins"}},
		{
			name: "the whole memory is wrong, and a cell left out", data: "numa: {memoryNodes: x}",
			before:   devices(strings.Replace(memory("0", "0"), "<node>0</node>", "", 1), memory("0", "0")),
			problems: []string{"numa.memoryNodes", "numa.cellPins"},
		},
		{name: "libvirt chooses the nodes", data: "numa: {memoryNodes: '1'}", before: bound("<memory mode='strict' placement='auto'/>"), problems: []string{"numa.memoryNodes"}},
		{name: "no nodes are chosen", data: "numa: {memoryNodes: '1'}", before: bound("<memory mode='strict'/>"), after: bound("<memory mode='strict' nodeset='1'/>")},
	})
}

// TestRealtime: virtual CPUs come under a real-time scheduler, stay there, or leave it.
func TestRealtime(t *testing.T) {
	t.Parallel()
	const none = "<devices></devices>"
	tune := func(inside string) string { return "<cputune>" + inside + "</cputune>" + none }
	sched := func(vcpus, policy, priority string) string {
		return "<vcpusched vcpus='" + vcpus + "' scheduler='" + policy + "' priority='" + priority + "'/>"
	}
	const at1 = "numa: {realtime: {vcpus: 0-1, priority: 1}}"
	runSmallRewrites(t, []smallRewrite{
		{name: "as it is", data: at1, before: tune(sched("0", "rr", "1") + sched("1", "rr", "1"))},
		{name: "with another priority", data: at1, before: tune(sched("0-1", "rr", "2")), after: tune(sched("0-1", "rr", "1"))},
		{name: "one with another priority", data: at1, before: tune(sched("0", "fifo", "2") + sched("1", "fifo", "1")), after: tune(sched("0-1", "fifo", "1"))},
		{name: "with another policy", data: "numa: {realtime: {vcpus: 0-1, priority: 1, policy: fifo}}", before: tune(sched("0-1", "rr", "1")), after: tune(sched("0-1", "fifo", "1"))},
		{name: "of others", data: at1, before: tune(sched("0", "rr", "1")), after: tune(sched("0-1", "rr", "1"))},
		{name: "of what cannot be read", data: at1, before: tune(sched("x", "rr", "1")), after: tune(sched("0-1", "rr", "1"))},
		{name: "anew", data: at1, before: tune(""), after: tune(sched("0-1", "fifo", "1"))},
		{name: "by two policies", data: at1, before: tune(sched("0", "fifo", "1") + sched("1", "rr", "1")), problems: []string{"numa.realtime.policy"}},
		{name: "by none that is", data: at1, before: tune(sched("0-1", "batch", "1")), problems: []string{"numa.realtime.policy"}},
		{name: "by a policy that there is not", data: "numa: {realtime: {vcpus: 0-1, priority: 1, policy: batch}}", before: tune(""), problems: []string{"numa.realtime.policy"}},
		{name: "no more", data: "numa: {realtime: {}}", before: tune(sched("0-1", "rr", "1")), after: none},
		{name: "no more, beside something else", data: "numa: {realtime: {}}", before: tune("<period>5</period>" + sched("0-1", "rr", "1")), after: tune("<period>5</period>")},
		{name: "not now, nor before", data: "numa: {realtime: {}}", before: tune("")},
		{name: "not now, nor before, nor anything", data: "numa: {realtime: {}}", before: none},
		{name: "without a priority", data: "numa: {realtime: {vcpus: 0-1}}", before: none, problems: []string{"numa.realtime"}},
		{name: "without virtual CPUs", data: "numa: {realtime: {priority: 1}}", before: none, problems: []string{"numa.realtime"}},
		{name: "with a policy alone", data: "numa: {realtime: {policy: rr}}", before: none, problems: []string{"numa.realtime"}},
		{name: "of virtual CPUs that there are not", data: "numa: {realtime: {vcpus: 0-2, priority: 1}}", before: none, problems: []string{"numa.realtime.vcpus"}},
		{
			name: "of those that only the running guest has", data: "numa: {realtime: {vcpus: 0-2, priority: 1}}", inactive: true,
			before: tune(""), after: tune(sched("0-2", "fifo", "1")),
		},
	})
}

// TestSharedCPUs: what is given is for all, and what is offered for a guest that shares CPUs.
func TestSharedCPUs(t *testing.T) {
	t.Parallel()
	const begin = "<domain><name>g</name>"
	shared, unbound, chosen := "<vcpu cpuset='0-3'>1</vcpu>", "<vcpu>1</vcpu>", "<vcpu cpuset='0-3' placement='auto'>1</vcpu>"
	pin := "<cputune><vcpupin vcpu='0' cpuset='7'/></cputune>"
	const offer, given = "sharedCPUSet: 4-5", "sharedCPUSet: 4-5"
	for name, c := range map[string]struct {
		guest, data, offer, cpus string
		want                     string // What the vcpu element becomes; empty if it is refused.
	}{
		"given":                              {shared, given, "{}", "", "<vcpu cpuset='4-5'>1</vcpu>"},
		"given to one that shares none":      {unbound, given, "{}", "", "<vcpu cpuset='4-5'>1</vcpu>"},
		"offered":                            {shared, "{}", offer, "", "<vcpu cpuset='4-5'>1</vcpu>"},
		"offered to one that shares none":    {unbound, "{}", offer, "", unbound},
		"given to one that libvirt places":   {chosen, given, "{}", "", chosen},
		"kept":                               {shared, "{}", "{}", "", shared},
		"kept, and the target has them":      {shared, "{}", "{}", "0-3", shared},
		"kept, and the target lacks some":    {shared, "{}", "{}", "0-2", ""},
		"none, and the target has some":      {unbound, "{}", "{}", "0-2", unbound},
		"libvirt places it on what there is": {chosen, "{}", "{}", "0-2", chosen},
		"malformed and kept":                 {"<vcpu cpuset='x'>1</vcpu>", "{}", "{}", "0-2", "<vcpu cpuset='x'>1</vcpu>"},
		"pinned to what the target has":      {shared + pin, "numa: {vcpuPins: [{vcpu: 0, hostCPUs: '1'}]}", "{}", "0-2", shared},
	} {
		plan, problems := planOf(t, begin+c.guest+"</domain>", c.data, Options{Offer: dataOf(t, c.offer), Target: TargetFacts{OnlineCPUs: c.cpus}})
		switch {
		case plan == nil && c.want != "":
			t.Errorf("%s: %v", name, problems)
		case plan == nil:
			if len(problems) != 1 || problems[0].DataPath != dataRoot+sharedCPUsField {
				t.Errorf("%s: %v", name, problems)
			}
		case c.want == "" || !strings.HasPrefix(plan.Apply(), begin+c.want):
			t.Errorf("%s: it becomes %s", name, plan.Apply())
		}
	}
}

// TestNumbersOfTheHost of caches and of memory bandwidth: all that the guest has are mapped,
// once.
func TestNumbersOfTheHost(t *testing.T) {
	t.Parallel()
	const none = "<devices></devices>"
	tune := func(ids ...string) string {
		var caches strings.Builder
		for _, id := range ids {
			caches.WriteString("<cachetune vcpus='0'><cache id='" + id + "' level='3' type='both' size='1' unit='MiB'/></cachetune>")
		}
		return "<cputune>" + caches.String() + "</cputune>" + none
	}
	runSmallRewrites(t, []smallRewrite{
		{name: "moved", data: "numa: {caches: [{source: 0, target: 1}]}", before: tune("0"), after: tune("1")},
		{name: "moved already", data: "numa: {caches: [{source: 0, target: 1}]}", before: tune("1")},
		{name: "swapped", data: "numa: {caches: [{source: 0, target: 1}, {source: 1, target: 0}]}", before: tune("0", "1"), after: tune("1", "0")},
		{name: "one of two", data: "numa: {caches: [{source: 0, target: 1}]}", before: tune("0", "2"), problems: []string{"numa.caches"}},
		{name: "of a guest with none", data: "numa: {caches: [{source: 0, target: 1}]}", before: "<cputune><period>5</period></cputune>" + none, problems: []string{"numa.caches[0].source"}},
		{
			name: "of a guest without tuning", data: "numa: {caches: [{source: 0, target: 1}], memoryBandwidthNodes: [{source: 0, target: 1}]}", before: none,
			problems: []string{"numa.caches[0].source", "numa.memoryBandwidthNodes[0].source"},
		},
		{name: "of bandwidth of a guest without tuning", data: "numa: {memoryBandwidthNodes: [{source: 0, target: 1}]}", before: none, problems: []string{"numa.memoryBandwidthNodes[0].source"}},
		{name: "from below zero", data: "numa: {caches: [{source: -1, target: 1}]}", before: tune("0"), problems: []string{"numa.caches[0]"}},
		{name: "to below zero", data: "numa: {caches: [{source: 0, target: -1}]}", before: tune("0"), problems: []string{"numa.caches[0]"}},
	})
}
