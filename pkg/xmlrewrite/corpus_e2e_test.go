//go:build e2e

package xmlrewrite

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/xmlrewrite/xmltree"
)

var corpusDir = flag.String("corpus", "", "directory with domain documents to rewrite; see make test-corpus")

// corpusCase is one rewrite of a document.
type corpusCase struct {
	name          string
	before, after string
}

// TestCorpus rewrites every domain document in a directory, once with what a target offers
// and once with everything mapped, and has a real libvirt read what comes of it and
// compare what the guest sees. What libvirt takes before, it takes after.
func TestCorpus(t *testing.T) {
	if *corpusDir == "" {
		t.Skip("this needs -corpus, which `make test-corpus` gives")
	}
	documents, refused, violations := 0, 0, 0
	var cases []corpusCase
	for name, text := range domainDocuments(t, *corpusDir) {
		documents++
		for variant, data := range map[string]*v1alpha1.MigrateData{"offered": nil, "mapped": mapEverything(text)} {
			after, problem := rewriteDocument(text, data)
			var problems Problems
			switch {
			case errors.As(problem, &problems):
				refused++
			case problem != nil:
				violations++
				t.Errorf("%s (%s): %v", name, variant, problem)
			default:
				cases = append(cases, corpusCase{name + " (" + variant + ")", text, after})
			}
		}
	}
	libvirt := runningLibvirt(t)
	judged := 0
	for len(cases) > 0 {
		batch := cases[:min(len(cases), 100)]
		cases = cases[len(batch):]
		unread, wrong := libvirt.judge(t, batch)
		judged += len(batch) - unread
		violations += wrong
	}
	fmt.Printf("documents: %d\nrefused: %d\nviolations: %d\n", documents, refused, violations)
	if documents == 0 || judged < documents/4 {
		t.Errorf("libvirt takes only %d rewrites of %d documents before: too few for this test to mean anything", judged, documents)
	}
}

// domainDocuments reads all documents of domains below a directory.
func domainDocuments(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".xml" {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if _, err := parseGuest(text); err == nil {
			name, err := filepath.Rel(dir, path)
			found[name] = string(text)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// rewriteDocument rewrites a document, and the result again. A refusal is [Problems];
// any other error should not be.
func rewriteDocument(text string, data *v1alpha1.MigrateData) (string, error) {
	offer := &v1alpha1.MigrateData{
		Graphics: &v1alpha1.GraphicsMigrateData{
			VNCListenAddress: new("192.0.2.20"), SPICEListenAddress: new("192.0.2.20"), RDPListenAddress: new("192.0.2.20"),
		},
		Serial: &v1alpha1.SerialMigrateData{ListenAddress: new("192.0.2.20")},
	}
	opts := Options{Offer: offer, Target: TargetFacts{LibvirtVersion: "9.0.0"}}
	plan, err := NewPlan(text, data, opts)
	if problems, refused := errors.AsType[Problems](err); refused {
		for _, p := range problems {
			if p.Kind == ProblemABIChanged {
				return "", errors.New(p.String())
			}
		}
		return "", err
	}
	again, err := NewPlan(plan.Apply(), data, opts)
	switch {
	case err != nil:
		return "", fmt.Errorf("the result cannot be rewritten again: %s", err.Error())
	case again.Apply() != plan.Apply():
		return "", errors.New("rewriting twice is not rewriting once")
	}
	return plan.Apply(), nil
}

// mapEverything returns migrate data that map all that a document has.
func mapEverything(text string) *v1alpha1.MigrateData {
	doc, err := parseGuest(text)
	if err != nil {
		return nil
	}
	data := &v1alpha1.MigrateData{}
	seen := make(map[string]bool)
	for i, disk := range doc.devices("disk") {
		target := disk.Child("target").Value("dev")
		if seen[target] {
			continue
		}
		seen[target] = true
		v := v1alpha1.VolumeMigrateData{TargetDevice: &target, BackingStore: new(v1alpha1.BackingStoreKeep)}
		switch disk.Value("type") {
		case "file":
			v.Source = &v1alpha1.VolumeSource{File: &v1alpha1.PathSource{Path: fmt.Sprintf("/srv/moved/%d.img", i)}}
		case "block":
			v.Source = &v1alpha1.VolumeSource{Block: &v1alpha1.PathSource{Path: fmt.Sprintf("/dev/mapper/moved-%d", i)}}
		case "nvme":
			v.Source = &v1alpha1.VolumeSource{NVMe: &v1alpha1.NVMeSource{PCIAddress: v1alpha1.PCIAddress(fmt.Sprintf("0000:%02x:00.0", i+16)), Namespace: 1}}
		}
		if disk.Child("source") == nil {
			v.Source = nil // A drive without a medium.
		}
		data.Volumes = append(data.Volumes, v)
	}
	mapInterfaces(doc, data)
	mapPassthrough(doc, data)
	mapPlacement(doc, data)
	return data
}

func mapInterfaces(doc *guest, data *v1alpha1.MigrateData) {
	nics := make(map[string]bool)
	for _, nic := range doc.devices("interface") {
		mac, ok := parseMAC(nic.Child("mac").Value("address"))
		if !ok || nics[mac] {
			continue
		}
		nics[mac] = true
		want := v1alpha1.InterfaceMigrateData{MACAddress: v1alpha1.MACAddress(mac)}
		switch nic.Value("type") {
		case "bridge", "network":
			want.Source = &v1alpha1.InterfaceSource{Bridge: &v1alpha1.BridgeInterfaceSource{Name: "br-moved"}}
		case "direct":
			want.Source = &v1alpha1.InterfaceSource{Direct: &v1alpha1.DirectInterfaceSource{Device: "moved0"}}
		case "vdpa":
			want.Source = &v1alpha1.InterfaceSource{VDPA: &v1alpha1.PathSource{Path: "/dev/vhost-vdpa-9"}}
		}
		data.Interfaces = append(data.Interfaces, want)
	}
	if len(nics) < len(doc.devices("interface")) {
		data.Interfaces = nil
	}
}

func mapPassthrough(doc *guest, data *v1alpha1.MigrateData) {
	for i, h := range doc.hostPCI() {
		if have, ok := pciHolder(h); ok {
			data.PCIDevices = append(data.PCIDevices, v1alpha1.PCIDeviceMigrateData{
				Source: v1alpha1.PCIAddress(have.key), Target: v1alpha1.PCIAddress(fmt.Sprintf("0001:%02x:00.0", i)),
			})
		}
	}
	for i, h := range doc.hostdevs("mdev") {
		data.MediatedDevices = append(data.MediatedDevices, v1alpha1.MediatedDeviceMigrateData{
			Source: v1alpha1.UUID(h.Child("source").Child("address").Value("uuid")),
			Target: v1alpha1.UUID(fmt.Sprintf("5e26d0f7-8c1e-4b57-9f0e-%012d", i)),
		})
	}
	for i, h := range doc.hostdevs("usb") {
		if have, ok := readUSB(h.Child("source")); ok {
			data.USBDevices = append(data.USBDevices, v1alpha1.USBDeviceMigrateData{
				Source: v1alpha1.USBDevice(have.names()[0].String()), Target: v1alpha1.USBDevice(fmt.Sprintf("99/%d", i+1)),
			})
		}
	}
	for i := range doc.persistentMemory() {
		data.VirtualPMEM = append(data.VirtualPMEM, v1alpha1.VirtualPMEMMigrateData{Path: fmt.Sprintf("/srv/moved/pmem%d", i)})
	}
}

// mapPlacement maps pins, bindings and shares.
func mapPlacement(doc *guest, data *v1alpha1.MigrateData) {
	cputune, numatune := doc.Root.Child("cputune"), doc.Root.Child("numatune")
	numa := &v1alpha1.NUMAMigrateData{}
	each := func(parent *xmltree.Node, name, key string, add func(id int32)) {
		for n := parent.Child(name); n != nil; n = n.NextSame() {
			var id int32
			if _, err := fmt.Sscan(n.Value(key), &id); err == nil {
				add(id)
			}
		}
	}
	each(cputune, "vcpupin", "vcpu", func(id int32) { numa.VCPUPins = append(numa.VCPUPins, v1alpha1.VCPUPin{VCPU: id, HostCPUs: "0"}) })
	each(cputune, "iothreadpin", "iothread", func(id int32) {
		numa.IOThreadPins = append(numa.IOThreadPins, v1alpha1.IOThreadPin{IOThread: id, HostCPUs: "0"})
	})
	each(numatune, "memnode", "cellid", func(id int32) { numa.CellPins = append(numa.CellPins, v1alpha1.CellPin{Cell: id, HostNodes: "0"}) })
	if cputune.Child("emulatorpin") != nil {
		numa.EmulatorPin = new(v1alpha1.CPUSet("0"))
	}
	if numatune.Child("memory").HasAttr("nodeset") {
		numa.MemoryNodes = new(v1alpha1.CPUSet("0"))
	}
	data.NUMA = numa
}

// judge has libvirt read the documents of a batch, and compare them as it does when the
// XML of a saved guest is replaced. It returns how many libvirt does not take as they are,
// and how many of the others it takes no more.
func (e embedded) judge(t *testing.T, batch []corpusCase) (unread, wrong int) {
	t.Helper()
	dir := t.TempDir()
	write := func(name string, content []byte) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	var commands []string
	for i, c := range batch {
		before := definable(t, []byte(c.before))
		after := write(fmt.Sprintf("%d.after", i), definable(t, []byte(c.after)))
		image := write(fmt.Sprintf("%d.image", i), saveImage(before))
		commands = append(commands, "define "+write(fmt.Sprintf("%d.before", i), before), "define "+after, "save-image-define "+image+" "+after)
	}
	out, _ := e.virsh(t, strings.Join(commands, "; ")).CombinedOutput() // What fails is in the output.
	problems := make(map[string]string)
	for _, found := range regexp.MustCompile(`error: Failed to [^\n]*/(\d+\.(?:before|after|image))\n+error: ([^\n]*)`).FindAllStringSubmatch(string(out), -1) {
		problems[found[1]] = found[2]
	}
	if len(problems) == 0 && bytes.Contains(out, []byte("error:")) {
		t.Fatalf("libvirt cannot be asked: %s", out)
	}
	for i, c := range batch {
		if problems[fmt.Sprintf("%d.before", i)] != "" {
			unread++
			continue
		}
		for _, what := range [...]string{"after", "image"} {
			if problem := problems[fmt.Sprintf("%d.%s", i, what)]; problem != "" {
				wrong++
				t.Errorf("%s: libvirt takes the document, but not its rewrite (%s): %s", c.name, what, problem)
				break
			}
		}
	}
	return unread, wrong
}

// saveImage returns a file as libvirt saves a guest to, with nothing of the guest's memory.
func saveImage(xml []byte) []byte {
	const room = 64 << 10 // For a definition that is longer.
	header := []uint32{2, uint32(len(xml) + room), 0, 0, 0}
	var b bytes.Buffer
	b.WriteString("LibvirtQemudSave")
	for _, v := range append(header, make([]uint32, 14)...) {
		b.Write(binary.LittleEndian.AppendUint32(nil, v))
	}
	b.Write(xml)
	b.Write(make([]byte, room))
	return b.Bytes()
}
