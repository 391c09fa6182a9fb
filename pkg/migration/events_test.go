package migration

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// statusWith returns a status with the given reason of Succeeded, stalled or not, and
// notices.
func statusWith(reason string, stalled bool, notices ...v1alpha1.NoticeReason) *v1alpha1.LiveMigrationStatus {
	st := &v1alpha1.LiveMigrationStatus{}
	if reason != "" {
		st.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionSucceeded, Reason: reason, Message: "says " + reason}}
	}
	if stalled {
		st.Conditions = append(st.Conditions, metav1.Condition{Type: v1alpha1.ConditionStalled, Status: metav1.ConditionTrue, Reason: reason})
	}
	for _, n := range notices {
		st.Notices = append(st.Notices, v1alpha1.Notice{Reason: n, Message: "says " + string(n)})
	}
	return st
}

func TestEvents(t *testing.T) {
	const warning = true
	event := func(warning bool, reason string) Event {
		return Event{Warning: warning, Reason: reason, Message: "says " + reason}
	}
	notice := func(warning bool, reason v1alpha1.NoticeReason) Event { return event(warning, string(reason)) }
	for _, c := range []struct {
		name          string
		before, after *v1alpha1.LiveMigrationStatus
		want          []Event
	}{
		{"nothing yet", statusWith("", false), statusWith("", false), nil},
		{"the first step", statusWith("", false), statusWith(v1alpha1.ReasonResolving, false), []Event{event(false, v1alpha1.ReasonResolving)}},
		{"no new step", statusWith(v1alpha1.ReasonMigrating, false), statusWith(v1alpha1.ReasonMigrating, false), nil},
		{
			"success", statusWith(v1alpha1.ReasonConfirming, false), statusWith(v1alpha1.ReasonMigrated, false),
			[]Event{event(false, v1alpha1.ReasonMigrated)},
		},
		{
			"failure", statusWith(v1alpha1.ReasonConfirming, false), statusWith(v1alpha1.ReasonMigrationFailed, true),
			[]Event{event(warning, v1alpha1.ReasonMigrationFailed)},
		},
		{
			"it is not known where the guest is", statusWith(v1alpha1.ReasonConfirming, false), statusWith(v1alpha1.ReasonOutcomeUnknown, true),
			[]Event{event(warning, v1alpha1.ReasonOutcomeUnknown)},
		},
		{
			"a cancellation was asked for", statusWith(v1alpha1.ReasonMigrating, false), statusWith(v1alpha1.ReasonCancelling, false),
			[]Event{event(false, v1alpha1.ReasonCancelling)},
		},
		{
			"a cancellation is no alarm", statusWith(v1alpha1.ReasonCancelling, false), statusWith(v1alpha1.ReasonCancelled, true),
			[]Event{event(false, v1alpha1.ReasonCancelled)},
		},
		{
			"a guest that does not run is one", statusWith(v1alpha1.ReasonConfirming, false), statusWith(v1alpha1.ReasonArrivedNotRunning, false),
			[]Event{event(warning, v1alpha1.ReasonArrivedNotRunning)},
		},
		{
			"an interrupted post-copy is one", statusWith(v1alpha1.ReasonPostCopy, false), statusWith(v1alpha1.ReasonRecovering, false),
			[]Event{event(warning, v1alpha1.ReasonRecovering)},
		},
		{
			"the switch to post-copy is told once", statusWith(v1alpha1.ReasonMigrating, false, v1alpha1.NoticeCompletionForced),
			statusWith(v1alpha1.ReasonPostCopy, false, v1alpha1.NoticeCompletionForced, v1alpha1.NoticePostCopyStarted),
			[]Event{notice(false, v1alpha1.NoticePostCopyStarted)},
		},
		{
			"a post-copy that was resumed", statusWith(v1alpha1.ReasonRecovering, false, v1alpha1.NoticePostCopyStarted),
			statusWith(v1alpha1.ReasonPostCopy, false, v1alpha1.NoticePostCopyStarted), []Event{event(false, v1alpha1.ReasonPostCopy)},
		},
		{"a migration that waits for a slot", statusWith(v1alpha1.ReasonResolving, false), statusWith(v1alpha1.ReasonWaitingForSlot, false), nil},
		{
			"several notices", statusWith(v1alpha1.ReasonMigrating, false, v1alpha1.NoticeHostPartsKept),
			statusWith(v1alpha1.ReasonMigrating, false, v1alpha1.NoticeHostPartsKept, v1alpha1.NoticeCompletionForced, v1alpha1.NoticePausedForCompletion),
			[]Event{notice(false, v1alpha1.NoticeCompletionForced), notice(false, v1alpha1.NoticePausedForCompletion)},
		},
		{
			"notices go before the end", statusWith(v1alpha1.ReasonConfirming, false),
			statusWith(v1alpha1.ReasonMigrated, false, v1alpha1.NoticePostCopyCompleted, v1alpha1.NoticeDowntimeExceeded),
			[]Event{
				notice(false, v1alpha1.NoticePostCopyCompleted), notice(warning, v1alpha1.NoticeDowntimeExceeded), event(false, v1alpha1.ReasonMigrated),
			},
		},
		{
			"parts of the host", statusWith(v1alpha1.ReasonStarting, false), statusWith(v1alpha1.ReasonStarting, false, v1alpha1.NoticeHostPartsKept),
			[]Event{notice(warning, v1alpha1.NoticeHostPartsKept)},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, Events(c.before, c.after)); diff != "" {
				t.Errorf("the events differ (-want +got):\n%s", diff)
			}
			if again := Events(c.after, c.after); again != nil {
				t.Errorf("they are told again: %v", again)
			}
		})
	}
}

// steered returns a migration under way, to which its agent has done something.
func steered(change func(*v1alpha1.SteeringStatus)) builder {
	b := makeMigration("m").started()
	b.lm.Status.Source.JobStartedTime = new(metav1.NewMicroTime(epoch))
	b.lm.Status.Source.Steering = &v1alpha1.SteeringStatus{}
	change(b.lm.Status.Source.Steering)
	return b
}

func step(reason string) *v1alpha1.SteeringStep {
	return &v1alpha1.SteeringStep{Time: metav1.NewMicroTime(epoch), Reason: reason, Message: "3 GiB are left"}
}

// arrived returns a migration that has succeeded by the word of both sides, with the
// given downtime.
func arrived(downtime int64) builder {
	b := makeMigration("m").ended(v1alpha1.CallSucceeded, "", "Shutoff/Migrated").onTarget("Running/Migrated", true)
	b.lm.Status.Progress = &v1alpha1.ProgressStatus{DowntimeMilliseconds: &downtime}
	return b
}

func TestNotices(t *testing.T) {
	now := metav1.NewMicroTime(epoch)
	warned := makeMigration("m").started()
	warned.lm.Status.Source.Warnings = []string{"the disk is kept", "the pin is kept"}
	requested := steered(func(s *v1alpha1.SteeringStatus) { s.PostCopy = step(v1alpha1.StepReasonRequested) })
	requested.lm.Status.Requests = append(requested.lm.Status.Requests,
		v1alpha1.RequestStatus{Type: v1alpha1.RequestForceComplete, Token: "no", State: v1alpha1.RequestRefused},
		v1alpha1.RequestStatus{Type: v1alpha1.RequestForceComplete, Token: `by "ann"`, State: v1alpha1.RequestInProgress},
	)
	allowed := arrived(501)
	allowed.lm.Spec.Options = &v1alpha1.MigrationOptions{MaxDowntimeMilliseconds: new(int64(501))}
	paused := arrived(9000)
	paused.lm.Status.Source.Steering = &v1alpha1.SteeringStatus{Pause: step("NotConverging"), PausedTime: &now}
	stood := arrived(9000)
	stood.lm.Status.Source.GuestPaused = true
	failed := makeMigration("m").ended(v1alpha1.CallFailed, "", "Running/Booted").onTarget("Absent", true)
	failed.lm.Status.Progress = &v1alpha1.ProgressStatus{DowntimeMilliseconds: new(int64(9000))}
	there := steered(func(*v1alpha1.SteeringStatus) {})
	there.lm.Status.Target.ArrivedTime = &now
	overThere := arrived(20)
	overThere.lm.Status.Target.ArrivedTime = &now
	unfinished := steered(func(s *v1alpha1.SteeringStatus) { s.PostCopyTime = &now })
	unfinished.lm.Status.Target.ArrivedTime = &now
	unfinished.lm.Status.Source.Guest.MACAddresses = []v1alpha1.MACAddress{"52:54:00:00:00:01", "52:54:00:00:00:02"}
	earlier := steered(func(*v1alpha1.SteeringStatus) {})
	earlier.lm.Status.Target.ArrivedTime, earlier.lm.Status.Target.AttemptID = &now, "an-earlier-one"
	for _, c := range []struct {
		name string
		b    builder
		// want are the reasons of the notices, each with a part of its message.
		want map[v1alpha1.NoticeReason]string
	}{
		{"under way", steered(func(*v1alpha1.SteeringStatus) {}), nil},
		{"not started", makeMigration("m").admitted().checked(), nil},
		{"warnings", warned, map[v1alpha1.NoticeReason]string{v1alpha1.NoticeHostPartsKept: "node-b; if not, map them in spec.migrateData next time: the disk is kept; the pin is kept"}},
		{"forced by a request", requested, map[v1alpha1.NoticeReason]string{
			v1alpha1.NoticeCompletionForced: `switching to post-copy. This was requested by the annotation force-complete with the value "by \"ann\"": 3 GiB are left`,
		}},
		{"forced by a timeout", steered(func(s *v1alpha1.SteeringStatus) { s.Pause = step(v1alpha1.ReasonCompletionTimeout) }),
			map[v1alpha1.NoticeReason]string{v1alpha1.NoticeCompletionForced: "pausing the guest until it has been copied. This was required by options.onTimeout: ForceComplete"}},
		{"forced by the strategy", steered(func(s *v1alpha1.SteeringStatus) { s.Pause = step("NotConverging") }),
			map[v1alpha1.NoticeReason]string{v1alpha1.NoticeCompletionForced: "strategy Adaptive, which options.allowPause allows"}},
		{"post-copy by the strategy", steered(func(s *v1alpha1.SteeringStatus) { s.PostCopy = step("NotConverging") }),
			map[v1alpha1.NoticeReason]string{v1alpha1.NoticeCompletionForced: "strategy Adaptive, which options.allowPostCopy allows"}},
		{"paused", steered(func(s *v1alpha1.SteeringStatus) { s.Pause, s.PausedTime = step("NotConverging"), &now }),
			map[v1alpha1.NoticeReason]string{v1alpha1.NoticeCompletionForced: "", v1alpha1.NoticePausedForCompletion: "paused on node-a until"}},
		{"post-copy by somebody else", steered(func(s *v1alpha1.SteeringStatus) { s.PostCopyTime = &now }),
			map[v1alpha1.NoticeReason]string{v1alpha1.NoticePostCopyStarted: "runs on node-b in post-copy"}},
		{"post-copy is over", steered(func(s *v1alpha1.SteeringStatus) { s.PostCopyTime = &now }).whole(), map[v1alpha1.NoticeReason]string{
			v1alpha1.NoticePostCopyStarted: "", v1alpha1.NoticePostCopyCompleted: "arrived on node-b; the guest no longer depends on node-a",
		}},
		{"post-copy that was over before it was seen to be", arrived(20).inPostCopy(), map[v1alpha1.NoticeReason]string{
			v1alpha1.NoticePostCopyStarted: "", v1alpha1.NoticePostCopyCompleted: "",
		}},
		{"the guest is on the target", there, map[v1alpha1.NoticeReason]string{v1alpha1.NoticeSwitchedOver: "from node-a to node-b"}},
		{"it is seen there with the end", overThere, map[v1alpha1.NoticeReason]string{v1alpha1.NoticeSwitchedOver: "from node-a to node-b"}},
		{"it is there in post-copy", unfinished, map[v1alpha1.NoticeReason]string{
			v1alpha1.NoticePostCopyStarted: "", v1alpha1.NoticeSwitchedOver: "to node-b, with the MAC addresses 52:54:00:00:00:01, 52:54:00:00:00:02",
		}},
		{"it was there in an earlier attempt", earlier, nil},
		{"a short downtime", arrived(500), nil},
		{"a long downtime", arrived(501), map[v1alpha1.NoticeReason]string{v1alpha1.NoticeDowntimeExceeded: "for 501 ms at its switch-over, longer than options.maxDowntimeMilliseconds allows (500 ms)"}},
		{"a long downtime that is allowed", allowed, nil},
		{"a pause that was long", paused, map[v1alpha1.NoticeReason]string{
			v1alpha1.NoticeCompletionForced: "", v1alpha1.NoticePausedForCompletion: "", v1alpha1.NoticeDowntimeExceeded: "because it was paused so that",
		}},
		{"a guest that its user had paused", stood, nil},
		{"a failure has no switch-over", failed, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := summarize(c.b, epoch, []Node{node("node-a"), node("node-b")}).Status.Notices
			if len(got) != len(c.want) {
				t.Errorf("the notices are %+v, want %v", got, c.want)
			}
			for _, n := range got {
				if part, ok := c.want[n.Reason]; !ok || !strings.Contains(n.Message, part) || n.Time != now {
					t.Errorf("the notice %+v was not to be, or lacks %q", n, part)
				}
			}
			c.b.lm.Status.Notices = got
			if again := summarize(c.b, epoch, []Node{node("node-a"), node("node-b")}).Status.Notices; cmp.Diff(got, again) != "" {
				t.Errorf("the notices change: %s", cmp.Diff(got, again))
			}
		})
	}
}

// TestDowntimeIsNoticedWhenItIsKnownAtLast: the target may tell it after the end.
func TestDowntimeIsNoticedWhenItIsKnownAtLast(t *testing.T) {
	b := arrived(501).finished(metav1.ConditionTrue, v1alpha1.PhaseSucceeded)
	late := summarize(b, epoch, nil).Status
	if len(late.Notices) != 1 || late.Notices[0].Reason != v1alpha1.NoticeDowntimeExceeded {
		t.Errorf("the notices are %v", late.Notices)
	}
	b.lm.Status.DowntimeMilliseconds = late.DowntimeMilliseconds
	if old := summarize(b, epoch, nil).Status; len(old.Notices) != 0 {
		t.Errorf("what was known before is told: %v", old.Notices)
	}
}

func TestWarningsAreBounded(t *testing.T) {
	many := func(n int, text string) (out []string) {
		for i := range n {
			out = append(out, strings.Repeat(string(rune('a'+i)), 3)+text)
		}
		return out
	}
	for _, c := range []struct {
		name string
		all  []string
		want int
		last string
	}{
		{"none", nil, 0, ""},
		{"of both definitions", append(many(3, ""), many(3, "")...), 3, "ccc"},
		{"as many as there may be", many(16, ""), 16, "ppp"},
		{"too many", many(26, ""), 16, "11 more; the log of the agent on the source lists all of them"},
		{"too long", many(1, strings.Repeat("ä", 600)), 1, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := Warnings(c.all)
			if len(got) != c.want {
				t.Fatalf("there are %d", len(got))
			}
			for _, w := range got {
				if len(w) > 512 {
					t.Errorf("one has %d bytes", len(w))
				}
			}
			if c.last != "" && got[len(got)-1] != c.last {
				t.Errorf("the last is %q", got[len(got)-1])
			}
		})
	}
}

// TestThreeRequestsAreNamed, and no more of them.
func TestThreeRequestsAreNamed(t *testing.T) {
	for tokens, want := range map[int]string{0: "force-complete: ", 1: ` with the value "t0": `, 3: ` with the value "t0", "t1", "t2": `, 4: ` with the value "t0", "t1", "t2", 1 more: `} {
		b := steered(func(s *v1alpha1.SteeringStatus) { s.PostCopy = step(v1alpha1.StepReasonRequested) })
		for i := range tokens {
			b.lm.Status.Requests = append(b.lm.Status.Requests, v1alpha1.RequestStatus{
				Type: v1alpha1.RequestForceComplete, Token: "t" + strconv.Itoa(i), State: v1alpha1.RequestInProgress,
			})
		}
		if got := summarize(b, epoch, nil).Status.Notices; len(got) == 0 || !strings.Contains(got[0].Message, want) {
			t.Errorf("of %d requests: %+v", tokens, got)
		}
	}
}

// TestTheSwitchOverFitsIntoAnEvent, however many network cards the guest has.
func TestTheSwitchOverFitsIntoAnEvent(t *testing.T) {
	for count, want := range map[int]string{
		0: "to node-b", 32: "52:54:00:00:00:1f", 33: "52:54:00:00:00:1f and 1 more, which are in status.source.guest.macAddresses",
		64: "52:54:00:00:00:1f and 32 more, which are in status.source.guest.macAddresses",
	} {
		b := steered(func(*v1alpha1.SteeringStatus) {})
		b.lm.Status.Target.ArrivedTime = new(metav1.NewMicroTime(epoch))
		for i := range count {
			b.lm.Status.Source.Guest.MACAddresses = append(b.lm.Status.Source.Guest.MACAddresses, v1alpha1.MACAddress(fmt.Sprintf("52:54:00:00:00:%02x", i)))
		}
		got := summarize(b, epoch, []Node{node("node-a"), node("node-b")}).Status.Notices
		if len(got) != 1 || !strings.HasSuffix(got[0].Message, want) || len(got[0].Message) > 900 {
			t.Errorf("with %d, the notices are %+v, want one that ends with %q", count, got, want)
		}
	}
}
