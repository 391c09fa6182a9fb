package migration

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// epoch is when every test begins.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

const (
	guestUUID = "11111111-1111-4111-8111-111111111111"
	otherUUID = "22222222-2222-4222-8222-222222222222"
)

// builder builds a LiveMigration step by step.
type builder struct{ lm *v1alpha1.LiveMigration }

// makeMigration returns a new migration of the guest "web" to node-b.
func makeMigration(name string) builder {
	return builder{&v1alpha1.LiveMigration{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: "default", UID: types.UID("uid-" + name), Generation: 1,
			CreationTimestamp: metav1.NewTime(epoch),
		},
		Spec: v1alpha1.LiveMigrationSpec{Domain: "web", TargetNode: "node-b"},
	}}
}

func (b builder) obj() *v1alpha1.LiveMigration { return b.lm }

func (b builder) created(after time.Duration) builder {
	b.lm.CreationTimestamp = metav1.NewTime(epoch.Add(after))
	return b
}

func (b builder) deleted() builder {
	b.lm.DeletionTimestamp = &metav1.Time{Time: epoch}
	return b
}

func (b builder) admitted() builder {
	st := &b.lm.Status
	st.DomainUUID, st.SourceNode, st.TargetNode = guestUUID, "node-a", "node-b"
	st.StartTime = &metav1.Time{Time: epoch}
	st.Attempt = &v1alpha1.AttemptStatus{ID: "attempt-1", AdmittedTime: metav1.NewMicroTime(epoch), CopyGrantedTime: new(metav1.NewMicroTime(epoch))}
	return b
}

func (b builder) checked() builder {
	b.lm.Status.Source = &v1alpha1.SourceStatus{AttemptID: "attempt-1", Guest: &v1alpha1.GuestFacts{Name: "web"}}
	return b
}

func (b builder) ready() builder {
	b.lm.Status.Target = &v1alpha1.TargetStatus{AttemptID: "attempt-1", ReadyTime: new(metav1.NewMicroTime(epoch))}
	return b
}

// dry makes it a dry run, which is never given a slot for copying.
func (b builder) dry() builder {
	b.lm.Spec.DryRun = new(true)
	if a := b.lm.Status.Attempt; a != nil {
		a.CopyGrantedTime = nil
	}
	return b
}

// planned is a dry run for which everything was prepared.
func (b builder) planned(warnings ...string) builder {
	b.admitted().checked().ready().dry()
	b.lm.Status.Source.CheckedTime, b.lm.Status.Source.Warnings = new(metav1.NewMicroTime(epoch)), warnings
	return b
}

func (b builder) started() builder {
	b.admitted().checked().ready()
	b.lm.Status.Source.StartRequestedTime = new(metav1.NewMicroTime(epoch))
	return b
}

func (b builder) ended(call v1alpha1.CallResult, kind, domain string) builder {
	b.started()
	b.lm.Status.Attempt.EndSeenTime, b.lm.Status.Attempt.CleanUpTime = new(metav1.NewMicroTime(epoch)), new(metav1.NewMicroTime(epoch))
	b.lm.Status.Source.End = &v1alpha1.SourceEnd{
		Call: call, ErrorKind: kind, ErrorMessage: "libvirt says no", Domain: *observed(domain), Time: metav1.NewMicroTime(epoch),
	}
	return b
}

func (b builder) onTarget(domain string, confirmed bool) builder {
	b.lm.Status.Target.Domain = observed(domain)
	if confirmed {
		b.lm.Status.Target.ConfirmedTime = new(metav1.NewMicroTime(epoch))
		b.lm.Status.Attempt.ConfirmationSeenTime = new(metav1.NewMicroTime(epoch))
	}
	return b
}

// inPostCopy has the guest switched to post-copy.
func (b builder) inPostCopy() builder {
	b.lm.Status.Source.Steering = &v1alpha1.SteeringStatus{PostCopyTime: new(metav1.NewMicroTime(epoch))}
	return b
}

// whole has all of the guest on the target.
func (b builder) whole() builder {
	b.lm.Status.Target.WholeTime = new(metav1.NewMicroTime(epoch))
	return b
}

func (b builder) finished(status metav1.ConditionStatus, phase v1alpha1.LiveMigrationPhase) builder {
	b.lm.Status.Phase = phase
	b.lm.Status.CompletionTime = &metav1.Time{Time: epoch}
	b.lm.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionSucceeded, Status: status, Reason: "Test"}}
	return b
}

// observed reads "State/Reason", "State/Reason+job", with a trailing "*" for a
// domain that is defined; "" is none.
func observed(s string) *v1alpha1.DomainObservation {
	if s == "" {
		return nil
	}
	o := &v1alpha1.DomainObservation{}
	if s[len(s)-1] == '*' {
		o.Defined, s = true, s[:len(s)-1]
	}
	for i, part := range splitAny(s) {
		switch i {
		case 0:
			o.State = part
		case 1:
			o.Reason = part
		case 2:
			o.Job = part
		default:
			panic(fmt.Sprintf("too many parts in %q", s))
		}
	}
	return o
}

func splitAny(s string) []string {
	var parts []string
	start := 0
	for i, r := range s {
		if r == '/' || r == '+' {
			parts = append(parts, s[start:i])
			start = i + 1
		}
	}
	return append(parts, s[start:])
}
