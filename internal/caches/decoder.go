package caches

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	kjson "sigs.k8s.io/json"
)

// UnreadableMark is the key of an annotation that an object has in memory alone where
// it cannot be decoded: the API server takes no such key.
const UnreadableMark = "cannot be decoded"

// Unreadable says why an object of a cache cannot be decoded, and is empty for one
// that can. Nobody may act on such an object: what could not be decoded is missing
// from it. It must not be taken for absent either.
func Unreadable(o metav1.Object) string { return o.GetAnnotations()[UnreadableMark] }

// codecs decodes, of objects that cannot be decoded as a whole, what can.
type codecs struct {
	serializer.WithoutConversionCodecFactory
	scheme *runtime.Scheme
	log    logr.Logger
}

func newCodecs(scheme *runtime.Scheme, log logr.Logger) codecs {
	return codecs{serializer.WithoutConversionCodecFactory{CodecFactory: serializer.NewCodecFactory(scheme)}, scheme, log}
}

// DecoderToVersion implements runtime.NegotiatedSerializer.
func (c codecs) DecoderToVersion(d runtime.Decoder, v runtime.GroupVersioner) runtime.Decoder {
	return decoder{c.WithoutConversionCodecFactory.DecoderToVersion(d, v), c}
}

// decoder decodes objects and lists of them.
type decoder struct {
	runtime.Decoder
	codecs codecs
}

// Decode implements runtime.Decoder.
func (d decoder) Decode(data []byte, defaults *schema.GroupVersionKind, into runtime.Object) (runtime.Object, *schema.GroupVersionKind, error) {
	obj, gvk, err := d.Decoder.Decode(data, defaults, into)
	if err == nil {
		return obj, gvk, nil
	}
	if saved, gvk, saveErr := d.codecs.salvage(data); saveErr == nil {
		return saved, gvk, nil
	}
	return obj, gvk, err
}

// salvage decodes one by one what a list has, or what an object has.
func (c codecs) salvage(data []byte) (runtime.Object, *schema.GroupVersionKind, error) {
	var kind metav1.TypeMeta
	if err := json.Unmarshal(data, &kind); err != nil {
		return nil, nil, err
	}
	gvk := kind.GroupVersionKind()
	obj, err := c.scheme.New(gvk)
	if err != nil {
		return nil, nil, err
	}
	if !meta.IsListType(obj) {
		obj, err = c.object(data, gvk)
		return obj, &gvk, err
	}
	var raw struct {
		Metadata json.RawMessage   `json:"metadata"`
		Items    []json.RawMessage `json:"items"`
	}
	if err := json.Unmarshal(data, &raw); err != nil {
		return nil, nil, err
	}
	itemKind := gvk.GroupVersion().WithKind(strings.TrimSuffix(gvk.Kind, "List"))
	items := make([]runtime.Object, 0, len(raw.Items))
	for _, item := range raw.Items {
		one, err := c.object(item, itemKind)
		if err != nil {
			return nil, nil, err
		}
		items = append(items, one)
	}
	head, err := json.Marshal(map[string]any{"apiVersion": kind.APIVersion, "kind": kind.Kind, "metadata": raw.Metadata})
	if err != nil {
		return nil, nil, err
	}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(head, obj); err != nil {
		return nil, nil, err
	}
	return obj, &gvk, meta.SetList(obj, items)
}

// object decodes one object, or what can be decoded of it.
func (c codecs) object(data []byte, gvk schema.GroupVersionKind) (runtime.Object, error) {
	obj, err := c.scheme.New(gvk)
	if err != nil {
		return nil, err
	}
	cause := kjson.UnmarshalCaseSensitivePreserveInts(data, obj)
	if cause == nil {
		return obj, nil
	}
	obj, lost, err := salvageObject(c.scheme, data, gvk)
	if err != nil {
		return nil, err
	}
	o, err := meta.Accessor(obj)
	if err != nil {
		return nil, err
	}
	why := fmt.Sprintf("%s: %s", strings.Join(lost, ", "), cause)
	c.log.Error(cause, "An object cannot be decoded and is left alone; correct or delete it",
		"kind", gvk.Kind, "namespace", o.GetNamespace(), "name", o.GetName(), "fields", lost)
	annotations := map[string]string{UnreadableMark: why}
	maps.Copy(annotations, o.GetAnnotations())
	o.SetAnnotations(annotations)
	return obj, nil
}
