package xmlrewrite

import (
	"slices"

	v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/xmlrewrite/xmltree"
)

// Disk is a disk of a guest, as far as copying it goes.
type Disk struct {
	// Name is its target device, such as vda.
	Name string
	// Type is that of its source on the target, such as file or network, or on the source if it
	// is a file on the target only. Format is the image's, such as qcow2.
	Type, Format string
	// SourcePath is its file on the source, and Path where that is on the target. Both are
	// empty for what is no file, or has no medium.
	SourcePath, Path string
	// SourceDevice is its block device on the source, and Device that on the target; both are
	// empty unless it is one on both.
	SourceDevice, Device string
	// Writable is whether the guest may write to it.
	Writable bool
	// Chained is whether its image is based on another one, which BackingPath and
	// BackingFormat tell if it is a file, as it is on the target. They are empty as well if the
	// target's libvirt is to find it.
	Chained                    bool
	BackingPath, BackingFormat string
	// ChainKnown is whether the definition says so, or says that its image is based on nothing.
	ChainKnown bool
	// SecretUUID is the secret by which its image is encrypted on the target, with LUKS in a qcow2
	// image; empty if it is not.
	SecretUUID v1alpha1.UUID
	// Obstacle is why it cannot be copied into a new image; empty where it can.
	Obstacle string
}

// ReadDisks returns the disks of a running guest, in the order of its definition, with where
// the migrate data put them. What is wrong with the migrate data is left to [NewPlan]. The
// error is [Problems].
func ReadDisks[Text ~string | ~[]byte](domainXML Text, data *v1alpha1.MigrateData, opts Options) ([]Disk, error) {
	here, there, err := diskPairs(domainXML, data, opts)
	if err != nil {
		return nil, err
	}
	var disks []Disk
	for i, disk := range here {
		disks = append(disks, readDisk(disk, there[i], data))
	}
	return disks, nil
}

// WithFoundChains adds to disks, as they were read from a definition that migrates, what the same
// are based on by that of the running guest: libvirt leaves out of the former what it has found
// in the images, and the target's libvirt finds it there again.
func WithFoundChains(disks, running []Disk) []Disk {
	out := slices.Clone(disks)
	for i, d := range out {
		at := slices.IndexFunc(running, func(r Disk) bool { return r.Name == d.Name && r.SourcePath == d.SourcePath })
		if at >= 0 && !d.Chained {
			r := running[at]
			out[i].Chained, out[i].ChainKnown, out[i].BackingPath, out[i].BackingFormat = r.Chained, d.ChainKnown || r.ChainKnown, r.BackingPath, r.BackingFormat
		}
	}
	return out
}

// readDisk reads a disk as it is on the source and becomes on the target.
func readDisk(disk, target *xmltree.Node, data *v1alpha1.MigrateData) Disk {
	d := Disk{
		Name: disk.Child("target").Value("dev"), Type: target.Value("type"), Format: target.Child("driver").Value("type"),
		Writable: writesTo(disk), Obstacle: copyObstacle(target), SecretUUID: luksSecret(target),
	}
	if disk.Value("type") == "file" && d.Type == "file" {
		// pathMappings are not for the images themselves, but for what they are based on.
		d.SourcePath, d.Path = disk.Child("source").Value("file"), target.Child("source").Value("file")
	}
	if disk.Value("type") == "block" && d.Type == "block" {
		d.SourceDevice, d.Device = disk.Child("source").Value("dev"), target.Child("source").Value("dev")
	}
	if d.Type == "file" && disk.Value("type") != "file" {
		d.Type = disk.Value("type")
	}
	d.Chained = disk.Child("backingStore").Child("source") != nil
	d.ChainKnown = disk.Child("backingStore") != nil || disk.Child("driver").Value("type") == rawFormat
	if backing := target.Child("backingStore"); backing.Child("source") != nil && backing.Value("type") == "file" {
		d.BackingPath = mapBacking(data, disk.Child("backingStore").Child("source").Value("file"), backing.Child("source").Value("file"))
		d.BackingFormat = backing.Child("format").Value("type")
	}
	return d
}

// luksSecret returns the secret of an image that libvirt can make: in the format qcow2, encrypted
// with LUKS by one passphrase, which QEMU opens. It is empty for all others.
func luksSecret(disk *xmltree.Node) v1alpha1.UUID {
	e := encryptionOf(disk)
	secrets := e.Children("secret")
	if e.Value("format") != "luks" || !isOneOf(e.Value("engine"), "", "qemu") || len(secrets) != 1 ||
		secrets[0].Value("type") != "passphrase" || disk.Child("driver").Value("type") != "qcow2" {
		return ""
	}
	uuid, ok := parseUUID(secrets[0].Value("uuid"))
	if !ok {
		return ""
	}
	return v1alpha1.UUID(uuid)
}

// copyObstacle says why a disk cannot be copied into an image that libvirt makes.
func copyObstacle(disk *xmltree.Node) string {
	source := disk.Child("source")
	switch {
	case !isOneOf(disk.Child("driver").Value("type"), rawFormat, "qcow2"):
		return "its image is neither raw nor qcow2"
	case encryptionOf(disk) != nil && luksSecret(disk) == "":
		return "its image is encrypted, but not as libvirt can make one: in the format qcow2, with LUKS, by one secret that is given by its UUID"
	case disk.Child("shareable") != nil:
		return "several guests may write to it"
	case disk.Child("transient") != nil:
		return "what is written to it is not kept"
	case source.Child("dataStore") != nil:
		return "its data are in a file of their own"
	case source.Child("slices") != nil:
		return "it is but a part of its image"
	default:
		return ""
	}
}
