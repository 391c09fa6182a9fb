package fake

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// secret is one that a host has: its own, or one that was lent.
type secret struct {
	value     string
	own       bool
	borrowers []string
}

// AddSecret gives the host a secret of its own, which may have no value.
func (h *Host) AddSecret(name hypervisor.SecretName, value string) {
	h.fleet.mu.Lock()
	defer h.fleet.mu.Unlock()
	h.secrets[name] = &secret{value: value, own: true}
}

// Secrets returns the values of the secrets that the host has.
func (h *Host) Secrets() map[hypervisor.SecretName]string {
	h.fleet.mu.Lock()
	defer h.fleet.mu.Unlock()
	values := map[hypervisor.SecretName]string{}
	for name, s := range h.secrets {
		values[name] = s.value
	}
	return values
}

// MissingSecrets implements hypervisor.Host.
func (h *Host) MissingSecrets(ctx context.Context, borrower string, names []hypervisor.SecretName) ([]hypervisor.SecretName, error) {
	return invoke(ctx, h, &Call{Method: MethodMissingSecrets}, func() ([]hypervisor.SecretName, error) {
		return slices.DeleteFunc(slices.Clone(names), func(name hypervisor.SecretName) bool {
			s := h.secrets[name]
			return s != nil && (s.own && s.value != "" || slices.Contains(s.borrowers, borrower))
		}), nil
	})
}

// LendSecret implements hypervisor.Host.
func (h *Host) LendSecret(ctx context.Context, loan hypervisor.SecretLoan) error {
	_, err := invoke(ctx, h, &Call{Method: MethodLendSecret}, func() (struct{}, error) {
		s := h.secrets[loan.Name]
		if s == nil {
			s = &secret{}
			h.secrets[loan.Name] = s
		}
		namespace, _, _ := strings.Cut(loan.Borrower, "/")
		elsewhere := func(other string) bool { return !strings.HasPrefix(other, namespace+"/") }
		if slices.ContainsFunc(s.borrowers, elsewhere) {
			return struct{}{}, fault(MethodLendSecret, hypervisor.KindOther, "the secret is lent to a migration of another namespace at the moment")
		}
		if !s.own {
			s.value = string(loan.Value)
			if !slices.Contains(s.borrowers, loan.Borrower) {
				s.borrowers = append(s.borrowers, loan.Borrower)
			}
		}
		return struct{}{}, nil
	})
	return err
}

// ReturnSecrets implements hypervisor.Host.
func (h *Host) ReturnSecrets(ctx context.Context, borrower string) error {
	_, err := invoke(ctx, h, &Call{Method: MethodReturnSecrets}, func() (struct{}, error) {
		maps.DeleteFunc(h.secrets, func(_ hypervisor.SecretName, s *secret) bool {
			s.borrowers = slices.DeleteFunc(s.borrowers, func(name string) bool { return name == borrower })
			return !s.own && len(s.borrowers) == 0
		})
		return struct{}{}, nil
	})
	return err
}

// SecretBorrowers implements hypervisor.Host.
func (h *Host) SecretBorrowers(ctx context.Context) ([]string, error) {
	return invoke(ctx, h, &Call{Method: MethodSecretBorrowers}, func() ([]string, error) {
		var all []string
		for _, s := range h.secrets {
			all = append(all, s.borrowers...)
		}
		slices.Sort(all)
		return slices.Compact(all), nil
	})
}
