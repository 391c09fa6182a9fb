package migration

import (
	"testing"
	"time"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// TestWhenTheTargetsAnswerIsRenewed: while the guest waits for its turn, and only then.
func TestWhenTheTargetsAnswerIsRenewed(t *testing.T) {
	t.Parallel()
	waiting := func(change func(*v1alpha1.LiveMigration)) builder {
		b := makeMigration("m").admitted().checked().ready()
		b.lm.Status.Target.Host = &v1alpha1.TargetHost{LibvirtVersion: "9.0.0"}
		change(b.lm)
		return b
	}
	asIs := func(*v1alpha1.LiveMigration) {}
	refused := func(lm *v1alpha1.LiveMigration) {
		lm.Status.Target.Problem = &v1alpha1.Problem{Reason: v1alpha1.ReasonTargetCheckFailed}
	}
	late := makeMigration("m").started()
	refused(late.lm)
	over := makeMigration("m").ended(v1alpha1.CallFailed, "", "Running/Booted").onTarget("Absent", false)
	refused(over.lm)
	for name, c := range map[string]struct {
		b    builder
		read time.Time
		want TargetAction
	}{
		"it has just been read":           {waiting(asIs), epoch, TargetObserve},
		"it is nearly too old":            {waiting(asIs), epoch.Add(time.Millisecond - HostAnswerAge), TargetObserve},
		"it is too old":                   {waiting(asIs), epoch.Add(-HostAnswerAge), TargetRenew},
		"another process has read it":     {waiting(asIs), time.Time{}, TargetRenew},
		"an older agent has said nothing": {waiting(func(lm *v1alpha1.LiveMigration) { lm.Status.Target.Host = nil }), time.Time{}, TargetObserve},
		"a dry run waits for nothing":     {waiting(func(lm *v1alpha1.LiveMigration) { lm.Spec.DryRun = new(true) }), time.Time{}, TargetObserve},
		"the source refuses the guest": {waiting(func(lm *v1alpha1.LiveMigration) {
			lm.Status.Source.Problem = &v1alpha1.Problem{Reason: v1alpha1.ReasonSourceCheckFailed}
		}), time.Time{}, TargetObserve},
		"it is to be cancelled":               {builder{waiting(asIs).deleted().lm}, time.Time{}, TargetObserve},
		"it has started":                      {makeMigration("m").started(), time.Time{}, TargetObserve},
		"it is refused":                       {waiting(refused), time.Time{}, TargetWait},
		"it was refused, but has started":     {late, time.Time{}, TargetObserve},
		"it was refused, and is over already": {over, time.Time{}, TargetConfirm},
	} {
		if got := DecideTarget(TargetFacts{Object: c.b.obj(), Section: CurrentTarget(c.b.obj()), HostRead: c.read}, epoch); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}
