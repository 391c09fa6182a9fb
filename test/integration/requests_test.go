//go:build integration

package integration

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
)

// annotate sets annotations, as kubectl annotate does.
func annotate(t *testing.T, c client.Client, lm *v1alpha1.LiveMigration, annotations map[string]string) error {
	t.Helper()
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": annotations}})
	if err != nil {
		t.Fatal(err)
	}
	return c.Patch(t.Context(), lm.DeepCopy(), client.RawPatch(types.MergePatchType, patch))
}

func (m *move) ask(annotation, token string) {
	m.t.Helper()
	if err := annotate(m.t, cluster.client, m.latest(), map[string]string{annotation: token}); err != nil {
		m.t.Fatal(err)
	}
}

// requestsOf prints "Type token State", one for each.
func requestsOf(lm *v1alpha1.LiveMigration) string {
	var out []string
	for _, r := range lm.Status.Requests {
		out = append(out, fmt.Sprintf("%s %s %s", r.Type, r.Token, r.State))
	}
	return strings.Join(out, ", ")
}

// busyGuest starts a migration of a guest that never converges by itself.
func (w *world) busyGuest() (*fake.Fleet, guest, *move) {
	w.t.Helper()
	fleet := newFleet(w.t)
	g := w.newGuest("web")
	fleet.Host(w.node("a")).AddGuest(fake.Guest{UUID: g.uuid, Name: g.name, MemoryBytes: 4 << 30, DirtyBytesPerSecond: 4 << 30})
	w.startManager(clock.RealClock{})
	for _, letter := range []string{"a", "b"} {
		w.runAgent(w.newAgent(letter), fleet.Host(w.node(letter)))
	}
	w.awaitReady("a", "b")
	lm := w.newMigration(g, "b")
	lm.Spec.Options = &v1alpha1.MigrationOptions{OnTimeout: v1alpha1.TimeoutKeepGoing}
	return fleet, g, w.follow(lm)
}

func TestForceCompleteByAnnotation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	fleet, g, m := w.busyGuest()
	m.awaitReason(v1alpha1.ReasonMigrating)
	m.ask(v1alpha1.AnnotationForceComplete, "now")
	lm := m.awaitReason(v1alpha1.ReasonMigrated)
	if got := requestsOf(lm); got != "ForceComplete now Done" {
		t.Errorf("the requests are %q", got)
	}
	if got := lm.Status.Progress.Switchover; got != v1alpha1.SwitchoverPaused {
		t.Errorf("the switchover is %q", got)
	}
	if on := fleet.RunningOn(g.uuid); !slices.Equal(on, []string{w.node("b")}) {
		t.Errorf("the guest runs on %v", on)
	}
	// What is asked for afterwards is answered, too.
	m.ask(v1alpha1.AnnotationCancel, "late")
	m.await("an answer", func(lm *v1alpha1.LiveMigration) bool {
		return requestsOf(lm) == "ForceComplete now Done, Cancel late Refused"
	})
}

func TestCancelByAnnotation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	fleet, g, m := w.busyGuest()
	m.awaitReason(v1alpha1.ReasonMigrating)
	m.ask(v1alpha1.AnnotationCancel, "now")
	lm := m.awaitReason(v1alpha1.ReasonCancelled)
	if got := requestsOf(lm); got != "Cancel now Done" {
		t.Errorf("the requests are %q", got)
	}
	if on := fleet.RunningOn(g.uuid); !slices.Equal(on, []string{w.node("a")}) {
		t.Errorf("the guest runs on %v", on)
	}
	m.await("the end of its finalizer", func(lm *v1alpha1.LiveMigration) bool { return len(lm.Finalizers) == 0 })
}

// TestRequestsNeedRights: who may write a migration's labels and annotations may not
// therefore stop it, or pause its guest.
func TestRequestsNeedRights(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	lm := w.newMigration(w.newGuest("web"), "b")
	w.create(lm)
	as := func(name string, rules ...rbacv1.PolicyRule) client.Client {
		user := w.name + "-" + name
		w.create(&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: w.name}, Rules: rules})
		w.create(&rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: w.name},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: user}},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
		})
		who := rest.CopyConfig(cluster.config)
		who.Impersonate = rest.ImpersonationConfig{UserName: user}
		c, err := client.New(who, client.Options{Scheme: cluster.scheme})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	write := rbacv1.PolicyRule{APIGroups: []string{v1alpha1.GroupName}, Resources: []string{"livemigrations"}, Verbs: []string{"create", "get", "patch", "update"}}
	mayCancel := rbacv1.PolicyRule{APIGroups: []string{v1alpha1.GroupName}, Resources: []string{"livemigrations/cancel"}, Verbs: []string{"update"}}
	mayForce := rbacv1.PolicyRule{APIGroups: []string{v1alpha1.GroupName}, Resources: []string{"livemigrations/force-complete"}, Verbs: []string{"update"}}
	writer, canceller := as("writer", write), as("canceller", write, mayCancel)
	denial := func(what string) string {
		return "the annotation " + v1alpha1.GroupName + "/" + what + " needs the right to update livemigrations/" + what + "; ask an administrator for it"
	}
	force, cancel := map[string]string{v1alpha1.AnnotationForceComplete: "1"}, map[string]string{v1alpha1.AnnotationCancel: "1"}
	if !poll(t.Context(), func() bool { return annotate(t, canceller, lm, map[string]string{"note": "mine"}) == nil }) {
		t.Fatal("the roles do not come into force")
	}
	if err := annotate(t, writer, lm, map[string]string{"note": "other"}); err != nil {
		t.Error(err)
	}
	requireDenied(t, annotate(t, writer, lm, cancel), denial("cancel"))
	requireDenied(t, annotate(t, writer, lm, force), denial("force-complete"))
	requireDenied(t, annotate(t, canceller, lm, force), denial("force-complete"))
	if err := annotate(t, canceller, lm, cancel); err != nil {
		t.Error(err)
	}
	// What is there already is nobody's request but that of whoever made it.
	if err := annotate(t, writer, lm, map[string]string{"note": "again"}); err != nil {
		t.Error(err)
	}
	forced := w.newMigration(w.newGuest("db"), "b")
	forced.Annotations = force
	requireDenied(t, writer.Create(t.Context(), forced), denial("force-complete"))
	forcer := as("forcer", write, mayForce)
	testTimeoutsNeedRights(t, w, writer, forcer)
	testPausesNeedRights(t, w, writer, forcer)
}

// testPausesNeedRights: whoever has the strategy pause the guest of a migration under way
// asks for its completion to be forced.
func testPausesNeedRights(t *testing.T, w *world, writer, forcer client.Client) {
	const denial = "allowPause, once the migration has been created, and a lower maxDowntimeMilliseconds along with it, " +
		"need the right to update livemigrations/force-complete; ask an administrator for it"
	create := func(options *v1alpha1.MigrationOptions) *v1alpha1.LiveMigration {
		lm := w.newMigration(w.newGuest("db"), "b")
		lm.Spec.Options = options
		if err := writer.Create(t.Context(), lm); err != nil {
			t.Fatal(err)
		}
		return lm
	}
	set := func(c client.Client, lm *v1alpha1.LiveMigration, options string) error {
		patch := []byte(`{"spec":{"options":` + options + `}}`)
		return c.Patch(t.Context(), lm.DeepCopy(), client.RawPatch(types.MergePatchType, patch))
	}
	for _, not := range []*v1alpha1.LiveMigration{create(nil), create(&v1alpha1.MigrationOptions{AllowPause: new(false)})} {
		requireDenied(t, set(writer, not, `{"allowPause":true,"maxDowntimeMilliseconds":1}`), denial)
		requireDenied(t, set(writer, not, `{"allowPause":true}`), denial)
		if err := set(writer, not, `{"allowPause":false,"maxDowntimeMilliseconds":50}`); err != nil {
			t.Error(err)
		}
		if err := set(forcer, not, `{"allowPause":true,"maxDowntimeMilliseconds":40}`); err != nil {
			t.Error(err)
		}
	}
	allowed := create(&v1alpha1.MigrationOptions{AllowPause: new(true)})
	requireDenied(t, set(writer, allowed, `{"maxDowntimeMilliseconds":499}`), denial)
	for _, options := range []string{`{"maxDowntimeMilliseconds":600}`, `{"progressTimeoutSeconds":5}`, `{"allowPause":false,"maxDowntimeMilliseconds":30}`} {
		if err := set(writer, allowed, options); err != nil {
			t.Errorf("%s: %v", options, err)
		}
	}
}

// testTimeoutsNeedRights: a timeout that forces the completion is a request to do
// so, whenever it is set, made shorter or made to do that.
func testTimeoutsNeedRights(t *testing.T, w *world, writer, forcer client.Client) {
	const denial = "onTimeout: ForceComplete, and any change of the options along with it, needs the right to update livemigrations/force-complete; ask an administrator for it"
	var lm *v1alpha1.LiveMigration
	create := func(c client.Client, action v1alpha1.TimeoutAction) error {
		lm = w.newMigration(w.newGuest("db"), "b")
		lm.Spec.Options = &v1alpha1.MigrationOptions{OnTimeout: action, ProgressTimeoutSeconds: new(int64(600))}
		return c.Create(t.Context(), lm)
	}
	set := func(c client.Client, patch string) error {
		return c.Patch(t.Context(), lm.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(patch)))
	}
	requireDenied(t, create(writer, v1alpha1.TimeoutForceComplete), denial)
	if err := create(writer, v1alpha1.TimeoutAbort); err != nil {
		t.Fatal(err)
	}
	for _, options := range []string{`{"onTimeout":"ForceComplete"}`, `{"onTimeout":"ForceComplete","progressTimeoutSeconds":1}`} {
		requireDenied(t, set(writer, `{"spec":{"options":`+options+`}}`), denial)
	}
	if err := set(writer, `{"spec":{"options":{"onTimeout":"KeepGoing","progressTimeoutSeconds":1}}}`); err != nil {
		t.Error(err)
	}
	if !poll(t.Context(), func() bool { return set(forcer, `{"spec":{"options":{"onTimeout":"ForceComplete"}}}`) == nil }) {
		t.Fatal("whoever may force a completion may not let a timeout do so")
	}
	for _, options := range []string{`{"progressTimeoutSeconds":2}`, `{"completionTimeoutSecondsPerGiB":1}`} {
		requireDenied(t, set(writer, `{"spec":{"options":`+options+`}}`), denial)
	}
	for _, other := range []string{`{"spec":{"ttlSecondsAfterFinished":5}}`, `{"metadata":{"labels":{"a":"b"}}}`, `{"spec":{"options":{"onTimeout":null}}}`} {
		if err := set(writer, other); err != nil {
			t.Errorf("%s: %v", other, err)
		}
	}
}

// TestMisspeltRequestsAreRefused: nothing would ever say that they ask for nothing.
func TestMisspeltRequestsAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	lm := w.newMigration(w.newGuest("web"), "b")
	w.create(lm)
	for _, name := range []string{
		"migration.virtferry.dev/force_complete", "migration.virtferry.dev/Cancel", "migration.virtferry.dev/abort",
		"virtferry.dev/cancel", "virtferry.dev/force-complete",
		"Migration.virtferry.dev/cancel", "migration.Virtferry.dev/cancel", "migration.virtferry.DEV/force-complete",
	} {
		refusal := "the annotation " + name + " is unknown to Virtferry; requests are made with the annotations " +
			v1alpha1.AnnotationCancel + " and " + v1alpha1.AnnotationForceComplete
		created := w.newMigration(w.newGuest("db"), "b")
		created.Annotations = map[string]string{name: "1"}
		for _, err := range []error{annotate(t, cluster.client, lm, created.Annotations), cluster.client.Create(t.Context(), created)} {
			if !apierrors.IsInvalid(err) || !strings.HasSuffix(err.Error(), refusal) {
				t.Errorf("%s: the answer is %v, want %q", name, err, refusal)
			}
		}
	}
	for _, name := range []string{"note", "example.com/cancel", "notvirtferry.dev/cancel"} {
		if err := annotate(t, cluster.client, lm, map[string]string{name: "1"}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
