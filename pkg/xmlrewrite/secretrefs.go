package xmlrewrite

import (
	"slices"
	"strings"

	v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/xmlrewrite/xmltree"
)

// ReadSecrets returns the libvirt secrets to which a definition refers once the migrate data
// of its disks has been applied to it, each once, in the order of the document: passphrases
// of encrypted disks and of virtual TPMs, keys for storage servers. What is wrong with the
// migrate data is left to [NewPlan]. The error is [Problems].
func ReadSecrets[Text ~string | ~[]byte](domainXML Text, data *v1alpha1.MigrateData, opts Options) ([]v1alpha1.SecretReference, error) {
	p, err := newPlanner(string(domainXML), data, opts)
	if err != nil {
		return nil, err
	}
	planVolumes(p)
	doc, err := parseGuest(p.doc.Render().String())
	if err != nil {
		return nil, err
	}
	var found []v1alpha1.SecretReference
	readSecrets(doc.Root, func(r v1alpha1.SecretReference) {
		if !slices.ContainsFunc(found, r.Same) {
			found = append(found, r)
		}
	})
	return found, nil
}

// readSecrets tells of each reference in and below an element. What is not libvirt's has
// none.
func readSecrets(n *xmltree.Node, tell func(v1alpha1.SecretReference)) {
	if n.Foreign || strings.Contains(n.Name, ":") || n.Name == "metadata" {
		return
	}
	switch n.Name {
	case "secret":
		if r, ok := secretReference(n.Value("type"), n.Value("uuid"), n.Value("usage")); ok {
			tell(r)
		}
	case "encryption":
		// A virtual TPM's has it as an attribute.
		if r, ok := secretReference("vtpm", n.Value("secret"), ""); ok {
			tell(r)
		}
	}
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		readSecrets(c, tell)
	}
}

// secretReference returns what an element refers to, whose type is that of libvirt's schema.
func secretReference(kind, uuid, usage string) (v1alpha1.SecretReference, bool) {
	if uuid != "" {
		canonical, ok := parseUUID(uuid)
		return v1alpha1.SecretReference{UUID: new(v1alpha1.UUID(canonical))}, ok
	}
	types := map[string]v1alpha1.SecretUsageType{
		"passphrase": v1alpha1.SecretUsageVolume, "ceph": v1alpha1.SecretUsageCeph, "iscsi": v1alpha1.SecretUsageISCSI,
	}
	known, ok := types[kind]
	if !ok || usage == "" || len(usage) > maxUsage {
		return v1alpha1.SecretReference{}, false
	}
	return v1alpha1.SecretReference{Usage: &v1alpha1.SecretUsage{Type: known, Name: strings.Clone(usage)}}, true
}

// maxUsage is how long the name of a use may be in a LiveMigration's status.
const maxUsage = 1024
