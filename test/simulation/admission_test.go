package simulation

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// rule is a rule of the CRD's that depends on what was there before.
type rule struct {
	// says is the message of the rule in the CRD.
	says  string
	holds func(old, now object) bool
}

// statusRules are those of a LiveMigration's status. TestStatusRules holds them against the
// CRD: one that is new there is missing here.
var statusRules = []rule{
	{"completionTime is never removed", kept("completionTime")},
	{"completionTime is written once", func(old, now object) bool {
		return old["completionTime"] == nil || now["completionTime"] == nil || old["completionTime"] == now["completionTime"]
	}},
	{"source is never removed", kept("source")},
	{"target is never removed", kept("target")},
	{"progress is never removed", kept("progress")},
	{"an attempt that has started is never removed or replaced", func(old, now object) bool {
		return !started(old) || in(now, "attempt")["id"] == in(old, "attempt")["id"]
	}},
	{"the guest and the nodes of an attempt that has started are never changed", func(old, now object) bool {
		return !started(old) || old["domainUUID"] == now["domainUUID"] && old["sourceNode"] == now["sourceNode"] && old["targetNode"] == now["targetNode"]
	}},
	{"source must be about the current attempt", current("source")},
	{"target must be about the current attempt", current("target")},
	{"startRequestedTime is never removed", keptInAttempt("startRequestedTime")},
	{"end is never removed", keptInAttempt("end")},
	{"revision never goes back: a later report has been recorded", goesOn("source")},
	{"revision never goes back: a later report has been recorded", goesOn("target")},
}

// specFixed are the fields of the spec that cannot be changed, as far as an act here could.
var specFixed = []string{"domain", "targetNode", "sourceNode", "migrateData"}

func in(o object, field string) object {
	inner, _ := o[field].(map[string]any)
	return inner
}

func started(status object) bool {
	source := in(status, "source")
	return source != nil && source["attemptID"] == in(status, "attempt")["id"] && source["startRequestedTime"] != nil
}

func kept(field string) func(old, now object) bool {
	return func(old, now object) bool { return old[field] == nil || now[field] != nil }
}

func keptInAttempt(field string) func(old, now object) bool {
	return func(old, now object) bool {
		was, is := in(old, "source"), in(now, "source")
		return was == nil || is == nil || was["attemptID"] != is["attemptID"] || was[field] == nil || is[field] != nil
	}
}

// goesOn holds if the revision of a section does not go back within an attempt.
func goesOn(section string) func(old, now object) bool {
	return func(old, now object) bool {
		was, is := in(old, section), in(now, section)
		before, ok := was["revision"].(int64)
		after, has := is["revision"].(int64)
		return !ok || !has || was["attemptID"] != is["attemptID"] || after >= before
	}
}

func current(section string) func(old, now object) bool {
	return func(old, now object) bool {
		is := in(now, section)
		return is == nil || is["attemptID"] == in(now, "attempt")["id"] || in(old, section) != nil && in(old, section)["attemptID"] == is["attemptID"]
	}
}

// admit returns why a write is refused, if it is.
func admit(r request, old, now object) error {
	var broken []string
	if old != nil && r.resource.Kind == "LiveMigration" {
		for _, rule := range statusRules {
			if !rule.holds(in(old, "status"), in(now, "status")) {
				broken = append(broken, rule.says)
			}
		}
		for _, field := range specFixed {
			if !reflect.DeepEqual(in(old, "spec")[field], in(now, "spec")[field]) {
				broken = append(broken, field+" cannot be changed")
			}
		}
	}
	if old != nil && metaOf(old)["deletionTimestamp"] != nil {
		was, _ := metaOf(old)["finalizers"].([]any)
		is, _ := metaOf(now)["finalizers"].([]any)
		if slices.ContainsFunc(is, func(f any) bool { return !slices.Contains(was, f) }) {
			broken = append(broken, "no new finalizers can be added if the object is being deleted")
		}
	}
	if len(broken) > 0 {
		return r.invalid(broken)
	}
	if node, ok := strings.CutPrefix(r.by, agentPrefix); ok {
		return admitAgent(r, node, old, now)
	}
	return nil
}

// agentPrefix begins the names of agents, as the server knows them; their nodes follow.
const agentPrefix = "agent of "

// admitAgent holds an agent to what config/policy lets it write.
func admitAgent(r request, node string, old, now object) error {
	forbid := func(format string, args ...any) error {
		return apierrors.NewForbidden(r.resource.group(), r.key.name, fmt.Errorf(format, args...))
	}
	switch r.resource.Kind {
	case "Hypervisor":
		if r.key.name != node {
			return forbid("the agent of the node %s may write no Hypervisor but its own", node)
		}
	case "Lease":
		if r.key.name != "agent-"+node {
			return forbid("the agent of the node %s may write no Lease but its own", node)
		}
	case "LiveMigration":
		was, is := in(old, "status"), in(now, "status")
		for _, field := range changedFields(was, is) {
			side := map[string]string{"source": "sourceNode", "progress": "sourceNode", "target": "targetNode"}[field]
			if side == "" || textIn(was, side) != node {
				return forbid("status.%s is not for the agent of the node %s to write", field, node)
			}
		}
	default:
		return forbid("not for agents")
	}
	return nil
}

func changedFields(was, is object) []string {
	var changed []string
	for field := range is {
		if !reflect.DeepEqual(was[field], is[field]) {
			changed = append(changed, field)
		}
	}
	for field := range was {
		if _, ok := is[field]; !ok {
			changed = append(changed, field)
		}
	}
	return changed
}

// statusOf returns an error as the API server tells it.
func statusOf(err error) metav1.Status {
	var known apierrors.APIStatus
	if errors.As(err, &known) {
		status := known.Status()
		status.Kind, status.APIVersion = "Status", "v1"
		return status
	}
	status := apierrors.NewInternalError(err).Status()
	status.Kind, status.APIVersion = "Status", "v1"
	return status
}

// TestStatusRules: the server here knows each rule of the CRD's that keeps a status from
// going back.
func TestStatusRules(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "config", "crd", "bases", "migration.virtferry.dev_livemigrations.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	crd := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.UnmarshalStrict(text, crd); err != nil {
		t.Fatal(err)
	}
	status := crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["status"]
	var want, have []string
	for _, rule := range transitionRules(&status) {
		want = append(want, rule.Message)
	}
	for _, rule := range statusRules {
		have = append(have, rule.says)
	}
	slices.Sort(want)
	slices.Sort(have)
	if !slices.Equal(want, have) {
		t.Errorf("the CRD has the rules\n%q\nand the server in memory\n%q", want, have)
	}
}

// transitionRules are the rules of a schema, and of all that is in it, that depend on what
// was there before.
func transitionRules(s *apiextensionsv1.JSONSchemaProps) (out []apiextensionsv1.ValidationRule) {
	for _, rule := range s.XValidations {
		if strings.Contains(rule.Rule, "oldSelf") {
			out = append(out, rule)
		}
	}
	for _, property := range s.Properties {
		out = append(out, transitionRules(&property)...)
	}
	if s.Items != nil {
		out = append(out, transitionRules(s.Items.Schema)...)
	}
	return out
}
