package xmlrewrite

import (
	"strings"
	"testing"
)

func TestPathsAreMappedHoweverManySlashesTheyHave(t *testing.T) {
	t.Parallel()
	const serial = "<serial type='dev'><source path='/dev//ttyS0'/><target port='0'/></serial>"
	share := func(dir string) string {
		return "<filesystem type='mount'><source dir='" + dir + "'/><target dir='t'/></filesystem>"
	}
	for name, c := range map[string]struct{ device, from, to, want string }{
		"the shortest form":         {serial, "/dev/ttyS0", "/mnt/new", "'/mnt/new'"},
		"as it is":                  {serial, "/dev//ttyS0", "/mnt/new", "'/mnt/new'"},
		"more slashes":              {serial, "/dev/ttyS0//", "/mnt//new/", "'/mnt/new'"},
		"a slash behind it":         {share("/srv/share/"), "/srv/share", "/mnt/new", "'/mnt/new'"},
		"two slashes inside":        {share("/srv//share"), "/srv", "/mnt/new", "'/mnt/new/share'"},
		"a dot":                     {share("/srv/./share"), "/srv", "/mnt/new", "'/mnt/new/share'"},
		"the same path, left alone": {serial, "/dev/ttyS0", "/dev/ttyS0", "'/dev//ttyS0'"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if r := plannedOf(t, c.device, "pathMappings: [{from: "+c.from+", to: "+c.to+"}]"); !strings.Contains(r.xml, c.want) {
				t.Errorf("not mapped: %s%s", r.problems, r.xml)
			}
		})
	}
}

// TestADeviceThatADiskIsBasedOnIsMappedHoweverManySlashesItHas, on either side.
func TestADeviceThatADiskIsBasedOnIsMappedHoweverManySlashesItHas(t *testing.T) {
	t.Parallel()
	const disk = "<disk type='file' device='disk'><source file='/srv/a.qcow2'/>" +
		"<backingStore type='block'><format type='raw'/><source dev='/dev/sdc'/></backingStore><target dev='vda'/></disk>"
	for _, entry := range []string{"{from: /dev/sdc, to: /dev/sdd}", "{from: /dev//sdc, to: /dev/sdd}", "{from: /dev/sdc/, to: /dev/sdd/}"} {
		r := plannedOf(t, disk, "pathMappings: ["+entry+"]")
		if !strings.Contains(r.xml, "'/dev/sdd'") {
			t.Errorf("%s is not carried out: %s", entry, r.problems)
		}
	}
}

func TestPathsThatLeadElsewhereAreNotMapped(t *testing.T) {
	t.Parallel()
	for _, ends := range []string{"from: /srv/../dev, to: /mnt/new", "from: /srv, to: /mnt/..", "from: //, to: /mnt"} {
		if r := plannedOf(t, "", "pathMappings: [{"+ends+"}]"); !strings.Contains(r.problems, "must not have .. in it") {
			t.Errorf("%s: %s%s", ends, r.problems, r.xml)
		}
	}
	r := plannedOf(t, "<filesystem type='mount'><source dir='/srv/../share'/><target dir='t'/></filesystem>", "pathMappings: [{from: /share, to: /mnt/new}]")
	if strings.Contains(r.xml, "/mnt/new") {
		t.Errorf("what .. leads to depends on the host: %s", r.xml)
	}
}

func TestTheLimitOfABlockDeviceThatNoDiskIsOnIsMapped(t *testing.T) {
	t.Parallel()
	guest := func(disk string) string {
		return "<domain type='kvm'><blkiotune><device><path>/old/lv</path><weight>500</weight></device></blkiotune><devices>" + disk + "</devices></domain>"
	}
	r := plannedOfGuest(t, guest(""), "pathMappings: [{from: /old, to: /new}]")
	if !strings.Contains(r.xml, "/new/lv") || r.warnings != "" {
		t.Errorf("not mapped, or warned about: %s%s%s", r.problems, r.warnings, r.xml)
	}
	if r := plannedOfGuest(t, guest(""), "{}"); !strings.Contains(r.warnings, "spec.migrateData.pathMappings: none of the guest's disks") {
		t.Errorf("the remedy is not named: %s", r.warnings)
	}
	// The limit of a disk follows the disk, which volumes moves.
	r = plannedOfGuest(t, guest(diskOf("block", "<source dev='/old/lv'/>")), "pathMappings: [{from: /old, to: /new}]")
	if strings.Contains(r.xml, "/new") {
		t.Errorf("the limit is not the disk's any more: %s", r.xml)
	}
}

func TestPathMappingThatMapsNothingIsReportedWithBothDefinitionsAtHand(t *testing.T) {
	t.Parallel()
	const disk = "<disk type='file' device='disk'><source file='/srv/vms/a.qcow2'/><target dev='vda'/></disk>"
	const data = "pathMappings: [{from: /srv/vms, to: /mnt/vms}]"
	for name, guest := range map[string]string{
		"disk":            smallGuest(oneVCPU, disk),
		"metadata":        smallGuest(oneVCPU+"<metadata><app:x xmlns:app='urn:a' at='/srv/vms/x'>/srv/vms/x</app:x></metadata>", disk),
		"foreign element": smallGuest(oneVCPU+"<x xmlns='urn:a' at='/srv/vms/x'>/srv/vms/x</x>", disk),
		"description":     smallGuest(oneVCPU+"<description>/srv/vms/x</description>", disk),
	} {
		for _, inactive := range []bool{false, true} {
			if o := planSmall(t, guest, data, Options{Inactive: inactive, Other: guest}); !strings.Contains(o.problems, "use volumes") {
				t.Errorf("%s, inactive %v: the entry maps nothing, and nobody says so: %s", name, inactive, o.xml)
			}
		}
	}
	other := smallGuest(oneVCPU, disk+"<serial type='file'><source path='/srv/vms/log'/><target port='0'/></serial>")
	if o := planSmall(t, smallGuest(oneVCPU, disk), data, Options{Other: other}); o.problems != "" {
		t.Errorf("the entry maps a path of the other definition: %s", o.problems)
	}
}

func TestPathMappingDoesNotTakeAnotherPathOfTheSourceForItsTarget(t *testing.T) {
	t.Parallel()
	serial := func(path string) string {
		return "<serial type='dev'><source path='" + path + "'/><target port='0'/></serial>"
	}
	const data = "pathMappings: [{from: /dev/ttyUSB3, to: /dev/ttyUSB0}]"
	three, zero := smallGuest(oneVCPU, serial("/dev/ttyUSB3")), smallGuest(oneVCPU, serial("/dev/ttyUSB0"))
	if o := planSmall(t, zero, data, Options{Inactive: true, Other: three}); o.problems == "" {
		t.Errorf("ttyUSB0 of the source is not the running guest's ttyUSB3, and stays: %s", o.xml)
	}
	if o := planSmall(t, smallGuest(oneVCPU, serial("/dev/ttyUSB3")+serial("/dev/ttyUSB0")), data, Options{}); o.problems == "" {
		t.Errorf("two devices become one: %s", o.xml)
	}
	if o := planSmall(t, zero, data, Options{Inactive: true, Other: zero}); o.problems != "" {
		t.Errorf("an earlier rewrite has mapped both definitions: %s", o.problems)
	}
}

// The name is one on the server, whatever directories the two hosts have.
func TestTheNameThatAServerKnowsAnImageByIsNoPathOfTheHost(t *testing.T) {
	t.Parallel()
	share := "<filesystem type='mount'><source dir='/srv/share'/><target dir='t'/></filesystem>"
	for _, protocol := range []string{"https", "http", "nfs", "ssh", "nbd"} {
		chain := "<backingStore type='network'><format type='raw'/><source protocol='" + protocol + "' name='/srv/base.img'><host name='h.example.com'/></source><backingStore/></backingStore>"
		o := planDevices(t, "", chainedDisk("vda", "/img/a.qcow2", chain)+share, "pathMappings: [{from: /srv, to: /mnt}]")
		if !strings.Contains(o.xml, "name='/srv/base.img'") {
			t.Errorf("%s: the disk's base is another image of the server: %s%s", protocol, o.problems, o.xml)
		}
	}
}

func TestAnEntryThatLeavesAPathAsItIsStandsInNoOthersWay(t *testing.T) {
	t.Parallel()
	share := func(dir, tag string) string {
		return "<filesystem type='mount'><source dir='" + dir + "'/><target dir='" + tag + "'/></filesystem>"
	}
	data := "pathMappings: [{from: /srv, to: /srv}, {from: /old, to: /srv/old}]"
	if o := planDevices(t, "", share("/srv/share", "a")+share("/old/x", "b"), data); !strings.Contains(o.xml, "'/srv/old/x'") {
		t.Errorf("refused: %s", o.problems)
	}
}

// A GPU is for all, and the names of two hosts' GPUs overlap.
func TestTwoGPUsCanBecomeOneThatHasTheNameOfEither(t *testing.T) {
	t.Parallel()
	gpu := func(slot string) string { return "/dev/dri/by-path/pci-0000:00:0" + slot + ".0-render" }
	devices := "<video><model type='virtio'><acceleration accel3d='yes' rendernode='" + gpu("2") + "'/></model></video><graphics type='egl-headless'><gl rendernode='" + gpu("3") + "'/></graphics>"
	data := "pathMappings: [{from: '" + gpu("2") + "', to: '" + gpu("3") + "'}, {from: '" + gpu("3") + "', to: '" + gpu("3") + "'}]"
	if o := planDevices(t, "", devices, data); o.problems != "" {
		t.Errorf("refused: %s", o.problems)
	}
}

func TestPathMappingsSwapPathsAndPassThemOn(t *testing.T) {
	t.Parallel()
	serials := func(paths ...string) string {
		var devices strings.Builder
		for i, path := range paths {
			devices.WriteString("<serial type='dev'><source path='" + path + "'/><target port='" + itoa(i) + "'/></serial>")
		}
		return smallGuest(oneVCPU, devices.String())
	}
	share := func(dirs ...string) string {
		var devices strings.Builder
		for i, dir := range dirs {
			devices.WriteString("<filesystem type='mount'><source dir='" + dir + "'/><target dir='t" + itoa(i) + "'/></filesystem>")
		}
		return smallGuest(oneVCPU, devices.String())
	}
	const (
		swap   = "pathMappings: [{from: /dev/a, to: /dev/b}, {from: /dev/b, to: /dev/a}]"
		chain  = "pathMappings: [{from: /dev/b, to: /dev/c}, {from: /dev/a, to: /dev/b}]"
		inside = "pathMappings: [{from: /srv, to: /mnt}, {from: /mnt/x, to: /y}]"
	)
	for name, c := range map[string]struct{ data, guest, want, again string }{
		"a swap":              {swap, serials("/dev/a", "/dev/b"), serials("/dev/b", "/dev/a"), serials("/dev/a", "/dev/b")},
		"half a swap":         {swap, serials("/dev/a"), "", ""},
		"a chain":             {chain, serials("/dev/a", "/dev/b"), serials("/dev/b", "/dev/c"), serials("/dev/b", "/dev/c")},
		"directories swapped": {"pathMappings: [{from: /srv/a, to: /srv/b}, {from: /srv/b, to: /srv/a}]", share("/srv/a/1", "/srv/b/2"), share("/srv/b/1", "/srv/a/2"), share("/srv/a/1", "/srv/b/2")},
		"into a directory":    {inside, share("/srv/x", "/mnt/x"), share("/mnt/x", "/y"), share("/mnt/x", "/y")},
		"out of it, not led to by the first": {
			"pathMappings: [{from: /a, to: /b/sub}, {from: /b, to: /c}]", share("/b/sub", "/b/x", "/c/y"), "", "",
		},
		"a path that is right already": {
			"pathMappings: [{from: /srv, to: /srv}, {from: /old, to: /srv/old}]", share("/srv/share", "/old/x"), share("/srv/share", "/srv/old/x"), share("/srv/share", "/srv/old/x"),
		},
		"two that become one": {
			"pathMappings: [{from: /a, to: /b}, {from: /b, to: /b}]", share("/a", "/b"), share("/b", "/b"), share("/b", "/b"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := planSmall(t, c.guest, c.data, Options{})
			if o.xml != c.want {
				t.Fatalf("want %q: %s%s", c.want, o.problems, o.xml)
			}
			if c.want == "" {
				return
			}
			if o := planSmall(t, c.want, c.data, Options{}); o.xml != c.again {
				t.Errorf("again: want %s: %s%s", c.again, o.problems, o.xml)
			}
			if o := planSmall(t, c.guest, c.data, Options{Inactive: true, Other: c.guest}); o.xml != c.want {
				t.Errorf("the persistent definition: %s%s", o.problems, o.xml)
			}
		})
	}
	if o := planSmall(t, serials("/dev/a"), swap, Options{Other: serials("/dev/a", "/dev/b")}); o.xml != serials("/dev/b") {
		t.Errorf("the other definition has the rest: %s%s", o.problems, o.xml)
	}
	if o := planSmall(t, serials("/dev/b"), chain, Options{Inactive: true, Other: serials("/dev/a", "/dev/b")}); o.xml != serials("/dev/c") {
		t.Errorf("/dev/b is not what /dev/a has become: %s%s", o.problems, o.xml)
	}
	if o := planSmall(t, serials("/dev/c"), chain, Options{Inactive: true, Other: serials("/dev/b", "/dev/c")}); o.xml != serials("/dev/c") {
		t.Errorf("an earlier rewrite has mapped both definitions: %s%s", o.problems, o.xml)
	}
}

func TestDevicesThatDisksAreBasedOnArePassedOn(t *testing.T) {
	t.Parallel()
	disks := func(a, b string) string {
		return smallGuest(oneVCPU, basedDisk("vda", "/srv/a.qcow2", a)+basedDisk("vdb", "/srv/b.qcow2", b))
	}
	const chain = "pathMappings: [{from: /dev/sdb, to: /dev/sdc}, {from: /dev/sdc, to: /dev/sdd}]"
	for _, guest := range []string{disks("/dev/sdb", "/dev/sdc"), disks("/dev/sdc", "/dev/sdd")} {
		if o := planSmall(t, guest, chain, Options{}); o.xml != disks("/dev/sdc", "/dev/sdd") {
			t.Errorf("want sdc and sdd: %s%s", o.problems, o.xml)
		}
	}
	// What a disk has left does not make an entry one of an earlier rewrite.
	left := "{pathMappings: [{from: /dev/sdb, to: /dev/sdc}], volumes: [{targetDevice: vda, backingStore: Detect}]}"
	if o := planSmall(t, disks("/dev/sdb", "/dev/sdc"), left, Options{}); !strings.Contains(o.problems, "names by itself") {
		t.Errorf("/dev/sdc of the source is taken for the target's: %s%s", o.problems, o.xml)
	}
}

// The map is for paths in full only, so to ask for an entry is not enough.
func TestAPathThatCannotBeMappedSaysWhatHelps(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/dev/../dev/ttyS1", "ttyS1"} {
		o := planDevices(t, "", "<serial type='dev'><source path='"+path+"'/><target port='0'/></serial>", "")
		if !strings.Contains(o.problems, "in the guest's definition") {
			t.Errorf("%s: %s", path, o.problems)
		}
	}
}
