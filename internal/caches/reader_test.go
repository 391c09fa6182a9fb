package caches

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// readerOf returns a reader past all caches.
func readerOf(t *testing.T, s *server) client.Reader {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	api := httptest.NewServer(s)
	t.Cleanup(api.Close)
	mapper := meta.NewDefaultRESTMapper(nil)
	mapper.Add(v1alpha1.GroupVersion.WithKind("LiveMigration"), meta.RESTScopeNamespace)
	direct, err := client.New(&rest.Config{Host: api.URL}, client.Options{Scheme: scheme, Mapper: mapper})
	if err != nil {
		t.Fatal(err)
	}
	return NewReader(direct, scheme, logr.Discard())
}

func TestAReaderHidesNoObject(t *testing.T) {
	r := readerOf(t, &server{items: []string{object("good", "1", goodTime), object("bad", "2", badTime)}})
	list := &v1alpha1.LiveMigrationList{}
	if err := r.List(t.Context(), list); err != nil {
		t.Fatal(err)
	}
	if len(list.Items) != 2 || list.ResourceVersion != "7" || Unreadable(&list.Items[0]) != "" ||
		!strings.HasPrefix(Unreadable(&list.Items[1]), "status.attempt.admittedTime: ") || list.Items[1].Status.Attempt.ID != "1" {
		t.Errorf("the list is %+v", list)
	}
}

// TestAReaderOfOneObject reads what can be read of it, and says what the API server says.
func TestAReaderOfOneObject(t *testing.T) {
	s := &server{objects: map[string]string{"bad": object("bad", "2", badTime), "good": object("good", "1", goodTime)}}
	r := readerOf(t, s)
	for name, bad := range map[string]bool{"good": false, "bad": true} {
		lm := &v1alpha1.LiveMigration{}
		if err := r.Get(t.Context(), client.ObjectKey{Namespace: "default", Name: name}, lm); err != nil {
			t.Fatal(err)
		}
		if lm.Name != name || lm.Spec.Domain != "web" || bad != (Unreadable(lm) != "") {
			t.Errorf("%s is %+v", name, lm)
		}
	}
	if err := r.Get(t.Context(), client.ObjectKey{Namespace: "default", Name: "none"}, &v1alpha1.LiveMigration{}); !apierrors.IsNotFound(err) {
		t.Errorf("of what is not there it is said: %v", err)
	}
}
