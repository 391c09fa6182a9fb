package xmlrewrite

import (
	"slices"
	"strings"

	v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/xmlrewrite/xmltree"
)

const rbdField = "rbdMonitors"

// planRBDMonitors gives the guest's RBD disks the target's view of the Ceph
// monitors. Volumes (disks with a serial), disks that a user attached and
// disks for which the migrate data has a source are not concerned: they may
// live in another cluster.
func planRBDMonitors(p *planner) {
	monitors := p.data.RBDMonitors
	if monitors == nil {
		monitors = p.offer.RBDMonitors
	}
	if monitors == nil || !p.checkMonitors(monitors) {
		return
	}
	hosts := make([]*xmltree.Elem, 0, len(monitors))
	for _, m := range monitors {
		port := ""
		if m.Port != nil {
			port = itoa(*m.Port)
		}
		hosts = append(hosts, xmltree.NewElem("host", "name", m.Host, "port", port))
	}
	for i, disk := range p.devices("disk") {
		source := disk.Child("source")
		if source.Value("protocol") != "rbd" || disk.Child("serial") != nil ||
			strings.HasPrefix(disk.Child("alias").Value("name"), "ua-") || p.hasVolumeSource(i) {
			continue
		}
		for store := disk.Child("backingStore"); store != nil; store = store.Child("backingStore") {
			p.moveBackingImage(store.Child("source"), source, hosts)
		}
		source.SyncList("host", hosts)
	}
}

// moveBackingImage gives an image that a disk is based on the monitors of the disk, if it
// has the same ones so far.
func (p *planner) moveBackingImage(image, disk *xmltree.Node, hosts []*xmltree.Elem) {
	switch {
	case image.Value("protocol") != "rbd":
	case slices.Equal(hostsOf(image), hostsOf(disk)):
		image.SyncList("host", hosts)
	default:
		p.warn(placeOf(rbdField), image, "the disk is based on an image that has other monitors than the disk itself, which are kept; make sure that they are right on the target")
	}
}

func (p *planner) checkMonitors(monitors []v1alpha1.RBDMonitor) bool {
	good := len(monitors) > 0
	if !good {
		p.report(ProblemInvalidValue, placeOf(rbdField), nil, "give at least one monitor, or leave the list out to keep the guest's")
	}
	for i, m := range monitors {
		field := placeOf(rbdField).entry(i)
		good = p.checkHost(field.dot("host"), m.Host) && good
		if m.Port != nil && (*m.Port < 1 || *m.Port > 65535) {
			p.report(ProblemInvalidValue, field.dot("port"), nil, "a port must be between 1 and 65535")
			good = false
		}
	}
	return good
}

// checkHost reports what can be neither a host name nor an address.
func (p *planner) checkHost(field *place, host string) bool {
	if isName(strings.ReplaceAll(host, ":", "-")) && len(host) <= 253 {
		return true
	}
	p.report(ProblemInvalidValue, field, nil, "this must be a host name or an IP address without brackets")
	return false
}

// hasVolumeSource reports whether the migrate data say where the disk's data are.
func (p *planner) hasVolumeSource(disk int) bool {
	i := p.volumes()[disk]
	return i >= 0 && p.data.Volumes[i].Source != nil
}
