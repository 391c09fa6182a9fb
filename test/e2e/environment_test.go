//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/internal/statuscheck"
	"github.com/virtferry/virtferry/pkg/migration"
	"github.com/virtferry/virtferry/test/lab"
)

// environment is a lab in which a manager and an agent for each host run.
type environment struct {
	lab     *lab.Lab
	client  client.WithWatch
	manager *lab.Component
	a, b    *lab.Host
}

func newEnvironment(ctx context.Context, l *lab.Lab) (*environment, error) {
	// The tests share two hosts, and none waits for another's guest.
	manager, err := l.StartVirtferry(ctx, "--max-outgoing-per-node=20", "--max-incoming-per-node=20", "--max-migrations=100")
	if err != nil {
		return nil, err
	}
	c, err := l.ControlPlane().NewClient()
	if err != nil {
		return nil, err
	}
	return &environment{lab: l, client: c, manager: manager, a: l.Host("node-a"), b: l.Host("node-b")}, nil
}

// startGuest starts a guest, named after the test, that is destroyed when the
// test ends. It returns when the guest ticks and its host has published it.
func (e *environment) startGuest(t *testing.T, h *lab.Host, config lab.GuestConfig) *lab.Guest {
	t.Helper()
	config.Name = strings.ToLower(strings.ReplaceAll(t.Name(), "/", "-")) + config.Name
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	g, err := h.StartGuest(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, h := range e.lab.Hosts() {
			_, _ = h.Virsh(context.Background(), "destroy", g.UUID())
			_, _ = h.Virsh(context.Background(), "undefine", g.UUID())
		}
	})
	if _, err := g.Ticks().Wait(ctx, h.Name(), 2); err != nil {
		t.Fatal(err)
	}
	if err := h.WaitPublished(ctx, g); err != nil {
		t.Fatal(err)
	}
	return g
}

// migrate creates a LiveMigration, which is deleted when the test ends. Until
// then every state of the object is checked.
func (e *environment) migrate(t *testing.T, spec v1alpha1.LiveMigrationSpec) *v1alpha1.LiveMigration {
	t.Helper()
	lm := &v1alpha1.LiveMigration{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "e2e-", Namespace: "default"},
		Spec:       spec,
	}
	if err := e.client.Create(t.Context(), lm); err != nil {
		t.Fatal(err)
	}
	e.follow(t, lm)
	return lm
}

// apply creates a LiveMigration as a user does, by kubectl and a manifest.
func (e *environment) apply(t *testing.T, spec v1alpha1.LiveMigrationSpec) (lm *v1alpha1.LiveMigration, manifest string) {
	t.Helper()
	lm = &v1alpha1.LiveMigration{ObjectMeta: metav1.ObjectMeta{Name: "e2e-" + rand.String(5), Namespace: "default"}}
	text, err := yaml.Marshal(map[string]any{
		"apiVersion": v1alpha1.GroupVersion.String(), "kind": "LiveMigration",
		"metadata": map[string]any{"name": lm.Name, "namespace": lm.Namespace}, "spec": spec,
	})
	if err != nil {
		t.Fatal(err)
	}
	manifest = filepath.Join(t.TempDir(), "livemigration.yaml")
	if err := os.WriteFile(manifest, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := e.lab.ControlPlane().Kubectl(t.Context(), "apply", "-f", manifest); err != nil {
		t.Fatal(out, err)
	}
	e.follow(t, lm)
	return lm, manifest
}

// follow checks each state of a migration, and deletes it when the test is over.
func (e *environment) follow(t *testing.T, lm *v1alpha1.LiveMigration) {
	t.Helper()
	e.checkStates(t, lm)
	t.Cleanup(func() {
		if err := client.IgnoreNotFound(e.client.Delete(context.Background(), lm)); err != nil {
			t.Error(err)
		}
		e.awaitGone(t, lm)
	})
}

// checkStates watches an object until the test ends and checks each of its
// states.
func (e *environment) checkStates(t *testing.T, lm *v1alpha1.LiveMigration) {
	t.Helper()
	w, err := e.client.Watch(t.Context(), &v1alpha1.LiveMigrationList{}, client.InNamespace(lm.Namespace),
		client.MatchingFields{"metadata.name": lm.Name})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		var before *v1alpha1.LiveMigration
		for event := range w.ResultChan() {
			now, ok := event.Object.(*v1alpha1.LiveMigration)
			if !ok {
				continue
			}
			if err := statuscheck.Check(now); err != nil {
				t.Errorf("%s in phase %s: %v", now.Name, now.Status.Phase, err)
			}
			if before != nil {
				if err := statuscheck.CheckTransition(before, now); err != nil {
					t.Errorf("%s from phase %s to %s: %v", now.Name, before.Status.Phase, now.Status.Phase, err)
				}
			}
			before = now
		}
	}()
	t.Cleanup(func() {
		w.Stop()
		<-done
	})
}

func (e *environment) awaitGone(t *testing.T, lm *v1alpha1.LiveMigration) {
	t.Helper()
	now := &v1alpha1.LiveMigration{}
	for deadline := time.Now().Add(90 * time.Second); time.Now().Before(deadline); time.Sleep(pollInterval) {
		if err := e.client.Get(context.Background(), client.ObjectKeyFromObject(lm), now); apierrors.IsNotFound(err) {
			return
		}
	}
	t.Errorf("the LiveMigration %s is not gone: %+v", lm.Name, now.Status)
}

// pollInterval is the time between two looks at something that is waited for.
const pollInterval = 20 * time.Millisecond

// await waits until the object is as wanted and returns it. It gives up when the
// migration ends otherwise.
func (e *environment) await(t *testing.T, lm *v1alpha1.LiveMigration, what string, ok func(*v1alpha1.LiveMigration) bool) *v1alpha1.LiveMigration {
	t.Helper()
	now := &v1alpha1.LiveMigration{}
	for deadline := time.Now().Add(120 * time.Second); time.Now().Before(deadline); time.Sleep(pollInterval) {
		if err := e.client.Get(t.Context(), client.ObjectKeyFromObject(lm), now); err != nil {
			continue
		}
		if ok(now) {
			return now
		}
		if migration.Finished(now) {
			break
		}
	}
	t.Fatalf("waiting for %s: %s", what, describe(now))
	return nil
}

// describe shows an object as its user sees it.
func describe(lm *v1alpha1.LiveMigration) string {
	raw, err := yaml.Marshal(lm.Status)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("LiveMigration %s:\n%s", lm.Name, raw)
}

func (e *environment) awaitPhase(t *testing.T, lm *v1alpha1.LiveMigration, phase v1alpha1.LiveMigrationPhase) *v1alpha1.LiveMigration {
	t.Helper()
	return e.await(t, lm, "phase "+string(phase), func(now *v1alpha1.LiveMigration) bool { return now.Status.Phase == phase })
}

func (e *environment) awaitFinished(t *testing.T, lm *v1alpha1.LiveMigration) *v1alpha1.LiveMigration {
	t.Helper()
	return e.await(t, lm, "the end", migration.Finished)
}

// awaitReason waits for an end, or a step, with the given reason.
func (e *environment) awaitReason(t *testing.T, lm *v1alpha1.LiveMigration, reason string) *v1alpha1.LiveMigration {
	t.Helper()
	return e.await(t, lm, "reason "+reason, func(now *v1alpha1.LiveMigration) bool {
		c := meta.FindStatusCondition(now.Status.Conditions, v1alpha1.ConditionSucceeded)
		return c != nil && c.Reason == reason
	})
}

// awaitCopying waits until the guest is being copied for sure.
func (e *environment) awaitCopying(t *testing.T, lm *v1alpha1.LiveMigration) *v1alpha1.LiveMigration {
	t.Helper()
	return e.await(t, lm, "the copying", func(now *v1alpha1.LiveMigration) bool {
		p := now.Status.Progress
		return now.Status.Phase == v1alpha1.PhaseMigrating && p != nil && p.Memory != nil && p.Memory.ProcessedBytes > 0
	})
}

// requireOn fails unless the guest runs on that host, on no other, and ticks on
// there without having lost a tick.
func (e *environment) requireOn(t *testing.T, g *lab.Guest, h *lab.Host) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	states, err := e.lab.ExactlyOneRunning(ctx, g.UUID())
	if err != nil {
		t.Fatal(err)
	}
	if on := g.RunningOn(ctx); on != h {
		t.Fatalf("the guest does not run on %s: %v", h.Name(), states)
	}
	if _, err := g.Ticks().Advance(ctx, h.Name(), 2); err != nil {
		t.Fatal(err)
	}
	if err := g.Ticks().Check(); err != nil {
		t.Fatal(err)
	}
}

// requireAbsent fails unless the host does not know the guest.
func (e *environment) requireAbsent(t *testing.T, g *lab.Guest, h *lab.Host) {
	t.Helper()
	if s := h.DomainState(t.Context(), g.UUID()); s.State != lab.StateAbsent {
		t.Errorf("the guest is left on a host: %v", s)
	}
}

// slow are options with which copying a guest of slowLoad takes several seconds.
func slow() *v1alpha1.MigrationOptions {
	return &v1alpha1.MigrationOptions{BandwidthMiBps: new(int64(8))}
}

// slowLoad fills memory with what cannot be compressed away.
func slowLoad() lab.Load { return lab.Load{WorkingSetMiB: 64} }
