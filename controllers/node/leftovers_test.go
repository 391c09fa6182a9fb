package node

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/agent"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
)

const guest = "11111111-1111-4111-8111-111111111111"

// drawer is a reader that hands out LiveMigrations one a page, after it has failed some times.
type drawer struct {
	client.Reader
	objects []v1alpha1.LiveMigration

	mu       sync.Mutex
	failures int
	selected []string // One for each read.
}

func (d *drawer) List(_ context.Context, into client.ObjectList, options ...client.ListOption) error {
	var o client.ListOptions
	o.ApplyOptions(options)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.selected = append(d.selected, o.FieldSelector.String())
	if d.failures > 0 {
		d.failures--
		return errors.New("unavailable")
	}
	page, list := len(o.Continue), into.(*v1alpha1.LiveMigrationList)
	list.Items = d.objects[page : page+1]
	if page+1 < len(d.objects) {
		list.Continue = "xxxxxxxx"[:page+1]
	}
	return nil
}

// reads are the selectors of all reads so far.
func (d *drawer) reads() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.selected)
}

// leftFrozen is a migration to node-a that has ended and has left its guest frozen there.
func leftFrozen(name string, id int64) v1alpha1.LiveMigration {
	now := new(metav1.NowMicro())
	lm := v1alpha1.LiveMigration{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", UID: types.UID(name)}}
	meta.SetStatusCondition(&lm.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionSucceeded, Status: metav1.ConditionTrue})
	lm.Status.TargetNode, lm.Status.DomainUUID, lm.Status.GuestLeftFrozenOn = "node-a", guest, "node-a"
	lm.Status.Attempt = &v1alpha1.AttemptStatus{ID: "1"}
	lm.Status.Source = &v1alpha1.SourceStatus{
		AttemptID: "1", StartRequestedTime: now, End: &v1alpha1.SourceEnd{Time: *now},
		GuestFreeze: &v1alpha1.GuestFreeze{State: v1alpha1.GuestFrozen, Time: *now, FrozenTime: now},
	}
	lm.Status.Target = &v1alpha1.TargetStatus{
		AttemptID: "1", ArrivedTime: now, Domain: &v1alpha1.DomainObservation{State: "Running", Reason: "Migrated", ID: id},
	}
	return lm
}

// TestWhatWasLeftIsDone by a process that was started after the end: once, on the side that it was left to, and however
// long the API server is away at first.
func TestWhatWasLeftIsDone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fleet := fake.NewFleet()
		defer fleet.Close()
		host := fleet.Host("node-a")
		host.AddGuest(fake.Guest{UUID: guest, Name: "web", Agent: fake.AgentConnected})
		domain, err := host.LookupDomain(t.Context(), guest)
		if err != nil {
			t.Fatal(err)
		}
		if err := host.FreezeGuest(t.Context(), guest); err != nil {
			t.Fatal(err)
		}
		elsewhere := leftFrozen("elsewhere", domain.ID)
		elsewhere.Status.TargetNode = "node-b"
		live := &drawer{failures: 3, objects: []v1alpha1.LiveMigration{elsewhere, leftFrozen("other-run", domain.ID+1), leftFrozen("ours", domain.ID)}}
		sessions := agent.NewTargetSessions(&agent.Node{
			Name: "node-a", Hypervisor: host, Recorder: unwritten{}, Clock: clock.RealClock{}, Log: logr.Discard(),
		})
		l := &leftovers{live: live, node: "node-a", names: naming(TargetNodeField, "node-a"), sessions: sessions, clock: clock.RealClock{}, log: logr.Discard()}
		ctx, cancel := context.WithCancel(t.Context())
		var ended []chan struct{}
		start := func(run func(context.Context) error) {
			done := make(chan struct{})
			ended = append(ended, done)
			go func() {
				defer close(done)
				_ = run(ctx)
			}()
		}
		defer func() {
			cancel()
			for _, done := range ended {
				<-done
			}
		}()
		start(l.Start)
		time.Sleep(time.Minute)
		if reads := len(live.reads()); reads < 4 {
			t.Errorf("it was tried %d times", reads)
		}
		start(sessions.Start)
		time.Sleep(10 * time.Second)
		if !host.FrozenSince(guest).IsZero() {
			t.Error("the guest is still frozen")
		}
		if n := fleet.Count(fake.MethodThawGuest, guest); n != 1 {
			t.Errorf("it was thawed %d times", n)
		}
		reads := live.reads()
		for _, selected := range reads {
			if selected != "status.guestLeftFrozenOn=node-a" {
				t.Errorf("what is read is %s", selected)
			}
		}
		time.Sleep(time.Hour)
		if len(live.reads()) != len(reads) {
			t.Error("it is read again")
		}
	})
}

// TestNobodyWaitsForWhatWasLeft: an agent that stops does not wait for an API server that is away.
func TestNobodyWaitsForWhatWasLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &leftovers{live: &drawer{failures: 1000}, node: "node-a", clock: clock.RealClock{}, log: logr.Discard()}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		begun := time.Now()
		if err := l.Start(ctx); err != nil || time.Since(begun) != time.Hour {
			t.Errorf("it ends after %s: %v", time.Since(begun), err)
		}
	})
}
