package agent

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
	"github.com/virtferry/virtferry/pkg/migration"
	"github.com/virtferry/virtferry/pkg/xmlrewrite"
)

// onTarget runs a test in a bubble, with a target's session whose reports nobody writes.
func onTarget(t *testing.T, test func(ctx context.Context, s *targetSession, host *fake.Host)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		fleet := fake.NewFleet(fake.WithCallTimeout(time.Second))
		defer fleet.Close()
		host := fleet.Host("node-b")
		node := &Node{
			Name: "node-b", Hypervisor: host, Clock: clock.RealClock{}, Log: logr.Discard(),
			Receive: ReceiveConfig{SerialPorts: PortRange{First: 10000, Last: 10003}},
		}
		lm := &v1alpha1.LiveMigration{Status: v1alpha1.LiveMigrationStatus{
			DomainUUID: guestUUID, SourceNode: "node-a", Attempt: &v1alpha1.AttemptStatus{ID: "1"}, Source: &v1alpha1.SourceStatus{AttemptID: "1"},
		}}
		s := &targetSession{
			node: node, hv: host, log: node.Log, lm: lm, box: newMailbox(lm), section: &v1alpha1.TargetStatus{AttemptID: "1"},
			out: newReporter(node, node.Log, func(context.Context, *v1alpha1.TargetStatus) error { return nil }),
		}
		test(t.Context(), s, host)
	})
}

// TestWhatTheTargetTellsAtOnce: what may decide the outcome, and all once the source has ended.
func TestWhatTheTargetTellsAtOnce(t *testing.T) {
	t.Parallel()
	now := new(metav1.NowMicro())
	for name, c := range map[string]struct {
		source *v1alpha1.SourceStatus
		before v1alpha1.TargetStatus
		now    v1alpha1.TargetStatus
		want   urgency
	}{
		"nothing":                       {&v1alpha1.SourceStatus{AttemptID: "1"}, v1alpha1.TargetStatus{}, v1alpha1.TargetStatus{}, soon},
		"a half":                        {&v1alpha1.SourceStatus{AttemptID: "1"}, v1alpha1.TargetStatus{}, v1alpha1.TargetStatus{IncomingTime: now}, soon},
		"nothing, and no source":        {nil, v1alpha1.TargetStatus{}, v1alpha1.TargetStatus{}, soon},
		"nothing after the end":         {&v1alpha1.SourceStatus{AttemptID: "1", End: &v1alpha1.SourceEnd{}}, v1alpha1.TargetStatus{}, v1alpha1.TargetStatus{}, atOnce},
		"the guest":                     {&v1alpha1.SourceStatus{AttemptID: "1"}, v1alpha1.TargetStatus{}, v1alpha1.TargetStatus{ArrivedTime: now}, atOnce},
		"all of the guest":              {&v1alpha1.SourceStatus{AttemptID: "1"}, v1alpha1.TargetStatus{}, v1alpha1.TargetStatus{WholeTime: now}, atOnce},
		"the end of the guest":          {&v1alpha1.SourceStatus{AttemptID: "1"}, v1alpha1.TargetStatus{}, v1alpha1.TargetStatus{LostTime: now}, atOnce},
		"the guest, as was told before": {&v1alpha1.SourceStatus{AttemptID: "1"}, v1alpha1.TargetStatus{ArrivedTime: now}, v1alpha1.TargetStatus{ArrivedTime: now}, soon},
	} {
		s := &targetSession{lm: &v1alpha1.LiveMigration{Status: v1alpha1.LiveMigrationStatus{Attempt: &v1alpha1.AttemptStatus{ID: "1"}, Source: c.source}}, section: &c.before}
		if got := s.whenToTell(&c.now); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

// completed is a host with statistics of a job that is over.
type completed struct {
	*fake.Host
	stats hypervisor.JobStats
	err   error
}

func (h *completed) CompletedJobStats(context.Context, string) (hypervisor.JobStats, error) {
	return h.stats, h.err
}

// TestTheMeasuredDowntime is that of a job that is over, if libvirt has measured it.
func TestTheMeasuredDowntime(t *testing.T) {
	t.Parallel()
	good := hypervisor.JobStats{Type: hypervisor.JobCompleted, Downtime: 70 * time.Millisecond, DowntimeKnown: true}
	running, unknown := good, good
	running.Type, unknown.DowntimeKnown = hypervisor.JobUnbounded, false
	for name, c := range map[string]struct {
		host completed
		want bool
	}{
		"measured":            {completed{stats: good}, true},
		"of a job that runs":  {completed{stats: running}, false},
		"not measured":        {completed{stats: unknown}, false},
		"that cannot be read": {completed{stats: good, err: errors.New("busy")}, false},
	} {
		s := &targetSession{hv: &c.host, lm: &v1alpha1.LiveMigration{}}
		got := s.measuredDowntime(t.Context())
		if (got != nil) != c.want || got != nil && *got != 70 {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

// TestWhichPortsAreFree on a host with other guests: those of one that libvirt does not answer
// for are the last that are known.
func TestWhichPortsAreFree(t *testing.T) {
	const other = "22222222-2222-4222-8222-222222222222"
	listening := hypervisor.DomainXML("<domain><name>db</name><devices><serial type='tcp'><source mode='bind' host='0.0.0.0' service='10000'/></serial></devices></domain>")
	guests := listing{domains: []hypervisor.Domain{{UUID: other, Name: "db", State: hypervisor.StateRunning}}}
	for name, c := range map[string]struct {
		n      int
		change func(s *targetSession, host *fake.Host, guests *listing)
		want   []int32
		fails  bool
		says   string
	}{
		"none is wanted":         {0, func(*targetSession, *fake.Host, *listing) {}, nil, false, ""},
		"beside a guest":         {2, func(*targetSession, *fake.Host, *listing) {}, []int32{10001, 10002}, false, ""},
		"beside one that is off": {2, func(_ *targetSession, _ *fake.Host, g *listing) { g.domains[0].State = hypervisor.StateShutoff }, []int32{10000, 10001}, false, ""},
		"beside one behind another that is off": {2, func(_ *targetSession, _ *fake.Host, g *listing) {
			g.domains = append([]hypervisor.Domain{{UUID: guestUUID, Name: "off", State: hypervisor.StateShutoff}}, g.domains...)
		}, []int32{10001, 10002}, false, ""},
		"beside one that has left": {2, func(_ *targetSession, h *fake.Host, _ *listing) { h.RemoveGuest(other) }, []int32{10000, 10001}, false, ""},
		"beside a port that the user gives": {2, func(s *targetSession, _ *fake.Host, _ *listing) {
			s.lm.Spec.MigrateData = &v1alpha1.MigrateData{PortMappings: []v1alpha1.PortMapping{{From: 1, To: 10001}}}
		}, []int32{10002, 10003}, false, ""},
		"beside one that does not answer": {2, func(s *targetSession, h *fake.Host, _ *listing) {
			s.node.uses.note(other, xmlrewrite.HostUse{Ports: []int32{10002}})
			h.FailNext(fake.MethodDomainXML, fake.Error(hypervisor.KindTimeout, "no answer"))
		}, []int32{10000, 10001}, false, ""},
		"beside one that is known not to answer": {3, func(s *targetSession, _ *fake.Host, g *listing) {
			s.node.uses.note(other, xmlrewrite.HostUse{Ports: []int32{10002}})
			g.stuck = map[string]bool{other: true}
		}, []int32{10000, 10001, 10003}, false, ""},
		"beside one that cannot be read": {2, func(_ *targetSession, h *fake.Host, _ *listing) {
			h.FailNext(fake.MethodDomainXML, fake.Error(hypervisor.KindOther, "no"))
		}, nil, true, "reading what the guest db has of the host: reading the domain's definition"},
		"beside one that makes no sense": {2, func(_ *targetSession, h *fake.Host, _ *listing) {
			h.AddGuest(fake.Guest{UUID: other, Name: "db", LiveXML: "<domain"})
		}, nil, true, "reading what the guest db has of the host"},
		"too few": {4, func(*targetSession, *fake.Host, *listing) {}, nil, true, "extend the agent's --serial-ports"},
	} {
		t.Run(name, func(t *testing.T) {
			onTarget(t, func(ctx context.Context, s *targetSession, host *fake.Host) {
				host.AddGuest(fake.Guest{UUID: other, Name: "db", LiveXML: listening})
				there := listing{domains: slices.Clone(guests.domains)}
				c.change(s, host, &there)
				uses, _, err := s.survey(ctx, there)
				var got []int32
				if err == nil {
					got, err = s.reservePorts(ctx, c.n, uses)
				}
				if !slices.Equal(got, c.want) || (err != nil) != c.fails || err != nil && !strings.Contains(err.Error(), c.says) {
					t.Errorf("got %v, %v; want %v and %q", got, err, c.want, c.says)
				}
			})
		})
	}
}

// TestPortsOfAGuestAreRemembered for when libvirt does not answer for it.
func TestPortsOfAGuestAreRemembered(t *testing.T) {
	const other = "22222222-2222-4222-8222-222222222222"
	onTarget(t, func(ctx context.Context, s *targetSession, host *fake.Host) {
		host.AddGuest(fake.Guest{UUID: other, Name: "db", LiveXML: "<domain><devices><serial type='tcp'><source mode='bind' service='10002'/></serial></devices></domain>"})
		guest := hypervisor.Domain{UUID: other, Name: "db", State: hypervisor.StateRunning}
		s.node.uses.note(guestUUID, xmlrewrite.HostUse{Ports: []int32{10001}})
		for _, stuck := range []bool{false, true} {
			if got, known, err := s.useOf(ctx, guest, stuck); err != nil || !known || !slices.Equal(got.Ports, []int32{10002}) {
				t.Errorf("stuck %t: got %v, %v", stuck, got, err)
			}
		}
		if got, _ := s.node.uses.lastOf(guestUUID); !slices.Equal(got.Ports, []int32{10001}) {
			t.Errorf("those of another are %v", got)
		}
	})
}

// TestSeveralProblemsAreOne, under the reason of the first, and an error that is none goes
// first.
func TestSeveralProblemsAreOne(t *testing.T) {
	t.Parallel()
	a, b, failure := refuse("A", "CodeA", "first"), refuse("B", "CodeB", "second"), errors.New("busy")
	part := refuse("C", "CodeC", "sec")
	long := refuse("D", "CodeD", "%s", strings.Repeat("long ", migration.MaxMessage))
	var reported *refusal // As it comes back from the API.
	errors.As(long, &reported)
	reported = &refusal{*reported.problem()}
	for name, c := range map[string]struct {
		problems []error
		want     string
	}{
		"none":                     {nil, ""},
		"nothing but none":         {[]error{nil, nil}, ""},
		"one":                      {[]error{nil, a}, "A: first"},
		"two":                      {[]error{a, nil, b}, "A: first. second"},
		"three":                    {[]error{a, b, a}, "A: first. second"},
		"some of each":             {[]error{allOf([]error{a, b}), allOf([]error{b, part})}, "A: first. second. sec"},
		"some, the other way":      {[]error{allOf([]error{b, part}), allOf([]error{a, b, part})}, "B: second. sec. first"},
		"more than before":         {[]error{a, allOf([]error{a, b})}, "A: first. second"},
		"told before":              {[]error{reported, allOf([]error{long, a})}, reported.Error() + ". first"},
		"an error":                 {[]error{failure}, "busy"},
		"an error behind problems": {[]error{a, failure, b}, "busy"},
	} {
		got := ""
		if err := allOf(c.problems); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
		var r *refusal
		if errors.As(allOf(c.problems), &r) && len(r.Blockers) != strings.Count(c.want, ". ")+1 {
			t.Errorf("%s: the blockers are %+v", name, r.Blockers)
		}
	}
	if message := a.Error(); message != "A: first" {
		t.Errorf("the first has become %q", message)
	}
}

// TestWhichEventTellsOfAHalf: the start of one that a migration brings.
func TestWhichEventTellsOfAHalf(t *testing.T) {
	event := func(kind hypervisor.EventType, l hypervisor.Lifecycle, detail string) hypervisor.Event {
		return hypervisor.Event{Type: kind, Lifecycle: l, Detail: detail}
	}
	for name, c := range map[string]struct {
		events []hypervisor.Event
		want   bool
	}{
		"it begins":           {[]hypervisor.Event{event(hypervisor.EventLifecycle, hypervisor.LifecycleStarted, hypervisor.DetailMigrated)}, true},
		"it boots":            {[]hypervisor.Event{event(hypervisor.EventLifecycle, hypervisor.LifecycleStarted, "Booted")}, false},
		"it begins to run":    {[]hypervisor.Event{event(hypervisor.EventLifecycle, hypervisor.LifecycleResumed, hypervisor.DetailMigrated)}, false},
		"another has left":    {[]hypervisor.Event{event(hypervisor.EventLifecycle, hypervisor.LifecycleStopped, hypervisor.DetailMigrated)}, false},
		"something else":      {[]hypervisor.Event{event(hypervisor.EventIteration, hypervisor.LifecycleStarted, hypervisor.DetailMigrated)}, false},
		"it begins, and runs": {[]hypervisor.Event{event(hypervisor.EventLifecycle, hypervisor.LifecycleStarted, hypervisor.DetailMigrated), event(hypervisor.EventLifecycle, hypervisor.LifecycleResumed, hypervisor.DetailMigrated)}, true},
	} {
		t.Run(name, func(t *testing.T) {
			onTarget(t, func(ctx context.Context, s *targetSession, _ *fake.Host) {
				events := make(chan hypervisor.Event, 1)
				for _, e := range c.events {
					events <- e
					if !s.await(ctx, events, 0) {
						t.Error("the session ends")
					}
				}
				if s.incoming != c.want {
					t.Errorf("it is heard of: %t", s.incoming)
				}
			})
		})
	}
}

// TestALeftHalfIsRemovedByTheNextAgent, which asks the source once more before.
func TestALeftHalfIsRemovedByTheNextAgent(t *testing.T) {
	inWorld(t, func(w *world) {
		w.fleet.ScriptNext(guestUUID, fake.Script{Ending: fake.EndsShellLeft})
		lm := w.migrate(guestUUID)
		lm = w.await(lm, "the target's answer", func(lm *v1alpha1.LiveMigration) bool {
			return lm.Status.Source != nil && lm.Status.Source.End != nil && lm.Status.Target.ConfirmedTime != nil
		})
		before := lm.Status.Target.Observation
		w.b.restart()
		lm = w.settle(lm)
		w.requireEnd(lm, v1alpha1.PhaseFailed, v1alpha1.ReasonMigrationFailed, "")
		w.requireNothingLeft(lm)
		w.requireOnce("node-a")
		if now := lm.Status.Target.Observation; now < before+2 {
			t.Errorf("the number of what the target shows was %d, and is %d", before, now)
		}
	})
}

// TestWhenAGuestHasArrived: as soon as it runs on the target, though memory follows, or once
// all of it is there, though it stands still.
func TestWhenAGuestHasArrived(t *testing.T) {
	t.Run("in post-copy", func(t *testing.T) {
		inWorld(t, func(w *world) {
			w.busy()
			lm := w.migrateWith(guestUUID, keepGoing(true))
			w.copying(lm)
			w.ask(lm, v1alpha1.AnnotationForceComplete, "1")
			lm = w.settle(lm)
			w.requireEnd(lm, v1alpha1.PhaseSucceeded, v1alpha1.ReasonMigrated, "ForceComplete 1 Done")
			if s := lm.Status.Target; s.ArrivedTime == nil || s.WholeTime == nil || s.WholeTime.Sub(s.ArrivedTime.Time) < time.Second {
				t.Errorf("it is said to have arrived at %v, and all of it at %v", s.ArrivedTime, s.WholeTime)
			}
		})
	})
	t.Run("paused", func(t *testing.T) {
		inWorld(t, func(w *world) {
			w.fleet.Host("node-a").AddGuest(fake.Guest{UUID: guestUUID, Name: "web", Persistent: true, State: hypervisor.StatePaused, Reason: hypervisor.ReasonUser})
			lm := w.settle(w.migrate(guestUUID))
			w.requireEnd(lm, v1alpha1.PhaseSucceeded, v1alpha1.ReasonMigrated, "")
			if lm.Status.Target.ArrivedTime == nil {
				t.Error("it is not said to have arrived")
			}
		})
	})
}

// TestTheDowntimeIsAskedForOnArrival, and not before: libvirt may have that of another job.
func TestTheDowntimeIsAskedForOnArrival(t *testing.T) {
	inWorld(t, func(w *world) {
		w.busy()
		b := w.fleet.Host("node-b")
		lm := w.migrateWith(guestUUID, keepGoing(false))
		w.copying(lm)
		time.Sleep(10 * time.Second)
		if n := b.Count(fake.MethodCompletedJobStats, guestUUID); n != 0 {
			t.Errorf("before, it was asked for %d times", n)
		}
		w.ask(lm, v1alpha1.AnnotationForceComplete, "1")
		lm = w.settle(lm)
		if n := b.Count(fake.MethodCompletedJobStats, guestUUID); n == 0 || n > 2 || lm.Status.Target.DowntimeMilliseconds == nil {
			t.Errorf("it was asked for %d times, and is %v", n, lm.Status.Target.DowntimeMilliseconds)
		}
	})
}

// TestACleanupOnTheTargetThatFails is logged, and what there is then is told either way.
func TestACleanupOnTheTargetThatFails(t *testing.T) {
	for _, fails := range []bool{false, true} {
		onTarget(t, func(ctx context.Context, s *targetSession, host *fake.Host) {
			var book logBook
			s.log = book.logger()
			host.AddGuest(fake.Guest{UUID: guestUUID, Name: "web", Persistent: true})
			s.settle(ctx, "Cleaning up", func(context.Context, string) error {
				if fails {
					return errors.New("no")
				}
				return nil
			})
			if logged := book.count("The cleanup failed") > 0; logged != fails {
				t.Errorf("fails %t: the log says %q", fails, book.lines)
			}
			if s.section.Domain == nil || s.section.Domain.State != "Running" || s.section.ConfirmedTime == nil {
				t.Errorf("fails %t: the section is %+v", fails, s.section)
			}
		})
	}
}
