package metrics

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/migration"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func after(d time.Duration) *metav1.MicroTime { return new(metav1.NewMicroTime(epoch.Add(d))) }

// newMigration returns one that copies its guest.
func newMigration() *v1alpha1.LiveMigration {
	lm := &v1alpha1.LiveMigration{ObjectMeta: metav1.ObjectMeta{Name: "m", UID: "1", CreationTimestamp: metav1.NewTime(epoch)}}
	st := &lm.Status
	st.Phase, st.SourceNode, st.TargetNode = v1alpha1.PhaseMigrating, "node-a", "node-b"
	st.Attempt = &v1alpha1.AttemptStatus{ID: "1", AdmittedTime: *after(2 * time.Second), CopyGrantedTime: after(20 * time.Second)}
	st.Source = &v1alpha1.SourceStatus{AttemptID: "1", StartRequestedTime: after(21 * time.Second)}
	st.Target = &v1alpha1.TargetStatus{AttemptID: "1", ReadyTime: after(2200 * time.Millisecond)}
	st.Progress = &v1alpha1.ProgressStatus{
		MemoryIteration: 3, Memory: &v1alpha1.TransferStatus{TotalBytes: 1 << 30, ProcessedBytes: 3 << 30},
	}
	return lm
}

// ended returns a migration as it is after its end.
func ended(lm *v1alpha1.LiveMigration, phase v1alpha1.LiveMigrationPhase, reason string) *v1alpha1.LiveMigration {
	lm = lm.DeepCopy()
	status := metav1.ConditionFalse
	if phase == v1alpha1.PhaseSucceeded {
		status = metav1.ConditionTrue
	}
	lm.Status.Phase, lm.Status.CompletionTime = phase, &metav1.Time{Time: epoch.Add(45 * time.Second)}
	meta.SetStatusCondition(&lm.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionSucceeded, Status: status, Reason: reason})
	return lm
}

func noState() (State, bool) { return State{}, false }

// values returns what a collector says, but for zeros: counters and gauges by their name
// and labels, and of histograms the count and the sum.
func values(t *testing.T, c prometheus.Collector) map[string]float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(c)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			key := strings.TrimPrefix(f.GetName(), "virtferry_")
			if len(labels) > 0 {
				key += "{" + strings.Join(labels, ",") + "}"
			}
			out[key] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
			if h := m.GetHistogram(); h != nil {
				delete(out, key)
				out[key+" count"], out[key+" sum"] = float64(h.GetSampleCount()), h.GetSampleSum()
			}
		}
	}
	maps.DeleteFunc(out, func(_ string, v float64) bool { return v == 0 })
	return out
}

func TestWhatAnEndCounts(t *testing.T) {
	t.Parallel()
	change := func(f func(*v1alpha1.LiveMigration)) *v1alpha1.LiveMigration {
		lm := newMigration()
		f(lm)
		return lm
	}
	common := map[string]float64{
		"migration_queue_wait_seconds count": 1, "migration_queue_wait_seconds sum": 20,
		"migration_preparation_seconds count": 1, "migration_preparation_seconds sum": .2,
		"migration_transferred_bytes{memory} count": 1, "migration_transferred_bytes{memory} sum": 3 << 30,
		"migration_passes count": 1, "migration_passes sum": 3,
	}
	with := func(more map[string]float64) map[string]float64 {
		out := maps.Clone(common)
		maps.Copy(out, more)
		return out
	}
	failed := map[string]float64{
		"migration_duration_seconds{Failed} count": 1, "migration_duration_seconds{Failed} sum": 45,
	}
	tests := map[string]struct {
		before *v1alpha1.LiveMigration
		after  *v1alpha1.LiveMigration
		want   map[string]float64
	}{
		"a success with a downtime": {
			before: newMigration(),
			after: ended(change(func(lm *v1alpha1.LiveMigration) {
				lm.Status.DowntimeMilliseconds = new(int64(200))
				lm.Status.Progress.Switchover = v1alpha1.SwitchoverConverged
			}), v1alpha1.PhaseSucceeded, v1alpha1.ReasonMigrated),
			want: with(map[string]float64{
				"migrations_ended_total{Succeeded,Migrated}":              1,
				"migrations_between_nodes_total{Succeeded,node-a,node-b}": 1,
				"migration_duration_seconds{Succeeded} count":             1, "migration_duration_seconds{Succeeded} sum": 45,
				"migration_downtime_seconds{Converged} count": 1, "migration_downtime_seconds{Converged} sum": .2,
				"migration_downtime_ratio{Converged} count": 1, "migration_downtime_ratio{Converged} sum": .4,
			}),
		},
		"a dry run is no migration": {
			before: newMigration(),
			after: ended(change(func(lm *v1alpha1.LiveMigration) { lm.Spec.DryRun = new(true) }),
				v1alpha1.PhaseSucceeded, v1alpha1.ReasonChecksPassed),
			want: map[string]float64{"dry_runs_ended_total{Succeeded,ChecksPassed}": 1},
		},
		"nor is one that has found a fault": {
			before: newMigration(),
			after: ended(change(func(lm *v1alpha1.LiveMigration) { lm.Spec.DryRun = new(true) }),
				v1alpha1.PhaseFailed, v1alpha1.ReasonTargetCheckFailed),
			want: map[string]float64{"dry_runs_ended_total{Failed,TargetCheckFailed}": 1},
		},
		"nor is one whose reason is made up": {
			before: newMigration(),
			after: ended(change(func(lm *v1alpha1.LiveMigration) { lm.Spec.DryRun = new(true) }),
				v1alpha1.PhaseFailed, "MadeUp"),
			want: map[string]float64{"dry_runs_ended_total{Failed,Other}": 1},
		},
		"the downtime comes later, and the allowed one was the user's": {
			before: ended(newMigration(), v1alpha1.PhaseSucceeded, v1alpha1.ReasonMigrated),
			after: ended(change(func(lm *v1alpha1.LiveMigration) {
				lm.Spec.Options = &v1alpha1.MigrationOptions{MaxDowntimeMilliseconds: new(int64(100))}
				lm.Status.DowntimeMilliseconds = new(int64(200))
				lm.Status.Progress.Switchover = "Whim"
			}), v1alpha1.PhaseSucceeded, v1alpha1.ReasonMigrated),
			want: map[string]float64{
				"migration_downtime_seconds{Other} count": 1, "migration_downtime_seconds{Other} sum": .2,
				"migration_downtime_ratio{Other} count": 1, "migration_downtime_ratio{Other} sum": 2,
			},
		},
		"the downtime comes before the agent has told how the guest got over": {
			before: ended(newMigration(), v1alpha1.PhaseSucceeded, v1alpha1.ReasonMigrated),
			after: ended(change(func(lm *v1alpha1.LiveMigration) {
				lm.Status.Source.Steering = &v1alpha1.SteeringStatus{Pause: &v1alpha1.SteeringStep{Reason: v1alpha1.StepReasonRequested}, PausedTime: after(30 * time.Second)}
				lm.Status.DowntimeMilliseconds = new(int64(5000))
			}), v1alpha1.PhaseSucceeded, v1alpha1.ReasonMigrated),
			want: map[string]float64{
				"migration_downtime_seconds{Paused} count": 1, "migration_downtime_seconds{Paused} sum": 5,
				"migration_downtime_ratio{Paused} count": 1, "migration_downtime_ratio{Paused} sum": 10,
			},
		},
		"a post-copy that went on by itself before libvirt could resume it": {
			before: newMigration(),
			after: ended(change(func(lm *v1alpha1.LiveMigration) {
				lm.Status.Source.Recovery = &v1alpha1.RecoveryStatus{Attempts: 6}
			}), v1alpha1.PhaseSucceeded, v1alpha1.ReasonMigrated),
			want: with(map[string]float64{
				"migrations_ended_total{Succeeded,Migrated}":              1,
				"migrations_between_nodes_total{Succeeded,node-a,node-b}": 1,
				"migration_duration_seconds{Succeeded} count":             1, "migration_duration_seconds{Succeeded} sum": 45,
				"post_copy_interrupted_total{Resumed}": 1,
				"post_copy_recovery_attempts_total":    6,
			}),
		},
		"a guest that its user had paused has no downtime": {
			before: ended(newMigration(), v1alpha1.PhaseSucceeded, v1alpha1.ReasonMigrated),
			after: ended(change(func(lm *v1alpha1.LiveMigration) {
				lm.Status.Source.GuestPaused, lm.Status.DowntimeMilliseconds = true, new(int64(200))
			}), v1alpha1.PhaseSucceeded, v1alpha1.ReasonMigrated),
			want: map[string]float64{},
		},
		"what had ended before is not counted again": {
			before: ended(newMigration(), v1alpha1.PhaseSucceeded, v1alpha1.ReasonMigrated),
			after:  ended(newMigration(), v1alpha1.PhaseSucceeded, v1alpha1.ReasonMigrated),
			want:   map[string]float64{},
		},
		"what goes on is not counted": {before: newMigration(), after: newMigration(), want: map[string]float64{}},
		"a post-copy that was forced and interrupted, and was aborted in vain": {
			before: newMigration(),
			after: ended(change(func(lm *v1alpha1.LiveMigration) {
				s := lm.Status.Source
				s.Steering = &v1alpha1.SteeringStatus{
					PostCopy: &v1alpha1.SteeringStep{Reason: v1alpha1.StepReasonRequested}, PostCopyTime: after(30 * time.Second),
					Pause: &v1alpha1.SteeringStep{Reason: "NotConverging"}, Abort: &v1alpha1.SteeringStep{Reason: v1alpha1.ReasonCancelled},
				}
				s.Recovery = &v1alpha1.RecoveryStatus{Attempts: 4, ResumedTime: after(40 * time.Second)}
			}), v1alpha1.PhaseFailed, v1alpha1.ReasonMigrationFailed),
			want: with(map[string]float64{
				"migrations_ended_total{Failed,MigrationFailed}":       1,
				"migrations_between_nodes_total{Failed,node-a,node-b}": 1,
				"migration_duration_seconds{Failed} count":             1,
				"migration_duration_seconds{Failed} sum":               45,
				"migrations_forced_total{Requested,PostCopy}":          1,
				"migrations_forced_total{NotConverging,Pause}":         1,
				"migrations_post_copy_total":                           1,
				"migrations_aborted_total{Cancelled}":                  1,
				"post_copy_interrupted_total{Resumed}":                 1,
				"post_copy_recovery_attempts_total":                    4,
			}),
		},
		"steps that libvirt refused were not taken": {
			before: newMigration(),
			after: ended(change(func(lm *v1alpha1.LiveMigration) {
				lm.Status.Source.Steering = &v1alpha1.SteeringStatus{
					PostCopy: &v1alpha1.SteeringStep{Reason: v1alpha1.StepReasonRequested, Refused: true},
					Pause:    &v1alpha1.SteeringStep{Reason: v1alpha1.StepReasonRequested, Refused: true},
				}
			}), v1alpha1.PhaseSucceeded, v1alpha1.ReasonMigrated),
			want: with(map[string]float64{
				"migrations_ended_total{Succeeded,Migrated}":              1,
				"migrations_between_nodes_total{Succeeded,node-a,node-b}": 1,
				"migration_duration_seconds{Succeeded} count":             1, "migration_duration_seconds{Succeeded} sum": 45,
			}),
		},
		"one that arrived before it could be aborted was not aborted": {
			before: newMigration(),
			after: ended(change(func(lm *v1alpha1.LiveMigration) {
				lm.Status.Source.Steering = &v1alpha1.SteeringStatus{Abort: &v1alpha1.SteeringStep{Reason: v1alpha1.ReasonCancelled}}
			}), v1alpha1.PhaseSucceeded, v1alpha1.ReasonMigrated),
			want: with(map[string]float64{
				"migrations_ended_total{Succeeded,Migrated}":              1,
				"migrations_between_nodes_total{Succeeded,node-a,node-b}": 1,
				"migration_duration_seconds{Succeeded} count":             1, "migration_duration_seconds{Succeeded} sum": 45,
			}),
		},
		"what an agent makes up makes no series": {
			before: newMigration(),
			after: ended(change(func(lm *v1alpha1.LiveMigration) {
				lm.Status.Source.Steering = &v1alpha1.SteeringStatus{Abort: &v1alpha1.SteeringStep{Reason: "Whim"}}
				lm.Status.Source.Recovery = &v1alpha1.RecoveryStatus{}
			}), v1alpha1.PhaseFailed, "MadeUp"),
			want: with(map[string]float64{
				"migrations_ended_total{Failed,Other}":                 1,
				"migrations_between_nodes_total{Failed,node-a,node-b}": 1,
				"migration_duration_seconds{Failed} count":             1,
				"migration_duration_seconds{Failed} sum":               45,
				"migrations_aborted_total{Other}":                      1,
				"post_copy_interrupted_total{NotResumed}":              1,
			}),
		},
		"one that found no guest": {
			before: &v1alpha1.LiveMigration{},
			after: ended(&v1alpha1.LiveMigration{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(epoch)}},
				v1alpha1.PhaseFailed, v1alpha1.ReasonDomainNotFound),
			want: func() map[string]float64 {
				out := maps.Clone(failed)
				out["migrations_ended_total{Failed,DomainNotFound}"] = 1
				return out
			}(),
		},
		"one whose clocks disagree": {
			before: newMigration(),
			after: ended(change(func(lm *v1alpha1.LiveMigration) {
				lm.CreationTimestamp, lm.Status.Progress = metav1.NewTime(epoch.Add(time.Hour)), nil
				lm.Status.Target.ReadyTime = after(0)
			}), v1alpha1.PhaseCancelled, v1alpha1.ReasonCancelled),
			want: map[string]float64{
				"migrations_ended_total{Cancelled,Cancelled}": 1, "migrations_between_nodes_total{Cancelled,node-a,node-b}": 1, "migration_duration_seconds{Cancelled} count": 1,
				"migration_queue_wait_seconds count": 1, "migration_preparation_seconds count": 1,
			},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := NewManager(noState)
			m.Wrote(tt.before, tt.after)
			got := values(t, m)
			for key, want := range tt.want {
				if have := got[key]; have < want-1e-9 || have > want+1e-9 {
					t.Errorf("%s is %v, not %v", key, have, want)
				}
				delete(got, key)
			}
			for key, have := range got {
				t.Errorf("%s is %v; it was not to be counted", key, have)
			}
		})
	}
}

// TestTheFirstBetweenTwoNodesIsSeen: the series is there, at zero, before the first guest
// has arrived, or its first increase would be none.
func TestTheFirstBetweenTwoNodesIsSeen(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(*v1alpha1.LiveMigrationStatus)
		want   int
	}{
		"one that is under way":              {func(*v1alpha1.LiveMigrationStatus) {}, 3},
		"one that is not admitted":           {func(st *v1alpha1.LiveMigrationStatus) { st.Attempt = nil }, 0},
		"one that looks at the target alone": {func(st *v1alpha1.LiveMigrationStatus) { st.SourceNode = "" }, 0},
	} {
		lm := newMigration()
		tt.change(&lm.Status)
		for told, tell := range map[string]func(*Manager){
			"which is written": func(m *Manager) { m.Wrote(lm, lm) },
			"which is found":   func(m *Manager) { m.Saw(lm) },
		} {
			m := NewManager(noState)
			tell(m)
			if got := testutil.CollectAndCount(m, defBetween.name); got != tt.want {
				t.Errorf("%s, %s: there are %d series, not %d", name, told, got, tt.want)
			}
		}
	}
}

// TestAnEndThatIsFoundMakesNoSeries: a manager that starts finds thousands of them.
func TestAnEndThatIsFoundMakesNoSeries(t *testing.T) {
	t.Parallel()
	m := NewManager(noState)
	m.Saw(ended(newMigration(), v1alpha1.PhaseSucceeded, v1alpha1.ReasonMigrated))
	if got := testutil.CollectAndCount(m, defBetween.name); got != 0 {
		t.Errorf("there are %d series", got)
	}
}

func TestState(t *testing.T) {
	t.Parallel()
	m := NewManager(func() (State, bool) {
		return State{
			Phases: map[v1alpha1.LiveMigrationPhase]Stay{
				v1alpha1.PhasePending: {Count: 7}, v1alpha1.PhaseMigrating: {Count: 2, Longest: time.Minute},
			},
			Waiting: map[migration.Wait]int{"Source": 3, migration.WaitOtherMigration: 1}, Oldest: time.Hour,
			Copying: Slots{Used: 2, Free: 1}, Preparing: Slots{Used: 4, Free: 5},
			Nodes: map[string]NodeState{
				"node-a": NodeAvailable, "node-b": NodeAvailable, "node-c": NodeAgentLost, "node-d": NodeDisconnected, "node-e": NodeUnreadable,
			},
			UnreadableMigrations: 2,
		}, true
	})
	want := map[string]float64{
		"migrations{Pending}": 7, "migrations{Migrating}": 2, "migrations_longest_seconds{Migrating}": 60,
		"queue_length{Source}": 3, "queue_length{OtherMigration}": 1, "queue_oldest_seconds": 3600,
		"slots_used{copying}": 2, "slots_free{copying}": 1, "slots_used{preparing}": 4, "slots_free{preparing}": 5,
		"hypervisors{Available}": 2, "hypervisors{AgentLost}": 1, "hypervisors{Disconnected}": 1, "hypervisors{Unreadable}": 1,
		"hypervisor_ready{node-a}": 1, "hypervisor_ready{node-b}": 1, "hypervisor_agent_lost{node-c}": 1,
		"objects_unreadable{LiveMigration}": 2, "objects_unreadable{Hypervisor}": 1,
	}
	if diff := cmp.Diff(want, values(t, m)); diff != "" {
		t.Errorf("what is told differs (-want +got):\n%s", diff)
	}
}

// TestNobodyElseTellsTheState: the managers that do not lead would tell of an empty
// cluster.
func TestNobodyElseTellsTheState(t *testing.T) {
	t.Parallel()
	for name, leads := range map[string]bool{"it leads": true, "another leads": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := NewManager(func() (State, bool) { return State{Nodes: map[string]NodeState{"node-a": NodeAvailable}}, leads })
			if n := testutil.CollectAndCount(m, defSlotsFree.name); n > 0 != leads {
				t.Errorf("there are %d series of slots", n)
			}
			if testutil.CollectAndCount(m, defEnded.name) == 0 {
				t.Error("there are no counters")
			}
		})
	}
}

// requireDeclared fails unless a collector that has something of everything tells what is
// declared, and as it is declared.
func requireDeclared(t *testing.T, c prometheus.Collector, declared []definition) {
	t.Helper()
	problems, err := testutil.CollectAndLint(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(c)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	left := map[string]definition{}
	for _, d := range declared {
		left[d.name] = d
		if strings.HasSuffix(d.help, ".") || d.help == "" {
			t.Errorf("%s: the help is %q", d.name, d.help)
		}
	}
	for _, f := range families {
		d, ok := left[f.GetName()]
		if !ok {
			t.Errorf("%s is not declared", f.GetName())
			continue
		}
		delete(left, f.GetName())
		if got := strings.ToLower(f.GetType().String()); got != string(d.kind) {
			t.Errorf("%s is a %s, not a %s", d.name, got, d.kind)
		}
	}
	for name := range left {
		t.Errorf("%s is declared and not told", name)
	}
}

func TestTheManagersMetricsAreAsDeclared(t *testing.T) {
	t.Parallel()
	m := NewManager(func() (State, bool) { return State{Nodes: map[string]NodeState{"node-a": NodeAvailable}}, true })
	m.Wrote(newMigration(), newMigration())
	requireDeclared(t, m, managerDefinitions())
}

// TestEveryEndHasItsSeries: a reason that the API gains must be counted as such.
func TestEveryEndHasItsSeries(t *testing.T) {
	t.Parallel()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join("..", "..", "api", "v1alpha1", "conditions.go"), nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{}
	for _, decl := range file.Decls {
		block, ok := decl.(*ast.GenDecl)
		if !ok || block.Tok != token.CONST {
			continue
		}
		outcome := map[bool]string{
			strings.HasPrefix(block.Doc.Text(), "Reasons of success"): "success",
			strings.HasPrefix(block.Doc.Text(), "Reasons of failure"): "failure",
		}[true]
		for _, spec := range block.Specs {
			value, err := strconv.Unquote(spec.(*ast.ValueSpec).Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			want[outcome] = append(want[outcome], value)
		}
	}
	of := func(phases ...v1alpha1.LiveMigrationPhase) []string {
		var all []string
		for _, phase := range phases {
			all = append(all, append(endReasons[phase], dryRunReasons[phase]...)...)
		}
		slices.Sort(all)
		return slices.Compact(all)
	}
	got := map[string][]string{
		"success": of(v1alpha1.PhaseSucceeded), "failure": of(v1alpha1.PhaseFailed, v1alpha1.PhaseCancelled),
	}
	for outcome, reasons := range got {
		slices.Sort(want[outcome])
		if diff := cmp.Diff(want[outcome], reasons); diff != "" {
			t.Errorf("the reasons of %s differ (-want +got):\n%s", outcome, diff)
		}
	}
}

// TestNobodyCounts: a reconciler that tells Prometheus nothing writes ends all the same.
func TestNobodyCounts(t *testing.T) {
	t.Parallel()
	var m *Manager
	m.Saw(newMigration())
	m.Wrote(newMigration(), ended(newMigration(), v1alpha1.PhaseFailed, v1alpha1.ReasonMigrationFailed))
}
