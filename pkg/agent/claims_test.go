package agent

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// TestWhatAGuestWillStillTake of its target, by what its object says.
func TestWhatAGuestWillStillTake(t *testing.T) {
	t.Parallel()
	pages := v1alpha1.GuestHugePages{SizeBytes: 2 << 20, Count: 8}
	all := claim{memoryBytes: 1 << 30, hugePages: pages}
	remaining := func(total, bytes int64) *v1alpha1.ProgressStatus {
		return &v1alpha1.ProgressStatus{Memory: &v1alpha1.TransferStatus{TotalBytes: total, RemainingBytes: bytes}}
	}
	for name, c := range map[string]struct {
		change func(*v1alpha1.LiveMigration)
		want   claim
	}{
		"not begun":              {func(*v1alpha1.LiveMigration) {}, all},
		"arrived":                {func(lm *v1alpha1.LiveMigration) { lm.Status.Target.ArrivedTime = new(metav1.NowMicro()) }, claim{}},
		"over on the source":     {func(lm *v1alpha1.LiveMigration) { lm.Status.Source.End = &v1alpha1.SourceEnd{} }, claim{}},
		"nothing is to be moved": {func(lm *v1alpha1.LiveMigration) { lm.Spec.DryRun = new(true) }, claim{}},
		"the source refuses it": {func(lm *v1alpha1.LiveMigration) {
			lm.Status.Source.StartRequestedTime, lm.Status.Source.Problem = nil, &v1alpha1.Problem{Reason: "Test"}
		}, claim{}},
		"ended":                 {func(lm *v1alpha1.LiveMigration) { lm.Status.Conditions = finishedVersion(lm).Status.Conditions }, claim{}},
		"a definition is there": {func(lm *v1alpha1.LiveMigration) { lm.Status.Target.Domain = &v1alpha1.DomainObservation{Defined: true} }, all},
		"its QEMU is there": {
			func(lm *v1alpha1.LiveMigration) { lm.Status.Target.Domain = &v1alpha1.DomainObservation{ID: 1} },
			claim{memoryBytes: 1 << 30},
		},
		"a part has come":      {func(lm *v1alpha1.LiveMigration) { lm.Status.Progress = remaining(1<<30, 1<<20) }, claim{memoryBytes: 1 << 20, hugePages: pages}},
		"more is left":         {func(lm *v1alpha1.LiveMigration) { lm.Status.Progress = remaining(4<<30, 2<<30) }, all},
		"nothing is known yet": {func(lm *v1alpha1.LiveMigration) { lm.Status.Progress = remaining(0, 0) }, all},
		"no memory is told of": {func(lm *v1alpha1.LiveMigration) { lm.Status.Progress = &v1alpha1.ProgressStatus{} }, all},
	} {
		lm := arriving(1<<30, 8, 0)
		c.change(lm)
		if got := claimOf(lm, lm.Status.Source, lm.Status.Target); got != c.want {
			t.Errorf("%s: it will take %+v, want %+v", name, got, c.want)
		}
	}
}

// TestPagesOfAnotherSizeAreNotClaimed once those of one size were checked.
func TestPagesOfAnotherSizeAreNotClaimed(t *testing.T) {
	t.Parallel()
	var c claims
	claimOfPages := func(size, count int64) claim {
		return claim{hugePages: v1alpha1.GuestHugePages{SizeBytes: size, Count: count}}
	}
	c.set("one", claimOfPages(2<<20, 8))
	for _, step := range []struct{ set, want claim }{
		{claimOfPages(1<<30, 8), claimOfPages(2<<20, 8)},
		{claimOfPages(1<<30, 1), claimOfPages(2<<20, 8)},
		{claimOfPages(2<<20, 9), claimOfPages(2<<20, 8)},
		{claimOfPages(2<<20, 7), claimOfPages(2<<20, 7)},
	} {
		c.set("one", step.set)
		if got := c.taken["one"]; got != step.want {
			t.Errorf("after %+v, it is %+v", step.set, got)
		}
	}
	c.set("one", claim{})
	if len(c.taken) != 0 {
		t.Errorf("nothing is needed, and it has %+v", c.taken)
	}
}

// TestAGuestThatIsRefusedTakesNothing from the next.
func TestAGuestThatIsRefusedTakesNothing(t *testing.T) {
	t.Parallel()
	var c claims
	no := refuse(v1alpha1.ReasonTargetCheckFailed, v1alpha1.BlockerMemoryInsufficient, "no")
	if err := c.take("one", claim{memoryBytes: 1}, func([]claim) error { return no }); err == nil || len(c.taken) != 0 {
		t.Errorf("it was refused with %v, and has %+v", err, c.taken)
	}
	if err := c.take("one", claim{memoryBytes: 1}, func([]claim) error { return nil }); err != nil || len(c.taken) != 1 {
		t.Errorf("it was let in with %v, and has %+v", err, c.taken)
	}
	err := c.take("one", claim{memoryBytes: 2}, func(others []claim) error {
		if len(others) != 0 {
			t.Errorf("it is in its own way: %+v", others)
		}
		return nil
	})
	if err != nil || c.taken["one"].memoryBytes != 2 {
		t.Errorf("once more, it has %+v, %v", c.taken, err)
	}
}

// TestResourcesOfAGuest are told as far as they are known.
func TestResourcesOfAGuest(t *testing.T) {
	t.Parallel()
	networks := func(names ...string) string {
		var out strings.Builder
		for _, name := range names {
			out.WriteString("<interface type='network'><source network='" + name + "'/></interface>")
		}
		return out.String()
	}
	of := func(memory, devices string) *v1alpha1.GuestResources {
		xml := "<domain type='kvm'><name>a</name>" + memory + "<devices>" + devices + "</devices></domain>"
		return resourcesOf([]hypervisor.DomainXML{hypervisor.DomainXML(xml)}, nil)
	}
	many := make([]string, maxGuestNetworks+1)
	for i := range many {
		many[i] = "n" + strconv.Itoa(i)
	}
	const gigabyte = "<memory unit='KiB'>1048576</memory>"
	if got := of("", ""); got != nil {
		t.Errorf("of a guest of which nothing is known, %+v", got)
	}
	if got := of(gigabyte, ""); got == nil || got.MemoryBytes != 1<<30 || got.HugePages != nil || got.Networks != nil {
		t.Errorf("of one with memory, %+v", got)
	}
	if got := of("", networks("a")); got == nil || got.MemoryBytes != 0 || len(got.Networks) != 1 {
		t.Errorf("of one with a network, %+v", got)
	}
	const backing = "<memoryBacking><hugepages><page size='3072' unit='KiB'/></hugepages></memoryBacking>"
	if got := of(gigabyte+backing, ""); got == nil || got.MemoryBytes != 0 || got.HugePages == nil || *got.HugePages != (v1alpha1.GuestHugePages{SizeBytes: 3 << 20, Count: 342}) {
		t.Errorf("of one with huge pages, of which the last is not full, %+v", got)
	}
	if got := of(gigabyte, networks(many...)); len(got.Networks) != maxGuestNetworks {
		t.Errorf("of one with %d networks, %d", len(many), len(got.Networks))
	}
	longest := strings.Repeat("n", longestNetwork)
	if got := of(gigabyte, networks(longest+"n", longest)); !slices.Equal(got.Networks, []string{longest}) {
		t.Errorf("of one with a name that is too long, %q", got.Networks)
	}
}

// TestTheNetworksThatThereAre are named, if they are few.
func TestTheNetworksThatThereAre(t *testing.T) {
	t.Parallel()
	named := func(n int) []hypervisor.Network {
		var out []hypervisor.Network
		for i := range n {
			out = append(out, hypervisor.Network{Name: "n" + strconv.Itoa(i), Active: true})
		}
		return out
	}
	for _, c := range []struct {
		networks []hypervisor.Network
		want     string
	}{
		{nil, ""},
		{named(2), " (it has n0, n1)"},
		{named(8), " (it has n0, n1, n2, n3, n4, n5, n6, n7)"},
		{named(9), ""},
		{append(named(1), hypervisor.Network{Name: "down"}, hypervisor.Network{Name: strings.Repeat("n", maxWord+1), Active: true}), " (it has n0)"},
	} {
		if got := (hostRoom{networks: c.networks}).others(); got != c.want {
			t.Errorf("of %d, %q", len(c.networks), got)
		}
	}
}
