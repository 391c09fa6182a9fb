//go:build integration

package integration

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// TestWhatTheSchemaAcceptsIsDecoded writes values of all kinds to each field, good
// and bad, as whoever may write it: what the API server takes must come out of the
// Go types as it went in. One object that does not would keep every informer from
// its list.
func TestWhatTheSchemaAcceptsIsDecoded(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	if given, err := strconv.ParseUint(os.Getenv("DECODE_SEED"), 10, 64); err == nil {
		seed = given
	}
	t.Logf("DECODE_SEED=%d", seed)
	w := newWorld(t)
	a, b := w.newAgent("a"), w.newAgent("b")
	lm := w.underWay(a.node, b.node)
	f := &decodeFuzz{t: t, random: rand.New(rand.NewPCG(seed, 0)), accepted: map[string]bool{}}
	migrations, hypervisors := schemaOf(t, "livemigrations"), schemaOf(t, "hypervisors")
	status := migrations.Properties["status"]
	statusPath := "/apis/" + v1alpha1.GroupVersion.String() + "/namespaces/" + w.name + "/livemigrations/" + lm.Name + "/status"
	for name, field := range status.Properties {
		f.field(&field, "status."+name, func(value any) []byte { return f.patch(cluster.config, statusPath, "/status/"+name, value) }, &v1alpha1.LiveMigration{})
	}
	hypervisorPath := "/apis/" + v1alpha1.GroupVersion.String() + "/hypervisors/" + a.node + "/status"
	hypervisorStatus := hypervisors.Properties["status"]
	for name, field := range hypervisorStatus.Properties {
		f.field(&field, "hypervisor."+name, func(value any) []byte {
			return f.patch(a.config, hypervisorPath, "/status", map[string]any{name: value})
		}, &v1alpha1.Hypervisor{})
	}
	spec := migrations.Properties["spec"]
	for name, field := range spec.Properties {
		f.field(&field, "spec."+name, func(value any) []byte { return f.create(w.name, name, value) }, &v1alpha1.LiveMigration{})
	}
	f.run()
}

// decodeFuzz collects what is to be tried, and tries it.
type decodeFuzz struct {
	t      *testing.T
	random *rand.Rand
	tries  []func()

	mu sync.Mutex
	// accepted has each field that is a number or a time, and whether any value was
	// accepted for it.
	accepted map[string]bool
}

// run makes all tries, some at a time.
func (f *decodeFuzz) run() {
	f.random.Shuffle(len(f.tries), func(i, j int) { f.tries[i], f.tries[j] = f.tries[j], f.tries[i] })
	var ended sync.WaitGroup
	queue := make(chan func())
	for range 8 {
		ended.Go(func() {
			for try := range queue {
				try()
			}
		})
	}
	for _, try := range f.tries {
		queue <- try
	}
	close(queue)
	ended.Wait()
	f.t.Logf("%d values for %d numbers and times among all fields", len(f.tries), len(f.accepted))
	for path, accepted := range f.accepted {
		if !accepted {
			f.t.Errorf("no value was accepted for %s: nothing was tried", path)
		}
	}
}

// field tries values for a field of the status or the spec, and for all below it.
func (f *decodeFuzz) field(schema *apiextensionsv1.JSONSchemaProps, path string, write func(any) []byte, into runtime.Object) {
	for _, leaf := range leavesOf(schema, path) {
		counts := leaf.schema.Type == "integer" || leaf.schema.Format == "date-time"
		if counts {
			f.accepted[leaf.path] = false
		}
		for _, raw := range f.values(leaf.schema) {
			value := build(schema, path, leaf.path, json.RawMessage(raw))
			f.tries = append(f.tries, func() {
				stored := write(value)
				if stored == nil {
					return
				}
				f.mu.Lock()
				f.accepted[leaf.path] = f.accepted[leaf.path] || counts
				if !counts {
					delete(f.accepted, leaf.path)
				}
				f.mu.Unlock()
				if err := decodes(stored, into); err != nil {
					f.t.Errorf("%s: the API server accepts %s, of which Go makes: %v", leaf.path, raw, err)
				}
			})
		}
	}
}

// decodes fails for an object that does not come out of its Go type as it went in.
func decodes(stored []byte, into runtime.Object) error {
	decoder := serializer.NewCodecFactory(cluster.scheme).UniversalDeserializer()
	first := reflect.New(reflect.TypeOf(into).Elem()).Interface().(runtime.Object)
	if _, _, err := decoder.Decode(stored, nil, first); err != nil {
		return err
	}
	again, err := json.Marshal(first)
	if err != nil {
		return err
	}
	second := reflect.New(reflect.TypeOf(into).Elem()).Interface().(runtime.Object)
	if _, _, err := decoder.Decode(again, nil, second); err != nil {
		return fmt.Errorf("%w (written again)", err)
	}
	if !equality.Semantic.DeepEqual(first, second) {
		return fmt.Errorf("another object: %s", again)
	}
	return nil
}

// patch sets a part of an object, and returns the object as it would be stored or
// nil if it was refused.
func (f *decodeFuzz) patch(who *rest.Config, path, pointer string, value any) []byte {
	body, err := json.Marshal([]map[string]any{{"op": "add", "path": pointer, "value": value}})
	if err != nil {
		f.t.Error(err)
	}
	return f.do(who, http.MethodPatch, path, body)
}

// create makes a LiveMigration of which one field is given.
func (f *decodeFuzz) create(namespace, field string, value any) []byte {
	spec := map[string]any{"domain": "web", "targetNode": "b"}
	spec[field] = value
	body, err := json.Marshal(map[string]any{
		"apiVersion": v1alpha1.GroupVersion.String(), "kind": "LiveMigration",
		"metadata": map[string]any{"generateName": "decode-", "namespace": namespace}, "spec": spec,
	})
	if err != nil {
		f.t.Error(err)
	}
	return f.do(cluster.config, http.MethodPost, "/apis/"+v1alpha1.GroupVersion.String()+"/namespaces/"+namespace+"/livemigrations", body)
}

func (f *decodeFuzz) do(who *rest.Config, method, path string, body []byte) []byte {
	api, err := rest.UnversionedRESTClientFor(rawConfig(who))
	if err != nil {
		f.t.Error(err)
		return nil
	}
	request := api.Verb(method).AbsPath(path).Param("dryRun", "All").Param("fieldManager", v1alpha1.OwnerSourceAgent).Body(body)
	if method == http.MethodPatch {
		request.SetHeader("Content-Type", string(types.JSONPatchType))
	} else {
		request.SetHeader("Content-Type", "application/json")
	}
	stored, err := request.Do(f.t.Context()).Raw()
	if client.IgnoreNotFound(err) != nil {
		return nil
	}
	return stored
}

func rawConfig(who *rest.Config) *rest.Config {
	who = rest.CopyConfig(who)
	who.QPS = -1
	who.GroupVersion = &v1alpha1.GroupVersion
	who.NegotiatedSerializer = serializer.NewCodecFactory(cluster.scheme).WithoutConversion()
	return who
}

// values returns what to try for a field, as JSON.
func (f *decodeFuzz) values(schema *apiextensionsv1.JSONSchemaProps) []string {
	good, err := json.Marshal(minimal(schema))
	if err != nil {
		f.t.Error(err)
	}
	values := []string{string(good), "null"}
	switch {
	case schema.Format == "date-time":
		for _, text := range f.times() {
			values = append(values, strconv.Quote(text))
		}
	case schema.Type == "integer":
		values = append(values, "0", "1", "-1", "1.0", "1e1", "10e-1", "1.5", "2147483647", "2147483648", "-2147483649", "4294967296", "9007199254740991",
			"9007199254740993", "9223372036854775807", "9223372036854775808", "-9223372036854775809", "1e19", "1e30", `"1"`, "true")
		for range 3 {
			values = append(values, strconv.FormatInt(int64(f.random.Uint64()>>f.random.IntN(63)), 10))
		}
	case schema.Type == "string":
		values = append(values, `""`, `"\u0000"`, `"\ud800"`, "7", "true", "{}", "[]", `"`+strings.Repeat("x", 20000)+`"`)
	case schema.Type == "boolean":
		values = append(values, "false", `"true"`, "1", "{}")
	case schema.Type == "array":
		values = append(values, "[]", "[null]", "{}", `""`)
	default:
		values = append(values, "{}", "[]", `""`, "7")
	}
	return values
}

// times are times that someone may take for one, and such with a character changed.
func (f *decodeFuzz) times() []string {
	times := []string{
		"2026-01-02T03:04:05Z", "2026-01-02T03:04:05.000006Z", "2026-01-02t03:04:05.000006z", "2026-01-02t03:04:05z", "2026-01-02T03:04:05.6Z",
		"2026-01-02T03:04:05,000006Z", "2026-01-02T03:04:05.000000006Z", "2026-01-02T03:04:05.000006+01:00", "2026-01-02T03:04:05+24:00",
		"2026-01-02T03:04:05.000006-99:99", "2016-12-31T23:59:60.000000Z", "2016-12-31T23:59:60Z", "2026-01-02T24:00:00.000000Z", "2026-02-30T03:04:05.000006Z",
		"0000-01-01T00:00:00.000000Z", "0001-01-01T00:00:00.000000Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999-14:00", "9999-12-31T23:59:59-14:00",
		"9999-12-31T23:59:59.999999Z", "10000-01-01T00:00:00.000000Z", "-001-01-01T00:00:00.000000Z", "2026-01-02 03:04:05.000006Z", "2026-01-02T03:04Z", "2026-01-02",
		"2026-01-02T03:04:05.000006ZT", "2026-01-02T03:04:05.000006Ztx", "\n2026-01-02T03:04:05.000006Z", "2026-01-02T03:04:05.000006Z\n", "",
	}
	for range 4 {
		text := []byte(times[f.random.IntN(2)])
		text[f.random.IntN(len(text))] = "0123456789TtZz+-.,: "[f.random.IntN(20)]
		times = append(times, string(text))
	}
	return times
}

// leaf is a part of a schema.
type leaf struct {
	path   string
	schema *apiextensionsv1.JSONSchemaProps
}

// leavesOf returns all parts of a schema, itself included.
func leavesOf(schema *apiextensionsv1.JSONSchemaProps, path string) []leaf {
	leaves := []leaf{{path, schema}}
	for name, property := range schema.Properties {
		leaves = append(leaves, leavesOf(&property, path+"."+name)...)
	}
	if schema.Items != nil {
		leaves = append(leaves, leavesOf(schema.Items.Schema, path+"[]")...)
	}
	// No outbound traffic has a floor.
	return slices.DeleteFunc(leaves, func(l leaf) bool { return strings.HasSuffix(l.path, "outbound.floorKilobytesPerSecond") })
}

func schemaOf(t *testing.T, plural string) *apiextensionsv1.JSONSchemaProps {
	t.Helper()
	text, err := os.ReadFile(config("crd/bases/migration.virtferry.dev_" + plural + ".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	crd := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.UnmarshalStrict(text, crd); err != nil {
		t.Fatal(err)
	}
	return crd.Spec.Versions[0].Schema.OpenAPIV3Schema
}
