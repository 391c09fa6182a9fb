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

// user returns a client of somebody who has these rights in the world's namespace.
func (w *world) user(name string, rules ...rbacv1.PolicyRule) client.Client {
	w.t.Helper()
	user, meta := w.name+"-"+name, metav1.ObjectMeta{Name: name, Namespace: w.name}
	w.create(&rbacv1.Role{ObjectMeta: meta, Rules: rules})
	w.create(&rbacv1.RoleBinding{
		ObjectMeta: meta,
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: user}},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
	})
	who := rest.CopyConfig(cluster.config)
	who.Impersonate = rest.ImpersonationConfig{UserName: user}
	c, err := client.New(who, client.Options{Scheme: cluster.scheme})
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// may returns the right to do something with a kind of Virtferry.
func may(resource string, verbs ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{v1alpha1.GroupName}, Resources: []string{resource}, Verbs: verbs}
}

// requestDenial is the answer to who may not ask for something by annotation.
func requestDenial(what string) string {
	return "the annotation " + v1alpha1.GroupName + "/" + what + ", and taking it away before it is recorded, needs the right to update livemigrations/" +
		what + "; ask an administrator for it"
}

// TestRequestsNeedRights: who may write a migration's labels and annotations may not
// therefore stop it, or pause its guest.
func TestRequestsNeedRights(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	lm := w.newMigration(w.newGuest("web"), "b")
	w.create(lm)
	write := may("livemigrations", "create", "get", "patch", "update")
	writer, canceller := w.user("writer", write), w.user("canceller", write, may("livemigrations/cancel", "update"))
	force, cancel := map[string]string{v1alpha1.AnnotationForceComplete: "1"}, map[string]string{v1alpha1.AnnotationCancel: "1"}
	if !poll(t.Context(), func() bool { return annotate(t, canceller, lm, map[string]string{"note": "mine"}) == nil }) {
		t.Fatal("the roles do not come into force")
	}
	if err := annotate(t, writer, lm, map[string]string{"note": "other"}); err != nil {
		t.Error(err)
	}
	requireDenied(t, annotate(t, writer, lm, cancel), requestDenial("cancel"))
	requireDenied(t, annotate(t, writer, lm, force), requestDenial("force-complete"))
	requireDenied(t, annotate(t, canceller, lm, force), requestDenial("force-complete"))
	if err := annotate(t, canceller, lm, cancel); err != nil {
		t.Error(err)
	}
	// What is there already is nobody's request but that of whoever made it.
	if err := annotate(t, writer, lm, map[string]string{"note": "again"}); err != nil {
		t.Error(err)
	}
	forced := w.newMigration(w.newGuest("db"), "b")
	forced.Annotations = force
	requireDenied(t, writer.Create(t.Context(), forced), requestDenial("force-complete"))
	testTimeoutsNeedRights(t, w, writer, w.user("forcer", write, may("livemigrations/force-complete", "update")))
}

// TestRequestsStayUntilTheyAreRecorded: who may not cancel a migration may not have it go on
// that somebody else cancels.
func TestRequestsStayUntilTheyAreRecorded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	lm := w.newMigration(w.newGuest("web"), "b")
	lm.Annotations = map[string]string{v1alpha1.AnnotationCancel: "1", v1alpha1.AnnotationForceComplete: "2"}
	w.create(lm)
	writer := w.user("writer", may("livemigrations", "get", "patch"))
	if !poll(t.Context(), func() bool { return annotate(t, writer, lm, map[string]string{"note": "mine"}) == nil }) {
		t.Fatal("the role does not come into force")
	}
	take := func(annotation string) error {
		patch := []byte(`{"metadata":{"annotations":{"` + annotation + `":null}}}`)
		return writer.Patch(t.Context(), lm.DeepCopy(), client.RawPatch(types.MergePatchType, patch))
	}
	record := func(requests ...v1alpha1.RequestStatus) {
		t.Helper()
		for i := range requests {
			requests[i].State, requests[i].RequestedTime = v1alpha1.RequestQueued, metav1.NowMicro()
		}
		if err := setStatus(t, cluster.client, lm, map[string]any{"requests": requests}); err != nil {
			t.Fatal(err)
		}
	}
	requireDenied(t, take(v1alpha1.AnnotationCancel), requestDenial("cancel"))
	requireDenied(t, take(v1alpha1.AnnotationForceComplete), requestDenial("force-complete"))
	record(v1alpha1.RequestStatus{Type: v1alpha1.RequestForceComplete, Token: "1"}, v1alpha1.RequestStatus{Type: v1alpha1.RequestCancel, Token: "2"})
	requireDenied(t, take(v1alpha1.AnnotationCancel), requestDenial("cancel"))
	record(v1alpha1.RequestStatus{Type: v1alpha1.RequestCancel, Token: "1"}, v1alpha1.RequestStatus{Type: v1alpha1.RequestForceComplete, Token: "2"})
	for _, annotation := range []string{v1alpha1.AnnotationCancel, v1alpha1.AnnotationForceComplete} {
		if err := take(annotation); err != nil {
			t.Error(err)
		}
	}
}

// TestWhoMayOnlyPatchDoesNotEndAMigration, nor has its guest paused: neither by what keeps it
// from completing by itself, nor by an owner that does not exist, whereupon the cluster's
// garbage collector deletes the object.
func TestWhoMayOnlyPatchDoesNotEndAMigration(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	write := may("livemigrations", "get", "patch")
	mayCancel, mayForce := may("livemigrations/cancel", "update"), may("livemigrations/force-complete", "update")
	users := map[string]client.Client{
		"writer": w.user("writer", write), "canceller": w.user("canceller", write, mayCancel),
		"forcer": w.user("forcer", write, mayForce), "editor": w.user("editor", write, mayCancel, mayForce),
	}
	const cancel, force = "may end it and needs the right to update livemigrations/cancel; ask an administrator for it",
		"may force its completion and needs the right to update livemigrations/force-complete; ask an administrator for it"
	owner := func(name string) string {
		return `{"apiVersion":"v1","kind":"ConfigMap","name":"` + name + `","uid":"11111111-1111-4111-8111-111111111111"}`
	}
	attempt := func(user string, options *v1alpha1.MigrationOptions, patch string) error {
		lm := w.newMigration(w.newGuest("db"), "b")
		lm.Spec.Options = options
		w.create(lm)
		var err error
		poll(t.Context(), func() bool { // The API server authorises from a cache.
			err = users[user].Patch(t.Context(), lm.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(patch)))
			return err == nil || strings.Contains(err.Error(), "denied request: ")
		})
		return err
	}
	plain := v1alpha1.MigrationOptions{ProgressTimeoutSeconds: new(int64(600)), BandwidthMiBps: new(int64(100))}
	pausing, postCopy, keepGoing := plain, plain, plain
	pausing.AllowPause, postCopy.AllowPostCopy, keepGoing.OnTimeout = new(true), new(true), v1alpha1.TimeoutKeepGoing
	for _, c := range []struct {
		name    string
		options *v1alpha1.MigrationOptions
		patch   string
		// cancels and forces say what the change is, where it needs a right.
		cancels, forces string
	}{
		{name: "a label", options: &plain, patch: `{"metadata":{"labels":{"a":"b"}}}`},
		{name: "more of everything", options: &pausing, patch: `{"spec":{"options":{"bandwidthMiBps":101,"maxDowntimeMilliseconds":501,"completionTimeoutSecondsPerGiB":801,"progressTimeoutSeconds":601}}}`},
		{name: "no limits", options: &postCopy, patch: `{"spec":{"options":{"bandwidthMiBps":null,"completionTimeoutSecondsPerGiB":0,"progressTimeoutSeconds":0}}}`},
		{name: "no end on a timeout", options: &plain, patch: `{"spec":{"options":{"onTimeout":"KeepGoing"}}}`},
		{name: "what is meant anyway", options: nil, patch: `{"spec":{"options":{"maxDowntimeMilliseconds":500,"completionTimeoutSecondsPerGiB":800,"progressTimeoutSeconds":0,"onTimeout":"Abort","allowPause":false}}}`},
		{name: "a completion timeout", options: nil, patch: `{"spec":{"options":{"completionTimeoutSecondsPerGiB":799}}}`, cancels: "a shorter completionTimeoutSecondsPerGiB"},
		{name: "a progress timeout", options: nil, patch: `{"spec":{"options":{"progressTimeoutSeconds":5}}}`, cancels: "a shorter progressTimeoutSeconds"},
		{name: "a shorter progress timeout", options: &plain, patch: `{"spec":{"options":{"progressTimeoutSeconds":599}}}`, cancels: "a shorter progressTimeoutSeconds"},
		{name: "a bandwidth", options: nil, patch: `{"spec":{"options":{"bandwidthMiBps":1000}}}`, cancels: "a lower bandwidthMiBps"},
		{name: "a lower bandwidth", options: &plain, patch: `{"spec":{"options":{"bandwidthMiBps":99}}}`, cancels: "a lower bandwidthMiBps"},
		{name: "a lower downtime", options: &plain, patch: `{"spec":{"options":{"allowPause":false,"maxDowntimeMilliseconds":1}}}`, cancels: "a lower maxDowntimeMilliseconds"},
		{name: "an end on a timeout", options: &keepGoing, patch: `{"spec":{"options":{"onTimeout":null}}}`, cancels: "onTimeout: Abort"},
		{name: "no pause any more", options: &pausing, patch: `{"spec":{"options":{"allowPause":false}}}`, cancels: "taking allowPause away"},
		{name: "none of the options", options: &pausing, patch: `{"spec":{"options":null}}`, cancels: "taking allowPause away"},
		{name: "an owner", options: nil, patch: `{"metadata":{"ownerReferences":[` + owner("none") + `]}}`, cancels: "another owner"},
		{name: "a pause", options: nil, patch: `{"spec":{"options":{"allowPause":true}}}`, forces: "allowPause"},
		{name: "a known fault", options: nil, patch: `{"spec":{"options":{"ignoreKnownFaults":["CPURefused"]}}}`, forces: "more in ignoreKnownFaults"},
		{name: "a lower bandwidth with a pause", options: &pausing, patch: `{"spec":{"options":{"bandwidthMiBps":1}}}`, cancels: "a lower bandwidthMiBps", forces: "a lower bandwidthMiBps"},
		{name: "a timeout with post-copy", options: &postCopy, patch: `{"spec":{"options":{"progressTimeoutSeconds":5}}}`, cancels: "a shorter progressTimeoutSeconds", forces: "a shorter progressTimeoutSeconds"},
		{name: "a lower downtime with post-copy", options: &postCopy, patch: `{"spec":{"options":{"maxDowntimeMilliseconds":1}}}`, cancels: "a lower maxDowntimeMilliseconds", forces: "a lower maxDowntimeMilliseconds"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for user, rights := range map[string]struct{ cancel, force bool }{"writer": {}, "canceller": {cancel: true}, "forcer": {force: true}, "editor": {true, true}} {
				err := attempt(user, c.options, c.patch)
				const since = ", of a migration that has been created, "
				switch {
				case c.forces != "" && !rights.force:
					requireDenied(t, err, c.forces+since+force)
				case c.cancels != "" && !rights.cancel:
					requireDenied(t, err, c.cancels+since+cancel)
				case err != nil:
					t.Errorf("the %s: %v", user, err)
				}
			}
		})
	}
}

// TestOwnersGoAndStay without the right to cancel.
func TestOwnersGoAndStay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	lm := w.newMigration(w.newGuest("db"), "b")
	lm.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Namespace", Name: w.name, UID: "11111111-1111-4111-8111-111111111111"}}
	writer := w.user("writer", may("livemigrations", "create", "get", "patch"))
	if !poll(t.Context(), func() bool { return writer.Create(t.Context(), lm) == nil }) {
		t.Fatal("who creates a migration may not say whose it is")
	}
	for _, patch := range []string{`{"metadata":{"labels":{"a":"b"}}}`, `{"metadata":{"ownerReferences":null}}`} {
		if err := writer.Patch(t.Context(), lm, client.RawPatch(types.MergePatchType, []byte(patch))); err != nil {
			t.Errorf("%s: %v", patch, err)
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
	if err := set(writer, `{"spec":{"options":{"onTimeout":"KeepGoing","progressTimeoutSeconds":601}}}`); err != nil {
		t.Error(err)
	}
	if !poll(t.Context(), func() bool { return set(forcer, `{"spec":{"options":{"onTimeout":"ForceComplete"}}}`) == nil }) {
		t.Fatal("whoever may force a completion may not let a timeout do so")
	}
	for _, options := range []string{`{"progressTimeoutSeconds":2}`, `{"completionTimeoutSecondsPerGiB":1}`} {
		requireDenied(t, set(writer, `{"spec":{"options":`+options+`}}`), denial)
	}
	for _, other := range []string{`{"spec":{"ttlSecondsAfterFinished":5}}`, `{"metadata":{"labels":{"a":"b"}}}`, `{"spec":{"options":{"onTimeout":"KeepGoing"}}}`} {
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
