package caches

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
)

// reader decodes what another reader cannot.
type reader struct {
	client.Reader
	codecs codecs
}

// NewReader returns a reader that reads what r reads, past all caches. As in the caches,
// an object that cannot be decoded hides no other: see Unreadable.
func NewReader(r client.Reader, scheme *runtime.Scheme, log logr.Logger) client.Reader {
	return reader{r, newCodecs(scheme, log)}
}

// Get implements client.Reader.
func (r reader) Get(ctx context.Context, key client.ObjectKey, into client.Object, opts ...client.GetOption) error {
	err := r.Reader.Get(ctx, key, into, opts...)
	if answered(err) || ctx.Err() != nil {
		return err
	}
	gvk, kindErr := apiutil.GVKForObject(into, r.codecs.scheme)
	if kindErr != nil {
		return err
	}
	raw := &unstructured.Unstructured{}
	raw.SetGroupVersionKind(gvk)
	if err := r.Reader.Get(ctx, key, raw, opts...); err != nil {
		return err
	}
	decoded, err := r.decode(raw)
	if err != nil {
		return err
	}
	reflect.ValueOf(into).Elem().Set(reflect.ValueOf(decoded).Elem())
	return nil
}

// List implements client.Reader.
func (r reader) List(ctx context.Context, into client.ObjectList, opts ...client.ListOption) error {
	err := r.Reader.List(ctx, into, opts...)
	if answered(err) || ctx.Err() != nil {
		return err
	}
	gvk, kindErr := apiutil.GVKForObject(into, r.codecs.scheme)
	if kindErr != nil {
		return err
	}
	raw := &unstructured.UnstructuredList{}
	raw.SetGroupVersionKind(gvk)
	if err := r.Reader.List(ctx, raw, opts...); err != nil {
		return err
	}
	items := make([]runtime.Object, len(raw.Items))
	for i := range raw.Items {
		if items[i], err = r.decode(&raw.Items[i]); err != nil {
			return err
		}
	}
	into.SetResourceVersion(raw.GetResourceVersion())
	into.SetContinue(raw.GetContinue())
	into.SetRemainingItemCount(raw.GetRemainingItemCount())
	if err := meta.SetList(into, items); err != nil {
		return fmt.Errorf("filling the list: %w", err)
	}
	return nil
}

// answered reports whether there is nothing to decode: all is well, or the API server has
// refused.
func answered(err error) bool {
	return err == nil || apierrors.ReasonForError(err) != metav1.StatusReasonUnknown
}

func (r reader) decode(raw *unstructured.Unstructured) (runtime.Object, error) {
	data, err := json.Marshal(raw)
	if err != nil {
		return nil, fmt.Errorf("preparing an object to be decoded: %w", err)
	}
	return r.codecs.object(data, raw.GroupVersionKind())
}
