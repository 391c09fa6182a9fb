package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/migration"
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

// secretPatience is how long libvirt's secret driver may fail to answer, which it does while it
// is restarted, before a guest is refused for that.
const secretPatience = 30 * time.Second

// prepareSecrets refuses a guest whose definitions refer to secrets that the host's libvirt
// lacks: it would refuse the guest when all else is prepared. If nothing else is against the
// guest, which the problems and the source tell, it lends libvirt the secrets that the migrate data gives,
// for as long as the migration lasts.
func (s *targetSession) prepareSecrets(ctx context.Context, wanted []v1alpha1.SecretReference, problems []error) error {
	loans, err := s.secretLoans(ctx, wanted)
	defer func() {
		for _, loan := range loans {
			clear(loan.Value)
		}
	}()
	var given, others []v1alpha1.SecretReference
	for _, r := range wanted {
		if s.gives(r) {
			given = append(given, r)
		} else {
			others = append(others, r)
		}
	}
	problems = append(problems, err, s.checkSecrets(ctx, others,
		"libvirt on %s does not have these secrets, to which the guest's definition refers, or no value for them: %s. Ask an administrator to define them there with `virsh secret-define` and `virsh secret-set-value`, or name Secrets with their values in spec.migrateData.secrets, and then create another LiveMigration"))
	if err := allOf(problems); err != nil || migration.Refused(s.lm) {
		return err
	}
	for _, loan := range loans {
		if err := s.lendSecret(ctx, loan); err != nil {
			return err
		}
	}
	return s.checkSecrets(ctx, given,
		"libvirt on %s has these secrets itself, but no value for them, and keeps what is its own: %s. Ask an administrator to give them their values there with `virsh secret-set-value`, or to remove them with `virsh secret-undefine`, and then create another LiveMigration")
}

// gives reports whether the migrate data gives a value for a secret.
func (s *targetSession) gives(r v1alpha1.SecretReference) bool {
	data := s.lm.Spec.MigrateData
	return data != nil && slices.ContainsFunc(data.Secrets, func(e v1alpha1.SecretMigrateData) bool { return r.Same(e.Reference()) })
}

// checkSecrets refuses a guest for the secrets that libvirt lacks, by a message into which
// the node and the secrets go.
func (s *targetSession) checkSecrets(ctx context.Context, wanted []v1alpha1.SecretReference, message string) error {
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
		return s.secretsFailed("looking the guest's secrets up", err)
	}
	if len(missing) == 0 {
		return nil
	}
	listed := make([]string, 0, len(missing))
	for _, name := range missing {
		listed = append(listed, names[name])
	}
	return refuse(v1alpha1.ReasonTargetCheckFailed, v1alpha1.BlockerSecretMissing, message, s.node.Name, strings.Join(listed, ", "))
}

// secretsFailed returns the error of a call about secrets, or refuses the guest if libvirt's
// secret driver has not answered for too long, though the host does.
func (s *targetSession) secretsFailed(doing string, err error) error {
	if !secretsSilent(err) {
		s.silentSince = time.Time{}
		return fmt.Errorf("%s: %w", doing, err)
	}
	now := s.node.Clock.Now()
	if s.silentSince.IsZero() {
		s.silentSince = now
	}
	if now.Sub(s.silentSince) < secretPatience {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return refuse(v1alpha1.ReasonTargetCheckFailed, v1alpha1.BlockerSecretDriverSilent,
		"The guest needs secrets, and libvirt's secret driver on %s does not answer: %s. Ask an administrator to "+startSecretDriver+", and then create another LiveMigration",
		s.node.Name, messageOf(err))
}

// startSecretDriver is what helps where libvirt's secret driver does not answer.
const startSecretDriver = "start virtsecretd.socket there or, where libvirt is a single daemon, restart libvirtd"

// secretsSilent reports whether an error says that libvirt's secret driver does not answer.
func secretsSilent(err error) bool {
	return errors.Is(err, hypervisor.ErrNoSecretDriver) || hypervisor.KindOf(err) == hypervisor.KindTimeout
}

// secretLoans returns what the host's libvirt is to be lent, with the values from the cluster.
func (s *targetSession) secretLoans(ctx context.Context, wanted []v1alpha1.SecretReference) ([]hypervisor.SecretLoan, error) {
	data := s.lm.Spec.MigrateData
	if data == nil || len(data.Secrets) == 0 {
		return nil, nil
	}
	if len(wanted) == 0 {
		return nil, refuse(v1alpha1.ReasonInvalidMigrateData, v1alpha1.BlockerSecretNotNeeded,
			"spec.migrateData.secrets: the agent of the source, %s, reports no secret to which the guest's definition refers. If the definition refers to one, that agent is too old for this field: ask an administrator to update it, and then create another LiveMigration. If not, create another LiveMigration without the entries",
			s.lm.Status.SourceNode)
	}
	var (
		loans    []hypervisor.SecretLoan
		problems []error
	)
	for i, entry := range data.Secrets {
		value, err := s.valueOf(ctx, i, wanted)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		loans = append(loans, hypervisor.SecretLoan{Name: secretName(entry.Reference()), Borrower: borrower(s.lm), Value: value})
	}
	return loans, allOf(problems)
}

// valueOf reads the value of an entry that fits the guest.
func (s *targetSession) valueOf(ctx context.Context, i int, wanted []v1alpha1.SecretReference) (hypervisor.SecretValue, error) {
	entries := s.lm.Spec.MigrateData.Secrets
	r, ref := entries[i].Reference(), entries[i].SecretKeyRef
	if !slices.ContainsFunc(wanted, r.Same) {
		return nil, refuse(v1alpha1.ReasonInvalidMigrateData, v1alpha1.BlockerSecretNotNeeded,
			"spec.migrateData.secrets[%d]: the guest's definition does not refer to the secret %s. Create another LiveMigration without the entry, or with one that is right", i, r)
	}
	again := func(other v1alpha1.SecretMigrateData) bool { return r.Same(other.Reference()) }
	if first := slices.IndexFunc(entries, again); first < i {
		return nil, refuse(v1alpha1.ReasonInvalidMigrateData, v1alpha1.BlockerSecretNotNeeded,
			"spec.migrateData.secrets[%d]: secrets[%d] is about the same secret %s. Create another LiveMigration with one of the two", i, first, r)
	}
	value, err := s.node.Secrets.Value(ctx, s.lm.Namespace, ref)
	switch {
	case errors.Is(err, ErrNoSecret):
		return nil, refuse(v1alpha1.ReasonInvalidMigrateData, v1alpha1.BlockerSecretUnreadable,
			"spec.migrateData.secrets[%d]: there is no Secret %q with the key %q in the namespace %s. Create it, and then create another LiveMigration", i, ref.Name, ref.Key, s.lm.Namespace)
	case errors.Is(err, ErrSecretForbidden):
		return nil, refuse(v1alpha1.ReasonTargetCheckFailed, v1alpha1.BlockerSecretUnreadable,
			"spec.migrateData.secrets[%d]: the agents may not get the Secret %q in the namespace %s. Grant it by a Role and a RoleBinding, as the page about LiveMigrations says, and then create another LiveMigration", i, ref.Name, s.lm.Namespace)
	case err != nil:
		return nil, fmt.Errorf("reading the Secret %s/%s: %w", s.lm.Namespace, ref.Name, err)
	}
	return value, nil
}

// lendSecret gives the host's libvirt a secret.
func (s *targetSession) lendSecret(ctx context.Context, loan hypervisor.SecretLoan) error {
	err := s.hv.LendSecret(ctx, loan)
	switch {
	case err == nil:
		return nil
	case hypervisor.KindOf(err) == hypervisor.KindOther && !secretsSilent(err):
		return refuse(v1alpha1.ReasonTargetCheckFailed, v1alpha1.BlockerSecretRefused, "libvirt on %s does not take the secret %s: %s. Ask an administrator to check libvirt there, and then create another LiveMigration", s.node.Name, referenceTo(loan.Name), messageOf(err))
	default:
		return s.secretsFailed("lending libvirt a secret", err)
	}
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

// referenceTo is the opposite of secretName.
func referenceTo(name hypervisor.SecretName) v1alpha1.SecretReference {
	if name.UUID != "" {
		return v1alpha1.SecretReference{UUID: new(v1alpha1.UUID(name.UUID))}
	}
	return v1alpha1.SecretReference{Usage: &v1alpha1.SecretUsage{Type: v1alpha1.SecretUsageType(name.UsageType), Name: name.UsageName}}
}
