package libvirt

import (
	"errors"
	"slices"
	"testing"

	"libvirt.org/go/libvirtxml"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// TestWhoseASecretIs: only what we have lent, and nobody has made the host's own since.
func TestWhoseASecretIs(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		def       libvirtxml.Secret
		lent      bool
		borrowers []string
	}{
		"lent":               {libvirtxml.Secret{Ephemeral: "yes", Private: "yes", Description: lentTo + "a/m/1 a/n/2"}, true, []string{"a/m/1", "a/n/2"}},
		"the host's":         {libvirtxml.Secret{Ephemeral: "yes", Private: "yes", Description: "for the disks"}, false, nil},
		"permanent by now":   {libvirtxml.Secret{Ephemeral: "no", Private: "yes", Description: lentTo + "a/m/1"}, false, nil},
		"shown to all":       {libvirtxml.Secret{Ephemeral: "yes", Private: "no", Description: lentTo + "a/m/1"}, false, nil},
		"lent, by its words": {libvirtxml.Secret{Description: lentTo + "a/m/1"}, false, nil},
	} {
		borrowers, lent := borrowersOf(&c.def)
		if lent != c.lent || lent && !slices.Equal(borrowers, c.borrowers) {
			t.Errorf("%s: %t, to %q", name, lent, borrowers)
		}
	}
}

// TestWhatASecretIsDefinedAs when it is lent: one of the host's own is never taken over, nor one
// that another namespace has on loan.
func TestWhatASecretIsDefinedAs(t *testing.T) {
	t.Parallel()
	lent := func(borrowers string) *libvirtxml.Secret {
		return &libvirtxml.Secret{
			Ephemeral: "yes", Private: "yes", UUID: "there", Usage: &libvirtxml.SecretUsage{Type: "ceph", Name: "x"}, Description: lentTo + borrowers,
		}
	}
	byUUID := hypervisor.SecretLoan{Name: hypervisor.SecretName{UUID: "u"}, Borrower: "a/m/1"}
	byUsage := func(kind string) hypervisor.SecretLoan {
		return hypervisor.SecretLoan{Name: hypervisor.SecretName{UsageType: kind, UsageName: "x"}, Borrower: "a/m/1"}
	}
	for name, c := range map[string]struct {
		there       *libvirtxml.Secret
		loan        hypervisor.SecretLoan
		uuid        string
		usage       libvirtxml.SecretUsage
		description string
		err         error
	}{
		"by its UUID":               {nil, byUUID, "u", libvirtxml.SecretUsage{}, lentTo + "a/m/1", nil},
		"of a volume":               {nil, byUsage("volume"), "", libvirtxml.SecretUsage{Type: "volume", Volume: "x"}, lentTo + "a/m/1", nil},
		"of iSCSI":                  {nil, byUsage("iscsi"), "", libvirtxml.SecretUsage{Type: "iscsi", Target: "x"}, lentTo + "a/m/1", nil},
		"of Ceph":                   {nil, byUsage("ceph"), "", libvirtxml.SecretUsage{Type: "ceph", Name: "x"}, lentTo + "a/m/1", nil},
		"to one more":               {lent("a/n/2"), byUsage("ceph"), "there", libvirtxml.SecretUsage{Type: "ceph", Name: "x"}, lentTo + "a/n/2 a/m/1", nil},
		"to the same again":         {lent("a/m/1"), byUUID, "there", libvirtxml.SecretUsage{Type: "ceph", Name: "x"}, lentTo + "a/m/1", nil},
		"lent to another namespace": {lent("a/n/2 b/m/1"), byUUID, "", libvirtxml.SecretUsage{}, "", errLentElsewhere},
		"the host's own":            {&libvirtxml.Secret{UUID: "there"}, byUUID, "", libvirtxml.SecretUsage{}, "", errOwnSecret},
	} {
		def, err := loanDefinition(c.there, c.loan)
		if !errors.Is(err, c.err) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if c.err != nil {
			continue
		}
		var usage libvirtxml.SecretUsage
		if def.Usage != nil {
			usage = *def.Usage
		}
		if def.UUID != c.uuid || usage != c.usage || def.Description != c.description || def.Ephemeral != "yes" || def.Private != "yes" {
			t.Errorf("%s: %+v, for %+v", name, def, usage)
		}
	}
}
