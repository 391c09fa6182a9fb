package controllers

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/internal/caches"
)

// TestTrimmingKeepsTheMark of an object that cannot be decoded: without it the manager
// would act on what is left of the object.
func TestTrimmingKeepsTheMark(t *testing.T) {
	lm := &v1alpha1.LiveMigration{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{caches.UnreadableMark: "why", "note": "mine"}}}
	trimmed, err := trim(lm)
	if err != nil {
		t.Fatal(err)
	}
	if got := trimmed.(*v1alpha1.LiveMigration); caches.Unreadable(got) != "why" || len(got.Annotations) != 1 {
		t.Errorf("what is left is %v", got.Annotations)
	}
}
