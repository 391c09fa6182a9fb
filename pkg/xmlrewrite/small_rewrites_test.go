package xmlrewrite

import (
	"strings"
	"testing"
)

// smallRewrite is what becomes of devices with some migrate data.
type smallRewrite struct {
	name string
	// before are devices, and after what becomes of them; empty if they stay as they are.
	before, after string
	// data and offer are migrate data in YAML, the user's and the target's.
	data, offer string
	target      TargetFacts
	// inactive is whether it is the persistent definition, and other is the other one.
	inactive bool
	other    string
	// problems are the fields, or where there is none the elements, that are refused, and
	// warned those that are warned of.
	problems, warned []string
}

func runSmallRewrites(t *testing.T, rewrites []smallRewrite) {
	t.Helper()
	for _, c := range rewrites {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(t)
		})
	}
}

func (c *smallRewrite) run(t *testing.T) {
	t.Helper()
	const begin, end = "<domain type='kvm'><name>g</name><vcpu>2</vcpu>", "</domain>"
	wrap := func(inside string) string {
		if strings.Contains(inside, "<devices>") {
			return begin + inside + end
		}
		return begin + "<devices>" + inside + "</devices>" + end
	}
	opts := Options{Target: c.target, Inactive: c.inactive}
	if c.other != "" {
		opts.Other = wrap(c.other)
	}
	if c.offer != "" {
		opts.Offer = dataOf(t, c.offer)
	}
	places := func(problems Problems) string {
		var at []string
		for _, p := range problems {
			place := strings.TrimPrefix(p.DataPath, dataRoot)
			if place == "" {
				place = strings.TrimPrefix(p.XMLPath, "/domain/")
			}
			at = append(at, place)
		}
		return strings.Join(at, " ")
	}
	plan, problems := planOf(t, wrap(c.before), c.data, opts)
	if got, want := places(problems), strings.Join(c.problems, " "); got != want {
		t.Errorf("refused is %q, want %q: %v", got, want, problems)
	}
	if plan == nil {
		return
	}
	want := c.after
	if want == "" {
		want = c.before
	}
	if got := plan.Apply(); got != wrap(want) {
		t.Errorf("got\n%s\nwant\n%s", got, wrap(want))
	}
	if got, want := places(plan.Warnings()), strings.Join(c.warned, " "); got != want {
		t.Errorf("warned is of %q, want %q: %v", got, want, plan.Warnings())
	}
}

// TestGraphicsListen: each form in which a guest says where its graphics listen.
func TestGraphicsListen(t *testing.T) {
	t.Parallel()
	const given, offered = "graphics: {vncListenAddress: 198.51.100.1}", "graphics: {vncListenAddress: 198.51.100.1}"
	runSmallRewrites(t, []smallRewrite{
		{name: "in the attribute, and nothing is given", before: `<graphics type='vnc' listen='192.0.2.1'/>`, problems: []string{"graphics.vncListenAddress"}},
		{
			name: "in the attribute", data: given,
			before: `<graphics type='vnc' listen='192.0.2.1'/>`, after: `<graphics type='vnc' listen='198.51.100.1'/>`,
		},
		{
			name: "in both", offer: offered,
			before: `<graphics type='vnc' listen='192.0.2.1'><listen type='address' address='192.0.2.1'/></graphics>`,
			after:  `<graphics type='vnc' listen='198.51.100.1'><listen type='address' address='198.51.100.1'/></graphics>`,
		},
		{
			name: "in both, and nothing is given", before: `<graphics type='vnc' listen='192.0.2.1'><listen type='address' address='192.0.2.1'/></graphics>`,
			problems: []string{"graphics.vncListenAddress"},
		},
		{
			name: "in the attribute for the element", offer: offered,
			before: `<graphics type='vnc' listen='192.0.2.1'><listen type='address'/></graphics>`,
			after:  `<graphics type='vnc' listen='198.51.100.1'><listen type='address' address='198.51.100.1'/></graphics>`,
		},
		{
			name: "in the attribute for the first element only", offer: offered,
			before: `<graphics type='vnc' listen='192.0.2.1'><listen type='address' address='192.0.2.1'/><listen type='address'/></graphics>`,
			after:  `<graphics type='vnc' listen='198.51.100.1'><listen type='address' address='198.51.100.1'/><listen type='address'/></graphics>`,
		},
		{
			name: "behind a socket", data: given,
			before: `<graphics type='vnc'><listen type='socket'/><listen type='address' address='192.0.2.1'/></graphics>`,
			after:  `<graphics type='vnc'><listen type='socket'/><listen type='address' address='198.51.100.1'/></graphics>`,
		},
		{name: "nowhere yet", data: given, before: `<graphics type='vnc'></graphics>`, after: `<graphics type='vnc'><listen type='address' address='198.51.100.1'/></graphics>`},
		{name: "nowhere", data: given, before: `<graphics type='vnc'><listen type='none'/></graphics>`, problems: []string{"graphics.vncListenAddress"}},
		{name: "on a socket", data: given, before: `<graphics type='vnc' socket='/run/libvirt/g.sock'/>`, problems: []string{"graphics.vncListenAddress"}},
		{name: "on a network of libvirt", data: given, before: `<graphics type='vnc' listen='192.0.2.1'><listen type='network' network='n'/></graphics>`, problems: []string{"graphics.vncListenAddress"}, warned: []string{"devices/graphics/listen"}},
		{name: "on all addresses", offer: offered, before: `<graphics type='vnc' listen='0.0.0.0'/>`, warned: []string{"graphics.vncListenAddress"}},
		{name: "of another type", data: given, before: `<graphics type='vnc'><listen type='none'/></graphics><graphics type='spice' listen='127.0.0.1'/>`, problems: []string{"graphics.vncListenAddress"}, warned: []string{"graphics.spiceListenAddress"}},
	})
}

// TestGraphicsPorts that are given by number.
func TestGraphicsPorts(t *testing.T) {
	t.Parallel()
	const automatic = "graphics: {fixedPorts: Automatic}"
	runSmallRewrites(t, []smallRewrite{
		{name: "one", data: automatic, before: `<graphics type='vnc' port='5901'/>`, after: `<graphics type='vnc' port='-1' autoport='yes'/>`},
		{name: "for TLS only", data: automatic, before: `<graphics type='spice' tlsPort='5902'/>`, after: `<graphics type='spice' tlsPort='-1'/>`},
		{name: "for TLS only, with another that is off", data: automatic, before: `<graphics type='spice' port='0' tlsPort='5902' autoport='no'/>`, after: `<graphics type='spice' port='0' tlsPort='-1' autoport='no'/>`},
		{name: "without TLS", data: automatic, before: `<graphics type='spice' port='5902' autoport='no'/>`, after: `<graphics type='spice' port='-1' autoport='no'/>`},
		{name: "both", data: automatic, before: `<graphics type='spice' port='5901' tlsPort='5902' autoport='no'/>`, after: `<graphics type='spice' port='-1' tlsPort='-1' autoport='no'/>`},
		{name: "for a web socket only", data: automatic, before: `<graphics type='vnc' websocket='5700'/>`, after: `<graphics type='vnc' websocket='-1'/>`},
		{name: "chosen by libvirt already", data: automatic, before: `<graphics type='vnc' port='5901' autoport='yes'/>`},
		{
			name: "for a web socket beside one that libvirt chooses", data: automatic,
			before: `<graphics type='vnc' port='5901' autoport='yes' websocket='5700'/>`, after: `<graphics type='vnc' port='5901' autoport='yes' websocket='-1'/>`,
		},
		{name: "kept in silence", data: "graphics: {fixedPorts: Keep}", before: `<graphics type='vnc' port='5901'/>`},
		{name: "kept", before: `<graphics type='vnc' port='5901'/>`, warned: []string{"graphics.fixedPorts"}},
		{name: "of no policy", data: "graphics: {fixedPorts: Maybe}", before: `<graphics type='vnc' port='5901'/>`, problems: []string{"graphics.fixedPorts"}},
	})
}

// TestPasswordsOfGraphics that newer versions of libvirt refuse.
func TestPasswordsOfGraphics(t *testing.T) {
	t.Parallel()
	runSmallRewrites(t, []smallRewrite{
		{name: "the longest", before: `<graphics type='vnc' passwd='12345678'/>`},
		{name: "a longer one", before: `<graphics type='vnc' passwd='123456789'/>`, problems: []string{"devices/graphics"}},
		{name: "a longer one for an old libvirt", before: `<graphics type='vnc' passwd='123456789'/>`, target: TargetFacts{LibvirtVersion: "7.10.0"}},
		{name: "a longer one for a new libvirt", before: `<graphics type='vnc' passwd='123456789'/>`, target: TargetFacts{LibvirtVersion: "8.0.0"}, problems: []string{"devices/graphics"}},
		{name: "of another type", before: `<graphics type='spice' passwd='123456789'/>`},
	})
}

// TestBlockTuningOfOddDevices: one that names no device hides no other.
func TestBlockTuningOfOddDevices(t *testing.T) {
	t.Parallel()
	const disk, end = `<devices><disk type='block' device='disk'><source dev='%'/><target dev='vda'/></disk></devices>`, `</blkiotune>`
	runSmallRewrites(t, []smallRewrite{
		{
			name: "without a path", data: "volumes: [{targetDevice: vda, source: {block: {path: /dev/b/x}}}]",
			before: `<blkiotune><device><weight>1</weight></device><device><path>/dev/a/x</path><weight>1</weight></device>` + end + strings.Replace(disk, "%", "/dev/a/x", 1),
			after:  `<blkiotune><device><weight>1</weight></device><device><path>/dev/b/x</path><weight>1</weight></device>` + end + strings.Replace(disk, "%", "/dev/b/x", 1),
		},
		{
			name:   "of a disk that stays",
			data:   "volumes: [{targetDevice: vda}]",
			before: `<blkiotune><device><path>/dev/a/x</path><weight>1</weight></device>` + end + strings.Replace(disk, "%", "/dev/a/x", 1),
		},
	})
}

// TestMemoryDevicesByTheWholeMemory: a set that is wrong is told once.
func TestMemoryDevicesByTheWholeMemory(t *testing.T) {
	t.Parallel()
	const before = `<numatune><memory mode='strict' nodeset='0'/></numatune>` +
		`<devices><memory model='dimm'><source><nodemask>0</nodemask></source><target><size unit='KiB'>1</size></target></memory></devices>`
	target := TargetFacts{NUMANodes: "0-3"}
	runSmallRewrites(t, []smallRewrite{
		{name: "moved", data: "numa: {memoryNodes: 1-2}", target: target, before: before, after: strings.NewReplacer("nodeset='0'", "nodeset='1-2'", ">0</nodemask>", ">1-2</nodemask>").Replace(before)},
		{name: "malformed", data: "numa: {memoryNodes: x}", target: target, before: before, problems: []string{"numa.memoryNodes"}},
		{name: "with what is left out", data: "numa: {memoryNodes: '0-3,^1'}", target: target, before: before, problems: []string{"numa.memoryNodes"}},
		{name: "beyond the target", data: "numa: {memoryNodes: 0-4}", target: target, before: before, problems: []string{"numa.memoryNodes"}},
		{name: "where the target is not known", data: "numa: {memoryNodes: '4'}", before: before, after: strings.NewReplacer("nodeset='0'", "nodeset='4'", ">0</nodemask>", ">4</nodemask>").Replace(before)},
	})
}

// TestPathsThatAreNotMapped although the map has them: those of which volumes say what they
// become, and what is no path.
func TestPathsThatAreNotMapped(t *testing.T) {
	t.Parallel()
	const data = "pathMappings: [{from: /srv, to: /mnt}]"
	const kernel, mapped = `<os><kernel>/srv/k</kernel></os>`, `<os><kernel>/mnt/k</kernel></os>`
	disk := func(os, what string) string {
		return os + `<devices><disk type='file' device='disk'><source file='/srv/a.img'/>` + what + `<target dev='vda'/></disk></devices>`
	}
	runSmallRewrites(t, []smallRewrite{
		{name: "of a disk", data: data, before: disk(kernel, ""), after: disk(mapped, "")},
		{
			name: "in its backing chain, which are", data: data,
			before: disk(kernel, `<backingStore type='file'><format type='raw'/><source file='/srv/b.img'/></backingStore>`),
			after:  disk(mapped, `<backingStore type='file'><format type='raw'/><source file='/mnt/b.img'/></backingStore>`),
		},
		{
			name: "in its backing chain, where they mean no path", data: data,
			before: disk(kernel, `<backingStore type='file' index='/srv/x'><format type='/srv/x'/><source file='srv/../b.img'/></backingStore>`),
			after:  disk(mapped, `<backingStore type='file' index='/srv/x'><format type='/srv/x'/><source file='srv/../b.img'/></backingStore>`),
		},
		{
			name: "in places that nobody knows", data: data,
			before: disk(kernel, `<backingStore type='file' what='/srv/x'/>`), after: disk(mapped, `<backingStore type='file' what='/srv/x'/>`),
			warned: []string{"devices/disk/backingStore"},
		},
		{name: "beside elements", before: `<os>stray<type>hvm</type></os><devices></devices>`},
	})
}
