package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	startime "go.starlark.net/lib/time"
	"go.starlark.net/starlark"
	"go.starlark.net/syntax"
	"sigs.k8s.io/yaml"
)

// TestTheMonitorIsWellFormed by what resource-state-metrics' CRD asks for. Its program is
// run by test/packages, where somebody has its source.
func TestTheMonitorIsWellFormed(t *testing.T) {
	t.Parallel()
	text, err := document("", monitor())
	if err != nil {
		t.Fatal(err)
	}
	var m struct {
		Spec struct {
			Configuration struct {
				CardinalityLimit int64 `json:"cardinalityLimit"`
				Stores           []struct {
					Group            string `json:"group"`
					Version          string `json:"version"`
					Kind             string `json:"kind"`
					Resource         string `json:"resource"`
					CardinalityLimit int64  `json:"cardinalityLimit"`
					Families         []struct {
						Name string `json:"name"`
						Help string `json:"help"`
						// Without it, which is not taken from the store, a script is not run.
						Resolver string `json:"resolver"`
						Starlark struct {
							Script string `json:"script"`
						} `json:"starlark"`
					} `json:"families"`
				} `json:"stores"`
			} `json:"configuration"`
		} `json:"spec"`
		APIVersion string         `json:"apiVersion"`
		Kind       string         `json:"kind"`
		Metadata   map[string]any `json:"metadata"`
	}
	if err := yaml.UnmarshalStrict([]byte(text), &m); err != nil {
		t.Fatal(err)
	}
	if n := len(m.Spec.Configuration.Stores); n != len(kinds()) {
		t.Fatalf("there are %d stores", n)
	}
	name := regexp.MustCompile("^[a-zA-Z_][a-zA-Z0-9_]{0,127}$")
	for i, s := range m.Spec.Configuration.Stores {
		if k := kinds()[i]; s.Group == "" || s.Version == "" || s.Kind != k.name || s.Resource != k.plural || len(s.Families) != len(k.metrics) {
			t.Errorf("the store of %s is %+v", k.name, s)
		}
		for _, f := range s.Families {
			if !name.MatchString(f.Name) || f.Help == "" || f.Starlark.Script == "" || f.Resolver != "starlark" || strings.HasSuffix(f.Name, "_total") {
				t.Errorf("a family is %+v", f)
			}
		}
	}
}

// sample is one of a metric, by its labels.
type sample map[string]float64

// run runs the script of a metric on an object, with what resource-state-metrics gives to
// scripts, within the steps that it lets them.
func run(t *testing.T, script string, object any) sample {
	t.Helper()
	samples := sample{}
	metric := func(_ *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		var labels *starlark.Dict
		var value starlark.Float
		if err := starlark.UnpackArgs(b.Name(), args, kwargs, "labels", &labels, "value", &value); err != nil {
			return nil, err
		}
		var key []string
		for _, item := range labels.Items() {
			key = append(key, fmt.Sprintf("%s=%s", string(item[0].(starlark.String)), string(item[1].(starlark.String))))
		}
		slices.Sort(key)
		if _, twice := samples[strings.Join(key, " ")]; twice {
			t.Errorf("there are two samples with %q", key)
		}
		samples[strings.Join(key, " ")] = float64(value)
		return starlark.None, nil
	}
	family := func(_ *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		var name, help, kind string
		var of *starlark.List
		return starlark.None, starlark.UnpackArgs(b.Name(), args, kwargs, "name", &name, "help", &help, "kind", &kind, "samples", &of)
	}
	thread := &starlark.Thread{}
	thread.SetMaxExecutionSteps(100000)
	globals, err := starlark.ExecFileOptions(&syntax.FileOptions{GlobalReassign: true, Set: true, TopLevelControl: true, While: true}, thread, "script.star", script, starlark.StringDict{
		"obj": toStarlark(t, object), "time": startime.Module,
		"metric": starlark.NewBuiltin("metric", metric), "family": starlark.NewBuiltin("family", family),
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, script)
	}
	if families, is := globals["families"].(*starlark.List); !is || families.Len() != 1 {
		t.Errorf("it makes the families %v:\n%s", globals["families"], script)
	}
	return samples
}

func toStarlark(t *testing.T, value any) starlark.Value {
	t.Helper()
	switch v := value.(type) {
	case nil:
		return starlark.None
	case bool:
		return starlark.Bool(v)
	case string:
		return starlark.String(v)
	case float64: // An integer of an object, as a client reads it.
		return starlark.MakeInt64(int64(v))
	case []any:
		list := starlark.NewList(nil)
		for _, item := range v {
			if err := list.Append(toStarlark(t, item)); err != nil {
				t.Fatal(err)
			}
		}
		return list
	case map[string]any:
		dict := starlark.NewDict(len(v))
		for key, item := range v {
			if err := dict.SetKey(starlark.String(key), toStarlark(t, item)); err != nil {
				t.Fatal(err)
			}
		}
		return dict
	default:
		t.Fatalf("an object has %T", v)
		return nil
	}
}

// TestScripts: what resource-state-metrics is given to run makes the metrics of an object,
// and none of what it lacks.
func TestScripts(t *testing.T) {
	t.Parallel()
	var full, bare any
	for text, into := range map[string]*any{`
metadata: {name: web, namespace: default, creationTimestamp: "2026-01-02T03:04:05Z"}
spec: {domain: web}
status:
  phase: Migrating
  sourceNode: a
  domainCount: 12
  progress: {percent: 40, memory: {remainingBytes: 1099511627776}}
  conditions:
  - {type: Ready, status: "False", reason: Copying}
`: &full, `
metadata: {name: web, namespace: default}
spec: {domain: web}
`: &bare} {
		if err := yaml.Unmarshal([]byte(text), into); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		metric metric
		// full and bare are what is made of these objects, and states of the sample that is 1.
		full, bare sample
	}{
		"a number":                  {metric{shape: number, field: "status.progress.memory.remainingBytes"}, sample{"": 1 << 40}, sample{}},
		"a number that may be zero": {metric{shape: numberOrZero, field: "status.domainCount"}, sample{"": 12}, sample{"": 0}},
		"a time":                    {metric{shape: timestamp, field: "metadata.creationTimestamp"}, sample{"": 1767323045}, sample{}},
		"what is told":              {metric{shape: info, labels: map[string]string{"guest": "spec.domain", "source": "status.sourceNode"}}, sample{"guest=web source=a": 1}, sample{"guest=web source=": 1}},
		"a state":                   {metric{shape: states, label: "phase", field: "status.phase", states: []string{"Pending", "Migrating"}}, sample{"phase=Pending": 0, "phase=Migrating": 1}, sample{}},
		"conditions": {
			conditionMetric(""),
			sample{"reason=Copying status=True type=Ready": 0, "reason=Copying status=False type=Ready": 1, "reason=Copying status=Unknown type=Ready": 0}, sample{},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for object, want := range map[*any]sample{&full: c.full, &bare: c.bare} {
				if got := run(t, c.metric.script("name"), *object); fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("it makes\n%v, not\n%v", got, want)
				}
			}
		})
	}
}

// TestScriptsOfRecordedObjects: none of them fails on any object that was recorded while
// guests moved, and each makes something of one of these.
func TestScriptsOfRecordedObjects(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob("../../test/gitops/testdata/*.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatal("there are no recorded objects", err)
	}
	made := map[string]int{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var object any
		if err := yaml.Unmarshal(text, &object); err != nil {
			t.Fatal(err)
		}
		for _, m := range ofLiveMigrations() {
			made[m.name] += len(run(t, m.script(m.name), object))
		}
	}
	for name, n := range made {
		// None of the guests was slowed down.
		if n == 0 && name != "progress_throttle_percent" {
			t.Errorf("no recorded object has a %s", name)
		}
	}
}
