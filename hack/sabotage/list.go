package main

import "slices"

// Files of the product.
const (
	adoptFile       = "pkg/agent/adopt.go"
	agentTargetFile = "pkg/agent/target.go"
	answersFile     = "pkg/migration/answers.go"
	outcomeFile     = "pkg/migration/outcome.go"
	reconcileFile   = "controllers/livemigration_controller.go"
	requestsFile    = "pkg/migration/requests.go"
	scheduleFile    = "pkg/migration/schedule.go"
	sourceFile      = "pkg/migration/source.go"
	summaryFile     = "pkg/migration/summary.go"
	targetFile      = "pkg/migration/target.go"
	ttlFile         = "controllers/ttl_controller.go"
	writerFile      = "controllers/status_writer.go"
)

// refusedLook is where the target leaves it at a look.
const refusedLook = "case migration.Refused(s.lm) && !migration.DryRun(s.lm):"

// sabotages are the ways in which the product is broken. Each has to break something that
// somebody who sees all hosts and all objects can see.
//
// Left out is what nobody could see in a world. That an agent does not look at who has
// paused a guest before it removes the half on the target: the fake hypervisors have no
// moment at which the half is whole and looks like one that is not. That a guest which its
// user had paused counts as paused by us: such a guest is not paused a second time, so that
// there is nothing to resume. What is done with the images of disks, as no guest there has
// any. That a status changes the nodes of what has started: no code of the product keeps
// itself from that, but a rule of the CRD, which the tests of the API hold.
func sabotages() []sabotage {
	return slices.Concat(
		startSabotages(), placeSabotages(), objectSabotages(), verdictSabotages(), afterSabotages(), guestSabotages(), lateSabotages(), successorSabotages(), deviceSabotages(),
	)
}

// notYet are those that the simulation is known to miss, or to find by luck alone, with the
// reason. They count, but do not make it fail.
func notYet() map[string]string {
	return map[string]string{
		"ledger":         "two managers have to take different migrations for the next one within some milliseconds",
		"old-answer":     "the observer sees when the other side has spoken, not what about, and it speaks whenever anything changes",
		"destroy-early":  "the target has to show the guest paused, which takes a person, and what a person has touched is spared",
		"no-resume":      "guests of the fake hypervisors mostly go on by themselves when their migration fails",
		"first-report":   "a report has to be on its way while its agent dies, and to arrive between two calls of the next one",
		"not-adopted":    "what the next agent is told first has to be older than what its predecessor has written",
		"slot-early":     "a Hypervisor has to be deleted, and its agent be away, while a guest leaves that node and another waits for its slot",
		"dry-runs":       "two dry runs between the same nodes have to be applied within a second of each other",
		"prepared-again": "the same, within the moment in which a target is prepared",
	}
}

// startSabotages have a job begin that may not.
func startSabotages() []sabotage {
	return []sabotage{
		{"limits", "more guests are copied at once than may", []change{{
			scheduleFile, "func (s *scheduler) lacks(c *Claim) (x slot, ok bool) {\n",
			"func (s *scheduler) lacks(c *Claim) (x slot, ok bool) {\n\tif s != nil {\n\t\treturn slot{}, false\n\t}\n",
		}}},
		{"no-grant", "a copy begins without its slot", []change{{
			sourceFile, "case lm.Status.Attempt.CopyGrantedTime != nil:", "case section.Guest != nil:",
		}}},
		{"ledger", "of two managers, each promises the same slot", []change{{
			"controllers/ledger.go", ".WithUID(l.uid).WithResourceVersion(l.version).", ".WithUID(l.uid).",
		}}},
		{"slot-early", "the slots of a source that was given up go to others while it copies", []change{{
			scheduleFile, "return since != nil && now.Sub(since.Time) >= MissingTimeout", "return since != nil",
		}}},
		{"slot-of-half", "the cluster's slot of a migration goes to another as soon as it is in post-copy", []change{{
			scheduleFile, "c.Stalled = Interrupted(source) && now.Sub(source.Recovery.BrokenTime.Time) >= stalledAfter", "c.Stalled = InPostCopy(source)",
		}}},
		{"copy-over", "slots are given back while the guest is copied", []change{{
			scheduleFile, "lostInPostCopy(lm, source, target):", "lostInPostCopy(lm, source, target), target != nil && target.IncomingTime != nil:",
		}}},
		{"intent", "a job begins whose migration the manager has ended meanwhile", []change{{
			"pkg/agent/source_start.go", "SourceReport{Section: section}, true)", "SourceReport{Section: section}, false)",
		}}},
		{"same-guest", "two migrations move the same guest", []change{{
			scheduleFile, "if first := s.guests[c.Guest]; first != nil {", "if first := s.guests[c.Guest]; first != nil && c.PassedOver {",
		}}},
		{"dry-runs", "more is tried out at once than may", []change{{scheduleFile, "s.checked[x] >= dryRuns", "s.checked[x] > dryRuns"}}},
		{"dry-run", "a dry run moves its guest", []change{
			{sourceFile, "case DryRun(lm), section.Problem != nil,", "case section.Problem != nil,"},
			{sourceFile, "case lm.Status.Attempt.CopyGrantedTime != nil:", "case DryRun(lm), lm.Status.Attempt.CopyGrantedTime != nil:"},
		}},
		{"refused-start", "a guest is started that its target has refused", []change{
			{sourceFile, "case DryRun(lm), section.Problem != nil, refusedButTold(CurrentTarget(lm)):", "case DryRun(lm), section.Problem != nil:"},
			{sourceFile, "return target != nil && target.ReadyTime != nil && target.Problem == nil", "return target != nil && (target.ReadyTime != nil || target.Problem != nil && target.Endpoint != nil)"},
		}},
		{"refused-place", "a target is prepared for a guest that its source has refused", []change{
			{agentTargetFile, refusedLook, "case migration.Refused(s.lm) && migration.LooksOnly(s.lm):"},
		}},
	}
}

// placeSabotages are about what a guest takes of its target, and how it is sent.
func placeSabotages() []sabotage {
	return []sabotage{
		{"ports", "a port is promised to two guests", []change{{
			"pkg/agent/promises.go", "used[thing] = used[thing] || other != uid", "used[thing] = used[thing] || other == *new(types.UID)",
		}}},
		{"ports-there", "a port is promised that a guest of the target has", []change{{
			"pkg/agent/hostuses.go", "\tfor _, d := range guests.domains {\n\t\tif !d.Active() {\n\t\t\tcontinue\n\t\t}\n", "\tfor _, d := range guests.domains {\n\t\tif d.UUID != \"\" {\n\t\t\tcontinue\n\t\t}\n",
		}}},
		{"cpus", "a CPU is given that another guest has or was promised", []change{{
			"pkg/agent/fill.go", "\t\thost.Used.Add(cpu)\n", "",
		}}},
		{"memory", "memory is promised to two guests", []change{{
			"pkg/agent/resources.go", "\t\tif other != uid {\n\t\t\tothers = append", "\t\tif other == \"\" {\n\t\t\tothers = append",
		}}},
		{"memory-early", "what was promised to a guest is given to others before it has come", []change{{
			"pkg/agent/resources.go", "if target.ArrivedTime != nil || source.End != nil ||", "if target.ReadyTime != nil ||",
		}}},
		{"promises-forgotten", "an agent that starts again does not know what its predecessor has promised", []change{
			{"pkg/agent/node.go", "\t\tn.ports.keep(lm.UID, section.Offer.Serial.Ports)\n", ""},
			{"pkg/agent/fill.go", "\t\tn.parts.keep(lm.UID, partsOf(lm, section.Offer))\n", ""},
			{"pkg/agent/resources.go", "\tn.claims.set(lm.UID, claimOf(lm, source, target))\n", ""},
		}},
		{"in-clear", "a guest is sent in clear that has to be encrypted", []change{{
			"pkg/migration/transfer.go", "case unknown != \"\" && !required:", "case unknown != \"\":",
		}}},
		{"encrypted", "a guest is encrypted whose user does not want that", []change{{
			"pkg/migration/transfer.go", "if o.Encryption == v1alpha1.EncryptionDisabled {", "if o.Encryption == v1alpha1.EncryptionDisabled && out.Encrypted {",
		}, {
			"pkg/migration/transfer.go", "case unknown != \"\" && !required:", "case unknown != \"\" && !required && o.Encryption != v1alpha1.EncryptionDisabled:",
		}}},
		{"resumed-in-clear", "post-copy is resumed in clear that was encrypted", []change{{
			"pkg/agent/transfer.go", "TLS: t.Encrypted,", "TLS: t.Encrypted && s.section.Recovery == nil,",
		}}},
	}
}

// successorSabotages are about an agent that goes on with what another has begun.
func successorSabotages() []sabotage {
	return []sabotage{
		{"first-report", "the first report of an agent takes back what its predecessor has sent", []change{{
			adoptFile, "s.node.Recorder.RecordSource(ctx, foundation, report, true)", "s.node.Recorder.RecordSource(ctx, foundation, report, false)",
		}}},
		{"not-adopted", "an agent that starts again goes on from what it was told first", []change{{
			adoptFile, "\ts.foundation.Store(s.lm)\n\tctx, cancel", "\tif ctx != nil {\n\t\treturn\n\t}\n\tctx, cancel",
		}}},
		{"prepared-again", "an agent that starts again prepares what its predecessor has prepared", []change{{
			adoptFile, "if current == nil || current.AttemptID != s.attempt {", "if current == nil || current.AttemptID == s.attempt {",
		}}},
	}
}

// deviceSabotages are about what is taken from a guest for its migration, and about its clock.
func deviceSabotages() []sabotage {
	const interfacesFile, agentsInterfacesFile = "pkg/migration/hostinterfaces.go", "pkg/agent/hostinterfaces.go"
	return []sabotage{
		{"interfaces-here", "a guest that stays is not given back what was taken from it", []change{
			{interfacesFile, "return neverLeft(f.Section) && f.Domain != nil", "return false && neverLeft(f.Section) && f.Domain != nil"},
			{interfacesFile, "if len(taken) == 0 || SideOf(&source.End.Domain) != SideLive {", "if len(taken) >= 0 {"},
		}},
		{"interfaces-there", "a guest that arrives is not given what was taken from it", []change{{
			interfacesFile, "if len(due) == 0 || SideOf(target.Domain) != SideLive {", "if len(due) >= 0 {",
		}}},
		{"interfaces-before", "what was taken is not given back where a migration is not started", []change{{
			interfacesFile, "return section != nil && section.StartRequestedTime == nil && len(InterfacesTaken(section)) > 0 &&", "return false && section != nil && section.StartRequestedTime == nil &&",
		}}},
		{"interfaces-unrecorded", "interfaces are taken that nobody knows of who comes next", []change{{
			agentsInterfacesFile, "\t\tif done, wait := s.recordFirst(ctx, section, \"that interfaces are taken from the guest\"); !done {\n\t\t\treturn wait\n\t\t}\n", "",
		}}},
		{"interfaces-given-away", "what was taken from a guest is given to another", []change{{
			"pkg/agent/hostuses.go", "\t\tuse.PCIDevices = append(use.PCIDevices, found.PCIDevices...)\n", "",
		}}},
		{"functions", "a function is promised to two guests", []change{{
			"pkg/agent/fill.go", "\t\t\ttaken[part.name] = is\n", "\t\t\ttaken[part.name] = is && part.kind == mediated\n",
		}}},
		{"frozen-there", "a guest that arrives is not thawed", []change{{
			"pkg/migration/guestfreeze.go", "return section.ArrivedTime != nil && runsHere(section.Domain) &&", "return false &&",
		}}},
		{"frozen-here", "a guest that stays is not thawed", []change{
			{"pkg/migration/guestfreeze.go", "if f.Section == nil || !f.runsHere() {", "if f.Section == nil || !f.runsHere() || f.Object != nil {"},
		}},
		{"frozen-too-long", "a guest that does not switch over stays frozen", []change{
			{"pkg/migration/guestfreeze.go", "case now.Sub(freeze.Time.Time) >= bound:", "case now.Sub(freeze.Time.Time) >= bound*100:"},
		}},
		{"clock-untold", "a guest's clock is not set, and nobody is told", []change{{
			"pkg/migration/guestclock.go", "\t\twhy = target.GuestClock.Message\n", "",
		}}},
		{"clock-wrong", "a guest's clock is said to be set that is not", []change{{
			"pkg/agent/guestclock.go", "\t\tif err == nil {\n\t\t\tbreak\n\t\t}\n", "\t\tif err == nil || time.Now().After(begun) {\n\t\t\tbreak\n\t\t}\n",
		}}},
	}
}

// objectSabotages are about the object and what it asks for.
func objectSabotages() []sabotage {
	return []sabotage{
		{"let-go", "an object that is deleted goes before its migration has ended", []change{
			{
				"controllers/livemigration_controller.go", "if migration.Finished(lm) && hasFinalizer(lm) &&",
				"if (migration.Finished(lm) || !lm.DeletionTimestamp.IsZero()) && hasFinalizer(lm) &&",
			},
			{writerFile, `{"op": "test", "path": "/status/completionTime", "value": lm.Status.CompletionTime},`, ""},
		}},
		{"old-news", "a manager decides on an object that has changed since it was read", []change{{
			writerFile, ".WithUID(lm.UID).WithResourceVersion(lm.ResourceVersion).WithStatus(status)", ".WithUID(lm.UID).WithStatus(status)",
		}}},
		{"no-cancel", "a job that is to be cancelled goes on", []change{{
			requestsFile, "return !lm.DeletionTimestamp.IsZero() || cancelled(Due(lm, section))", "return false",
		}}},
		{"no-force", "a migration is not completed by force", []change{{
			requestsFile, "return !CancelDue(lm, section) && slices", "return lm == nil && slices",
		}}},
		{"time-to-live", "an object goes before its time to live is over", []change{{
			ttlFile, "return wait, wait <= 0", "return 0, true",
		}}},
		{"no-time-to-live", "an object goes that has no time to live", []change{
			{ttlFile, "return ok && lm.Spec.TTLSecondsAfterFinished != nil &&", "return ok &&"},
			{ttlFile, "ttl == nil || done == nil ||", "done == nil ||"},
			{ttlFile, "wait = done.Add(time.Duration(*ttl) * time.Second).Sub(r.Clock.Now())", "if ttl == nil {\n\t\treturn 0, true\n\t}\n\twait = done.Add(time.Duration(*ttl) * time.Second).Sub(r.Clock.Now())"},
		}},
		{"late-report", "an older report of an agent replaces a newer one", []change{{
			"controllers/node/revisions.go", "\tr.last++\n\treturn r.last\n", "\treturn 0\n",
		}}},
		{"not-by-uuid", "a guest is not found by its UUID", []change{{
			"pkg/migration/resolve.go", "\tname := known[0].domain.Name\n",
			"\tname := known[0].domain.Name\n\tif isUUID(spec.Domain) {\n\t\treturn problem(v1alpha1.ReasonDomainNotFound, false, \"No node lists a guest %q\", spec.Domain)\n\t}\n",
		}}},
	}
}

// verdictSabotages have an outcome be wrong, or come late.
func verdictSabotages() []sabotage {
	return []sabotage{
		{"clocks", "an answer counts by the clocks of two hosts", []change{{
			answersFile, "target.AnswersSource >= source.End.Observation", "target.ConfirmedTime.After(source.End.Time.Time)",
		}}},
		{"trust", "a migration succeeds because libvirt says so", []change{{
			outcomeFile, "\tconfirmed := TargetAnswers(source, target)\n\tswitch {",
			"\tconfirmed := TargetAnswers(source, target)\n\tswitch {\n\tcase source.End.Call == v1alpha1.CallSucceeded && target != nil && target.Domain != nil:\n\t\treturn succeeded(lm, source, now)",
		}}},
		{"unconfirmed", "an outcome is final though the target was not read", []change{{
			outcomeFile, "\tconfirmed := TargetAnswers(source, target)\n", "\tconfirmed := true\n",
		}}},
		{"arrived-anyway", "a guest that runs on its target has arrived, whatever the source shows", []change{{
			outcomeFile, "\tconfirmed := TargetAnswers(source, target)\n\tswitch {",
			"\tconfirmed := TargetAnswers(source, target)\n\tswitch {\n\tcase confirmed && SideOf(target.Domain) == SideLive:\n\t\treturn succeeded(lm, source, now)",
		}}},
		{"backup", "the job of a backup counts as a migration's", []change{{
			"pkg/agent/observe.go", "return s.job.MigratingOut() && !s.foreign", "return s.job.Active() && !s.foreign",
		}}},
		{"half-failed", "a guest in two halves counts as one that has stayed", []change{{
			outcomeFile, "\tconfirmed := TargetAnswers(source, target)\n\tswitch {",
			"\tconfirmed := TargetAnswers(source, target)\n\tswitch {\n\tcase confirmed && sourceSideOf(source, target) == SidePostcopy:\n\t\treturn failed(lm, source)",
		}}},
		{"shell-left", "a failed migration leaves a shell on the target", []change{{
			outcomeFile, "\tconfirmed := TargetAnswers(source, target)\n\tswitch {",
			"\tconfirmed := TargetAnswers(source, target)\n\tswitch {\n\tcase confirmed && SideOf(&source.End.Domain) == SideLive && targetSideOf(source, target) == SideIncoming:\n\t\treturn failed(lm, source)",
		}}},
		{"slow", "a verdict comes later than it may", []change{{
			outcomeFile, "func settleBy(lm *v1alpha1.LiveMigration, now time.Time, patience time.Duration) time.Time {\n",
			"func settleBy(lm *v1alpha1.LiveMigration, now time.Time, patience time.Duration) time.Time {\n\tpatience += 100 * time.Second\n",
		}}},
	}
}

// afterSabotages do to a guest after its migration what they may not, or leave something behind.
func afterSabotages() []sabotage {
	return []sabotage{
		{"pause-at-failure", "a guest stands paused after a failure, and nobody is told", []change{{
			"pkg/agent/source.go", "\ts.section.End = end\n",
			"\ts.section.End = end\n\tif end.Call == v1alpha1.CallFailed {\n\t\t_ = s.hv.Suspend(context.Background(), s.lm.Status.DomainUUID)\n\t}\n",
		}}},
		{"pause-again", "a copy that its user has resumed is paused again", []change{{
			sourceFile, ", end.CopySettledTime != nil:\n\t\treturn false\n\tcase end.CopyPausedTime == nil:\n", ":\n\t\treturn false\n\tcase end != nil:\n",
		}}},
		{"no-pause", "a guest goes on running on two hosts", []change{{
			outcomeFile, "out.PauseSource = row.pauseSource &&", "out.PauseSource = false &&",
		}}},
		{"old-answer", "something is done because of an answer that is old", []change{{
			answersFile, "return !asked.IsZero() && now.Sub(asked) < AnswerAge", "return true",
		}}},
		{"source-asks-not", "the source acts without having asked the target", []change{
			{sourceFile, "\tcase !TargetAnswers(f.Section, target):\n\t\treturn SourceWait\n", ""},
			{sourceFile, "if action != SourceWait && !recent(f.Asked, now) {", "if action != SourceWait && f.Domain == nil {"},
		}},
		{"target-asks-not", "the target acts without having asked the source", []change{
			{targetFile, "\tcase !SourceAnswers(source, f.Section):\n\t\treturn TargetObserve\n", ""},
			{targetFile, "\tcase !recent(f.Asked, now):\n\t\treturn TargetAsk\n", ""},
		}},
		{"destroy-early", "an old copy goes before the guest was seen to run on the target", []change{{
			"pkg/migration/leftover.go", "return target.Domain.State == string(hypervisor.StateRunning) || source.GuestPaused", "return true",
		}}},
		{"definition-left", "a definition stays on the source after a success", []change{{
			outcomeFile, "UndefineSource: source.End.Domain.Defined && st.Target.Domain.Defined,", "UndefineSource: false,",
		}}},
		{"only-definition", "the source's definition goes where the target has none", []change{{
			outcomeFile, "UndefineSource: source.End.Domain.Defined && st.Target.Domain.Defined,", "UndefineSource: source.End.Domain.Defined,",
		}}},
		{"no-resume", "a guest that we have paused stays so", []change{
			{outcomeFile, "ResumeTarget:   PausedByUs(source) &&", "ResumeTarget:   false && PausedByUs(source) &&"},
			{outcomeFile, "out.ResumeSource = source.End.Call == v1alpha1.CallFailed ||", "out.ResumeSource = false &&"},
		}},
	}
}

// guestSabotages do to a guest what may cost it.
func guestSabotages() []sabotage {
	const toSource, toTarget = "\tcase out.ResumeSource && d.State == hypervisor.StatePaused:\n", "\tcase out.RemoveIncoming && now.Sub"
	return []sabotage{
		{"remove-early", "the target's half is removed before the end", []change{{
			targetFile, "\tcase source.End == nil:\n",
			"\tcase source.End == nil && section.Domain != nil && SideOf(section.Domain) == SideIncoming:\n\t\treturn TargetRemoveIncoming\n\tcase source.End == nil:\n",
		}}},
		{"destroy-any", "what stands paused on the source after the end is destroyed", []change{{
			sourceFile, toSource, "\tcase d.State == hypervisor.StatePaused:\n\t\treturn SourceDestroyStale\n" + toSource,
		}}},
		{"resume-any", "what stands paused on the source after the end is resumed", []change{{
			sourceFile, toSource, "\tcase d.State == hypervisor.StatePaused:\n\t\treturn SourceResume\n" + toSource,
		}}},
		{"resume-users", "a guest that its user has paused is resumed on its target", []change{{
			outcomeFile, "ResumeTarget:   PausedByUs(source) &&", "ResumeTarget:   (PausedByUs(source) || source.GuestPaused) &&",
		}}},
		{"undefine-any", "what is defined on the target after the end and does not run is undefined", []change{{
			targetFile, toTarget, "\tcase section.Domain != nil && section.Domain.Defined && SideOf(section.Domain) == SideStopped:\n\t\treturn TargetUndefine\n" + toTarget,
		}}},
	}
}

// lateSabotages have something take longer than it may, or for ever.
func lateSabotages() []sabotage {
	return []sabotage{
		{"not-prepared", "a target is not prepared, and nobody gives up", []change{
			{targetFile, "\tcase section == nil:\n\t\treturn TargetPrepare", "\tcase section == nil:\n\t\treturn TargetWait"},
			{summaryFile, "return a.AdmittedTime.Add(PrepareTimeout), true", "return a.AdmittedTime.Add(10 * PrepareTimeout), true"},
		}},
		{"not-started", "a migration that has its slot is not started, and nobody gives up", []change{
			{sourceFile, "lm.Status.Attempt.CopyGrantedTime != nil:\n\t\treturn SourceStart", "lm.Status.Attempt.CopyGrantedTime != nil:\n\t\treturn SourceWait"},
			{summaryFile, "return a.CopyGrantedTime.Add(PrepareTimeout), true", "return a.CopyGrantedTime.Add(10 * PrepareTimeout), true"},
		}},
		{"never-over", "the end of a job is not seen while the guest is on the source", []change{{
			sourceFile, "\treturn answered(f.Call) || f.Domain == nil", "\treturn f.Domain == nil",
		}}},
		{"unknown-for-ever", "an outcome that is not known is never judged again", []change{{
			outcomeFile, "\tconfirmed := TargetAnswers(source, target)\n\tswitch {",
			"\tconfirmed := TargetAnswers(source, target)\n\tif lm.Status.Phase == v1alpha1.PhaseUnknown {\n\t\trow = nil\n\t}\n\tswitch {",
		}}},
		{"never-released", "an object that has ended keeps its finalizer", []change{{
			reconcileFile, "if migration.Finished(lm) && hasFinalizer(lm) &&", "if lm == nil && hasFinalizer(lm) &&",
		}}},
		{"outlived", "an object does not go when its time to live is over", []change{{ttlFile, "return wait, wait <= 0", "return wait, false"}}},
	}
}
