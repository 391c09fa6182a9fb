package libvirt

import (
	"slices"
	"strings"

	"libvirt.org/go/libvirtxml"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// borrowersOf returns to whom a secret was lent, and whether it was. One that an administrator
// has made permanent, or public, is the host's own.
func borrowersOf(def *libvirtxml.Secret) ([]string, bool) {
	names, lent := strings.CutPrefix(def.Description, lentTo)
	return strings.Fields(names), lent && def.Ephemeral == "yes" && def.Private == "yes"
}

// namespaceOf is the namespace of a borrower.
func namespaceOf(borrower string) string {
	namespace, _, _ := strings.Cut(borrower, "/")
	return namespace
}

// loanDefinition is the definition of a secret with a borrower more.
func loanDefinition(there *libvirtxml.Secret, loan hypervisor.SecretLoan) (*libvirtxml.Secret, error) {
	def := &libvirtxml.Secret{Ephemeral: "yes", Private: "yes", UUID: loan.Name.UUID}
	if loan.Name.UUID == "" {
		def.Usage = &libvirtxml.SecretUsage{Type: loan.Name.UsageType}
		switch loan.Name.UsageType {
		case "volume":
			def.Usage.Volume = loan.Name.UsageName
		case "iscsi":
			def.Usage.Target = loan.Name.UsageName
		default:
			def.Usage.Name = loan.Name.UsageName
		}
	}
	var borrowers []string
	if there != nil {
		var lent bool
		if borrowers, lent = borrowersOf(there); !lent {
			return nil, errOwnSecret
		}
		for _, other := range borrowers {
			if namespaceOf(other) != namespaceOf(loan.Borrower) {
				return nil, errLentElsewhere
			}
		}
		def.UUID, def.Usage = there.UUID, there.Usage
	}
	if !slices.Contains(borrowers, loan.Borrower) {
		borrowers = append(borrowers, loan.Borrower)
	}
	def.Description = lentTo + strings.Join(borrowers, " ")
	return def, nil
}
