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

// secretSubject is what calls about secrets are about: a daemon of its own may keep them,
// whose silence is not to keep the host from being asked.
const secretSubject = "secrets"

// callSecrets makes a short call on secrets.
func callSecrets[T any](ctx context.Context, c *Client, op string, fn func(*lv.Connect) (T, error)) (T, error) {
	return callOn(ctx, c, op, secretSubject, func(l *link) (T, error) {
		value, err := fn(l.conn)
		if alive, aliveErr := l.conn.IsAlive(); err == nil || aliveErr != nil || !alive {
			return value, err
		}
		stale, err := ofSecretDriver(op, err)
		if stale {
			c.log.Info("Connecting to libvirt anew, because its secret driver was restarted")
			l.markLost()
		}
		return value, err
	})
}

// ofSecretDriver tells an error of the connection between a daemon that answers and the one
// that keeps its secrets from others. A daemon connects for each of its clients once, and
// never again; stale says that this client cannot be helped any more.
func ofSecretDriver(op string, err error) (stale bool, _ error) {
	var e lv.Error
	if !errors.As(err, &e) || kindOf(e) != hypervisor.KindConnectionLost {
		return false, err
	}
	// A connection that cannot be made is a system error.
	return e.Code == lv.ERR_INTERNAL_ERROR, &hypervisor.Error{
		Op: op, Kind: hypervisor.KindOther, Code: int(e.Code), Domain: int(e.Domain),
		Message: sanitize(messageOf(e)), Err: hypervisor.ErrNoSecretDriver,
	}
}

// MissingSecrets implements hypervisor.SecretKeeper. libvirt says of a secret that it is
// private before it says that it has no value, so that nobody can tell by asking.
func (c *Client) MissingSecrets(ctx context.Context, borrower string, secrets []hypervisor.SecretName) ([]hypervisor.SecretName, error) {
	const op = "looking secrets up"
	var missing []hypervisor.SecretName
	for _, s := range secrets {
		has, err := callSecrets(ctx, c, op, func(conn *lv.Connect) (bool, error) { return hasSecret(conn, s, borrower) })
		if err != nil {
			return nil, err
		}
		if !has {
			missing = append(missing, s)
		}
	}
	return missing, nil
}

// hasSecret reports whether there is a secret, with a value, that is not lent to others only.
// A daemon that serves nothing but QEMU's guests does not keep them itself, and counts as
// having all.
func hasSecret(conn *lv.Connect, name hypervisor.SecretName, borrower string) (bool, error) {
	secret, err := lookupSecret(conn, name)
	if err == nil {
		defer func() { _ = secret.Free() }() // It fails only for a handle that is none.
		var def *libvirtxml.Secret
		if def, err = readSecret(secret); err == nil {
			if borrowers, lent := borrowersOf(def); lent {
				return slices.Contains(borrowers, borrower), nil
			}
			err = hasValue(secret)
		}
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

func hasValue(secret *lv.Secret) error {
	value, err := secret.GetValue(0)
	clear(value)
	return err
}

func lookupSecret(conn *lv.Connect, name hypervisor.SecretName) (*lv.Secret, error) {
	if name.UUID != "" {
		return conn.LookupSecretByUUIDString(name.UUID)
	}
	return conn.LookupSecretByUsage(secretUsages[name.UsageType], name.UsageName)
}

// lentTo begins the description of a secret that was lent; the borrowers follow.
const lentTo = "Lent by Virtferry to: "

// errLentElsewhere: what one namespace has lent is not changed by another.
var errLentElsewhere = errors.New("the secret is lent to a migration of another namespace at the moment")

// errOwnSecret: what is there is the host's own.
var errOwnSecret = errors.New("the host has the secret itself")

// LendSecret implements hypervisor.SecretKeeper.
func (c *Client) LendSecret(ctx context.Context, loan hypervisor.SecretLoan) error {
	value := slices.Clone(loan.Value) // The caller may be gone when it is used.
	const op = "lending a secret"
	_, err := callSecrets(ctx, c, op, func(conn *lv.Connect) (struct{}, error) {
		// What is read must not change before it is written: an abandoned call, too, is
		// waited for.
		c.loans.Lock()
		defer c.loans.Unlock()
		defer clear(value)
		return struct{}{}, lend(conn, loan, value)
	})
	return err
}

func lend(conn *lv.Connect, loan hypervisor.SecretLoan, value []byte) error {
	var there *libvirtxml.Secret
	secret, err := lookupSecret(conn, loan.Name)
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
	def, err := loanDefinition(there, loan)
	switch {
	case errors.Is(err, errOwnSecret):
		return nil
	case err != nil:
		return err
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

// ReturnSecrets implements hypervisor.SecretKeeper.
func (c *Client) ReturnSecrets(ctx context.Context, borrower string) error {
	_, err := callSecrets(ctx, c, "returning secrets", func(conn *lv.Connect) (struct{}, error) {
		c.loans.Lock()
		defer c.loans.Unlock()
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

// SecretBorrowers implements hypervisor.SecretKeeper.
func (c *Client) SecretBorrowers(ctx context.Context) ([]string, error) {
	return callSecrets(ctx, c, "listing lent secrets", func(conn *lv.Connect) ([]string, error) {
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
