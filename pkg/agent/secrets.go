package agent

import (
	"context"
	"fmt"
	"slices"
	"strings"

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
			known := slices.ContainsFunc(all, func(other v1alpha1.SecretReference) bool { return other.String() == r.String() })
			if !known && len(all) < maxSecrets {
				all = append(all, r)
			}
		}
	}
	return all, nil
}

// checkSecrets refuses a guest whose definitions refer to secrets that the host lacks: libvirt
// would refuse it when all of it is prepared.
func (s *targetSession) checkSecrets(ctx context.Context, wanted []v1alpha1.SecretReference) error {
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
	missing, err := s.hv.MissingSecrets(ctx, asked)
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
		"libvirt on %s does not have these secrets, to which the guest's definition refers, or no value for them: %s. Ask an administrator to define them there with `virsh secret-define` and `virsh secret-set-value`, and then create another LiveMigration",
		s.node.Name, strings.Join(listed, ", "))
}

// secretName is what libvirt is asked for.
func secretName(r v1alpha1.SecretReference) hypervisor.SecretName {
	if r.UUID != nil {
		return hypervisor.SecretName{UUID: string(*r.UUID)}
	}
	if r.Usage == nil {
		return hypervisor.SecretName{}
	}
	return hypervisor.SecretName{UsageType: string(r.Usage.Type), UsageName: r.Usage.Name}
}
