package node

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/agent"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/migration"
)

// SecretSource reads the Secrets to which LiveMigrations refer, each when it is needed. The
// agent has no right to any of them but those that somebody grants it by name, so that
// nothing is listed, watched or cached.
type SecretSource struct {
	// Reader reads past all caches.
	Reader client.Reader
	// Node is the node's name.
	Node string
}

var _ agent.SecretSource = (*SecretSource)(nil)

// Value implements agent.SecretSource.
func (s *SecretSource) Value(ctx context.Context, namespace string, ref v1alpha1.SecretKeyReference) (hypervisor.SecretValue, error) {
	secret := &corev1.Secret{}
	err := s.Reader.Get(ctx, client.ObjectKey{Namespace: namespace, Name: ref.Name}, secret)
	switch {
	case apierrors.IsForbidden(err):
		return nil, agent.ErrSecretForbidden
	case apierrors.IsNotFound(err):
		return nil, agent.ErrNoSecret
	case err != nil:
		return nil, fmt.Errorf("reading the Secret: %w", err)
	}
	value, ok := secret.Data[ref.Key]
	if !ok {
		return nil, agent.ErrNoSecret
	}
	return value, nil
}

// Borrows implements agent.SecretSource.
func (s *SecretSource) Borrows(ctx context.Context, name types.NamespacedName, uid types.UID) (bool, error) {
	lm := &v1alpha1.LiveMigration{}
	switch err := s.Reader.Get(ctx, name, lm); {
	case apierrors.IsNotFound(err):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("reading the LiveMigration: %w", err)
	}
	return lm.UID == uid && !migration.Finished(lm) && lm.Status.TargetNode == s.Node, nil
}
