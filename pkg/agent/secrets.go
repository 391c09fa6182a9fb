package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/xmlrewrite"
)

// maxSecrets is how many secrets the target is asked about.
const maxSecrets = 128

// secretsOf returns the secrets to which the definitions for the target will refer. The error
// is one of the definitions.
func (s *sourceSession) secretsOf(definitions []hypervisor.DomainXML) ([]v1alpha1.SecretReference, error) {
	var all []v1alpha1.SecretReference
	for i, xml := range definitions {
		options := xmlrewrite.Options{Inactive: i > 0}
		if len(definitions) > 1 {
			options.Other = string(definitions[1-i])
		}
		found, err := xmlrewrite.ReadSecrets([]byte(xml), s.lm.Spec.MigrateData, options)
		if err != nil {
			return nil, err //nolint:wrapcheck // The caller says what was read.
		}
		for _, r := range found {
			if !slices.ContainsFunc(all, r.Same) && len(all) < maxSecrets {
				all = append(all, r)
			}
		}
	}
	return all, nil
}

// SecretSource reads the cluster's Secrets.
type SecretSource interface {
	// Value returns the value of a key of a Secret. The error is ErrNoSecret or
	// ErrSecretForbidden where trying again does not help.
	Value(ctx context.Context, namespace string, ref v1alpha1.SecretKeyReference) (hypervisor.SecretValue, error)
	// Borrows reports whether the LiveMigration of that name and UID still needs what was
	// lent for it to this node.
	Borrows(ctx context.Context, lm types.NamespacedName, uid types.UID) (bool, error)
}

var (
	// ErrNoSecret says that there is no such Secret, or no such key in it.
	ErrNoSecret = errors.New("there is no such Secret, or it has no such key")
	// ErrSecretForbidden says that the agent may not get the Secret.
	ErrSecretForbidden = errors.New("the agent may not get the Secret")
)

// prepareSecrets lends the host's libvirt the secrets that the migrate data gives, and refuses
// a guest whose definitions refer to others that it lacks: libvirt would refuse it when all
// else is prepared.
func (s *targetSession) prepareSecrets(ctx context.Context, wanted []v1alpha1.SecretReference) error {
	if err := s.lendSecrets(ctx, wanted); err != nil {
		return err
	}
	if len(wanted) == 0 {
		return nil
	}
	names := make(map[hypervisor.SecretName]string, len(wanted))
	asked := make([]hypervisor.SecretName, 0, len(wanted))
	for _, r := range wanted {
		name := secretName(r)
		names[name] = r.String()
		asked = append(asked, name)
	}
	missing, err := s.hv.MissingSecrets(ctx, borrower(s.lm), asked)
	if err != nil {
		return fmt.Errorf("looking the guest's secrets up: %w", err)
	}
	if len(missing) == 0 {
		return nil
	}
	listed := make([]string, 0, len(missing))
	for _, name := range missing {
		listed = append(listed, names[name])
	}
	return refuse(v1alpha1.ReasonTargetCheckFailed,
		"libvirt on %s does not have these secrets, to which the guest's definition refers, or no value for them: %s. Ask an administrator to define them there with `virsh secret-define` and `virsh secret-set-value`, or name Secrets with their values in spec.migrateData.secrets, and then create another LiveMigration",
		s.node.Name, strings.Join(listed, ", "))
}

// lendSecrets gives the host's libvirt what the migrate data names. It has it for as long as
// the migration lasts.
func (s *targetSession) lendSecrets(ctx context.Context, wanted []v1alpha1.SecretReference) error {
	data := s.lm.Spec.MigrateData
	if data == nil {
		return nil
	}
	for i, entry := range data.Secrets {
		r := entry.Reference()
		if !slices.ContainsFunc(wanted, r.Same) {
			return refuse(v1alpha1.ReasonInvalidMigrateData,
				"spec.migrateData.secrets[%d]: the guest's definition does not refer to the secret %s. Remove the entry, or correct it", i, r)
		}
		again := func(other v1alpha1.SecretMigrateData) bool { return r.Same(other.Reference()) }
		if first := slices.IndexFunc(data.Secrets, again); first < i {
			return refuse(v1alpha1.ReasonInvalidMigrateData,
				"spec.migrateData.secrets[%d]: secrets[%d] is about the same secret %s. Remove one of the two", i, first, r)
		}
		value, err := s.node.Secrets.Value(ctx, s.lm.Namespace, entry.SecretKeyRef)
		switch ref := entry.SecretKeyRef; {
		case errors.Is(err, ErrNoSecret):
			return refuse(v1alpha1.ReasonInvalidMigrateData,
				"spec.migrateData.secrets[%d]: there is no Secret %q with the key %q in the namespace %s. Create it, and then create another LiveMigration", i, ref.Name, ref.Key, s.lm.Namespace)
		case errors.Is(err, ErrSecretForbidden):
			return refuse(v1alpha1.ReasonTargetCheckFailed,
				"spec.migrateData.secrets[%d]: the agents may not get the Secret %q in the namespace %s. Grant it by a Role and a RoleBinding, as the page about LiveMigrations says, and then create another LiveMigration", i, ref.Name, s.lm.Namespace)
		case err != nil:
			return fmt.Errorf("reading the Secret %s/%s: %w", s.lm.Namespace, ref.Name, err)
		}
		err = s.hv.LendSecret(ctx, hypervisor.SecretLoan{Name: secretName(r), Borrower: borrower(s.lm), Value: value})
		clear(value)
		switch {
		case hypervisor.KindOf(err) == hypervisor.KindOther:
			return refuse(v1alpha1.ReasonTargetCheckFailed, "libvirt on %s does not take the secret %s: %s", s.node.Name, r, messageOf(err))
		case err != nil:
			return fmt.Errorf("lending libvirt a secret: %w", err)
		}
	}
	return nil
}

// borrower is what libvirt keeps of the LiveMigration for which it was lent a secret.
func borrower(lm *v1alpha1.LiveMigration) string {
	return lm.Namespace + "/" + lm.Name + "/" + string(lm.UID)
}

// parseBorrower is the opposite of borrower.
func parseBorrower(text string) (name types.NamespacedName, uid types.UID, ok bool) {
	parts := strings.Split(text, "/")
	if len(parts) != 3 { //nolint:mnd // As borrower writes them.
		return name, "", false
	}
	return types.NamespacedName{Namespace: parts[0], Name: parts[1]}, types.UID(parts[2]), true
}

// secretName is what libvirt is asked for.
func secretName(r v1alpha1.SecretReference) hypervisor.SecretName {
	if r.UUID != nil {
		return hypervisor.SecretName{UUID: strings.ToLower(string(*r.UUID))}
	}
	if r.Usage == nil {
		return hypervisor.SecretName{}
	}
	return hypervisor.SecretName{UsageType: string(r.Usage.Type), UsageName: r.Usage.Name}
}
