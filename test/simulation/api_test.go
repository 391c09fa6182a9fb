package simulation

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utiljson "k8s.io/apimachinery/pkg/util/json"
)

// object is one of the API in its JSON form. Once it is stored, nobody changes it.
type object = map[string]any

// resource is a kind of objects that the server knows.
type resource struct {
	schema.GroupVersionKind
	plural string
	// custom is whether it is defined by a CRD, whose spec has a generation.
	custom bool
}

var resources = []resource{
	{schema.GroupVersionKind{Group: "migration.virtferry.dev", Version: "v1alpha1", Kind: "LiveMigration"}, "livemigrations", true},
	{schema.GroupVersionKind{Group: "migration.virtferry.dev", Version: "v1alpha1", Kind: "Hypervisor"}, "hypervisors", true},
	{schema.GroupVersionKind{Group: "coordination.k8s.io", Version: "v1", Kind: "Lease"}, "leases", false},
	{schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}, "configmaps", false},
}

func (r resource) group() schema.GroupResource {
	return schema.GroupResource{Group: r.Group, Resource: r.plural}
}

// key says which object.
type key struct{ plural, namespace, name string }

// change is one write, as watches tell of it. There is no object before a creation, and
// none after the last removal.
type change struct {
	version       int
	time          time.Time
	key           key
	by            string
	before, after object
}

// server is an API server in memory. It has objects with versions, optimistic locking,
// server-side apply as far as fields have one owner each, finalizers, admission, and a
// history that watches follow.
type server struct {
	mu      sync.Mutex
	objects map[key]object
	// owned are the fields that an owner has applied.
	owned   map[key]map[string][]string
	version int
	history []change
	// compacted is the oldest version from which a watch can begin.
	compacted int
	// news is closed with each write.
	news chan struct{}
	uids int
	// witness is told of each write.
	witness func(change)
}

func newServer() *server {
	return &server{
		objects: map[key]object{}, owned: map[key]map[string][]string{}, version: 100, compacted: 100,
		news: make(chan struct{}), witness: func(change) {},
	}
}

// request is a write.
type request struct {
	resource resource
	key      key
	// status is whether it is one of the status.
	status bool
	// by is who writes, and owner the field owner that an apply is made as.
	by, owner string
}

func (r request) notFound() error { return apierrors.NewNotFound(r.resource.group(), r.key.name) }

func (r request) conflict(format string, args ...any) error {
	return apierrors.NewConflict(r.resource.group(), r.key.name, fmt.Errorf(format, args...))
}

func (r request) invalid(reasons []string) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusUnprocessableEntity, Reason: metav1.StatusReasonInvalid,
		Message: fmt.Sprintf("%s %q is invalid: %v", r.resource.Kind, r.key.name, reasons),
	}}
}

func metaOf(o object) object {
	m, _ := o["metadata"].(map[string]any)
	return m
}

func textIn(o object, field string) string {
	s, _ := o[field].(string)
	return s
}

func copyOf(o object) object { return (&unstructured.Unstructured{Object: o}).DeepCopy().Object }

func decode(text []byte) (object, error) {
	o := object{}
	err := utiljson.Unmarshal(text, &o)
	return o, err
}

func encode(o any) []byte {
	text, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	return text
}

// get returns an object.
func (s *server) get(k key) (object, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.objects[k]
	return o, ok
}

// list returns the objects of a kind as they were at a version, and that version.
func (s *server) list(plural string, at int) ([]object, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := maps.Clone(s.objects)
	for _, c := range slices.Backward(s.history) {
		if c.version <= at || at == 0 {
			break
		}
		if c.before == nil {
			delete(now, c.key)
		} else {
			now[c.key] = c.before
		}
	}
	if at == 0 {
		at = s.version
	}
	var out []object
	for _, k := range slices.SortedFunc(maps.Keys(now), compareKeys) {
		if k.plural == plural {
			out = append(out, now[k])
		}
	}
	return out, at
}

func compareKeys(a, b key) int {
	return slices.Compare([]string{a.plural, a.namespace, a.name}, []string{b.plural, b.namespace, b.name})
}

// create stores a new object.
func (s *server) create(r request, o object) (object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.objects[r.key]; ok {
		return nil, apierrors.NewAlreadyExists(r.resource.group(), r.key.name)
	}
	o = copyOf(o)
	delete(o, "status")
	s.uids++
	m := metaOf(o)
	if r.key.namespace == "" {
		delete(m, "namespace")
	}
	m["uid"] = fmt.Sprintf("00000000-0000-4000-8000-%012d", s.uids)
	m["creationTimestamp"] = metav1.Now().UTC().Format(time.RFC3339)
	if r.resource.custom {
		m["generation"] = int64(1)
	}
	if r.resource.Kind == "LiveMigration" {
		o["status"] = object{"observedGeneration": int64(-1)}
	}
	return s.store(r, o)
}

// apply is a server-side apply by force.
func (s *server) apply(r request, config object) (object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, ok := s.objects[r.key]
	wantUID, wantVersion := textIn(metaOf(config), "uid"), textIn(metaOf(config), "resourceVersion")
	switch {
	case !ok && (r.status || wantUID != "" || wantVersion != ""):
		return nil, r.notFound()
	case !ok:
		s.mu.Unlock()
		made, err := s.create(r, object{
			"apiVersion": r.resource.GroupVersion().String(), "kind": r.resource.Kind,
			"metadata": object{"name": r.key.name, "namespace": r.key.namespace},
		})
		s.mu.Lock()
		if err != nil {
			return nil, err
		}
		now = made
	case wantUID != "" && wantUID != textIn(metaOf(now), "uid"):
		return nil, r.conflict("the UID in the precondition differs")
	case wantVersion != "" && wantVersion != textIn(metaOf(now), "resourceVersion"):
		return nil, r.conflict("the object has been modified")
	}
	next := copyOf(now)
	sections := []string{"spec", "data"}
	if r.status {
		sections = []string{"status"}
	}
	for _, section := range sections {
		s.applySection(r, section, config, next)
	}
	if !r.status {
		applyFinalizers(config, next)
	}
	return s.store(r, next)
}

// applySection replaces what the owner has applied before.
func (s *server) applySection(r request, section string, config, next object) {
	applied, ok := config[section].(map[string]any)
	if !ok {
		return
	}
	have, _ := next[section].(map[string]any)
	if have == nil {
		have = object{}
		next[section] = have
	}
	if s.owned[r.key] == nil {
		s.owned[r.key] = map[string][]string{}
	}
	owner := r.owner + "/" + section
	for _, field := range s.owned[r.key][owner] {
		if _, again := applied[field]; !again {
			delete(have, field)
		}
	}
	s.owned[r.key][owner] = slices.Sorted(maps.Keys(applied))
	for field, value := range applied {
		if field == "conditions" {
			value = mergeConditions(have[field], value)
		}
		have[field] = value
	}
}

// mergeConditions puts conditions beside those of other types. No two owners have one of
// the same type, and none of them takes one away from a Hypervisor.
func mergeConditions(have, applied any) any {
	now, _ := have.([]any)
	next, _ := applied.([]any)
	kindOf := func(c any) string {
		condition, _ := c.(map[string]any)
		return textIn(condition, "type")
	}
	agents := func(c any) bool { return kindOf(c) == "LibvirtConnected" }
	managers := func(c any) bool { return !agents(c) }
	foreign := agents
	if slices.ContainsFunc(next, agents) {
		foreign = managers
	}
	out := slices.Clone(next)
	for _, c := range now {
		if foreign(c) {
			out = append(out, c)
		}
	}
	return out
}

func applyFinalizers(config, next object) {
	added, _ := metaOf(config)["finalizers"].([]any)
	have, _ := metaOf(next)["finalizers"].([]any)
	for _, f := range added {
		if !slices.Contains(have, f) {
			have = append(slices.Clone(have), f)
		}
	}
	if len(have) > 0 {
		metaOf(next)["finalizers"] = have
	}
}

// patch applies a JSON patch, and edit a change of a person's.
func (s *server) patch(r request, text []byte) (object, error) {
	patch, err := jsonpatch.DecodePatch(text)
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	return s.edit(r, func(o object) (object, error) {
		changed, err := patch.Apply(encode(o))
		if err != nil {
			return nil, r.invalid([]string{err.Error()})
		}
		return decode(changed)
	})
}

func (s *server) edit(r request, change func(object) (object, error)) (object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, ok := s.objects[r.key]
	if !ok {
		return nil, r.notFound()
	}
	next, err := change(copyOf(now))
	if err != nil {
		return nil, err
	}
	if textIn(metaOf(next), "resourceVersion") != textIn(metaOf(now), "resourceVersion") {
		return nil, r.conflict("the object has been modified")
	}
	return s.store(r, next)
}

// remove deletes an object, or marks it as deleted for as long as it has finalizers.
func (s *server) remove(r request, wantUID, wantVersion string) (object, error) {
	return s.edit(r, func(o object) (object, error) {
		m := metaOf(o)
		if wantUID != "" && wantUID != textIn(m, "uid") || wantVersion != "" && wantVersion != textIn(m, "resourceVersion") {
			return nil, r.conflict("the precondition does not hold")
		}
		if m["deletionTimestamp"] == nil {
			m["deletionTimestamp"], m["deletionGracePeriodSeconds"] = metav1.Now().UTC().Format(time.RFC3339), int64(0)
			if g, ok := m["generation"].(int64); ok {
				m["generation"] = g + 1
			}
		}
		return o, nil
	})
}

// store takes an object in if it may be, and tells everybody.
func (s *server) store(r request, next object) (object, error) {
	now := s.objects[r.key]
	if now != nil && reflect.DeepEqual(now, next) {
		return now, nil
	}
	if now != nil && r.resource.custom && !reflect.DeepEqual(now["spec"], next["spec"]) {
		generation, _ := metaOf(next)["generation"].(int64)
		metaOf(next)["generation"] = generation + 1
	}
	if err := admit(r, now, next); err != nil {
		return nil, err
	}
	s.version++
	metaOf(next)["resourceVersion"] = strconv.Itoa(s.version)
	finalizers, _ := metaOf(next)["finalizers"].([]any)
	c := change{version: s.version, time: time.Now(), key: r.key, by: r.by, before: now, after: next}
	if metaOf(next)["deletionTimestamp"] != nil && len(finalizers) == 0 {
		c.after = nil
		delete(s.objects, r.key)
		delete(s.owned, r.key)
	} else {
		s.objects[r.key] = next
	}
	s.history = append(s.history, c)
	close(s.news)
	s.news = make(chan struct{})
	s.witness(c)
	return next, nil
}

// compact forgets the history: watches that are behind have to list.
func (s *server) compact() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.compacted = s.version
}

// forgotten reports whether a watch cannot begin at a version any more.
func (s *server) forgotten(version int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return version < s.compacted
}

// since returns the first change after a version, if there is one, and a channel that is
// closed when there is.
func (s *server) since(version int, plural string) (c change, ok bool, news <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, _ := slices.BinarySearchFunc(s.history, version+1, func(c change, v int) int { return c.version - v })
	for ; i < len(s.history); i++ {
		if s.history[i].key.plural == plural {
			return s.history[i], true, nil
		}
	}
	return change{}, false, s.news
}
