package controllers

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// unlisted is a store that can be read, and lists nothing for now, or does not read.
type unlisted struct {
	*store
	list, get error
}

func (s unlisted) List(context.Context, client.ObjectList, ...client.ListOption) error { return s.list }

func (s unlisted) Get(ctx context.Context, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
	if _, ok := o.(*v1alpha1.LiveMigration); ok && s.get != nil {
		return s.get
	}
	return s.store.Get(ctx, key, o, opts...)
}

// TestWhatAnotherManagerPromised counts for the next one, for as long as the object is as it
// was then.
func TestWhatAnotherManagerPromised(t *testing.T) {
	another := newMigration("m", "web", "node-b", "5")
	another.UID = "another"
	for _, c := range []struct {
		name  string
		there *v1alpha1.LiveMigration
		want  bool
	}{
		{"it is as it was", newMigration("m", "web", "node-b", "5"), true},
		{"it has changed", newMigration("m", "web", "node-b", "6"), false},
		{"it is gone", nil, false},
		{"it was made again", another, false},
	} {
		q, s := newTurns()
		text, err := json.Marshal([]promise{{UID: "m", Namespace: "default", Name: "m", Version: "5", Guest: webUUID, Source: "node-a", Target: "node-b", Copying: true}})
		if err != nil {
			t.Fatal(err)
		}
		s.promises = string(text)
		if c.there != nil {
			s.objects["m"] = c.there
		}
		var woken []types.NamespacedName
		q.wake = func(key types.NamespacedName) { woken = append(woken, key) }
		if err := q.resync(t.Context()); err != nil || q.ledger.version != "1" {
			t.Fatalf("%s: version %q: %v", c.name, q.ledger.version, err)
		}
		if e := q.entries["m"]; (e != nil && e.promise != nil) != c.want || (len(woken) > 0) != c.want || e == nil && c.want {
			t.Errorf("%s: the entry is %+v, woken are %v", c.name, e, woken)
		}
		if !q.dirty {
			t.Errorf("%s: no turns are looked for", c.name)
		}
	}
}

// TestWhoBeginsAnewReadsAll: what fails of that is done again, and what is gone holds no slot.
func TestWhoBeginsAnewReadsAll(t *testing.T) {
	away := apierrors.NewServiceUnavailable("later")
	for name, reader := range map[string]unlisted{"the list": {list: away}, "an object": {get: away}} {
		q, s := newTurns()
		reader.store = s
		q.reader = reader
		q.Put(copying(newMigration("runs", "web", "node-b", "5"), webUUID, "node-a"))
		if err := q.resync(t.Context()); !apierrors.IsServiceUnavailable(err) || q.ledger.version != "" {
			t.Errorf("%s cannot be read: version %q, %v", name, q.ledger.version, err)
		}
	}
	q, s := newTurns()
	for i := range 20 {
		name := "waits" + strconv.Itoa(i)
		q.Put(newMigration(name, name, "node-b", "3"))
	}
	kept := copying(newMigration("runs", "web", "node-b", "5"), webUUID, "node-a")
	s.objects["runs"] = kept
	q.Put(kept)
	for i := range 3 {
		q.Put(copying(newMigration("gone"+strconv.Itoa(i), "web", "node-b", "5"), webUUID, "node-a"))
	}
	if err := q.resync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(q.entries) != 21 || q.entries["runs"] == nil {
		t.Errorf("%d migrations are known", len(q.entries))
	}
	// A promise that cannot be read is not forgotten.
	q, s = newTurns()
	s.promises = `[{"uid":"m","namespace":"default","name":"m","version":"5"}]`
	q.reader = unlisted{store: s, get: errors.New("no")}
	if err := q.resync(t.Context()); err == nil || q.ledger.version != "" {
		t.Errorf("a promise cannot be read: version %q, %v", q.ledger.version, err)
	}
}

// TestWhatTrimKeeps of a migration that has not ended is all but what nobody needs.
func TestWhatTrimKeeps(t *testing.T) {
	lm := copying(newMigration("m", "web", "node-b", "5"), webUUID, "node-a")
	lm.Annotations = map[string]string{v1alpha1.AnnotationCancel: "1", v1alpha1.AnnotationForceComplete: "2", "note": "mine"}
	lm.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "me"}}
	lm.Spec.Options = &v1alpha1.MigrationOptions{AllowPause: new(true)}
	lm.Status.Source = &v1alpha1.SourceStatus{AttemptID: "1", GuestPersistent: true}
	lm.Status.Target = &v1alpha1.TargetStatus{AttemptID: "1", Offer: &v1alpha1.TargetOffer{}}
	if _, err := trim(lm); err != nil {
		t.Fatal(err)
	}
	if lm.Spec.Options == nil || lm.Status.Source == nil || !lm.Status.Source.GuestPersistent || lm.Status.Target == nil || lm.Status.Target.Offer != nil || lm.ManagedFields != nil {
		t.Errorf("what is left is %+v", lm)
	}
	var left []string
	for annotation := range lm.Annotations {
		left = append(left, annotation)
	}
	slices.Sort(left)
	if want := []string{v1alpha1.AnnotationCancel, v1alpha1.AnnotationForceComplete}; !slices.Equal(left, want) {
		t.Errorf("the annotations that are left are %q", left)
	}
	if other, err := trim("another object"); err != nil || other != "another object" {
		t.Errorf("of another object, there is left %v: %v", other, err)
	}
}
