package main

// sabotages are the ways in which the product is broken. Each has to break something that
// somebody who sees all hosts and all objects can see.
//
// Left out is what nobody could see in a world. That an agent does not look at who has
// paused a guest before it removes the half on the target: the fake hypervisors have no
// moment at which the half is whole and looks like one that is not. That a guest which its
// user had paused counts as paused by us: such a guest is not paused a second time, so that
// there is nothing to resume. That we do not resume: the fake's guests go on by themselves
// when their migration fails.
func sabotages() []sabotage {
	const (
		answers  = "pkg/migration/answers.go"
		outcome  = "pkg/migration/outcome.go"
		requests = "pkg/migration/requests.go"
		source   = "pkg/migration/source.go"
		target   = "pkg/migration/target.go"
		ttl      = "controllers/ttl_controller.go"
		writer   = "controllers/status_writer.go"
	)
	return []sabotage{
		{"limits", "more guests are copied at once than may", []change{{
			"pkg/migration/schedule.go", "func (s *scheduler) lacks(c *Claim) (x slot, ok bool) {\n",
			"func (s *scheduler) lacks(c *Claim) (x slot, ok bool) {\n\tif s != nil {\n\t\treturn slot{}, false\n\t}\n",
		}}},
		{"no-grant", "a copy begins without its slot", []change{{
			source, "case lm.Status.Attempt.CopyGrantedTime != nil:", "case lm != nil:",
		}}},
		{"ledger", "of two managers, each promises the same slot", []change{{
			"controllers/ledger.go", ".WithUID(l.uid).WithResourceVersion(l.version).", ".WithUID(l.uid).",
		}}},
		{"let-go", "an object that is deleted goes before its migration has ended", []change{
			{
				"controllers/livemigration_controller.go", "if migration.Finished(lm) && hasFinalizer(lm) &&",
				"if (migration.Finished(lm) || !lm.DeletionTimestamp.IsZero()) && hasFinalizer(lm) &&",
			},
			{writer, `{"op": "test", "path": "/status/completionTime", "value": lm.Status.CompletionTime},`, ""},
		}},
		{"old-news", "a manager decides on an object that has changed since it was read", []change{{
			writer, ".WithUID(lm.UID).WithResourceVersion(lm.ResourceVersion).WithStatus(status)", ".WithUID(lm.UID).WithStatus(status)",
		}}},
		{"intent", "a job begins whose migration the manager has ended meanwhile", []change{{
			"pkg/agent/source_start.go", "SourceReport{Section: section}, true)", "SourceReport{Section: section}, false)",
		}}},
		{"no-cancel", "a job that is to be cancelled goes on", []change{{
			requests, "return !lm.DeletionTimestamp.IsZero() || cancelled(Due(lm, section))", "return false",
		}}},
		{"no-force", "a migration is not completed by force", []change{{
			requests, "return !CancelDue(lm, section) && slices", "return lm == nil && slices",
		}}},
		{"time-to-live", "an object goes before its time to live is over", []change{{
			ttl, "return wait, wait <= 0", "return 0, true",
		}}},
		{"no-time-to-live", "an object goes that has no time to live", []change{
			{ttl, "return ok && lm.Spec.TTLSecondsAfterFinished != nil &&", "return ok &&"},
			{ttl, "ttl == nil || done == nil ||", "done == nil ||"},
			{ttl, "wait = done.Add(time.Duration(*ttl) * time.Second).Sub(r.Clock.Now())", "if ttl == nil {\n\t\treturn 0, true\n\t}\n\twait = done.Add(time.Duration(*ttl) * time.Second).Sub(r.Clock.Now())"},
		}},
		{"pause-at-failure", "a guest stands paused after a failure, and nobody is told", []change{{
			"pkg/agent/source.go", "\ts.section.End = end\n",
			"\ts.section.End = end\n\tif end.Call == v1alpha1.CallFailed {\n\t\t_ = s.hv.Suspend(context.Background(), s.lm.Status.DomainUUID)\n\t}\n",
		}}},
		{"pause-again", "a copy that its user has resumed is paused again", []change{{
			source, ", end.CopySettledTime != nil:\n\t\treturn false\n\tcase end.CopyPausedTime == nil:\n", ":\n\t\treturn false\n\tcase end != nil:\n",
		}}},
		{"no-pause", "a guest goes on running on two hosts", []change{{
			outcome, "out.PauseSource = row.pauseSource &&", "out.PauseSource = false &&",
		}}},
		{"clocks", "an answer counts by the clocks of two hosts", []change{{
			answers, "target.AnswersSource >= source.End.Observation", "target.ConfirmedTime.After(source.End.Time.Time)",
		}}},
		{"old-answer", "something is done because of an answer that is old", []change{{
			answers, "return !asked.IsZero() && now.Sub(asked) < AnswerAge", "return true",
		}}},
		{"source-asks-not", "the source acts without having asked the target", []change{
			{source, "case f.Domain == nil || !TargetAnswers(f.Section, target):", "case f.Domain == nil:"},
			{source, "if action != SourceWait && !recent(f.Asked, now) {", "if action != SourceWait && f.Domain == nil {"},
		}},
		{"target-asks-not", "the target acts without having asked the source", []change{
			{target, "\tcase !SourceAnswers(source, f.Section):\n\t\treturn TargetObserve\n", ""},
			{target, "\tcase !recent(f.Asked, now):\n\t\treturn TargetAsk\n", ""},
		}},
		{"destroy-early", "an old copy goes before the guest was seen to run on the target", []change{{
			"pkg/migration/leftover.go", "return target.Domain.State == string(hypervisor.StateRunning) || source.GuestPaused", "return true",
		}}},
		{"trust", "a migration succeeds because libvirt says so", []change{{
			outcome, "\tconfirmed := TargetAnswers(source, target)\n\tswitch {",
			"\tconfirmed := TargetAnswers(source, target)\n\tswitch {\n\tcase source.End.Call == v1alpha1.CallSucceeded && target != nil && target.Domain != nil:\n\t\treturn succeeded(lm, source, now)",
		}}},
		{"unconfirmed", "an outcome is final though the target was not read", []change{{
			outcome, "\tconfirmed := TargetAnswers(source, target)\n", "\tconfirmed := true\n",
		}}},
		{"half-failed", "a guest in two halves counts as one that has stayed", []change{{
			outcome, "\tconfirmed := TargetAnswers(source, target)\n\tswitch {",
			"\tconfirmed := TargetAnswers(source, target)\n\tswitch {\n\tcase confirmed && sourceSideOf(source, target) == SidePostcopy:\n\t\treturn failed(lm, source)",
		}}},
		{"shell-left", "a failed migration leaves a shell on the target", []change{{
			outcome, "\tconfirmed := TargetAnswers(source, target)\n\tswitch {",
			"\tconfirmed := TargetAnswers(source, target)\n\tswitch {\n\tcase confirmed && SideOf(&source.End.Domain) == SideLive && targetSideOf(source, target) == SideIncoming:\n\t\treturn failed(lm, source)",
		}}},
		{"definition-left", "a definition stays on the source after a success", []change{{
			outcome, "UndefineSource: source.End.Domain.Defined && st.Target.Domain.Defined,", "UndefineSource: false,",
		}}},
		{"only-definition", "the source's definition goes where the target has none", []change{{
			outcome, "UndefineSource: source.End.Domain.Defined && st.Target.Domain.Defined,", "UndefineSource: source.End.Domain.Defined,",
		}}},
		{"slow", "a verdict comes later than it may", []change{{
			outcome, "func settleBy(lm *v1alpha1.LiveMigration, now time.Time, patience time.Duration) time.Time {\n",
			"func settleBy(lm *v1alpha1.LiveMigration, now time.Time, patience time.Duration) time.Time {\n\tpatience += 100 * time.Second\n",
		}}},
		{"not-by-uuid", "a guest is not found by its UUID", []change{{
			"pkg/migration/resolve.go", "\tname := known[0].domain.Name\n",
			"\tname := known[0].domain.Name\n\tif isUUID(spec.Domain) {\n\t\treturn problem(v1alpha1.ReasonDomainNotFound, false, \"No node lists a guest %q\", spec.Domain)\n\t}\n",
		}}},
		{"dry-run", "a dry run moves its guest", []change{
			{source, "\tcase DryRun(lm):\n\t\treturn SourcePlan\n", ""},
			{source, "case lm.Status.Attempt.CopyGrantedTime != nil:", "case lm.Status.Attempt.CopyGrantedTime != nil || DryRun(lm):"},
		}},
		{"no-resume", "a guest that we have paused stays so", []change{
			{outcome, "ResumeTarget:   PausedByUs(source) &&", "ResumeTarget:   false && PausedByUs(source) &&"},
			{outcome, "out.ResumeSource = source.End.Call == v1alpha1.CallFailed ||", "out.ResumeSource = false &&"},
		}},
	}
}
