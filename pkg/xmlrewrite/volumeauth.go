package xmlrewrite

import (
	"cmp"
	"slices"

	v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/xmlrewrite/xmltree"
)

// credentials is what the host shows the server of a disk's data.
type credentials struct{ auth, cookies, identity *xmltree.Node }

// credentialsOf returns what the host shows the server of a disk's data; each is nil if there
// is none.
func credentialsOf(disk *xmltree.Node) credentials {
	source := disk.Child("source")
	held := credentials{auth: source.Child("auth"), cookies: source.Child("cookies")}
	if held.auth == nil {
		held.auth = disk.Child("auth")
	}
	if source.Value("protocol") == "ssh" { // That of NFS is a user, whom anybody can claim to be.
		held.identity = source.Child("identity")
	}
	return held
}

// any returns one of them; nil if there is none.
func (c credentials) any() *xmltree.Node {
	return cmp.Or(c.auth, c.cookies, c.identity)
}

// keepCredentials decides about what lets the host in to the data. It stays where the data
// stay with their server; no other server is shown it unasked. What is not given and does
// not stay goes with the old source, but not in silence if the guest may miss it.
func (p *planner) keepCredentials(disk, source *xmltree.Node, shape *sourceShape, sameKind bool, v *v1alpha1.VolumeMigrateData, field *place) {
	held, network := credentialsOf(disk), field.dot("source.network")
	if shape.has("auth") {
		held.auth = nil
	}
	policy := v1alpha1.CredentialsPolicy(stringOf(v.Credentials))
	if !sameKind {
		p.warnOfLostCredentials(held, shape, policy, field)
		return
	}
	if policy == v1alpha1.CredentialsDrop {
		held = credentials{}
		source.SyncChild("cookies", nil)
	} else if at := held.any(); at != nil && policy == "" && !sameServer(source, shape, v.Source) {
		p.report(ProblemMissingData, field.dot("credentials"), at,
			"the host shows the disk's server what lets it in, and the new source is another server; say Keep if that is to be shown to the new one, or Drop if not, with source.network.auth if there is something else to show")
	}
	if held.auth != nil {
		shape.Add(held.auth.Elem())
	}
	if held.identity != nil {
		shape.Add(held.identity.Elem())
	}
	if source.Value("protocol") != "ssh" {
		p.keepUser(source, shape, network)
	}
	p.keepInitiator(source, shape, network)
	if shape.kind == "network" {
		p.warnOfDropped(source, shape, network)
	}
}

// checkCredentials checks what an entry says of credentials in itself.
func (p *planner) checkCredentials(v *v1alpha1.VolumeMigrateData, field *place) {
	if v.Credentials == nil {
		return
	}
	p.checkOneOf(field.dot("credentials"), stringOf(v.Credentials), string(v1alpha1.CredentialsKeep), string(v1alpha1.CredentialsDrop))
	if v.Source == nil {
		p.report(ProblemInvalidValue, field.dot("credentials"), nil, "there is something to decide only where source moves the data; give source, or remove this")
	}
}

// warnOfLostCredentials warns of what another kind of source cannot be shown, and refuses to
// keep it.
func (p *planner) warnOfLostCredentials(held credentials, shape *sourceShape, policy v1alpha1.CredentialsPolicy, field *place) {
	at := held.any()
	switch rules, _ := rulesOf(shape.volumeProtocol()); {
	case at == nil || policy == v1alpha1.CredentialsDrop:
	case policy == v1alpha1.CredentialsKeep:
		p.report(ProblemConflict, field.dot("credentials"), at,
			"what the host shows the disk's server cannot be kept for another kind of source or protocol; say Drop, and give source.network.auth if the new source asks for authentication")
	case rules.auth != "" && !shape.has("auth"):
		p.warn(field.dot("source.network.auth"), at,
			"the host authenticates to get at the disk's data, or shows cookies, and what it does so with is that of the old source, so it is removed; if the new one asks for authentication, give it here")
	}
}

// sameServer reports whether the server of a source, or the storage pool, stays the same.
// Of servers that belong together, such as Ceph's monitors, one is enough.
func sameServer(source *xmltree.Node, shape *sourceShape, to *v1alpha1.VolumeSource) bool {
	if to.Network == nil {
		return source.Value("pool") == shape.attr("pool")
	}
	have, want := hostsOf(source), hostsGiven(to.Network)
	if len(have) == 0 && len(want) == 0 {
		return source.Child("config").Value("file") == stringOf(to.Network.ConfigFile)
	}
	return slices.ContainsFunc(want, func(host string) bool { return slices.Contains(have, host) })
}

// keptName says what to do about a name by which the host makes itself known.
const keptName = "; make sure that the new source's server knows the target by it, too, or give another"

// keepUser keeps the user as whom a server is asked.
func (p *planner) keepUser(source *xmltree.Node, shape *sourceShape, field *place) {
	if have := source.Child("identity"); have != nil && !shape.has("identity") {
		shape.Add(have.Elem())
		p.warnOfUser(have, field, keptName)
	}
}

// keepInitiator keeps the name by which the host makes itself known to an iSCSI server.
func (p *planner) keepInitiator(source *xmltree.Node, shape *sourceShape, field *place) {
	if have := source.Child("initiator"); have != nil && !shape.has("initiator") {
		shape.Add(have.Elem())
		p.warnOfInitiator(have, field, keptName)
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
