package agent

import (
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"sigs.k8s.io/yaml"

	"github.com/virtferry/virtferry/pkg/hostfiles"
	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// oddHost makes up what a host may say that nobody has thought of.
type oddHost struct{ *rand.Rand }

func (o oddHost) fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if o.IntN(4) > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			o.fill(v.Elem())
		}
	case reflect.Struct:
		if at, ok := reflect.TypeAssert[*time.Time](v.Addr()); ok {
			*at = time.Unix(o.Int64N(1<<40)-1<<39, 0)
			return
		}
		for _, field := range v.Fields() {
			if field.CanSet() {
				o.fill(field)
			}
		}
	case reflect.Slice:
		n := []int{0, 1, 2, 9, 70}[o.IntN(5)]
		if v.Type().Elem().Kind() != reflect.Struct {
			n *= 5
		}
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			o.fill(v.Index(i))
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range o.IntN(40) {
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			o.fill(key)
			o.fill(value)
			v.SetMapIndex(key, value)
		}
	case reflect.Interface:
		v.Set(reflect.ValueOf(errors.New(o.text())))
	case reflect.String:
		v.SetString(o.text())
	case reflect.Bool:
		v.SetBool(o.IntN(2) == 0)
	case reflect.Int, reflect.Int64:
		v.SetInt([]int64{0, 1, -1, math.MaxInt64, math.MinInt64, math.MaxInt32, int64(o.IntN(512))}[o.IntN(7)])
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint([]uint64{0, 1, math.MaxUint64, math.MaxInt64, math.MaxInt64 + 1, o.Uint64N(1 << 40)}[o.IntN(6)] & (1<<v.Type().Bits() - 1))
	default:
		panic("a fact of kind " + v.Kind().String())
	}
}

func (o oddHost) text() string {
	words := []string{"", "default", "pc-q35-9.2", "\x00", "\xff\xfe", "a\nb", "日本", "<x/>", " ", "../..", strings.Repeat("ä", 40), strings.Repeat("x", 1<<o.IntN(12))}
	return words[o.IntN(len(words))] + words[o.IntN(len(words))]
}

// TestWhateverAHostSaysFitsTheSchema: one odd fact must not keep a node from being published.
func TestWhateverAHostSaysFitsTheSchema(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../config/crd/bases/migration.virtferry.dev_hypervisors.yaml")
	if err != nil {
		t.Fatal(err)
	}
	crd, schema := &apiextensionsv1.CustomResourceDefinition{}, &apiextensions.JSONSchemaProps{}
	if err := yaml.Unmarshal(text, crd); err != nil {
		t.Fatal(err)
	}
	host := crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["status"].Properties["host"]
	if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(&host, schema, nil); err != nil {
		t.Fatal(err)
	}
	validator, _, err := validation.NewSchemaValidator(schema)
	if err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(150) {
		o := oddHost{rand.New(rand.NewPCG(seed, 1))}
		k := known{filesError: errors.New(o.text())}
		o.fill(reflect.ValueOf(&k.facts).Elem())
		o.fill(reflect.ValueOf(&k.files).Elem())
		k.files.CgroupVersion, k.facts.Errors = o.IntN(3), map[hypervisor.FactGroup]error{hypervisor.FactsMemory: errors.New(o.text())}
		for _, c := range []*hostfiles.Credentials{k.files.Control, k.files.Migration} {
			if c != nil {
				c.Authority.State, c.Server.State, c.Client.State = hostfiles.CertificateReady, hostfiles.CertificateMissing, hostfiles.CertificateUntrusted
			}
		}
		if caps := k.facts.Capabilities; caps != nil {
			for i := range caps.Cells {
				caps.Cells[i].CPUs = caps.Cells[i].CPUs[:o.IntN(len(caps.Cells[i].CPUs)+1)]
			}
		}
		raw, err := json.Marshal(hostSection(k, ReceiveConfig{}, o.text()))
		if err != nil {
			t.Fatal(err)
		}
		var value any
		if err := json.Unmarshal(raw, &value); err != nil {
			t.Fatal(err)
		}
		for _, e := range validation.ValidateCustomResource(nil, value, validator) {
			t.Errorf("of seed %d: %.300s", seed, e.Error())
		}
		if len(raw) > maxSection {
			t.Errorf("of seed %d, it takes %d bytes", seed, len(raw))
		}
	}
}
