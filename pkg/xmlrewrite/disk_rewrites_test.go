package xmlrewrite

import (
	"strings"
	"testing"
)

// diskAt is a disk of a type with something in it.
func diskAt(target, kind, inside string) string {
	return "<disk type='" + kind + "' device='disk'>" + inside + "<target dev='" + target + "' bus='virtio'/></disk>"
}

// TestWhichDiskOfBothDefinitionsIsMeant: an entry by target device is for the disk that the
// running guest has there, and not for another one that the persistent definition has.
func TestWhichDiskOfBothDefinitionsIsMeant(t *testing.T) {
	t.Parallel()
	file := func(path string) string { return "<source file='" + path + "'/>" }
	nvme := func(slot string) string {
		return "<source type='pci' managed='yes' namespace='1'><address domain='0x0000' bus='0x81' slot='" + slot + "' function='0x0'/></source>"
	}
	const data = "volumes: [{targetDevice: vda, source: {file: {path: /x}}}]"
	moved, kept := file("/x"), []string{"volumes"}
	disk := func(inside string) string { return diskAt("vda", "file", inside) }
	serial := func(text string) string { return "<serial>" + text + "</serial>" }
	runSmallRewrites(t, []smallRewrite{
		{name: "the same", data: data, inactive: true, before: disk(file("/a")), after: disk(moved), other: disk(file("/a"))},
		{name: "another", data: data, inactive: true, before: disk(file("/a")), other: disk(file("/b")), warned: kept},
		{name: "another, of the running guest", data: data, before: disk(file("/a")), after: disk(moved), other: disk(file("/b"))},
		{name: "where nothing is known of another", data: data, inactive: true, before: disk(file("/a")), after: disk(moved), warned: []string{"volumes[0].targetDevice"}},
		{name: "none in the running guest", data: data, inactive: true, before: disk(file("/a")), after: disk(moved), other: "<rng model='virtio'></rng>"},
		{name: "another, behind one that is not listed", data: data, inactive: true, before: diskAt("vdb", "file", file("/b")) + disk(file("/a")), other: disk(file("/b")), warned: kept},
		{name: "of the same serial", data: data, inactive: true, before: disk(file("/a") + serial("s")), after: disk(moved + serial("s")), other: disk(file("/b") + serial("s"))},
		{
			name: "of another serial", data: data, inactive: true, before: disk(file("/a") + serial("s")), other: disk(file("/a") + serial("t")),
			problems: kept, warned: kept,
		},
		{name: "of which one has a serial", data: data, inactive: true, before: disk(file("/a") + serial("s")), after: disk(moved + serial("s")), other: disk(file("/a"))},
		{name: "of which the other has a serial", data: data, inactive: true, before: disk(file("/a")), after: disk(moved), other: disk(file("/a") + serial("s"))},
		{name: "of another type", data: data, inactive: true, before: disk(file("/a")), other: diskAt("vda", "block", "<source dev='/a'/>"), warned: kept},
		{name: "of which neither has a source", data: data, inactive: true, before: disk("<driver name='qemu'/>"), after: disk("<driver name='qemu'/>" + moved), other: disk("")},
		{name: "of which one has a source", data: data, inactive: true, before: disk(file("/a")), other: disk(""), warned: kept},
		{name: "of which the other has a source", data: data, inactive: true, before: disk(""), other: disk(file("/a")), warned: kept},
		{name: "of which one has a source that says nothing", data: data, inactive: true, before: disk("<source startupPolicy='optional'/>"), other: disk(""), warned: kept},
		{name: "used in another way", data: data, inactive: true, before: disk("<source file='/a' startupPolicy='optional'/>"), after: disk("<source file='/x' startupPolicy='optional'/>"), other: disk("<source file='/a' index='1'/>")},
		{
			name: "a device at the same address", data: "volumes: [{targetDevice: vda, source: {nvme: {pciAddress: '0000:3b:01.0', namespace: 1}}}]", inactive: true,
			before: diskAt("vda", "nvme", nvme("0x01")), after: strings.Replace(diskAt("vda", "nvme", nvme("0x01")), "0x81", "0x3b", 1), other: diskAt("vda", "nvme", nvme("1")),
		},
		{
			name: "a device at another address", data: data, inactive: true, before: diskAt("vda", "nvme", nvme("0x01")), other: diskAt("vda", "nvme", nvme("0x02")),
			problems: kept, warned: kept,
		},
		{
			name: "a device at no address", data: data, inactive: true, before: diskAt("vda", "nvme", nvme("0x01")), other: diskAt("vda", "nvme", nvme("x")),
			problems: kept, warned: kept,
		},
		{
			name: "a device at the first address of all", data: data, inactive: true, before: diskAt("vda", "nvme", strings.NewReplacer("0x81", "0", "0x01", "0").Replace(nvme("0x01"))),
			other: diskAt("vda", "nvme", nvme("x")), problems: kept, warned: kept,
		},
		{
			name: "a device whose address is left out", data: data, inactive: true, before: diskAt("vda", "nvme", nvme("0x01")),
			other: diskAt("vda", "nvme", "<source type='pci' managed='yes' namespace='1'/>"), problems: kept, warned: kept,
		},
	})
}

// TestDriversOfDisks are set where they are given, and added where there was none.
func TestDriversOfDisks(t *testing.T) {
	t.Parallel()
	const source, driver = "<source file='/a'/>", "<driver name='qemu' type='raw'/>"
	data := func(driver string) string { return "volumes: [{targetDevice: vda, driver: {" + driver + "}}]" }
	runSmallRewrites(t, []smallRewrite{
		{name: "set", data: data("cache: none"), before: diskAt("vda", "file", driver+source), after: diskAt("vda", "file", "<driver name='qemu' type='raw' cache='none'/>"+source)},
		{
			name: "added", data: data("cache: none, io: native"), before: diskAt("vda", "file", source),
			after: "<disk type='file' device='disk'>" + source + "<target dev='vda' bus='virtio'/><driver name='qemu' cache='none' io='native'/></disk>",
		},
		{name: "not said, with one", data: data(""), before: diskAt("vda", "file", driver+source)},
		{name: "not said, with none", data: data(""), before: diskAt("vda", "file", source)},
		{
			name: "wrong twice", data: data("format: 'r w', cache: 'n e'"), before: diskAt("vda", "file", driver+source),
			problems: []string{"volumes[0].driver.format", "volumes[0].driver.cache"},
		},
	})
}

// TestSecretsOfDisks: the same secret in other letters stays as it is.
func TestSecretsOfDisks(t *testing.T) {
	t.Parallel()
	const data = "volumes: [{targetDevice: vda, encryption: {secretUUID: 5e26d0f7-8c1e-4b57-9f0e-3a8d2a0c6b11}}]"
	disk := func(secret string) string {
		return diskAt("vda", "file", "<source file='/a'><encryption format='luks'>"+secret+"</encryption></source>")
	}
	const want = "<secret type='passphrase' uuid='5e26d0f7-8c1e-4b57-9f0e-3a8d2a0c6b11'/>"
	runSmallRewrites(t, []smallRewrite{
		{name: "the same", data: data, before: disk("<secret type='passphrase' uuid='5E26D0F7-8C1E-4B57-9F0E-3A8D2A0C6B11'/>")},
		{name: "another", data: data, before: disk("<secret type='passphrase' uuid='5e26d0f7-8c1e-4b57-9f0e-3a8d2a0c6b12'/>"), after: disk(want)},
		{name: "none yet", data: data, before: disk(""), after: disk(want)},
		{name: "one by its use", data: data, before: disk("<secret type='passphrase' usage='u'/>"), after: disk(want)},
	})
}

// TestBackingChains of the source host are asked about only where the disk moves.
func TestBackingChains(t *testing.T) {
	t.Parallel()
	const chain = "<backingStore type='file'><format type='qcow2'/><source file='/base.img'/></backingStore>"
	disk := func(source string) string { return diskAt("vda", "file", source+chain) }
	here := func(more string) string { return "volumes: [{targetDevice: vda" + more + "}]" }
	const moves, stays = ", source: {file: {path: /b}}", ", source: {file: {path: /a}}"
	runSmallRewrites(t, []smallRewrite{
		{name: "of a disk that moves", data: here(moves), before: disk("<source file='/a'/>"), problems: []string{"volumes[0].backingStore"}},
		{name: "of one that becomes another kind", data: here(", source: {block: {path: /dev/b/x}}"), before: disk("<source file='/a'/>"), problems: []string{"volumes[0].backingStore"}},
		{name: "of one that had no source", data: here(moves), before: disk("<driver name='qemu'/>"), after: disk("<driver name='qemu'/><source file='/b'/>")},
		{name: "of one that stays where it is", data: here(stays), before: disk("<source file='/a'/>")},
		{name: "kept", data: here(moves + ", backingStore: Keep"), before: disk("<source file='/a'/>"), after: disk("<source file='/b'/>")},
		{name: "found anew", data: here(moves + ", backingStore: Detect"), before: disk("<source file='/a'/>"), after: diskAt("vda", "file", "<source file='/b'/>")},
	})
}

// TestWhoIsLetIn to network storage: what the migrate data give, or what the guest has for ssh.
func TestWhoIsLetIn(t *testing.T) {
	t.Parallel()
	disk := func(protocol, inside string) string {
		return diskAt("vda", "network", "<source protocol='"+protocol+"' name='a'><host name='h'/>"+inside+"</source>")
	}
	data := func(protocol, more string) string {
		return "volumes: [{targetDevice: vda, source: {network: {protocol: " + protocol + ", name: a, hosts: [{host: h}]" + more + "}}}]"
	}
	runSmallRewrites(t, []smallRewrite{
		{name: "a user and a group", data: data("nfs", ", user: '+1', group: '+2'"), before: disk("nfs", ""), after: disk("nfs", "<identity user='+1' group='+2'/>")},
		{name: "a user", data: data("nfs", ", user: '+1'"), before: disk("nfs", ""), after: disk("nfs", "<identity user='+1'/>")},
		{name: "a group", data: data("nfs", ", group: '+2'"), before: disk("nfs", ""), after: disk("nfs", "<identity group='+2'/>")},
		{name: "whom the guest has", data: data("nfs", ""), before: disk("nfs", "<identity user='+1'/>"), warned: []string{"volumes[0].source.network"}},
		{name: "an empty user", data: data("nfs", ", user: '', group: '+2'"), before: disk("nfs", ""), problems: []string{"volumes[0].source.network.user"}},
		{name: "an empty group", data: data("nfs", ", user: '+1', group: ''"), before: disk("nfs", ""), problems: []string{"volumes[0].source.network.group"}},
		{name: "whom the guest has for ssh", data: data("ssh", ""), before: disk("ssh", "<identity username='u'/>")},
		{name: "nobody for ssh", data: data("ssh", ""), before: disk("ssh", "")},
	})
}

// TestHostsOfNetworkStorage are reached in one way each.
func TestHostsOfNetworkStorage(t *testing.T) {
	t.Parallel()
	disk := func(host string) string {
		return diskAt("vda", "network", "<source protocol='nbd'>"+host+"</source>")
	}
	data := func(host string) string {
		return "volumes: [{targetDevice: vda, source: {network: {protocol: nbd, hosts: [{" + host + "}]}}}]"
	}
	const field = "volumes[0].source.network.hosts[0]"
	runSmallRewrites(t, []smallRewrite{
		{name: "by name", data: data("host: b"), before: disk("<host name='a'/>"), after: disk("<host name='b'/>")},
		{name: "by TCP", data: data("host: b, transport: tcp, port: 9"), before: disk("<host name='a'/>"), after: disk("<host name='b' port='9'/>")},
		{name: "by a socket", data: data("transport: unix, socketPath: /s"), before: disk("<host name='a'/>"), after: disk("<host transport='unix' socket='/s'/>")},
		{name: "by nothing", data: data("port: 9"), before: disk("<host name='a'/>"), problems: []string{field}},
		{name: "by both", data: data("host: b, socketPath: /s"), before: disk("<host name='a'/>"), problems: []string{field}},
		{name: "by no socket", data: data("transport: unix"), before: disk("<host name='a'/>"), problems: []string{field}},
		{name: "by a socket and a name", data: data("transport: unix, socketPath: /s, host: b"), before: disk("<host name='a'/>"), problems: []string{field}},
		{name: "by a socket and a port", data: data("transport: unix, socketPath: /s, port: 9"), before: disk("<host name='a'/>"), problems: []string{field}},
		{name: "by a bad name", data: data("host: '?'"), before: disk("<host name='a'/>"), problems: []string{field + ".host"}},
	})
}

// TestASourceThatIsWrong is told once: nothing more is said of what would become of the disk.
func TestASourceThatIsWrong(t *testing.T) {
	t.Parallel()
	const before = "<disk type='block' device='lun'><source dev='/dev/b/x'/><target dev='sda' bus='scsi'/></disk>"
	const network = "network: {protocol: iscsi, name: a, hosts: [{host: h}]"
	var rewrites []smallRewrite
	for source, field := range map[string]string{
		"file: {path: a}":                                          "file.path",
		"file: {path: a}, block: {path: /dev/b/y}":                 "",
		"storagePool: {pool: '', volume: v}":                       "storagePool.pool",
		"nvme: {pciAddress: x, namespace: 1}":                      "nvme.pciAddress",
		"network: {protocol: gopher, name: a, hosts: [{host: h}]}": "network.protocol",
		"network: {protocol: nfs, hosts: [{host: h}]}":             "network.name",
		network + ", query: q}":                                    "network.query",
	} {
		problems := []string{"volumes[0].source." + field}
		if field == "" {
			problems = []string{"volumes[0].source.file.path", "volumes[0].source"}
		}
		rewrites = append(rewrites, smallRewrite{name: source, data: "volumes: [{targetDevice: sda, source: {" + source + "}}]", before: before, problems: problems})
	}
	rewrites = append(rewrites,
		smallRewrite{
			name: "for a disk behind a socket", data: "volumes: [{targetDevice: vda, source: {storagePool: {pool: '', volume: v}}}]",
			before:   diskAt("vda", "vhostuser", "<source type='unix' path='/s'/>"),
			problems: []string{"volumes[0].source.storagePool.pool"},
		},
		smallRewrite{
			name: "one that does not fit", data: "volumes: [{targetDevice: sda, source: {file: {path: /a}}}]", before: before, problems: []string{"volumes[0].source"},
		},
		smallRewrite{
			name: "one that fits", data: "volumes: [{targetDevice: sda, source: {" + network + "}}}]", before: before,
			after: "<disk type='network' device='lun'><source protocol='iscsi' name='a'><host name='h'/></source><target dev='sda' bus='scsi'/></disk>",
		})
	runSmallRewrites(t, rewrites)
}
