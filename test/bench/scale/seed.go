//go:build linux

package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

const namespace = "default"

// writers is how many write to the API server at once.
const writers = 16

//go:embed seed.yaml
var seedSpec []byte

// seed makes the finished migrations: copies of one that really took place, with what
// each writer left in it, of guests that have each been moved a few times before. The
// manager does not run meanwhile: it comes upon all of them when it starts.
func (w *world) seed(ctx context.Context) error {
	pattern, err := w.pattern(ctx)
	if err != nil {
		return err
	}
	if err := w.stopManager(ctx); err != nil {
		return err
	}
	etcd := &etcdWriter{url: w.lab.ControlPlane().EtcdURL()}
	begin := time.Now()
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(writers)
	for i := range w.plan.finished {
		group.Go(func() error { return etcd.put(groupCtx, w.finished(pattern, i)) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	say("made %d finished migrations of %d bytes each in %.1f s",
		w.plan.finished, etcd.bytes.Load()/int64(w.plan.finished), time.Since(begin).Seconds())
	return w.checkSeed(ctx)
}

// checkSeed has the API server read and validate one of the finished migrations, to
// which it has paid no attention yet.
func (w *world) checkSeed(ctx context.Context) error {
	lm := &v1alpha1.LiveMigration{}
	if err := w.api.Get(ctx, client.ObjectKey{Namespace: namespace, Name: finishedName(0)}, lm); err != nil {
		return fmt.Errorf("reading a finished migration: %w", err)
	}
	lm.Labels = map[string]string{"checked": "true"}
	if err := w.api.Update(ctx, lm); err != nil {
		return fmt.Errorf("updating a finished migration: %w", err)
	}
	if err := w.api.Status().Update(ctx, lm); err != nil {
		return fmt.Errorf("updating the status of a finished migration: %w", err)
	}
	return nil
}

func finishedName(i int) string { return fmt.Sprintf("finished-%06d", i) }

// pattern moves the last of the guests and returns the migration that did it, with all
// that the finished ones ask for.
func (w *world) pattern(ctx context.Context) (*v1alpha1.LiveMigration, error) {
	const name = "first"
	if err := w.apply(ctx, name, "seed", w.plan.guests()-1); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if _, err := w.seen.wait(ctx, []string{name}, end); err != nil {
		return nil, fmt.Errorf("moving the first guest: %w", err)
	}
	lm := &v1alpha1.LiveMigration{}
	if err := w.api.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, lm); err != nil {
		return nil, fmt.Errorf("reading the first migration: %w", err)
	}
	if lm.Status.Phase != v1alpha1.PhaseSucceeded {
		return nil, fmt.Errorf("the first migration is %s: %+v", lm.Status.Phase, lm.Status.Conditions)
	}
	if err := yaml.UnmarshalStrict(seedSpec, &lm.Spec); err != nil {
		return nil, fmt.Errorf("reading what the finished migrations ask for: %w", err)
	}
	return lm, nil
}

// finished returns a copy of the pattern as the migration that brought a guest to where
// it is now, some time between an hour and months ago.
func (w *world) finished(pattern *v1alpha1.LiveMigration, i int) *v1alpha1.LiveMigration {
	guest := i % w.plan.guests()
	ago := time.Hour + time.Duration(i)*time.Minute
	lm := pattern.DeepCopy()
	lm.ObjectMeta = metav1.ObjectMeta{
		Name: finishedName(i), Namespace: namespace, UID: types.UID(uuid.NewString()), Generation: 1,
		CreationTimestamp: metav1.NewTime(pattern.CreationTimestamp.Add(-ago)), ManagedFields: pattern.ManagedFields,
	}
	lm.Spec.Domain, lm.Spec.TargetNode = guestUUID(guest), w.plan.guestNode(guest)
	st := &lm.Status
	st.DomainUUID, st.SourceNode, st.TargetNode = guestUUID(guest), w.plan.guestTarget(guest), w.plan.guestNode(guest)
	st.Attempt.ID = uuid.NewString()
	st.Source.AttemptID, st.Target.AttemptID = st.Attempt.ID, st.Attempt.ID
	st.StartTime = new(metav1.NewTime(pattern.Status.StartTime.Add(-ago)))
	st.CompletionTime = new(metav1.NewTime(pattern.Status.CompletionTime.Add(-ago)))
	st.Attempt.AdmittedTime = metav1.NewMicroTime(pattern.Status.Attempt.AdmittedTime.Add(-ago))
	for c := range st.Conditions {
		st.Conditions[c].LastTransitionTime = *st.CompletionTime
	}
	return lm
}

// etcdWriter writes objects past the API server, which takes minutes for what it has to
// look at only once.
type etcdWriter struct {
	url   string
	bytes atomic.Int64
}

// put stores a migration as the API server does.
func (e *etcdWriter) put(ctx context.Context, lm *v1alpha1.LiveMigration) error {
	lm.APIVersion, lm.Kind = v1alpha1.GroupVersion.String(), "LiveMigration"
	value, err := json.Marshal(lm)
	if err != nil {
		return fmt.Errorf("encoding a migration: %w", err)
	}
	e.bytes.Add(int64(len(value)))
	key := fmt.Sprintf("/registry/%s/livemigrations/%s/%s", v1alpha1.GroupVersion.Group, lm.Namespace, lm.Name)
	body, err := json.Marshal(map[string][]byte{"key": []byte(key), "value": value})
	if err != nil {
		return fmt.Errorf("encoding a request to etcd: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url+"/v3/kv/put", bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("writing to etcd: %w", err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("writing to etcd: %w", err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body) // So that the connection is used again.
	if err != nil {
		return fmt.Errorf("writing to etcd: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("writing to etcd: it answers %s: %s", response.Status, answer)
	}
	return nil
}
