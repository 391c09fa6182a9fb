//go:build integration

package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// released is where the CRDs of each release are; see docs/versioning.md.
const released = "testdata/released"

// TestWhatReleasesHaveStoredIsRead stores an object for each field of each release's
// schema, replaces the schema by today's, and reads all of them back: nothing may be
// missing, nor be what Go cannot decode, and each can be written again. It does so in a
// group of its own, beside today's CRDs.
func TestWhatReleasesHaveStoredIsRead(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(released, "*", "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatal("no release's CRDs are recorded: ", err)
	}
	for i, file := range files {
		name := strings.TrimSuffix(strings.TrimPrefix(file, released+"/"), ".yaml")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			group := fmt.Sprintf("release-%d.virtferry.test", i)
			r := &releasedKind{t: t, typed: &v1alpha1.LiveMigration{}}
			if strings.HasSuffix(name, "hypervisors") {
				r.typed = &v1alpha1.Hypervisor{}
			}
			r.apply(file, group, "then")
			stored := r.store()
			t.Logf("%d objects", len(stored))
			r.apply(config("crd/bases/"+filepath.Base(file)), group, "now")
			now := r.list()
			atATime(stored, func(before *unstructured.Unstructured) { r.requireKept(before, now[before.GetName()]) })
		})
	}
}

// releasedKind is a kind whose CRD changes.
type releasedKind struct {
	t     *testing.T
	crd   *apiextensionsv1.CustomResourceDefinition
	typed runtime.Object
}

// apply makes the API server go by a CRD, in a group of its own. When it does, it accepts
// a mark that belongs to no other.
func (r *releasedKind) apply(file, group, mark string) {
	r.t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		r.t.Fatal(err)
	}
	crd := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.UnmarshalStrict(text, crd); err != nil {
		r.t.Fatal(err)
	}
	crd.Spec.Group, crd.Name = group, crd.Spec.Names.Plural+"."+group
	version := &crd.Spec.Versions[0]
	if mark == "then" {
		// So that the status is stored with the rest.
		version.Subresources = nil
	}
	version.Schema.OpenAPIV3Schema.Properties["mark"] = apiextensionsv1.JSONSchemaProps{
		Type: "string", Enum: []apiextensionsv1.JSON{{Raw: []byte(`"` + mark + `"`)}},
	}
	r.crd = crd
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(crd)
	if err != nil {
		r.t.Fatal(err)
	}
	delete(content, "status")
	applied := client.ApplyConfigurationFromUnstructured(&unstructured.Unstructured{Object: content})
	if err := cluster.client.Apply(r.t.Context(), applied, client.FieldOwner("installation"), client.ForceOwnership); err != nil {
		r.t.Fatal(err)
	}
	if mark == "then" {
		r.t.Cleanup(func() {
			gone := &unstructured.Unstructured{Object: map[string]any{"apiVersion": crd.APIVersion, "kind": crd.Kind, "metadata": map[string]any{"name": crd.Name}}}
			if err := cluster.client.Delete(context.Background(), gone); err != nil {
				r.t.Error(err)
			}
		})
	}
	var refused error
	if !poll(r.t.Context(), func() bool {
		object := r.object("", nil)
		object.Object["mark"] = mark
		refused = cluster.client.Create(r.t.Context(), object, client.DryRunAll)
		return refused == nil
	}) {
		r.t.Fatalf("the API server does not go by %s: %v", file, refused)
	}
}

// object returns a small one that the schema takes, in which the field at a path has a value.
func (r *releasedKind) object(path string, value any) *unstructured.Unstructured {
	r.t.Helper()
	version := r.crd.Spec.Versions[0]
	built, err := json.Marshal(build(version.Schema.OpenAPIV3Schema, "", path, value))
	if err != nil {
		r.t.Fatal(err)
	}
	object := &unstructured.Unstructured{}
	if err := json.Unmarshal(built, &object.Object); err != nil {
		r.t.Fatal(err)
	}
	object.SetAPIVersion(r.crd.Spec.Group + "/" + version.Name)
	object.SetKind(r.crd.Spec.Names.Kind)
	object.SetGenerateName("stored-")
	if r.crd.Spec.Scope == apiextensionsv1.NamespaceScoped {
		object.SetNamespace(metav1.NamespaceDefault)
	}
	return object
}

// together has, by the path of what is given as a whole, fields that are not taken alone.
func together() map[string][]any {
	type fields = map[string]any
	host := []any{fields{"host": "a"}}
	return map[string][]any{
		".spec": {fields{"domain": "web", "sourceNode": "a", "targetNode": "b"}},
		".spec.migrateData.volumes[].source.network": {
			fields{"protocol": "nfs", "name": "a", "hosts": host, "user": "a", "group": "a"},
			fields{"protocol": "http", "name": "a", "hosts": host, "query": "a"},
			fields{"protocol": "iscsi", "name": "a", "hosts": host, "initiatorIQN": "a"},
			fields{"protocol": "nbd", "hosts": host, "tls": "Enabled", "tlsHostname": "a"},
			fields{"protocol": "nbd", "hosts": []any{fields{"transport": "unix", "socketPath": "/a"}}},
		},
		".spec.migrateData.cpuShares":           {fields{"policy": "Set", "shares": 5}},
		".spec.migrateData.interfaces[].source": {fields{"network": fields{"name": "a", "portGroup": "a"}}},
		".spec.migrateData.interfaces[].filter": {fields{"name": "a", "parameters": []any{fields{"name": "a", "value": "a"}}}},
		".spec.migrateData.usbDevices":          {[]any{fields{"source": "1-1", "target": "1-2"}}},
	}
}

// store stores objects in which each field occurs, and returns them as they are stored.
func (r *releasedKind) store() []*unstructured.Unstructured {
	r.t.Helper()
	schema := r.crd.Spec.Versions[0].Schema.OpenAPIV3Schema
	var fields []leaf
	for _, part := range []string{"spec", "status"} {
		if property, ok := schema.Properties[part]; ok {
			fields = append(fields, leavesOf(&property, "."+part)...)
		}
	}
	// What consists of fields is there with them.
	fields = slices.DeleteFunc(fields, func(f leaf) bool { return f.schema.Type == "object" })
	var objects []*unstructured.Unstructured
	for _, f := range fields {
		objects = append(objects, r.object(f.path, minimal(f.schema)))
	}
	if _, ok := r.typed.(*v1alpha1.LiveMigration); ok {
		for path, values := range together() {
			for _, value := range values {
				objects = append(objects, r.object(path, value))
			}
		}
	}
	var mu sync.Mutex
	var stored []*unstructured.Unstructured
	refused := map[string]error{}
	atATime(objects, func(object *unstructured.Unstructured) {
		err := cluster.client.Create(r.t.Context(), object)
		mu.Lock()
		defer mu.Unlock()
		if err == nil {
			stored = append(stored, object)
			return
		}
		for _, f := range fields {
			if occurs(object.Object, f.path) {
				refused[f.path] = err
			}
		}
	})
	for _, f := range fields {
		if !slices.ContainsFunc(stored, func(o *unstructured.Unstructured) bool { return occurs(o.Object, f.path) }) {
			r.t.Errorf("nothing is stored in which %s occurs; give it together with what it needs: %v", f.path, refused[f.path])
		}
	}
	return stored
}

// occurs says whether something has a field at a path, such as .spec.volumes[].name.
func occurs(value any, path string) bool {
	if path == "" {
		return true
	}
	if rest, ok := strings.CutPrefix(path, "[]"); ok {
		list, _ := value.([]any)
		return slices.ContainsFunc(list, func(element any) bool { return occurs(element, rest) })
	}
	end := strings.IndexAny(path[1:], ".[") + 1
	if end == 0 {
		end = len(path)
	}
	object, _ := value.(map[string]any)
	field, ok := object[path[1:end]]
	return ok && occurs(field, path[end:])
}

// list returns all objects by name.
func (r *releasedKind) list() map[string]*unstructured.Unstructured {
	r.t.Helper()
	list := &unstructured.UnstructuredList{}
	list.SetAPIVersion(r.crd.Spec.Group + "/" + r.crd.Spec.Versions[0].Name)
	list.SetKind(r.crd.Spec.Names.ListKind)
	if err := cluster.client.List(r.t.Context(), list); err != nil {
		r.t.Fatal(err)
	}
	objects := map[string]*unstructured.Unstructured{}
	for i := range list.Items {
		objects[list.Items[i].GetName()] = &list.Items[i]
	}
	return objects
}

// requireKept fails unless an object is what it was, is understood, and can be written.
func (r *releasedKind) requireKept(before, object *unstructured.Unstructured) {
	ctx := r.t.Context()
	if object == nil {
		r.t.Errorf("%s is not there any more", before.GetName())
		return
	}
	for _, part := range []string{"spec", "status"} {
		if diff := cmp.Diff(before.Object[part], object.Object[part]); diff != "" {
			r.t.Errorf("the %s is not what it was (-then +now):\n%s", part, diff)
		}
	}
	ours := object.DeepCopy()
	ours.SetAPIVersion(v1alpha1.GroupVersion.String())
	typed := reflect.New(reflect.TypeOf(r.typed).Elem()).Interface()
	if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(ours.Object, typed, true); err != nil {
		r.t.Errorf("Go does not know all of %v: %v", object.Object, err)
	}
	text, err := ours.MarshalJSON()
	if err != nil {
		r.t.Error(err)
	}
	if err := decodes(text, r.typed); err != nil {
		r.t.Errorf("Go makes of %s: %v", text, err)
	}
	object.SetAnnotations(map[string]string{"written": "again"})
	// An agent writes the status, a user the rest.
	var write error
	if status, _ := object.Object["status"].(map[string]any); len(status) > 1 {
		write = cluster.client.Status().Update(ctx, object)
	} else {
		write = cluster.client.Update(ctx, object)
	}
	if write != nil {
		r.t.Errorf("%v cannot be written again: %v", object.Object, write)
	}
}

// atATime calls a function for each of many things, some at a time.
func atATime[T any](things []T, do func(T)) {
	var ended sync.WaitGroup
	queue := make(chan T)
	for range 4 {
		ended.Go(func() {
			for thing := range queue {
				do(thing)
			}
		})
	}
	for _, thing := range things {
		queue <- thing
	}
	close(queue)
	ended.Wait()
}
