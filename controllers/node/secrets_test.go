package node

import (
	"context"
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/agent"
)

// one is an API server that has one object, or answers with an error.
type one struct {
	client.Reader
	object client.Object
	err    error
}

func (o one) Get(_ context.Context, _ client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	if o.err != nil {
		return o.err
	}
	switch into := into.(type) {
	case *corev1.Secret:
		o.object.(*corev1.Secret).DeepCopyInto(into)
	case *v1alpha1.LiveMigration:
		o.object.(*v1alpha1.LiveMigration).DeepCopyInto(into)
	}
	return nil
}

var (
	errNotFound  = apierrors.NewNotFound(schema.GroupResource{}, "x")
	errForbidden = apierrors.NewForbidden(schema.GroupResource{}, "x", nil)
	errServer    = apierrors.NewInternalError(errors.New("out of order"))
)

func TestSecretValue(t *testing.T) {
	t.Parallel()
	secret := &corev1.Secret{Data: map[string][]byte{"key": []byte("value")}}
	for _, c := range []struct {
		name string
		api  one
		key  string
		want string
		err  error
	}{
		{"it has the key", one{object: secret}, "key", "value", nil},
		{"it has not", one{object: secret}, "other", "", agent.ErrNoSecret},
		{"it is not there", one{err: errNotFound}, "key", "", agent.ErrNoSecret},
		{"it is not to be read", one{err: errForbidden}, "key", "", agent.ErrSecretForbidden},
		{"nobody knows", one{err: errServer}, "key", "", errServer},
	} {
		got, err := (&SecretSource{Reader: c.api}).Value(t.Context(), "default", v1alpha1.SecretKeyReference{Name: "x", Key: c.key})
		if string(got) != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: %d bytes, %v", c.name, len(got), err)
		}
	}
}

// TestBorrows: a secret is kept for as long as the migration that needs it comes here.
func TestBorrows(t *testing.T) {
	t.Parallel()
	object := func(uid, target string, done bool) one {
		lm := &v1alpha1.LiveMigration{ObjectMeta: metav1.ObjectMeta{UID: types.UID(uid)}}
		lm.Status.TargetNode = target
		if done {
			lm.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionSucceeded, Status: metav1.ConditionFalse}}
			lm.Status.CompletionTime, lm.Status.Phase = &metav1.Time{}, v1alpha1.PhaseFailed
		}
		return one{object: lm}
	}
	for _, c := range []struct {
		name string
		api  one
		want bool
		err  error
	}{
		{"it goes on", object("1", "node-a", false), true, nil},
		{"it is over", object("1", "node-a", true), false, nil},
		{"it goes elsewhere", object("1", "node-b", false), false, nil},
		{"it is another one of that name", object("2", "node-a", false), false, nil},
		{"it is gone", one{err: errNotFound}, false, nil},
		{"nobody knows", one{err: errServer}, false, errServer},
	} {
		got, err := (&SecretSource{Reader: c.api, Node: "node-a"}).Borrows(t.Context(), types.NamespacedName{Name: "m"}, "1")
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: %t, %v", c.name, got, err)
		}
	}
}
