package xmlrewrite

import "github.com/virtferry/virtferry/pkg/xmlrewrite/xmltree"

// keepCredentials keeps what lets the host in to the data if their protocol stays the same
// and the migrate data say nothing of it. What else there was and is not given goes with
// the old source, but not in silence if the guest may miss it.
func (p *planner) keepCredentials(disk, source *xmltree.Node, shape *sourceShape, sameKind bool, field *place) {
	auth := source.Child("auth")
	if auth == nil {
		auth = disk.Child("auth")
	}
	if !sameKind {
		if rules, _ := rulesOf(shape.volumeProtocol()); auth != nil && rules.auth != "" && !shape.has("auth") {
			p.warn(field.dot("network.auth"), auth, "the host authenticates to get at the disk's data, and what it does so with is that of the old source, so it is removed; if the new one asks for authentication, give it here")
		}
		return
	}
	if auth != nil && !shape.has("auth") {
		shape.Add(auth.Elem())
	}
	p.keepNames(source, shape, field.dot("network"))
	if shape.kind == "network" {
		p.warnOfDropped(source, shape, field.dot("network"))
	}
}

// keepNames keeps the names by which the host makes itself known.
func (p *planner) keepNames(source *xmltree.Node, shape *sourceShape, field *place) {
	const advice = "; make sure that the new source's server knows the target by it, too, or give another"
	if have := source.Child("identity"); have != nil && !shape.has("identity") {
		shape.Add(have.Elem())
		p.warnOfUser(have, field, advice)
	}
	if have := source.Child("initiator"); have != nil && !shape.has("initiator") {
		shape.Add(have.Elem())
		p.warnOfInitiator(have, field, advice)
	}
}

// warnOfDropped warns of settings of a network source that the new one, of the same
// protocol, does not have.
func (p *planner) warnOfDropped(source *xmltree.Node, shape *sourceShape, field *place) {
	if have := source.Child("snapshot"); have != nil && !shape.has("snapshot") {
		p.warn(field.dot("snapshotName"), have, "the disk is a snapshot, and no snapshot is given for the target, so the guest gets the image itself there; give the snapshot if it is there, too")
	}
	if have := source.Child("config"); have != nil && !shape.has("config") {
		p.warn(field.dot("configFile"), have, "the disk is reached by a Ceph configuration file, and none is given for the target, so the default is used there; give the file's path if it is needed")
	}
	if source.Value("tls") == "yes" && shape.attr("tls") == "" {
		p.warn(field.dot("tls"), source, "the connection to the disk's data is encrypted, and nothing is said of that for the target, so its libvirt decides by its configuration; give tls: Enabled if it must be encrypted")
	}
}
