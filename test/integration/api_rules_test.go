//go:build integration

package integration

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// createRule is a rule on new LiveMigrations: specs that keep it and specs that
// break it, and nothing else.
type createRule struct {
	name, field, message string
	accept, reject       []string
}

// createRules returns the rules on new objects. Those of migrate data are tested
// beside its types.
func createRules() []createRule {
	return slices.Concat(domainRules(), nodeRules(), numberRules(), steeringRules(), storageRules(), transferRules())
}

// steeringRules are those on the options that steer a migration.
func steeringRules() []createRule {
	options := func(o string) string { return "{domain: web, targetNode: b, options: {" + o + "}}" }
	var rules []createRule
	for _, bound := range []struct {
		path      string
		low, high int
	}{
		{"completionTimeoutSecondsPerGiB", 0, 1000000}, {"progressTimeoutSeconds", 0, 1000000},
		{"convergence.steps", 1, 100}, {"convergence.stepDelaySecondsPerGiB", 1, 10000},
		{"autoConverge.initialPercent", 1, 99}, {"autoConverge.incrementPercent", 1, 99},
	} {
		with := func(n int) string {
			parent, child, nested := strings.Cut(bound.path, ".")
			switch {
			case !nested:
				return options(fmt.Sprintf("%s: %d", parent, n))
			case parent == "convergence":
				return options(fmt.Sprintf("convergence: {strategy: Stepped, %s: %d}", child, n))
			default:
				return options(fmt.Sprintf("%s: {%s: %d}", parent, child, n))
			}
		}
		rules = append(rules, createRule{
			name: bound.path + " is not too small", field: "spec.options." + bound.path,
			message: fmt.Sprintf("should be greater than or equal to %d", bound.low),
			accept:  []string{with(bound.low)}, reject: []string{with(bound.low - 1)},
		}, createRule{
			name: bound.path + " is not too large", field: "spec.options." + bound.path,
			message: fmt.Sprintf("should be less than or equal to %d", bound.high),
			accept:  []string{with(bound.high)}, reject: []string{with(bound.high + 1)},
		})
	}
	return append(rules, createRule{
		name: "steps are Stepped's", field: "spec.options.convergence",
		message: "steps and stepDelaySecondsPerGiB belong to the strategy Stepped",
		accept:  []string{options("convergence: {strategy: Stepped, steps: 5, stepDelaySecondsPerGiB: 30}"), options("convergence: {strategy: Adaptive}"), options("convergence: {}")},
		reject: []string{
			options("convergence: {strategy: Adaptive, steps: 5}"), options("convergence: {steps: 5}"), options("convergence: {stepDelaySecondsPerGiB: 30}"),
		},
	})
}

func domainRules() []createRule {
	long := func(n int) string { return strings.Repeat("a", n) }
	return []createRule{
		{
			name: "domain has no slash or control character", field: "spec.domain",
			message: "domain must be a libvirt domain name or UUID, without slashes or control characters",
			accept: []string{
				"{domain: web-1, targetNode: b}", "{domain: 'web server (old) ü', targetNode: b}",
				"{domain: 3B241101-E2BB-4255-8CAF-4136C566A962, targetNode: b}", "{domain: instance-0000001f, targetNode: b}",
			},
			reject: []string{`{domain: a/b, targetNode: b}`, `{domain: "a\nb", targetNode: b}`, `{domain: "a\0b", targetNode: b}`, `{domain: "a\x7f", targetNode: b}`},
		},
		{
			name: "domain is given", field: "spec.domain", message: "Required value",
			reject: []string{"{targetNode: b}"},
		},
		{
			name: "domain is not empty", field: "spec.domain", message: "should be at least 1 chars long",
			reject: []string{"{domain: '', targetNode: b}"},
		},
		{
			name: "domain is not too long", field: "spec.domain", message: "may not be more than 256 bytes",
			accept: []string{"{domain: " + long(256) + ", targetNode: b}"}, reject: []string{"{domain: " + long(257) + ", targetNode: b}"},
		},
	}
}

func nodeRules() []createRule {
	labels := func(n int) string { return strings.Repeat("a.", (n-1)/2) + "b" }
	return []createRule{
		{
			name: "targetNode is given", field: "spec.targetNode", message: "Required value",
			reject: []string{"{domain: web}"},
		},
		{
			name: "targetNode is the name of a node", field: "spec.targetNode", message: "targetNode must be the name of a node",
			accept: []string{"{domain: web, targetNode: node-b.example.com}", "{domain: web, targetNode: " + labels(253) + "}"},
			reject: []string{"{domain: web, targetNode: Node-B}", "{domain: web, targetNode: node_b}", "{domain: web, targetNode: -b}", "{domain: web, targetNode: 'b '}"},
		},
		{
			name: "targetNode is not empty", field: "spec.targetNode", message: "should be at least 1 chars long",
			reject: []string{"{domain: web, targetNode: ''}"},
		},
		{
			name: "targetNode is not too long", field: "spec.targetNode", message: "may not be more than 253 bytes",
			reject: []string{"{domain: web, targetNode: " + labels(255) + "}"},
		},
		{
			name: "sourceNode is the name of a node", field: "spec.sourceNode", message: "sourceNode must be the name of a node",
			accept: []string{"{domain: web, targetNode: b, sourceNode: node-a.example.com}"},
			reject: []string{"{domain: web, targetNode: b, sourceNode: Node-A}"},
		},
		{
			name: "sourceNode is not empty", field: "spec.sourceNode", message: "should be at least 1 chars long",
			reject: []string{"{domain: web, targetNode: b, sourceNode: ''}"},
		},
		{
			name: "sourceNode is not too long", field: "spec.sourceNode", message: "may not be more than 253 bytes",
			reject: []string{"{domain: web, targetNode: b, sourceNode: " + labels(255) + "}"},
		},
		{
			name: "the nodes differ", field: "spec", message: "targetNode must differ from sourceNode",
			accept: []string{"{domain: web, targetNode: b, sourceNode: a}", "{domain: web, targetNode: b}"},
			reject: []string{"{domain: web, targetNode: b, sourceNode: b}"},
		},
	}
}

func numberRules() []createRule {
	return []createRule{
		{
			name: "the time to live is not negative", field: "spec.ttlSecondsAfterFinished", message: "should be greater than or equal to 0",
			accept: []string{"{domain: web, targetNode: b, ttlSecondsAfterFinished: 0}"},
			reject: []string{"{domain: web, targetNode: b, ttlSecondsAfterFinished: -1}"},
		},
		{
			name: "the priority is not too low", field: "spec.priority", message: "should be greater than or equal to -100",
			accept: []string{"{domain: web, targetNode: b, priority: -100}"},
			reject: []string{"{domain: web, targetNode: b, priority: -101}"},
		},
		{
			name: "the priority is not too high", field: "spec.priority", message: "should be less than or equal to 100",
			accept: []string{"{domain: web, targetNode: b, priority: 100}"},
			reject: []string{"{domain: web, targetNode: b, priority: 101}"},
		},
		{
			name: "the downtime is not too short", field: "spec.options.maxDowntimeMilliseconds", message: "should be greater than or equal to 1",
			accept: []string{"{domain: web, targetNode: b, options: {maxDowntimeMilliseconds: 1}}"},
			reject: []string{"{domain: web, targetNode: b, options: {maxDowntimeMilliseconds: 0}}"},
		},
		{
			name: "the downtime is not too long", field: "spec.options.maxDowntimeMilliseconds", message: "should be less than or equal to 2000000",
			accept: []string{"{domain: web, targetNode: b, options: {maxDowntimeMilliseconds: 2000000}}"},
			reject: []string{"{domain: web, targetNode: b, options: {maxDowntimeMilliseconds: 2000001}}"},
		},
		{
			name: "the bandwidth is not zero", field: "spec.options.bandwidthMiBps", message: "should be greater than or equal to 1",
			accept: []string{"{domain: web, targetNode: b, options: {bandwidthMiBps: 1}}"},
			reject: []string{"{domain: web, targetNode: b, options: {bandwidthMiBps: 0}}"},
		},
		{
			name: "the bandwidth fits libvirt", field: "spec.options.bandwidthMiBps", message: "should be less than or equal to 8796093022207",
			accept: []string{"{domain: web, targetNode: b, options: {bandwidthMiBps: 8796093022207}}"},
			reject: []string{"{domain: web, targetNode: b, options: {bandwidthMiBps: 8796093022208}}"},
		},
	}
}

// parseSpec reads a spec in YAML.
func parseSpec(t *testing.T, text string) map[string]any {
	t.Helper()
	spec := map[string]any{}
	if err := yaml.Unmarshal([]byte(text), &spec); err != nil {
		t.Fatal(err)
	}
	return spec
}

// objectWith returns a LiveMigration with a spec that need not be valid.
func objectWith(t *testing.T, spec string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{Object: map[string]any{"spec": parseSpec(t, spec)}}
	o.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("LiveMigration"))
	o.SetNamespace("default")
	o.SetGenerateName("rule-")
	return o
}

// requireRefused fails unless nothing but the field's value is wrong, and a
// message on it ends as given.
func requireRefused(t *testing.T, err error, field, message string) {
	t.Helper()
	var status apierrors.APIStatus
	if !errors.As(err, &status) || !apierrors.IsInvalid(err) {
		t.Errorf("the answer is %v, want one that %s is invalid", err, field)
		return
	}
	found := false
	for _, cause := range status.Status().Details.Causes {
		// A value that breaks the schema leaves rules unchecked, and the server
		// says so.
		if strings.Contains(cause.Message, "some validation rules were not checked") {
			continue
		}
		found = found || strings.HasSuffix(cause.Message, message)
		if cause.Field != field {
			t.Errorf("%s is refused, too: %s", cause.Field, cause.Message)
		}
	}
	if !found {
		t.Errorf("the answer is %v, want %s: %s", err, field, message)
	}
}

func TestRulesOnNewObjects(t *testing.T) {
	t.Parallel()
	for _, rule := range createRules() {
		t.Run(rule.name, func(t *testing.T) {
			t.Parallel()
			for _, spec := range rule.accept {
				if err := cluster.client.Create(t.Context(), objectWith(t, spec), client.DryRunAll); err != nil {
					t.Errorf("%s: %v", spec, err)
				}
			}
			for _, spec := range rule.reject {
				requireRefused(t, cluster.client.Create(t.Context(), objectWith(t, spec), client.DryRunAll), rule.field, rule.message)
			}
		})
	}
}

// changeRule is a field of the spec that cannot be changed.
type changeRule struct {
	message string
	// field is where the refusal points to; empty means the spec.
	field string
	// The spec before, and what it cannot become.
	before  string
	changes []string
}

// place is where a refusal points to.
func (r changeRule) place() string { return cmp.Or(r.field, "spec") }

// changeRules returns the immutable fields of the spec, by their paths.
func changeRules() map[string]changeRule {
	const bare = "{domain: web, targetNode: b}"
	return map[string]changeRule{
		"domain": {
			message: "domain cannot be changed; create another LiveMigration",
			before:  bare, changes: []string{"{domain: db, targetNode: b}"},
		},
		"targetNode": {
			message: "targetNode cannot be changed; create another LiveMigration",
			before:  bare, changes: []string{"{domain: web, targetNode: c}"},
		},
		"sourceNode": {
			message: "sourceNode cannot be changed; create another LiveMigration",
			before:  "{domain: web, targetNode: b, sourceNode: a}",
			changes: []string{"{domain: web, targetNode: b, sourceNode: c}", bare},
		},
		"sourceNode (given later)": {
			message: "sourceNode cannot be changed; create another LiveMigration",
			before:  bare, changes: []string{"{domain: web, targetNode: b, sourceNode: a}"},
		},
		"migrateData": {
			message: "migrateData cannot be changed; create another LiveMigration",
			before:  "{domain: web, targetNode: b, migrateData: {perfEvents: []}}",
			changes: []string{
				"{domain: web, targetNode: b, migrateData: {perfEvents: [cmt]}}",
				"{domain: web, targetNode: b, migrateData: {perfEvents: [], sharedCPUSet: '0'}}",
				bare,
			},
		},
		"migrateData (given later)": {
			message: "migrateData cannot be changed; create another LiveMigration",
			before:  bare, changes: []string{"{domain: web, targetNode: b, migrateData: {perfEvents: []}}"},
		},
		"dryRun": {
			message: "dryRun cannot be changed; create another LiveMigration",
			before:  "{domain: web, targetNode: b, dryRun: true}",
			changes: []string{"{domain: web, targetNode: b, dryRun: false}", bare},
		},
		"dryRun (given later)": {
			message: "dryRun cannot be changed; create another LiveMigration",
			before:  bare, changes: []string{"{domain: web, targetNode: b, dryRun: true}"},
		},
		"options.allowUnsafe": {
			message: "options.allowUnsafe cannot be changed; create another LiveMigration",
			before:  "{domain: web, targetNode: b, options: {allowUnsafe: true}}",
			changes: []string{"{domain: web, targetNode: b, options: {allowUnsafe: false}}", "{domain: web, targetNode: b, options: {}}", bare},
		},
		"options.allowPostCopy": {
			message: "options.allowPostCopy cannot be changed; create another LiveMigration",
			before:  "{domain: web, targetNode: b, options: {allowPostCopy: true}}",
			changes: []string{"{domain: web, targetNode: b, options: {allowPostCopy: false}}", "{domain: web, targetNode: b, options: {}}", bare},
		},
		"options.allowPostCopy (given later)": {
			message: "options.allowPostCopy cannot be changed; create another LiveMigration",
			before:  bare, changes: []string{"{domain: web, targetNode: b, options: {allowPostCopy: true}}"},
		},
		"options.autoConverge": {
			message: "options.autoConverge cannot be changed; create another LiveMigration", field: "spec.options.autoConverge",
			before:  "{domain: web, targetNode: b, options: {autoConverge: {initialPercent: 30}}}",
			changes: []string{"{domain: web, targetNode: b, options: {autoConverge: {initialPercent: 40}}}", "{domain: web, targetNode: b, options: {autoConverge: {}}}"},
		},
		"options.autoConverge (removed)": {
			message: "options.autoConverge cannot be changed; create another LiveMigration",
			before:  "{domain: web, targetNode: b, options: {autoConverge: {}}}",
			changes: []string{"{domain: web, targetNode: b, options: {}}", bare},
		},
		"options.autoConverge (given later)": {
			message: "options.autoConverge cannot be changed; create another LiveMigration",
			before:  bare, changes: []string{"{domain: web, targetNode: b, options: {autoConverge: {}}}"},
		},
		"options.transfer": {
			message: "options.transfer cannot be changed; create another LiveMigration", field: "spec.options.transfer",
			before:  "{domain: web, targetNode: b, options: {transfer: {encryption: Required}}}",
			changes: []string{"{domain: web, targetNode: b, options: {transfer: {encryption: Disabled}}}", "{domain: web, targetNode: b, options: {transfer: {}}}"},
		},
		"options.transfer (removed)": {
			message: "options.transfer cannot be changed; create another LiveMigration",
			before:  "{domain: web, targetNode: b, options: {transfer: {encryption: Required}}}",
			changes: []string{"{domain: web, targetNode: b, options: {}}", bare},
		},
		"options.transfer (given later)": {
			message: "options.transfer cannot be changed; create another LiveMigration",
			before:  bare, changes: []string{"{domain: web, targetNode: b, options: {transfer: {encryption: Disabled}}}"},
		},
		"options.storageCopy": {
			message: "options.storageCopy cannot be changed; create another LiveMigration", field: "spec.options.storageCopy",
			before: "{domain: web, targetNode: b, options: {storageCopy: {mode: Full, disks: [vda]}}}",
			changes: []string{
				"{domain: web, targetNode: b, options: {storageCopy: {mode: Incremental, disks: [vda]}}}", "{domain: web, targetNode: b, options: {storageCopy: {mode: Full}}}",
				"{domain: web, targetNode: b, options: {storageCopy: {mode: Full, disks: [vda], sourceImages: Remove}}}",
			},
		},
		"options.storageCopy (removed)": {
			message: "options.storageCopy cannot be changed; create another LiveMigration",
			before:  "{domain: web, targetNode: b, options: {storageCopy: {mode: Full}}}",
			changes: []string{"{domain: web, targetNode: b, options: {}}", bare},
		},
		"options.storageCopy (given later)": {
			message: "options.storageCopy cannot be changed; create another LiveMigration",
			before:  bare, changes: []string{"{domain: web, targetNode: b, options: {storageCopy: {mode: Full}}}"},
		},
		"options.convergence": {
			message: "options.convergence cannot be changed; create another LiveMigration", field: "spec.options.convergence",
			before:  "{domain: web, targetNode: b, options: {convergence: {strategy: Stepped}}}",
			changes: []string{"{domain: web, targetNode: b, options: {convergence: {strategy: Adaptive}}}", "{domain: web, targetNode: b, options: {convergence: {strategy: Stepped, steps: 3}}}"},
		},
		"options.convergence (removed)": {
			message: "options.convergence cannot be changed; create another LiveMigration",
			before:  "{domain: web, targetNode: b, options: {convergence: {strategy: Stepped}}}",
			changes: []string{"{domain: web, targetNode: b, options: {}}", bare},
		},
		"options.convergence (given later)": {
			message: "options.convergence cannot be changed; create another LiveMigration",
			before:  bare, changes: []string{"{domain: web, targetNode: b, options: {convergence: {strategy: Stepped}}}"},
		},
		"options.detachHostInterfaces": {
			message: "options.detachHostInterfaces cannot be changed; create another LiveMigration",
			before:  "{domain: web, targetNode: b, options: {detachHostInterfaces: true}}",
			changes: []string{"{domain: web, targetNode: b, options: {detachHostInterfaces: false}}", "{domain: web, targetNode: b, options: {}}", bare},
		},
		"options.ejectMissingMedia": {
			message: "options.ejectMissingMedia cannot be changed; create another LiveMigration",
			before:  "{domain: web, targetNode: b, options: {ejectMissingMedia: true}}",
			changes: []string{"{domain: web, targetNode: b, options: {ejectMissingMedia: false}}", "{domain: web, targetNode: b, options: {}}", bare},
		},
		"options.allowUnsafe (given later)": {
			message: "options.allowUnsafe cannot be changed; create another LiveMigration",
			before:  bare, changes: []string{"{domain: web, targetNode: b, options: {allowUnsafe: true}}"},
		},
	}
}

// mutableFields returns, for each field of the spec that may be changed, the
// states that it may go through.
func mutableFields() map[string][]string {
	return map[string][]string{
		"priority": {
			"{domain: web, targetNode: b}", "{domain: web, targetNode: b, priority: 7}",
			"{domain: web, targetNode: b, priority: -7}", "{domain: web, targetNode: b}",
		},
		"ttlSecondsAfterFinished": {
			"{domain: web, targetNode: b}", "{domain: web, targetNode: b, ttlSecondsAfterFinished: 60}",
			"{domain: web, targetNode: b, ttlSecondsAfterFinished: 0}", "{domain: web, targetNode: b}",
		},
		"options.maxDowntimeMilliseconds": {
			"{domain: web, targetNode: b}", "{domain: web, targetNode: b, options: {maxDowntimeMilliseconds: 100}}",
			"{domain: web, targetNode: b, options: {maxDowntimeMilliseconds: 900}}", "{domain: web, targetNode: b}",
		},
		"options.completionTimeoutSecondsPerGiB": {
			"{domain: web, targetNode: b}", "{domain: web, targetNode: b, options: {completionTimeoutSecondsPerGiB: 60}}",
			"{domain: web, targetNode: b, options: {completionTimeoutSecondsPerGiB: 0}}", "{domain: web, targetNode: b}",
		},
		"options.progressTimeoutSeconds": {
			"{domain: web, targetNode: b}", "{domain: web, targetNode: b, options: {progressTimeoutSeconds: 60}}",
			"{domain: web, targetNode: b, options: {progressTimeoutSeconds: 0}}", "{domain: web, targetNode: b}",
		},
		"options.onTimeout": {
			"{domain: web, targetNode: b}", "{domain: web, targetNode: b, options: {onTimeout: ForceComplete}}",
			"{domain: web, targetNode: b, options: {onTimeout: KeepGoing}}", "{domain: web, targetNode: b}",
		},
		"options.skipCPUCheck": {
			"{domain: web, targetNode: b}", "{domain: web, targetNode: b, options: {skipCPUCheck: true}}",
			"{domain: web, targetNode: b, options: {skipCPUCheck: false}}", "{domain: web, targetNode: b, options: {}}",
		},
		"options.guestAgent": {"{domain: web, targetNode: b}", "{domain: web, targetNode: b, options: {guestAgent: {setTime: true}}}", "{domain: web, targetNode: b, options: {guestAgent: {freezeSeconds: 60}}}", "{domain: web, targetNode: b}"},
		"options.skipMemoryCheck": {
			"{domain: web, targetNode: b}", "{domain: web, targetNode: b, options: {skipMemoryCheck: true}}",
			"{domain: web, targetNode: b, options: {skipMemoryCheck: false}}", "{domain: web, targetNode: b, options: {}}",
		},
		"options.ignoreKnownFaults": {
			"{domain: web, targetNode: b}", "{domain: web, targetNode: b, options: {ignoreKnownFaults: [CPURefused, VMXRefused]}}",
			"{domain: web, targetNode: b, options: {ignoreKnownFaults: [VMXRefused]}}", "{domain: web, targetNode: b, options: {}}",
		},
		"options.allowPause": {
			"{domain: web, targetNode: b}", "{domain: web, targetNode: b, options: {allowPause: true}}",
			"{domain: web, targetNode: b, options: {allowPause: false}}", "{domain: web, targetNode: b}",
		},
		"options.bandwidthMiBps": {
			"{domain: web, targetNode: b, options: {allowUnsafe: true}}",
			"{domain: web, targetNode: b, options: {allowUnsafe: true, bandwidthMiBps: 100}}",
			"{domain: web, targetNode: b, options: {allowUnsafe: true, bandwidthMiBps: 8}}",
		},
	}
}

func TestWhatCannotBeChanged(t *testing.T) {
	t.Parallel()
	for name, rule := range changeRules() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := objectWith(t, rule.before)
			if err := cluster.client.Create(t.Context(), o); err != nil {
				t.Fatal(err)
			}
			for _, change := range rule.changes {
				changed := o.DeepCopy()
				changed.Object["spec"] = parseSpec(t, change)
				requireRefused(t, cluster.client.Update(t.Context(), changed), rule.place(), rule.message)
			}
		})
	}
}

func TestWhatMayBeChanged(t *testing.T) {
	t.Parallel()
	for field, states := range mutableFields() {
		t.Run(field, func(t *testing.T) {
			t.Parallel()
			o := objectWith(t, states[0])
			if err := cluster.client.Create(t.Context(), o); err != nil {
				t.Fatal(err)
			}
			for _, state := range states[1:] {
				o.Object["spec"] = parseSpec(t, state)
				if err := cluster.client.Update(t.Context(), o); err != nil {
					t.Errorf("%s: %v", state, err)
				}
			}
		})
	}
}
