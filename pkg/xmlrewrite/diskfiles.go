package xmlrewrite

import (
	"slices"

	v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/xmlrewrite/xmltree"
)

// DiskFile is a file of a disk, on the source and where it is to be on the target.
type DiskFile struct {
	SourcePath, Path string
}

// DiskFiles are the files of a disk, and what else decides whether two hosts may have it at
// the same time.
type DiskFiles struct {
	// Name is the disk's target device, such as vda, and Type that of its source on the
	// target. It is empty for a drive without a medium.
	Name, Type string
	// Writable is whether the guest may write to it.
	Writable bool
	// Removable is whether it is a drive whose medium can be changed.
	Removable bool
	// Optional is whether libvirt leaves its medium out where the target does not have it.
	Optional bool
	// Cache is its cache mode; empty is the hypervisor's default.
	Cache string
	// Files are its image and what that is based on, from the top. There are none if its image
	// is no file on both hosts.
	Files []DiskFile
	// Complete is whether Files are all that its data are in.
	Complete bool
}

// ReadDiskFiles returns the files of a guest's disks, in the order of its definition, with
// where the migrate data put them. What is wrong with the migrate data is left to [NewPlan].
// The error is [Problems].
func ReadDiskFiles[Text ~string | ~[]byte](domainXML Text, data *v1alpha1.MigrateData, opts Options) ([]DiskFiles, error) {
	here, there, err := diskPairs(domainXML, data, opts)
	if err != nil {
		return nil, err
	}
	out := make([]DiskFiles, len(here))
	for i, disk := range here {
		out[i] = readDiskFiles(disk, there[i], data)
	}
	return out, nil
}

// WithFoundFiles adds to disks, as they were read from a definition that migrates, what the same
// are based on by that of the running guest, read without migrate data. The target's libvirt
// finds that in the images again, at the same paths; of an image that is elsewhere there,
// nothing is added, since the paths inside may be relative to it.
func WithFoundFiles(disks, running []DiskFiles) []DiskFiles {
	out := slices.Clone(disks)
	for i, d := range out {
		if d.Complete || len(d.Files) != 1 || d.Files[0].Path != d.Files[0].SourcePath {
			continue
		}
		at := slices.IndexFunc(running, func(r DiskFiles) bool { return r.Name == d.Name && len(r.Files) > 0 && r.Files[0] == d.Files[0] })
		if at >= 0 {
			out[i].Files, out[i].Complete = running[at].Files, running[at].Complete
		}
	}
	return out
}

// diskPairs returns the disks of a guest, and the same as they become on the target.
func diskPairs[Text ~string | ~[]byte](domainXML Text, data *v1alpha1.MigrateData, opts Options) (here, there []*xmltree.Node, err error) {
	p, err := newPlanner(string(domainXML), data, opts)
	if err != nil {
		return nil, nil, err
	}
	planVolumes(p)
	after, err := parseGuest(p.doc.Render().String())
	if err != nil {
		return nil, nil, err
	}
	return p.devices("disk"), after.devices("disk"), nil
}

func readDiskFiles(disk, target *xmltree.Node, data *v1alpha1.MigrateData) DiskFiles {
	source := target.Child("source")
	d := DiskFiles{
		Name: disk.Child("target").Value("dev"), Type: target.Value("type"), Writable: writesTo(disk), Removable: isDrive(disk),
		Cache:    target.Child("driver").Value("cache"),
		Optional: isOneOf(source.Value("startupPolicy"), "optional", "requisite"),
	}
	file := source.Value("file")
	if d.Type == "file" && file == "" {
		d.Type = ""
	}
	if disk.Value("type") != "file" || d.Type != "file" || source.Child("dataStore") != nil {
		return d
	}
	d.Files = []DiskFile{{SourcePath: disk.Child("source").Value("file"), Path: file}}
	d.Complete = true
	// Of a raw image, libvirt need not say that it is based on nothing.
	format := target.Child("driver").Value("type")
	have, become := disk.Child("backingStore"), target.Child("backingStore")
	for ; become.Child("source") != nil; have, become = have.Child("backingStore"), become.Child("backingStore") {
		below := become.Child("source")
		if have.Value("type") != "file" || become.Value("type") != "file" || below.Child("dataStore") != nil {
			d.Complete = false
			return d
		}
		format = become.Child("format").Value("type")
		// pathMappings are for what images are based on.
		file := DiskFile{SourcePath: have.Child("source").Value("file")}
		file.Path = mapBacking(data, file.SourcePath, below.Value("file"))
		d.Files = append(d.Files, file)
	}
	d.Complete = become != nil || format == rawFormat
	return d
}
