package libvirt

import (
	"encoding/xml"
	"fmt"
	"slices"
)

// labelledDomain is what of a running domain's XML says which files libvirt labels for
// it: gives to its user, by DAC, or to its SELinux type.
type labelledDomain struct {
	SecLabels []secLabel     `xml:"seclabel"`
	Disks     []labelledDisk `xml:"devices>disk"`
}

type labelledDisk struct {
	Type   string `xml:"type,attr"`
	Target struct {
		Dev string `xml:"dev,attr"`
	} `xml:"target"`
	Source struct {
		SecLabels []secLabel `xml:"seclabel"`
	} `xml:"source"`
	ReadOnly  *struct{} `xml:"readonly"`
	Shareable *struct{} `xml:"shareable"`
}

type secLabel struct {
	Model   string `xml:"model,attr"`
	Relabel string `xml:"relabel,attr"`
}

// diskTakenAway returns a disk whose image may become unusable for everybody else when
// libvirt ends the domain; none is "". libvirt then takes its labels from the images,
// but from those that are read-only or shareable, and gives them back to root. Where
// the guest has migrated, it spares shared filesystems; where a domain is destroyed it
// does not (qemuProcessStop, and virSecurityManagerRestoreAllLabel with migrated
// false). Device nodes are each host's own.
func diskTakenAway(domainXML string) (string, error) {
	var d labelledDomain
	if err := xml.Unmarshal([]byte(domainXML), &d); err != nil {
		return "", fmt.Errorf("reading the domain's labels: %w", err)
	}
	for _, label := range d.SecLabels {
		if label.Relabel != "yes" || label.Model != "dac" && label.Model != "selinux" {
			continue
		}
		for _, disk := range d.Disks {
			if disk.losesLabel(label.Model) {
				return disk.Target.Dev, nil
			}
		}
	}
	return "", nil
}

func (d labelledDisk) losesLabel(model string) bool {
	file := d.Type == "file" || d.Type == "volume"
	return file && d.ReadOnly == nil && d.Shareable == nil && !slices.ContainsFunc(d.Source.SecLabels, func(own secLabel) bool {
		return own.Relabel == "no" && (own.Model == "" || own.Model == model)
	})
}
