package caches

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
	testingclock "k8s.io/utils/clock/testing"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// object is a LiveMigration whose attempt was admitted at a time.
func object(name, version, admitted string) string {
	return fmt.Sprintf(`{"apiVersion":"migration.virtferry.dev/v1alpha1","kind":"LiveMigration",`+
		`"metadata":{"name":%q,"namespace":"default","resourceVersion":%q,"annotations":{"note":"mine"}},`+
		`"spec":{"domain":"web","targetNode":"b"},`+
		`"status":{"sourceNode":"a","domainUUID":"u","attempt":{"id":"1","admittedTime":%q}}}`, name, version, admitted)
}

const goodTime, badTime = "2026-01-02T03:04:05.000006Z", "2026-01-02t03:04:05z"

// server is an API server with one list, and what is watched after it.
type server struct {
	mu     sync.Mutex
	items  []string
	events []string
	// objects are those that can be asked for by their names.
	objects map[string]string
	// broken makes what is watched no JSON.
	broken  bool
	queries []string
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	items, events := slices.Clone(s.items), slices.Clone(s.events)
	s.queries = append(s.queries, r.URL.Path+"?"+r.URL.Query().Get("fieldSelector"))
	broken := s.broken
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	name, one := strings.CutPrefix(r.URL.Path, "/apis/migration.virtferry.dev/v1alpha1/namespaces/default/livemigrations/")
	switch {
	case one && s.objects[name] != "":
		fmt.Fprint(w, s.objects[name])
	case one:
		w.WriteHeader(http.StatusNotFound)
		_ = json.NewEncoder(w).Encode(metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: "Failure", Code: 404, Reason: metav1.StatusReasonNotFound})
	case r.URL.Query().Get("sendInitialEvents") != "":
		w.WriteHeader(http.StatusUnprocessableEntity)
		_ = json.NewEncoder(w).Encode(metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: "Failure", Code: 422, Reason: metav1.StatusReasonInvalid})
	case r.URL.Query().Get("watch") == "":
		fmt.Fprintf(w, `{"apiVersion":"migration.virtferry.dev/v1alpha1","kind":"LiveMigrationList","metadata":{"resourceVersion":"7"},"items":[%s]}`,
			strings.Join(items, ","))
	case broken:
		fmt.Fprint(w, `{"type":"ADDED","object":{"kind":"Nonsense"}}`)
	default:
		for _, event := range events {
			fmt.Fprint(w, event)
		}
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}
}

// informer runs an informer on the server.
func informer(t *testing.T, s *server, log logr.Logger, c clock.PassiveClock) (toolscache.SharedIndexInformer, *Health) {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	api := httptest.NewServer(s)
	factory, err := NewFactory(&rest.Config{Host: api.URL}, scheme, log, c)
	if err != nil {
		t.Fatal(err)
	}
	inf := factory.Selecting("source", fields.OneTermEqualSelector("status.sourceNode", "a"))(nil, &v1alpha1.LiveMigration{}, 0, toolscache.Indexers{})
	stop := make(chan struct{})
	var ended sync.WaitGroup
	ended.Go(func() { inf.Run(stop) })
	t.Cleanup(func() {
		close(stop)
		ended.Wait()
		api.CloseClientConnections()
		api.Close()
	})
	return inf, factory.Health
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("this does not come about: ", what)
		}
	}
}

func get(t *testing.T, inf toolscache.SharedIndexInformer, name string) *v1alpha1.LiveMigration {
	t.Helper()
	o, exists, err := inf.GetStore().GetByKey("default/" + name)
	if err != nil || !exists {
		return nil
	}
	return o.(*v1alpha1.LiveMigration)
}

// TestOneBadObjectHidesNoOther, in a list nor in a watch: it is there, with what can
// be decoded of it, and is told from the others.
func TestOneBadObjectHidesNoOther(t *testing.T) {
	var mu sync.Mutex
	var logged []string
	log := funcr.New(func(_, args string) {
		mu.Lock()
		defer mu.Unlock()
		logged = append(logged, args)
	}, funcr.Options{})
	s := &server{
		items: []string{object("good", "1", goodTime), object("bad", "2", badTime), object("later", "3", goodTime)},
		events: []string{
			`{"type":"MODIFIED","object":` + object("later", "8", badTime) + `}`, `{"type":"ADDED","object":` + object("new", "9", goodTime) + `}`,
		},
	}
	inf, health := informer(t, s, log, clock.RealClock{})
	await(t, "the last event is seen", func() bool { return get(t, inf, "new") != nil })
	for name, bad := range map[string]bool{"good": false, "new": false, "bad": true, "later": true} {
		lm := get(t, inf, name)
		if lm == nil {
			t.Fatalf("%s is missing", name)
		}
		why := Unreadable(lm)
		if bad != (why != "") || bad != strings.HasPrefix(why, "status.attempt.admittedTime: ") {
			t.Errorf("of %s it is said that %q", name, why)
		}
		if lm.Spec.Domain != "web" || lm.Status.SourceNode != "a" || lm.Status.Attempt.ID != "1" || bad != lm.Status.Attempt.AdmittedTime.IsZero() ||
			lm.Annotations["note"] != "mine" {
			t.Errorf("%s is %+v", name, lm)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	for _, name := range []string{"bad", "later"} {
		if !slices.ContainsFunc(logged, func(line string) bool {
			return strings.Contains(line, `"namespace"="default"`) && strings.Contains(line, `"name"="`+name+`"`) && strings.Contains(line, "status.attempt.admittedTime") &&
				strings.Contains(line, badTime)
		}) {
			t.Errorf("the log does not name %s: %q", name, logged)
		}
	}
	if err := health.Check(nil); err != nil {
		t.Error(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, query := range s.queries {
		if query != "/apis/migration.virtferry.dev/v1alpha1/livemigrations?status.sourceNode=a" {
			t.Errorf("the server was asked for %s", query)
		}
	}
}

// TestReadinessTellsOfAStaleCache: one that cannot be decoded at all is not ready
// once patience has passed, however often it is watched anew.
func TestReadinessTellsOfAStaleCache(t *testing.T) {
	now := testingclock.NewFakePassiveClock(time.Now())
	s := &server{items: []string{object("good", "1", goodTime)}, broken: true}
	var logged atomic.Pointer[[]string]
	logged.Store(&[]string{})
	inf, health := informer(t, s, funcr.New(func(_, args string) { logged.Store(new(append(slices.Clone(*logged.Load()), args))) }, funcr.Options{}), now)
	await(t, "the list is read", func() bool { return get(t, inf, "good") != nil })
	if err := health.Check(nil); err != nil {
		t.Error("a cache is given its time:", err)
	}
	now.SetTime(now.Now().Add(patience + time.Second))
	await(t, "it is not ready", func() bool { return health.Check(nil) != nil })
	if err := health.Check(nil); err == nil || !strings.Contains(err.Error(), "the cache of source's LiveMigrations has not been up to date for 1m1s") {
		t.Error("the check says", err)
	}
	s.mu.Lock()
	s.broken = false
	s.mu.Unlock()
	await(t, "it is ready again", func() bool {
		now.SetTime(now.Now().Add(settled))
		return health.Check(nil) == nil
	})
	// Of what the check says, /readyz tells nobody. It is told once.
	lines := *logged.Load()
	if len(lines) != 2 || !strings.Contains(lines[0], `"A cache is not up to date"`) || !strings.Contains(lines[0], "source's LiveMigrations") ||
		!strings.Contains(lines[1], `"A cache is up to date again"`) {
		t.Errorf("the log says %q", lines)
	}
}

// TestStoppedWatchLeavesNothing: a watch that is over while an event waits to be read
// leaves no goroutine behind, for which synctest would not end.
func TestStoppedWatchLeavesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(*testing.T) {
		source := watch.NewFake()
		followed := (&contact{clock: clock.RealClock{}}).open(source)
		source.Add(&v1alpha1.LiveMigration{})
		followed.Stop()
	})
}

func TestReadinessTellsOfAServerThatIsAway(t *testing.T) {
	now := testingclock.NewFakePassiveClock(time.Now())
	health := NewHealth(now, logr.Discard())
	health.follow("x", &toolscache.ListWatch{})
	if err := health.Check(nil); err != nil {
		t.Error(err)
	}
	now.SetTime(now.Now().Add(patience + time.Second))
	if err := health.Check(nil); err == nil || !strings.Contains(err.Error(), "the API server does not answer") {
		t.Error("the check says", err)
	}
}

// TestSalvage keeps what the type takes, and says what it does not.
func TestSalvage(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		spec, status string
		lost         []string
	}{
		"a number that does not fit": {`{"options":{"maxDowntimeMilliseconds":1e30,"onTimeout":"Abort"}}`, `{}`, []string{"spec.options.maxDowntimeMilliseconds"}},
		"a fraction":                 {`{"ttlSecondsAfterFinished":1.5}`, `{}`, []string{"spec.ttlSecondsAfterFinished"}},
		"a list's element":           {`{"migrateData":{"serial":{"ports":[1,"x",3]}}}`, `{}`, []string{"spec.migrateData.serial.ports[1]"}},
		"a condition's time": {
			`{}`, `{"conditions":[{"type":"Ready","lastTransitionTime":"2026-01-02t03:04:05Z"}]}`, []string{"status.conditions[0].lastTransitionTime"},
		},
		"a scalar for an object": {`{"options":7}`, `{}`, []string{"spec.options"}},
	} {
		t.Run(name, func(t *testing.T) {
			data := `{"apiVersion":"migration.virtferry.dev/v1alpha1","kind":"LiveMigration","metadata":{"name":"n"},"spec":` + c.spec + `,"status":` + c.status + `}`
			obj, lost, err := salvageObject(scheme, []byte(data), v1alpha1.GroupVersion.WithKind("LiveMigration"))
			if err != nil || !slices.Equal(lost, c.lost) || obj.(*v1alpha1.LiveMigration).Name != "n" {
				t.Errorf("lost %v of %+v: %v", lost, obj, err)
			}
		})
	}
}
