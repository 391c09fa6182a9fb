package controllers

import (
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// emulating is a node with a QEMU and its machine types, the first of which is deprecated.
func emulating(node, version string, machines ...string) *v1alpha1.Hypervisor {
	hv := &v1alpha1.Hypervisor{ObjectMeta: metav1.ObjectMeta{Name: node}}
	hv.Status.HypervisorVersion = version
	a := v1alpha1.HostArchitecture{Name: "x86_64", MachineTypeCount: int32(len(machines)), MachineTypes: machines}
	if len(machines) > 0 {
		a.Deprecated = machines[:1]
	}
	hv.Status.Host = &v1alpha1.HypervisorHost{Architectures: &v1alpha1.HostArchitectures{Count: 1, Items: []v1alpha1.HostArchitecture{a}}}
	return hv
}

// TestTheNewestPlatform is that of the node with the latest QEMU, while there is such a node.
func TestTheNewestPlatform(t *testing.T) {
	t.Parallel()
	var p platforms
	expect := func(hv *v1alpha1.Hypervisor, want string) {
		t.Helper()
		_, newest := p.put(hv)
		if got := newest; (got == nil) != (want == "") || got != nil && got.Version != want {
			t.Errorf("on %s, the newest is %+v, want %q", hv.Name, got, want)
		}
	}
	old, recent := emulating("node-a", "7.2.9", "pc-1", "pc-2"), emulating("node-b", "10.0.2", "pc-2", "pc-3")
	expect(old, "")
	expect(recent, "")
	expect(old, "10.0.2")
	expect(emulating("node-c", "10.0.2", "pc-2", "pc-3"), "")
	p.forget("node-b")
	expect(old, "10.0.2") // Of node-c.
	p.forget("node-c")
	p.forget("node-c")
	expect(old, "")
	expect(emulating("node-b", "11.1.0", "pc-3"), "")
	expect(old, "11.1.0")
	expect(emulating("node-b", "7.2.9", "pc-1", "pc-2"), "") // It went back.
	expect(old, "")
	if len(p.classes) != 1 || len(p.byNode) != 2 {
		t.Errorf("it keeps %d classes of %d nodes", len(p.classes), len(p.byNode))
	}
	told := emulating("node-b", "11.1.0", "pc-3")
	expect(told, "")
	told.Status.Host = nil
	expect(told, "")
	expect(old, "")
}

// TestOfTwoThatAreAsNewThatCountsWhichOffersMore: the other may be built without some machines.
func TestOfTwoThatAreAsNewThatCountsWhichOffersMore(t *testing.T) {
	t.Parallel()
	for _, order := range [][]int{{0, 1}, {1, 0}} {
		var p platforms
		nodes := []*v1alpha1.Hypervisor{emulating("node-b", "10.0.2", "q35"), emulating("node-c", "10.0.2", "q35", "pc")}
		for _, i := range order {
			p.put(nodes[i])
		}
		if _, newest := p.put(emulating("node-a", "7.2.9", "pc")); !newest.Offered["pc"] {
			t.Errorf("in the order %v, it is %+v", order, newest)
		}
	}
}

// TestAListThatIsCutTellsOfNothingThatIsMissing: what is not listed may be there.
func TestAListThatIsCutTellsOfNothingThatIsMissing(t *testing.T) {
	t.Parallel()
	cut := emulating("node-b", "10.0.2", "pc")
	cut.Status.Host.Architectures.Items[0].MachineTypeCount++
	fewer := emulating("node-b", "10.0.2", "pc")
	fewer.Status.Host.Architectures.Count++
	for _, hv := range []*v1alpha1.Hypervisor{cut, fewer} {
		if platform := platformOf(hv); platform.Offered != nil || !platform.Deprecated["pc"] {
			t.Errorf("it is %+v", platform)
		}
	}
}

// TestStrandedGuestsAreShown, and no more once they have gone or the process does not know yet.
func TestStrandedGuestsAreShown(t *testing.T) {
	t.Parallel()
	guest := v1alpha1.HypervisorDomain{UUID: webUUID, Name: "web", State: "Running", MachineType: "pc-1"}
	hv := emulating("node-a", "7.2.9", "pc-0", "pc-1")
	hv.Status.Domains = []v1alpha1.HypervisorDomain{guest}
	r, began := &HypervisorReconciler{renewals: map[string]renewal{}}, time.Unix(1e9, 0)
	judge := func(after time.Duration, want metav1.ConditionStatus, stranded ...string) {
		t.Helper()
		c, guests := r.upgradable(hv, began.Add(after))
		var names []string
		for _, g := range guests {
			names = append(names, g.Name)
		}
		if c.Status != want || !slices.Equal(names, stranded) {
			t.Errorf("after %s: %s %s with %v", after, c.Status, c.Message, names)
		}
		hv.Status.StrandedGuests = guests
		meta.SetStatusCondition(&hv.Status.Conditions, c)
	}
	judge(0, metav1.ConditionTrue)
	r.platforms.put(emulating("node-b", "10.0.2", "pc-2"))
	judge(platformsGrace-time.Second, metav1.ConditionTrue)
	judge(platformsGrace, metav1.ConditionFalse, "web")
	r, began = &HypervisorReconciler{renewals: map[string]renewal{}}, began.Add(time.Hour)
	judge(0, metav1.ConditionFalse, "web") // Another process, which has not seen node-b.
	r.platforms.put(emulating("node-b", "10.0.2", "pc-1", "pc-2"))
	judge(platformsGrace, metav1.ConditionTrue)
	r.forget("node-b")
	hv.Status.Host = nil
	judge(time.Hour, metav1.ConditionUnknown)
}

// TestSharedTexts are the same as before, whatever is in them.
func TestSharedTexts(t *testing.T) {
	t.Parallel()
	for _, texts := range [][]string{nil, {"pc"}, {"pc-1", "pc-2"}, {""}, {"a\nb", "c"}} {
		if got := shared(texts); !slices.Equal(got, texts) {
			t.Errorf("%q became %q", texts, got)
		}
	}
}
