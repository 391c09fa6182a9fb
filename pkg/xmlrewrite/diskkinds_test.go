package xmlrewrite

import (
	"strings"
	"testing"
)

func diskOf(kind, inside string) string {
	return "<disk type='" + kind + "' device='disk'>" + inside + "<target dev='vda' bus='virtio'/></disk>"
}

// fixedDisk is a disk that the guest does not write to.
func fixedDisk(kind, inside string) string { return diskOf(kind, inside+"<readonly/>") }

func vdaOn(source string) string {
	return "volumes: [{targetDevice: vda, source: {" + source + "}}]"
}

func rbdEncrypted(format string) string {
	return fixedDisk("network", "<driver name='qemu' type='raw'/><source protocol='rbd' name='p/x'><encryption format='"+format+
		"' engine='librbd'><secret type='passphrase' uuid='6d1d5f1e-0b3b-4a7c-9c8e-0c2f0a0b0c0d'/></encryption></source>")
}

func TestNothingThatLibvirtRefusesIsLeftWhereADiskChangesItsKind(t *testing.T) {
	t.Parallel()
	cdrom := strings.Replace(diskOf("file", "<driver name='qemu' type='raw'/><source file='/a'/>"), "device='disk'", "device='cdrom'", 1)
	for name, c := range map[string]changeOfDevice{
		"encryption by RBD":                    {rbdEncrypted("luks"), vdaOn("file: {path: /mnt/a}"), "librbd", ""},
		"encryption that only RBD has":         {rbdEncrypted("luks2"), vdaOn("file: {path: /mnt/a}"), "luks2", "set encryption to {}"},
		"qcow2 in a directory":                 {fixedDisk("file", "<driver name='qemu' type='qcow2'/><source file='/a'/>"), vdaOn("directory: {path: /mnt/a}"), "type='qcow2'", ""},
		"a disc in a directory":                {cdrom, vdaOn("directory: {path: /mnt/a}"), "type='raw'", ""},
		"encryption of a directory":            {fixedDisk("file", "<source file='/a'><encryption format='luks'/></source>"), vdaOn("directory: {path: /mnt/a}"), "encryption", "set encryption to {}"},
		"FAT in a file":                        {fixedDisk("dir", "<driver name='qemu' type='fat'/><source dir='/a'/>"), vdaOn("file: {path: /mnt/a}"), "type='fat'", "driver.format"},
		"FAT given for a file":                 {fixedDisk("file", "<source file='/a'/>"), "volumes: [{targetDevice: vda, driver: {format: fat}}]", "type='fat'", "driver.format"},
		"another format given for a directory": {fixedDisk("dir", "<source dir='/a'/>"), "volumes: [{targetDevice: vda, driver: {format: raw}}]", "type='raw'", "driver.format"},
		"a cache of qcow2's tables": {diskOf("file", "<driver name='qemu' type='qcow2' discard_no_unref='on'><metadata_cache><max_size unit='bytes'>1</max_size></metadata_cache></driver><source file='/a'/>"),
			"volumes: [{targetDevice: vda, source: {block: {path: /dev/vg/a}}, driver: {format: raw}}]", "metadata_cache", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.check(t)
		})
	}
}

func TestADirectoryIsReadAsFAT(t *testing.T) {
	t.Parallel()
	for _, driver := range []string{"", "<driver name='qemu' type='raw'/>", "<driver name='qemu'/>"} {
		for _, more := range []string{"", ", driver: {cache: none}", ", driver: {format: fat}"} {
			r := plannedOf(t, fixedDisk("file", driver+"<source file='/a'/>"), "volumes: [{targetDevice: vda, source: {directory: {path: /mnt/a}}"+more+"}]")
			if strings.Count(r.xml, "<driver") != 1 || !strings.Contains(r.xml, "type='fat'") && !strings.Contains(r.xml, `type="fat"`) {
				t.Errorf("%s%s: %s%s", driver, more, r.problems, r.xml)
			}
		}
	}
}

func TestTheDataFileOfADiskDoesNotStayBehindInSilence(t *testing.T) {
	t.Parallel()
	disk := func(chain string) string {
		return diskOf("file", "<driver name='qemu' type='qcow2'/><source file='/srv/a.qcow2'><dataStore type='file'><format type='raw'/>"+
			"<source file='/old/a.raw'/></dataStore></source>"+chain)
	}
	const base = "<backingStore type='file'><format type='qcow2'/><source file='/old/b'><dataStore type='file'><format type='raw'/><source file='/old/b.raw'/></dataStore></source></backingStore>"
	const moves, mapped = "volumes: [{targetDevice: vda, source: {file: {path: /mnt/a.qcow2}}", "\npathMappings: [{from: /old, to: /new}]"
	for name, c := range map[string]struct{ chain, data, says, has, hasNot string }{
		"nothing is said":          {"", moves + "}]", "data file", "", ""},
		"it is kept":               {"", moves + ", backingStore: Keep}]", "", "/old/a.raw", ""},
		"it is detected":           {"", moves + ", backingStore: Detect}]", "", "/mnt/a.qcow2", "dataStore"},
		"it is mapped":             {"", moves + ", backingStore: Keep}]" + mapped, "", "/new/a.raw", "/old"},
		"only it is mapped":        {"", "pathMappings: [{from: /old, to: /new}]", "", "/new/a.raw", "/old"},
		"nothing is said of chain": {base, moves + "}]", "backing chain", "", ""},
		"all are mapped":           {base, moves + ", backingStore: Keep}]" + mapped, "", "/new/b.raw", "/old"},
		"all are detected":         {base, moves + ", backingStore: Detect}]", "", "/mnt/a.qcow2", "/old"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := plannedOf(t, disk(c.chain), c.data)
			if !strings.Contains(r.problems, c.says) || (c.says == "") != (r.problems == "") || !strings.Contains(r.xml, c.has) || c.hasNot != "" && strings.Contains(r.xml, c.hasNot) {
				t.Errorf("%s%s", r.problems, r.xml)
			}
		})
	}
}
