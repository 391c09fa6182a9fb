package libvirt

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	lv "libvirt.org/go/libvirt"
	"libvirt.org/go/libvirtxml"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// secretUsages are libvirt's numbers of its kinds of use.
var secretUsages = map[string]lv.SecretUsageType{
	"volume": lv.SECRET_USAGE_TYPE_VOLUME,
	"ceph":   lv.SECRET_USAGE_TYPE_CEPH,
	"iscsi":  lv.SECRET_USAGE_TYPE_ISCSI,
}

// MissingSecrets implements hypervisor.Host. A private secret does not tell whether it has a
// value.
func (c *Client) MissingSecrets(ctx context.Context, secrets []hypervisor.SecretName) ([]hypervisor.SecretName, error) {
	const op = "looking secrets up"
	var missing []hypervisor.SecretName
	for _, s := range secrets {
		has, err := call(ctx, c, op, hostSubject, func(conn *lv.Connect) (bool, error) { return hasSecret(conn, s) })
		if err != nil {
			return nil, err
		}
		if !has {
			missing = append(missing, s)
		}
	}
	return missing, nil
}

// hasSecret reports whether there is a secret, with a value. A daemon that serves nothing but
// QEMU's guests does not keep them itself, and counts as having all.
func hasSecret(conn *lv.Connect, name hypervisor.SecretName) (bool, error) {
	secret, err := lookupSecret(conn, name)
	if err == nil {
		defer func() { _ = secret.Free() }() // It fails only for a handle that is none.
		var value []byte
		value, err = secret.GetValue(0)
		clear(value)
	}
	switch {
	case errors.Is(err, lv.ERR_NO_SECRET):
		return false, nil
	case errors.Is(err, lv.ERR_INVALID_SECRET), errors.Is(err, lv.ERR_NO_SUPPORT):
		return true, nil
	default:
		return err == nil, err
	}
}

func lookupSecret(conn *lv.Connect, name hypervisor.SecretName) (*lv.Secret, error) {
	if name.UUID != "" {
		return conn.LookupSecretByUUIDString(name.UUID)
	}
	return conn.LookupSecretByUsage(secretUsages[name.UsageType], name.UsageName)
}

// lentTo begins the description of a secret that was lent; the borrowers follow.
const lentTo = "Lent by Virtferry to: "

// borrowersOf returns to whom a secret was lent, and whether it was.
func borrowersOf(def *libvirtxml.Secret) ([]string, bool) {
	names, lent := strings.CutPrefix(def.Description, lentTo)
	return strings.Fields(names), lent
}

// loanDefinition is the definition of a secret with a borrower more. It is nil if what is there
// is the host's own.
func loanDefinition(there *libvirtxml.Secret, loan hypervisor.SecretLoan) *libvirtxml.Secret {
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
			return nil
		}
		def.UUID, def.Usage = there.UUID, there.Usage
	}
	if !slices.Contains(borrowers, loan.Borrower) {
		borrowers = append(borrowers, loan.Borrower)
	}
	def.Description = lentTo + strings.Join(borrowers, " ")
	return def
}

// LendSecret implements hypervisor.Host.
func (c *Client) LendSecret(ctx context.Context, loan hypervisor.SecretLoan) error {
	value := slices.Clone(loan.Value) // The caller may be gone when it is used.
	_, err := call(ctx, c, "lending a secret", hostSubject, func(conn *lv.Connect) (struct{}, error) {
		defer clear(value)
		return struct{}{}, lend(conn, loan.Name, loan, value)
	})
	return err
}

func lend(conn *lv.Connect, name hypervisor.SecretName, loan hypervisor.SecretLoan, value []byte) error {
	var there *libvirtxml.Secret
	secret, err := lookupSecret(conn, name)
	switch {
	case err == nil:
		there, err = readSecret(secret)
		_ = secret.Free()
		if err != nil {
			return err
		}
	case !errors.Is(err, lv.ERR_NO_SECRET):
		return err
	}
	def := loanDefinition(there, loan)
	if def == nil {
		return nil
	}
	defined, err := defineSecret(conn, def)
	if err != nil {
		return err
	}
	defer func() { _ = defined.Free() }()
	if err := defined.SetValue(value, 0); err != nil {
		if there == nil {
			_ = defined.Undefine() // A secret without a value would look like one that is there.
		}
		return err
	}
	return nil
}

func readSecret(secret *lv.Secret) (*libvirtxml.Secret, error) {
	text, err := secret.GetXMLDesc(0)
	if err != nil {
		return nil, err
	}
	def := &libvirtxml.Secret{}
	if err := def.Unmarshal(text); err != nil {
		return nil, fmt.Errorf("reading a secret's definition: %w", err)
	}
	return def, nil
}

func defineSecret(conn *lv.Connect, def *libvirtxml.Secret) (*lv.Secret, error) {
	text, err := def.Marshal()
	if err != nil {
		return nil, fmt.Errorf("writing a secret's definition: %w", err)
	}
	return conn.SecretDefineXML(text, 0)
}

// ReturnSecrets implements hypervisor.Host.
func (c *Client) ReturnSecrets(ctx context.Context, borrower string) error {
	_, err := call(ctx, c, "returning secrets", hostSubject, func(conn *lv.Connect) (struct{}, error) {
		return struct{}{}, eachLent(conn, func(secret *lv.Secret, def *libvirtxml.Secret, borrowers []string) error {
			rest := slices.DeleteFunc(slices.Clone(borrowers), func(name string) bool { return name == borrower })
			switch {
			case len(rest) == len(borrowers):
				return nil
			case len(rest) == 0:
				return secret.Undefine()
			}
			def.Description = lentTo + strings.Join(rest, " ")
			redefined, err := defineSecret(conn, def)
			if err == nil {
				_ = redefined.Free()
			}
			return err
		})
	})
	return err
}

// SecretBorrowers implements hypervisor.Host.
func (c *Client) SecretBorrowers(ctx context.Context) ([]string, error) {
	return call(ctx, c, "listing lent secrets", hostSubject, func(conn *lv.Connect) ([]string, error) {
		var all []string
		err := eachLent(conn, func(_ *lv.Secret, _ *libvirtxml.Secret, borrowers []string) error {
			all = append(all, borrowers...)
			return nil
		})
		slices.Sort(all)
		return slices.Compact(all), err
	})
}

// eachLent does something with each secret that was lent.
func eachLent(conn *lv.Connect, do func(*lv.Secret, *libvirtxml.Secret, []string) error) error {
	secrets, err := conn.ListAllSecrets(lv.CONNECT_LIST_SECRETS_EPHEMERAL | lv.CONNECT_LIST_SECRETS_PRIVATE)
	if errors.Is(err, lv.ERR_NO_SUPPORT) {
		return nil
	}
	var failed []error
	for i := range secrets {
		def, err := readSecret(&secrets[i])
		if err == nil {
			if borrowers, lent := borrowersOf(def); lent {
				err = do(&secrets[i], def, borrowers)
			}
		}
		// One that is gone meanwhile needs nothing.
		if err != nil && !errors.Is(err, lv.ERR_NO_SECRET) {
			failed = append(failed, err)
		}
		_ = secrets[i].Free()
	}
	return errors.Join(append(failed, err)...)
}
