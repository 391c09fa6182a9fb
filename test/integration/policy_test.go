//go:build integration

package integration

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	coordinationac "k8s.io/client-go/applyconfigurations/coordination/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
	ac "github.com/virtferry/virtferry/api/v1alpha1/applyconfiguration/api/v1alpha1"
	"github.com/virtferry/virtferry/controllers/node"
)

// awaitPolicies waits until the admission policies are in force, which takes the
// API server some seconds.
func awaitPolicies(ctx context.Context) error {
	restConfig, err := agentConfig(ctx, "probe")
	if err != nil {
		return err
	}
	agent, err := client.New(restConfig, client.Options{Scheme: cluster.scheme})
	if err != nil {
		return err
	}
	lm := &v1alpha1.LiveMigration{
		ObjectMeta: metav1.ObjectMeta{Name: "probe", Namespace: systemNamespace},
		Spec:       v1alpha1.LiveMigrationSpec{Domain: "probe", TargetNode: "probe"},
	}
	if err := cluster.client.Create(ctx, lm); err != nil {
		return err
	}
	owner := client.FieldOwner(v1alpha1.OwnerHypervisorAgent)
	phase := ac.LiveMigration(lm.Name, lm.Namespace).WithStatus(ac.LiveMigrationStatus().WithPhase(v1alpha1.PhaseFailed))
	inForce := poll(ctx, func() bool {
		return apierrors.IsForbidden(agent.Status().Apply(ctx, phase, owner, client.DryRunAll)) &&
			apierrors.IsForbidden(agent.Apply(ctx, ac.Hypervisor("other"), owner, client.DryRunAll)) &&
			apierrors.IsForbidden(agent.Apply(ctx, coordinationac.Lease("agent-other", systemNamespace), owner, client.DryRunAll))
	})
	if !inForce {
		return errors.New("the admission policies of config/policy do not come into force")
	}
	return cluster.client.Delete(ctx, lm)
}

// requireDenied fails unless a write was forbidden for the given reason.
func requireDenied(t *testing.T, err error, reason string) {
	t.Helper()
	if !apierrors.IsForbidden(err) || !strings.HasSuffix(err.Error(), "denied request: "+reason) {
		t.Errorf("the answer is %v\nwant a denial: %s", err, reason)
	}
}

const noNode = "the agent's token must be bound to a pod on its node, as that of a DaemonSet's pod is"

// unbound returns a client with a token of the agents' account that is bound to no
// pod.
func unbound(t *testing.T) client.Client {
	t.Helper()
	restConfig, err := tokenConfig(t.Context(), agentAccount, nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(restConfig, client.Options{Scheme: cluster.scheme})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAgentsWriteOnlyTheirOwnHypervisor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.newAgent("a"), w.startAgent("b")
	owner := client.FieldOwner(v1alpha1.OwnerHypervisorAgent)
	other := "the agent of the node " + a.node + " may write only its own Hypervisor, not "
	own, foreign := ac.Hypervisor(a.node), ac.Hypervisor(b.node)
	address := ac.HypervisorStatus().WithMigrationAddress("192.0.2.66")
	if err := a.client.Apply(t.Context(), own, owner); err != nil {
		t.Error(err)
	}
	if err := a.client.Status().Apply(t.Context(), ac.Hypervisor(a.node).WithStatus(address), owner); err != nil {
		t.Error(err)
	}
	absent := w.node("absent")
	requireDenied(t, a.client.Apply(t.Context(), ac.Hypervisor(absent), owner), other+absent)
	requireDenied(t, a.client.Create(t.Context(), &v1alpha1.Hypervisor{ObjectMeta: metav1.ObjectMeta{Name: absent}}), other+absent)
	requireDenied(t, a.client.Apply(t.Context(), ac.Hypervisor(b.node).WithLabels(map[string]string{"a": "b"}), owner), other+b.node)
	requireDenied(t, a.client.Status().Apply(t.Context(), foreign.WithStatus(address), owner, client.ForceOwnership), other+b.node)
	requireDenied(t, unbound(t).Status().Apply(t.Context(), ac.Hypervisor(a.node).WithStatus(address), owner), noNode)
	// The spec is for administrators, and stays when the agent writes.
	spec := func(to string) *ac.HypervisorApplyConfiguration {
		mapping := ac.NetworkMapping().WithKind(v1alpha1.NetworkKindBridge).WithFrom("br0").WithTo(to)
		return ac.Hypervisor(a.node).WithSpec(ac.HypervisorSpec().WithNetworkMappings(mapping))
	}
	const notTheirs = "the spec of a Hypervisor is for administrators; agents may not write it"
	requireDenied(t, a.client.Apply(t.Context(), spec("br1"), owner), notTheirs)
	if err := cluster.client.Apply(t.Context(), spec("br1"), client.FieldOwner("admin")); err != nil {
		t.Fatal(err)
	}
	requireDenied(t, a.client.Apply(t.Context(), spec("br2"), owner, client.ForceOwnership), notTheirs)
	if err := a.client.Status().Apply(t.Context(), ac.Hypervisor(a.node).WithStatus(address), owner); err != nil {
		t.Error(err)
	}
	recorder := &node.HypervisorRecorder{Reader: a.client, Node: a.node}
	if have, err := recorder.Settings(t.Context()); err != nil || len(have.NetworkMappings) != 1 || have.NetworkMappings[0].To != "br1" {
		t.Errorf("the agent reads %+v, %v", have, err)
	}
}

func TestAgentsWriteOnlyTheirOwnLease(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.newAgent("a"), w.startAgent("b")
	owner := client.FieldOwner(v1alpha1.OwnerHypervisorAgent)
	lease := func(name string) *coordinationac.LeaseApplyConfiguration {
		return coordinationac.Lease(name, systemNamespace).
			WithSpec(coordinationac.LeaseSpec().WithHolderIdentity(a.node).WithLeaseDurationSeconds(1).WithRenewTime(metav1.NowMicro()))
	}
	own := v1alpha1.AgentLeaseName(a.node)
	for range 2 {
		if err := a.client.Apply(t.Context(), lease(own), owner); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{v1alpha1.AgentLeaseName(b.node), v1alpha1.AgentLeaseName(w.node("absent")), leaderLease, a.node} {
		requireDenied(t, a.client.Apply(t.Context(), lease(name), owner, client.ForceOwnership),
			"the agent of the node "+a.node+" may write only the Lease "+own+", not "+name)
	}
	requireDenied(t, unbound(t).Apply(t.Context(), lease(own), owner), noNode)
}

// underWay creates a migration whose nodes are settled, as far as the tests of
// policies need it.
func (w *world) underWay(source, target string) *v1alpha1.LiveMigration {
	w.t.Helper()
	lm := w.newMigration(w.newGuest("web"), "b")
	w.create(lm)
	lm.Status.SourceNode, lm.Status.TargetNode, lm.Status.Phase = source, target, v1alpha1.PhasePreparing
	lm.Status.Attempt = &v1alpha1.AttemptStatus{ID: "1", AdmittedTime: metav1.NowMicro()}
	lm.Status.Target = &v1alpha1.TargetStatus{AttemptID: "1"}
	if err := cluster.client.Status().Update(w.t.Context(), lm); err != nil {
		w.t.Fatal(err)
	}
	return lm
}

// applyStatus writes a status as an agent does: it is all that the owner has to say.
func applyStatus(t *testing.T, c client.Client, owner string, lm *v1alpha1.LiveMigration, status map[string]any) error {
	t.Helper()
	patch, err := json.Marshal(map[string]any{
		"apiVersion": v1alpha1.GroupVersion.String(), "kind": "LiveMigration",
		"metadata": map[string]any{"name": lm.Name, "namespace": lm.Namespace}, "status": status,
	})
	if err != nil {
		t.Fatal(err)
	}
	return c.Status().Patch(t.Context(), lm.DeepCopy(), client.RawPatch(types.ApplyPatchType, patch), client.FieldOwner(owner), client.ForceOwnership)
}

// setStatus writes fields of a status, or removes those that are nil.
func setStatus(t *testing.T, c client.Client, lm *v1alpha1.LiveMigration, fields map[string]any) error {
	t.Helper()
	patch, err := json.Marshal(map[string]any{"status": fields})
	if err != nil {
		t.Fatal(err)
	}
	return c.Status().Patch(t.Context(), lm.DeepCopy(), client.RawPatch(types.MergePatchType, patch), client.FieldOwner(v1alpha1.OwnerSourceAgent))
}

func TestAgentsWriteOnlyTheSectionsOfTheirSide(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b, c := w.newAgent("a"), w.newAgent("b"), w.newAgent("c")
	lm := w.underWay(a.node, b.node)
	source, target := map[string]any{"attemptID": "1", "guest": map[string]any{"name": "web"}}, map[string]any{"attemptID": "1", "definedBefore": true}
	progress := map[string]any{"percent": 3}
	changed := map[string]any{"attemptID": "1", "problem": map[string]any{"reason": "Test", "message": "No"}}
	notSource := "status.source and status.progress may be written only by the agent of the source node, " + a.node + ", not by the agent of "
	notTarget := "status.target may be written only by the agent of the target node, " + b.node + ", not by the agent of "
	for range 2 {
		if err := applyStatus(t, a.client, v1alpha1.OwnerSourceAgent, lm, map[string]any{"source": source, "progress": progress}); err != nil {
			t.Error(err)
		}
		if err := applyStatus(t, b.client, v1alpha1.OwnerTargetAgent, lm, map[string]any{"target": target}); err != nil {
			t.Error(err)
		}
	}
	for _, tc := range []struct {
		name   string
		agent  *agentSim
		fields map[string]any
		denial string
	}{
		{"another repeats what is there", c, map[string]any{"source": source, "target": target}, "the agent of " + c.node + " has no part in this migration"},
		{"the target's writes the source's", b, map[string]any{"source": changed}, notSource + b.node},
		{"the target's writes the progress", b, map[string]any{"progress": map[string]any{"percent": 4}}, notSource + b.node},
		{"the source's writes the target's", a, map[string]any{"target": changed}, notTarget + a.node},
		{"the source's writes both", a, map[string]any{"progress": map[string]any{"percent": 5}, "target": changed}, notTarget + a.node},
		{"another writes the source's", c, map[string]any{"source": changed}, notSource + c.node},
		{"another writes the target's", c, map[string]any{"target": changed}, notTarget + c.node},
		{
			"another makes itself the source", c, map[string]any{"sourceNode": c.node, "source": changed},
			"agents may write only status.source, status.progress and status.target, not status.sourceNode",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			requireDenied(t, setStatus(t, tc.agent.client, lm, tc.fields), tc.denial)
		})
	}
	requireDenied(t, setStatus(t, unbound(t), lm, map[string]any{"source": source}), noNode)
	sent, received := map[string]any{"source": source, "progress": progress}, map[string]any{"target": target}
	for _, as := range []struct {
		owner  string
		agent  *agentSim
		status map[string]any
	}{{"another", a, sent}, {v1alpha1.OwnerTargetAgent, a, received}, {v1alpha1.OwnerSourceAgent, b, sent}} {
		requireDenied(t, applyStatus(t, as.agent.client, as.owner, lm, as.status),
			"agents write as the field managers "+v1alpha1.OwnerSourceAgent+", on the source node, and "+v1alpha1.OwnerTargetAgent+", on the target node")
	}
}

// TestAnAgentComesToOwnNothingOfTheOtherSide, nor of what is the manager's, by applying it as it
// is: what its writer leaves out from then on would stay.
func TestAnAgentComesToOwnNothingOfTheOtherSide(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.newAgent("a"), w.newAgent("b")
	lm := w.underWay(a.node, b.node)
	target := map[string]any{"attemptID": "1"}
	refusal := map[string]any{"attemptID": "1", "problem": map[string]any{"reason": "SourceCheckFailed", "message": "no"}}
	if err := applyStatus(t, a.client, v1alpha1.OwnerSourceAgent, lm, map[string]any{"source": refusal}); err != nil {
		t.Fatal(err)
	}
	for _, status := range []map[string]any{
		{"target": target, "source": refusal}, {"target": target, "phase": "Preparing", "sourceNode": a.node}, {"phase": "Preparing"},
	} {
		requireDenied(t, applyStatus(t, b.client, v1alpha1.OwnerTargetAgent, lm, status), v1alpha1.OwnerTargetAgent+" may own nothing of the status but status.target")
	}
	for _, status := range []map[string]any{{"source": refusal, "target": target}, {"source": refusal, "attempt": map[string]any{"id": "1"}}} {
		requireDenied(t, applyStatus(t, a.client, v1alpha1.OwnerSourceAgent, lm, status),
			v1alpha1.OwnerSourceAgent+" may own nothing of the status but status.source and status.progress")
	}
	if err := applyStatus(t, b.client, v1alpha1.OwnerTargetAgent, lm, map[string]any{"target": target}); err != nil {
		t.Error(err)
	}
	if err := applyStatus(t, a.client, v1alpha1.OwnerSourceAgent, lm, map[string]any{"source": map[string]any{"attemptID": "1"}}); err != nil {
		t.Fatal(err)
	}
	after := &v1alpha1.LiveMigration{}
	if err := cluster.client.Get(t.Context(), client.ObjectKeyFromObject(lm), after); err != nil {
		t.Fatal(err)
	}
	if p := after.Status.Source.Problem; p != nil {
		t.Errorf("the source's agent has taken its refusal back, and it stays: %+v", p)
	}
}

// TestAgentsWriteNothingOfAMigrationThatIsNotSettled: it names no node yet.
func TestAgentsWriteNothingOfAMigrationThatIsNotSettled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.newAgent("a")
	lm := w.newMigration(w.newGuest("web"), "a")
	w.create(lm)
	section := map[string]any{"attemptID": "1"}
	if err := setStatus(t, cluster.client, lm, map[string]any{"attempt": map[string]any{"id": "1", "admittedTime": microNow()}}); err != nil {
		t.Fatal(err)
	}
	requireDenied(t, setStatus(t, a.client, lm, map[string]any{"source": section}),
		"status.source and status.progress may be written only by the agent of the source node, which is not decided yet, not by the agent of "+a.node)
	requireDenied(t, setStatus(t, a.client, lm, map[string]any{"target": section}),
		"status.target may be written only by the agent of the target node, which is not decided yet, not by the agent of "+a.node)
}

// TestTheRestOfTheStatusIsTheManagers tries to change every field of it as the
// agent of both nodes.
func TestTheRestOfTheStatusIsTheManagers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.newAgent("a")
	lm := w.underWay(a.node, a.node)
	now := time.Now().UTC().Format(time.RFC3339)
	values := map[string]any{
		"conditions": []any{map[string]any{"type": "Succeeded", "status": "True", "reason": "Test", "message": "", "lastTransitionTime": now}},
		"phase":      "Succeeded", "observedGeneration": 7, "domainUUID": w.newGuest("x").uuid, "sourceNode": "x", "targetNode": "x",
		"requests": []any{map[string]any{"type": "Cancel", "token": "1", "state": "Queued", "requestedTime": microNow()}},
		"attempt":  map[string]any{"admittedTime": microNow()}, "downtimeMilliseconds": 1, "startTime": now,
		"queue": map[string]any{"order": 1}, "resolvingTime": microNow(), "completionTime": now,
		"notices":    []any{map[string]any{"reason": "DowntimeExceeded", "message": "Test", "time": microNow()}},
		"domainName": "x", "forecast": map[string]any{"copyBytes": 1}, "guestLeftFrozenOn": "x",
	}
	for field := range reflect.TypeFor[v1alpha1.LiveMigrationStatus]().Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if slices.Contains([]string{"source", "progress", "target"}, name) {
			continue
		}
		value, ok := values[name]
		if !ok {
			t.Errorf("no test tries to write status.%s", name)
			continue
		}
		denial := "agents may write only status.source, status.progress and status.target, not status." + name
		requireDenied(t, setStatus(t, a.client, lm, map[string]any{name: value}), denial)
		requireDenied(t, setStatus(t, a.client, lm, map[string]any{name: value, "source": map[string]any{"attemptID": "1"}}), denial)
	}
	for _, name := range []string{"phase", "attempt", "sourceNode", "observedGeneration"} {
		requireDenied(t, setStatus(t, a.client, lm, map[string]any{name: nil}),
			"agents may write only status.source, status.progress and status.target, not status."+name)
	}
}

// TestAgentsWriteToNoMigrationsOfOthers: an agent whose node takes no part in a migration makes
// no new versions of it, and comes to own nothing of it.
func TestAgentsWriteToNoMigrationsOfOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b, stranger := w.newAgent("a"), w.newAgent("b"), w.newAgent("c")
	lm := w.underWay(a.node, b.node)
	for name, patch := range map[string]client.Patch{
		"forgets the owners": client.RawPatch(types.JSONPatchType, []byte(`[{"op":"replace","path":"/metadata/managedFields","value":[{}]}]`)),
		"forgets a manager":  client.RawPatch(types.JSONPatchType, []byte(`[{"op":"remove","path":"/metadata/managedFields/0"}]`)),
		"applies nothing": client.RawPatch(types.ApplyPatchType, []byte(`{"apiVersion":"migration.virtferry.dev/v1alpha1","kind":"LiveMigration","metadata":{"name":"`+
			lm.Name+`","namespace":"`+lm.Namespace+`"},"status":{}}`)),
		"applies what is there": client.RawPatch(types.ApplyPatchType, []byte(`{"apiVersion":"migration.virtferry.dev/v1alpha1","kind":"LiveMigration","metadata":{"name":"`+
			lm.Name+`","namespace":"`+lm.Namespace+`"},"status":{"phase":"Preparing","sourceNode":"`+a.node+`"}}`)),
	} {
		before, after := &v1alpha1.LiveMigration{}, &v1alpha1.LiveMigration{}
		if err := cluster.client.Get(t.Context(), client.ObjectKeyFromObject(lm), before); err != nil {
			t.Fatal(err)
		}
		opts := []client.SubResourcePatchOption{}
		if patch.Type() == types.ApplyPatchType {
			opts = append(opts, client.FieldOwner("stranger-"+strings.ReplaceAll(name, " ", "-")))
		}
		err := stranger.client.Status().Patch(t.Context(), lm.DeepCopy(), patch, opts...)
		if e := cluster.client.Get(t.Context(), client.ObjectKeyFromObject(lm), after); e != nil {
			t.Fatal(e)
		}
		var owners []string
		for _, f := range after.ManagedFields {
			owners = append(owners, f.Manager)
		}
		if err == nil && before.ResourceVersion != after.ResourceVersion {
			t.Errorf("%s: version %s becomes %s, owners %v", name, before.ResourceVersion, after.ResourceVersion, owners)
		} else {
			t.Logf("%s: %v, version %s, then %s, owners %v", name, err, before.ResourceVersion, after.ResourceVersion, owners)
		}
	}
}

// TestAgentsCannotNameOwners: what a writer owns and leaves out is removed when it applies
// the next time, so an agent that could name the manager as the owner of another's section
// would have the manager remove it. The API server takes no owners from a write to a status.
func TestAgentsCannotNameOwners(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.newAgent("a"), w.newAgent("b")
	lm := w.underWay(a.node, b.node)
	for _, step := range []struct {
		client client.Client
		owner  string
		status map[string]any
	}{
		{cluster.client, v1alpha1.OwnerManager, map[string]any{"phase": "Preparing"}},
		{b.client, v1alpha1.OwnerTargetAgent, map[string]any{"target": map[string]any{"attemptID": "1"}}},
		{a.client, v1alpha1.OwnerSourceAgent, map[string]any{"source": map[string]any{"attemptID": "1"}}},
	} {
		if err := applyStatus(t, step.client, step.owner, lm, step.status); err != nil {
			t.Fatal(err)
		}
	}
	owners := func() []metav1.ManagedFieldsEntry {
		t.Helper()
		now := &v1alpha1.LiveMigration{}
		if err := cluster.client.Get(t.Context(), client.ObjectKeyFromObject(lm), now); err != nil {
			t.Fatal(err)
		}
		for i := range now.ManagedFields {
			now.ManagedFields[i].Time = nil
		}
		return now.ManagedFields
	}
	before := owners()
	forged := slices.Clone(before)
	for i := range forged {
		if forged[i].Manager == v1alpha1.OwnerManager {
			forged[i].FieldsV1 = metav1.NewFieldsV1(`{"f:status":{"f:phase":{},"f:target":{}}}`)
		}
	}
	for name, value := range map[string]any{"another's section": forged, "nobody": []any{map[string]any{}}} {
		patch, err := json.Marshal([]map[string]any{{"op": "replace", "path": "/metadata/managedFields", "value": value}})
		if err != nil {
			t.Fatal(err)
		}
		// Refused or not, it comes to nothing.
		err = a.client.Status().Patch(t.Context(), lm.DeepCopy(), client.RawPatch(types.JSONPatchType, patch), client.FieldOwner(v1alpha1.OwnerSourceAgent))
		if after := owners(); !reflect.DeepEqual(before, after) {
			t.Errorf("%s: %v, and then the owners are\n%v, not\n%v", name, err, after, before)
		}
		if err := a.client.Patch(t.Context(), lm.DeepCopy(), client.RawPatch(types.JSONPatchType, patch)); !apierrors.IsForbidden(err) {
			t.Errorf("%s: an agent may patch more than the status: %v", name, err)
		}
	}
}
