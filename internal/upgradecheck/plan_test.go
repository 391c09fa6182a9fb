package upgradecheck

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// host is a ready node with its versions.
func host(name, libvirt, qemu, cpu string) v1alpha1.Hypervisor {
	return v1alpha1.Hypervisor{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Status: v1alpha1.HypervisorStatus{
			LibvirtVersion: libvirt, HypervisorVersion: qemu,
			Host:       &v1alpha1.HypervisorHost{CPU: &v1alpha1.HostCPU{Architecture: "x86_64", Model: cpu}},
			Conditions: []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue}},
		},
	}
}

func lost(hv v1alpha1.Hypervisor) v1alpha1.Hypervisor {
	hv.Status.Conditions[0].Status = metav1.ConditionUnknown
	return hv
}

func TestOneHostOfEachKindIsAsked(t *testing.T) {
	t.Parallel()
	old := host("old", "9.0.0", "7.2.22", "EPYC")
	old.Status.Host = nil
	all := []v1alpha1.Hypervisor{
		host("d", "11.3.0", "10.0.13", "EPYC"), host("c", "11.3.0", "10.0.13", "EPYC"), host("a", "9.0.0", "7.2.22", "EPYC"),
		host("e", "11.3.0", "10.0.13", "Skylake"), lost(host("b", "12.8.0", "11.1.0", "EPYC")), old, host("f", "9.0.0", "7.2.22", "EPYC"),
	}
	if got, want := Targets("a", all), []string{"c", "e", "f", "old"}; !slices.Equal(got, want) {
		t.Errorf("%v are asked, want %v", got, want)
	}
	if got := Targets("a", all[2:3]); len(got) > 0 {
		t.Errorf("%v are asked, though there is no other", got)
	}
}

func TestNodesThatCannotBeAsked(t *testing.T) {
	t.Parallel()
	all := []v1alpha1.Hypervisor{host("a", "", "", ""), host("b", "", "", ""), lost(host("c", "", "", ""))}
	for _, c := range []struct {
		node    string
		targets []string
		want    string
	}{
		{"a", []string{"b"}, ""},
		{"a", nil, ""},
		{"a", []string{"b", "a"}, "name another node"},
		{"a", []string{"x"}, `no Hypervisor "x"`},
		{"x", nil, `no Hypervisor "x"`},
		{"c", nil, "c is not ready"},
		{"a", []string{"c"}, "c is not ready"},
	} {
		err := CheckNodes(c.node, c.targets, all)
		if (err != nil) != (c.want != "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s to %v: %v, want %q", c.node, c.targets, err, c.want)
		}
	}
}

func TestGuestsThatCanBeMovedLive(t *testing.T) {
	t.Parallel()
	hv := host("a", "", "", "")
	for i, state := range []string{"Running", "Shutoff", "Paused", "Crashed", "Running"} {
		hv.Status.Domains = append(hv.Status.Domains, v1alpha1.HypervisorDomain{UUID: fmt.Sprintf("uuid-%d", i), Name: fmt.Sprintf("z%d", 9-i), State: state})
	}
	hv.Status.Domains[4].Name = ""
	if got := fmt.Sprint(Guests(&hv)); got != "[uuid-4 z7 z9]" {
		t.Errorf("they are %s", got)
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		phase  v1alpha1.LiveMigrationPhase
		reason string
		want   Verdict
	}{
		{v1alpha1.PhasePreparing, v1alpha1.ReasonCheckingSource, ""},
		{v1alpha1.PhaseSucceeded, v1alpha1.ReasonChecksPassed, Moves},
		{v1alpha1.PhaseFailed, v1alpha1.ReasonTargetCheckFailed, Refused},
		{v1alpha1.PhaseFailed, v1alpha1.ReasonNodeNotReady, Unanswered},
		{v1alpha1.PhaseFailed, v1alpha1.ReasonDomainNotOnSource, Unanswered},
		{v1alpha1.PhaseCancelled, v1alpha1.ReasonCancelled, Unanswered},
	} {
		lm := &v1alpha1.LiveMigration{Status: v1alpha1.LiveMigrationStatus{
			Phase:      c.phase,
			Conditions: []metav1.Condition{{Type: v1alpha1.ConditionSucceeded, Reason: c.reason, Message: "why"}},
			Source:     &v1alpha1.SourceStatus{Problem: &v1alpha1.Problem{Blockers: []v1alpha1.Blocker{{Code: v1alpha1.BlockerVersionUnsupported}}}},
			Target:     &v1alpha1.TargetStatus{Problem: &v1alpha1.Problem{Blockers: []v1alpha1.Blocker{{Code: v1alpha1.BlockerCPUIncompatible}}}},
		}}
		got, ended := answerOf(lm)
		if got.Verdict != c.want || ended != (c.want != "") || got.Message != "why" || len(got.Blockers) != 2 {
			t.Errorf("%s %s: %+v, %t", c.phase, c.reason, got, ended)
		}
	}
}

func TestAGuestIsStrandedIfNoTargetTakesIt(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		answers []Verdict
		want    Verdict
	}{
		{nil, Unanswered},
		{[]Verdict{Refused}, Refused},
		{[]Verdict{Refused, Moves}, Moves},
		{[]Verdict{Unanswered, Refused}, Unanswered},
		{[]Verdict{Unanswered, Moves}, Moves},
	} {
		var r Result
		for _, v := range c.answers {
			r.Answers = append(r.Answers, Answer{Verdict: v})
		}
		if got := r.Verdict(); got != c.want {
			t.Errorf("%v come to %s, want %s", c.answers, got, c.want)
		}
	}
}
