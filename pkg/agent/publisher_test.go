package agent

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/utils/clock"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
)

// memoryHypervisor is the API server's side of a node's Hypervisor.
type memoryHypervisor struct {
	mu    sync.Mutex
	shown *HypervisorReport
	// said is all that was ever shown.
	said     []HypervisorReport
	writes   []time.Time
	attempts int
	beats    []time.Time
	refusal  error
	unheard  error
	// deaf is whether nothing is answered before its caller gives up.
	deaf    bool
	changes chan struct{}
}

var _ HypervisorRecorder = (*memoryHypervisor)(nil)

func (m *memoryHypervisor) RecordHypervisor(ctx context.Context, report HypervisorReport) error {
	if err := m.wait(ctx); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.attempts++
	if m.refusal != nil {
		return m.refusal
	}
	m.shown, m.writes, m.said = &report, append(m.writes, time.Now()), append(m.said, report)
	m.tell()
	return nil
}

// wait fails where nothing is answered.
func (m *memoryHypervisor) wait(ctx context.Context) error {
	m.mu.Lock()
	deaf := m.deaf
	m.mu.Unlock()
	if !deaf {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

func (m *memoryHypervisor) LastRecorded(context.Context) (v1alpha1.HypervisorStatus, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.shown == nil {
		return v1alpha1.HypervisorStatus{}, nil
	}
	return m.shown.Status, nil
}

func (m *memoryHypervisor) Shows(_ context.Context, report HypervisorReport) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.shown != nil && reflect.DeepEqual(*m.shown, report)
}

func (m *memoryHypervisor) Changes() <-chan struct{} { return m.changes }

func (m *memoryHypervisor) Heartbeat(ctx context.Context) error {
	if err := m.wait(ctx); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.beats = append(m.beats, time.Now())
	return m.unheard
}

func (m *memoryHypervisor) tell() {
	select {
	case m.changes <- struct{}{}:
	default:
	}
}

// edit changes the Hypervisor behind the agent's back; nil deletes it.
func (m *memoryHypervisor) edit(report *HypervisorReport) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.shown = report
	m.tell()
}

func (m *memoryHypervisor) refuse(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refusal = err
}

func (m *memoryHypervisor) count() (writes, attempts int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.writes), m.attempts
}

func (m *memoryHypervisor) requireShown(t *testing.T) HypervisorReport {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.shown == nil {
		t.Fatal("there is no Hypervisor")
	}
	return *m.shown
}

// publishing is a publisher at work on a fake host.
type publishing struct {
	t     *testing.T
	fleet *fake.Fleet
	host  *fake.Host
	node  *Node
	api   *memoryHypervisor
	log   logr.Logger
	files HostFiles
	stop  func()
}

// whilePublishing runs a test in a bubble. The publisher is started by start.
func whilePublishing(t *testing.T, test func(p *publishing)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := &publishing{t: t, fleet: fake.NewFleet(), api: &memoryHypervisor{changes: make(chan struct{}, 1)}, log: logr.Discard()}
		p.host = p.fleet.Host("node-a")
		p.host.AddGuest(fake.Guest{UUID: guestUUID, Name: "web", Persistent: true})
		defer func() {
			if p.stop != nil {
				p.stop()
			}
			p.fleet.Close()
		}()
		test(p)
	})
}

func (p *publishing) start() {
	p.node = &Node{
		Name: "node-a", Hypervisor: p.host, Clock: clock.RealClock{}, Log: p.log, Files: p.files,
		Receive: ReceiveConfig{Endpoint: v1alpha1.TargetEndpoint{Address: "192.0.2.1"}},
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = NewPublisher(p.node, p.api).Start(ctx)
	}()
	p.stop = sync.OnceFunc(func() {
		cancel()
		<-ended
	})
	p.pass(time.Second)
}

func (p *publishing) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// flip changes a guest's state, and libvirt tells.
func (p *publishing) flip(uuid string, paused bool) {
	do := p.host.Resume
	if paused {
		do = p.host.Suspend
	}
	if err := do(context.Background(), uuid); err != nil {
		p.t.Error(err)
	}
}

func TestAChangeIsPublishedAtOnce(t *testing.T) {
	whilePublishing(t, func(p *publishing) {
		p.start()
		p.pass(time.Minute)
		before, _ := p.api.count()
		p.flip(guestUUID, true)
		p.pass(2 * publishDelay)
		if after, _ := p.api.count(); after != before+1 {
			t.Errorf("there were %d publications, want 1", after-before)
		}
		if d := p.api.requireShown(t).Status.Domains[0]; d.State != string(hypervisor.StatePaused) {
			t.Errorf("the guest is shown as %+v", d)
		}
	})
}

// TestAMigrationIsPublishedInFewSteps: a half that comes, or a guest that stands still for
// its switch-over, waits for what follows.
func TestAMigrationIsPublishedInFewSteps(t *testing.T) {
	event := func(l hypervisor.Lifecycle, detail string) hypervisor.Event {
		return hypervisor.Event{Type: hypervisor.EventLifecycle, UUID: guestUUID, Lifecycle: l, Detail: detail}
	}
	half := event(hypervisor.LifecycleStarted, hypervisor.DetailMigrated)
	for name, tc := range map[string]struct {
		first hypervisor.Event
		then  *hypervisor.Event
		after time.Duration
	}{
		"a half that comes":            {first: half, after: passingDelay},
		"a guest that stands still":    {first: event(hypervisor.LifecycleSuspended, hypervisor.DetailMigrated), after: passingDelay},
		"a half that begins to run":    {half, new(event(hypervisor.LifecycleResumed, hypervisor.DetailMigrated)), publishDelay},
		"a guest that somebody pauses": {first: event(hypervisor.LifecycleSuspended, hypervisor.DetailPaused), after: publishDelay},
		"a guest that boots":           {first: event(hypervisor.LifecycleStarted, "Booted"), after: publishDelay},
		"a guest that has left":        {first: event(hypervisor.LifecycleStopped, hypervisor.DetailMigrated), after: publishDelay},
	} {
		t.Run(name, func(t *testing.T) {
			whilePublishing(t, func(p *publishing) {
				p.start()
				p.pass(time.Minute)
				p.flip(guestUUID, true)
				p.pass(publishSpacing)
				before, _ := p.api.count()
				p.host.AddGuest(fake.Guest{UUID: "99999999-1111-4111-8111-111111111111", Name: "new"})
				p.host.Emit(tc.first)
				if tc.then != nil {
					p.pass(passingDelay / 2)
					p.host.Emit(*tc.then)
				}
				p.pass(tc.after - time.Millisecond)
				if n, _ := p.api.count(); n != before {
					t.Errorf("%d publications came early", n-before)
				}
				p.pass(2 * time.Millisecond)
				if n, _ := p.api.count(); n != before+1 {
					t.Errorf("there were %d publications", n-before)
				}
			})
		})
	}
}

// TestAnotherDriverIsNamed: what answers is not QEMU, and the condition says what to do.
func TestAnotherDriverIsNamed(t *testing.T) {
	whilePublishing(t, func(p *publishing) {
		refusal := fake.Error(hypervisor.KindConnectionLost, "connecting: libvirt's driver there is LXC's, not QEMU's")
		refusal.Err = hypervisor.ErrNotQEMU
		p.host.FailNext(fake.MethodListDomains, refusal)
		p.start()
		p.pass(time.Millisecond)
		p.api.requireShown(t)
		now := p.api.said[0]
		if now.Connected || now.Reason != v1alpha1.ReasonNotQEMU || !strings.Contains(now.Message, "LXC's") || !strings.Contains(now.Message, "--libvirt-uri") {
			t.Errorf("%+v was shown", now)
		}
		p.pass(time.Minute)
		if now := p.api.requireShown(t); !now.Connected || now.Reason != "" {
			t.Errorf("afterwards, %+v is shown", now)
		}
	})
}

// TestAGuestThatCrashesInALoop does not have the whole list written each time.
func TestAGuestThatCrashesInALoop(t *testing.T) {
	whilePublishing(t, func(p *publishing) {
		p.start()
		before, _ := p.api.count()
		for n := range 600 {
			p.flip(guestUUID, n%2 == 0)
			p.pass(100 * time.Millisecond)
		}
		after, _ := p.api.count()
		if n := after - before; n < 20 || n > 60/2+publishBurst {
			t.Errorf("there were %d publications in a minute", n)
		}
		p.pass(publishSpacing)
		if d := p.api.requireShown(t).Status.Domains[0]; d.State != string(hypervisor.StateRunning) {
			t.Errorf("in the end, the guest is shown as %+v", d)
		}
	})
}

// TestRefusedPublicationsBackOff from an API server that takes none, and come soon
// once it does.
func TestRefusedPublicationsBackOff(t *testing.T) {
	whilePublishing(t, func(p *publishing) {
		p.api.refuse(errors.New("forbidden"))
		p.start()
		for n := range 600 {
			p.flip(guestUUID, n%2 == 0)
			p.pass(time.Second)
		}
		if _, attempts := p.api.count(); attempts < 20 || attempts > 40 {
			t.Errorf("there were %d attempts in ten minutes", attempts)
		}
		p.api.refuse(nil)
		p.pass(publishRetryMost * 5 / 4)
		if writes, _ := p.api.count(); writes != 1 {
			t.Errorf("there were %d publications", writes)
		}
	})
}

// TestTheHostIsReadSeldom: what it is does not change with its guests.
func TestTheHostIsReadSeldom(t *testing.T) {
	whilePublishing(t, func(p *publishing) {
		p.start()
		for n := range 60 {
			p.flip(guestUUID, n%2 == 0)
			p.pass(time.Second)
		}
		if n := p.host.Count(fake.MethodHostInfo, ""); n != 1 {
			t.Errorf("the host was read %d times in a minute", n)
		}
		info, err := p.host.HostInfo(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		info.LibvirtVersion = "10.0.0"
		p.host.SetInfo(info)
		p.host.LoseConnection()
		p.pass(publishSpacing)
		if v := p.api.requireShown(t).Status.LibvirtVersion; v != "10.0.0" {
			t.Errorf("after libvirt came back, its version is %s", v)
		}
	})
}

// TestAnAgentThatStartsWithoutLibvirt keeps what was published last.
func TestAnAgentThatStartsWithoutLibvirt(t *testing.T) {
	whilePublishing(t, func(p *publishing) {
		p.start()
		last := p.api.requireShown(t)
		p.stop()
		p.host.Disconnect()
		p.start()
		now := p.api.requireShown(t)
		if now.Connected || !strings.Contains(now.Message, "cannot reach libvirt") {
			t.Errorf("it says %+v", now)
		}
		if !reflect.DeepEqual(now.Status, last.Status) || len(now.Status.Domains) != 1 {
			t.Errorf("the status is %+v, was %+v", now.Status, last.Status)
		}
		p.host.Reconnect()
		p.pass(publishSpacing)
		if now := p.api.requireShown(t); !now.Connected {
			t.Errorf("after libvirt came back, it says %+v", now)
		}
	})
}

// TestAHypervisorComesBack that was deleted, edited or restored.
func TestAHypervisorComesBack(t *testing.T) {
	for name, edit := range map[string]func(HypervisorReport) *HypervisorReport{
		"deleted":  func(HypervisorReport) *HypervisorReport { return nil },
		"edited":   func(r HypervisorReport) *HypervisorReport { r.Status.HostUUID = "another"; return &r },
		"restored": func(r HypervisorReport) *HypervisorReport { r.Status.Domains = nil; return &r },
	} {
		t.Run(name, func(t *testing.T) {
			whilePublishing(t, func(p *publishing) {
				p.start()
				p.pass(time.Minute)
				want := p.api.requireShown(t)
				before, _ := p.api.count()
				p.api.edit(edit(want))
				p.pass(time.Second)
				if got := p.api.requireShown(t); !reflect.DeepEqual(got, want) {
					t.Errorf("it says %+v, want %+v", got, want)
				}
				p.pass(time.Minute)
				if after, _ := p.api.count(); after != before+1 {
					t.Errorf("it was written %d times", after-before)
				}
			})
		})
	}
}

// TestSignsOfLife come often enough, and not in step.
func TestSignsOfLife(t *testing.T) {
	whilePublishing(t, func(p *publishing) {
		p.start()
		p.pass(10 * time.Minute)
		p.api.mu.Lock()
		beats := p.api.beats
		p.api.unheard = errors.New("unavailable")
		p.api.mu.Unlock()
		intervals := map[time.Duration]bool{}
		for i := 1; i < len(beats); i++ {
			d := beats[i].Sub(beats[i-1])
			intervals[d] = true
			if d > HeartbeatInterval || d < HeartbeatInterval/2 {
				t.Errorf("%s passed between two", d)
			}
		}
		if len(intervals) < 10 {
			t.Errorf("the intervals are %v", intervals)
		}
		p.pass(10 * time.Minute)
		p.api.mu.Lock()
		failed := len(p.api.beats) - len(beats)
		p.api.mu.Unlock()
		if failed > 75 {
			t.Errorf("%d failed in ten minutes", failed)
		}
	})
}
