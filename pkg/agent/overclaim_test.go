package agent

import (
	"maps"
	"math"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hostfiles"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
	"github.com/virtferry/virtferry/pkg/migration"
)

// arriving is a migration whose target is ready, and whose source says that its guest takes so
// much memory, in so many huge pages, and that the disk which is copied occupies so much.
func arriving(memory, pages, disk int64) *v1alpha1.LiveMigration {
	lm := &v1alpha1.LiveMigration{}
	lm.UID, lm.Status.Attempt = "one", &v1alpha1.AttemptStatus{ID: "1"}
	lm.Status.Source = &v1alpha1.SourceStatus{AttemptID: "1", Guest: &v1alpha1.GuestFacts{
		Resources: &v1alpha1.GuestResources{MemoryBytes: memory, HugePages: &v1alpha1.GuestHugePages{SizeBytes: 2 << 20, Count: pages}},
		Disks:     []v1alpha1.GuestDisk{{Name: "vda", Path: "/images/web.raw", CapacityBytes: math.MaxInt64, AllocatedBytes: disk}},
	}}
	lm.Status.Target = &v1alpha1.TargetStatus{
		AttemptID: "1", ReadyTime: new(metav1.NowMicro()),
		Images: []v1alpha1.TargetImage{{Name: "vda", Path: "/images/web.raw", State: v1alpha1.TargetImageMade}},
	}
	return lm
}

// TestASourceClaimsNoMoreThanWasChecked: what it says once the target is ready would otherwise
// keep all other guests from coming there, for as long as it likes.
func TestASourceClaimsNoMoreThanWasChecked(t *testing.T) {
	t.Parallel()
	checked, more := arriving(1<<30, 8, 1<<30), arriving(math.MaxInt64, math.MaxInt64, math.MaxInt64)
	nothing := arriving(1<<30, 8, 1<<30)
	nothing.Status.Source.Guest = nil
	n := &Node{}
	n.keepClaim(checked)
	n.space.plan(checked, nil, nil, &placesSeen{}, func([]migration.ImagePlace, *migration.Space) ([]v1alpha1.TargetImage, []v1alpha1.Blocker) {
		return checked.Status.Target.Images, nil
	})
	for _, lm := range []*v1alpha1.LiveMigration{more, nothing, more} {
		n.keepClaim(lm)
		n.space.note(lm, lm.Status.Target)
	}
	if got, want := n.claims.taken["one"], (claim{memoryBytes: 1 << 30, hugePages: v1alpha1.GuestHugePages{SizeBytes: 2 << 20, Count: 8}}); got != want {
		t.Errorf("it claims %+v, want %+v", got, want)
	}
	if got := n.space.promised["one"].Images["/images/web.raw"]; got != 1<<30 {
		t.Errorf("it has %d bytes of space, want %d", got, 1<<30)
	}
	less := arriving(1<<20, 8, 1<<20)
	n.keepClaim(less)
	n.space.note(less, less.Status.Target)
	if got := n.claims.taken["one"].memoryBytes; got != 1<<20 {
		t.Errorf("it claims %d bytes of what is left, want %d", got, 1<<20)
	}
	if got := n.space.promised["one"].Images["/images/web.raw"]; got != 1<<20 {
		t.Errorf("it has %d bytes of what is left, want %d", got, 1<<20)
	}
}

// TestClaimsBeyondAllNumbers leave no room, rather than much.
func TestClaimsBeyondAllNumbers(t *testing.T) {
	t.Parallel()
	huge := claim{memoryBytes: math.MaxInt64, hugePages: v1alpha1.GuestHugePages{SizeBytes: 2 << 20, Count: math.MaxInt64}}
	room := hostRoom{
		node: "b", memory: &hostfiles.Memory{AvailableBytes: 8 << 30},
		cells: []hypervisor.CellMemory{{FreePages: map[uint64]uint64{2 << 20: 512}}},
	}
	if room.checkMemory(claim{memoryBytes: 1}, []claim{huge, huge}) == nil {
		t.Error("there is room for more memory")
	}
	page := claim{hugePages: v1alpha1.GuestHugePages{SizeBytes: 2 << 20, Count: 1}}
	if room.checkHugePages(page, []claim{huge, huge}) == nil {
		t.Error("there is room for more huge pages")
	}
	if err := room.checkHugePages(page, nil); err != nil {
		t.Errorf("without others, there is none: %v", err)
	}
}

// TestMemoryIsGivenBackAfterEachWayToEnd, and the huge pages of each cell: the next guest can
// have them.
func TestMemoryIsGivenBackAfterEachWayToEnd(t *testing.T) {
	const page = 2 << 20
	for name, c := range waysToEnd() {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				pinned := func(uuid string) fake.Guest {
					g := pinnedGuest(uuid, 2, 3)
					backing := "<memory unit='KiB'>16384</memory><memoryBacking><hugepages><page size='2048' unit='KiB'/></hugepages></memoryBacking><vcpu>"
					g.LiveXML = hypervisor.DomainXML(strings.Replace(string(g.LiveXML), "<vcpu>", backing, 1))
					return g
				}
				w.fleet.Host("node-a").AddGuest(pinned(bigUUID))
				w.fleet.Host("node-b").SetFacts(func(f *hypervisor.HostFacts) {
					f.Memory = []hypervisor.CellMemory{{FreePages: map[uint64]uint64{page: 8}}}
				})
				if c.before != nil {
					c.before(w)
				}
				lm := w.migrateWith(bigUUID, func(lm *v1alpha1.LiveMigration) { lm.Spec.DryRun = new(c.dry) })
				if c.during != nil {
					w.await(lm, "the target", func(*v1alpha1.LiveMigration) bool { return w.b.node.claims.cellPages("another", page)[0] == 8 })
					c.during(w, lm)
				}
				w.settle(lm)
				time.Sleep(time.Minute) // Until the sessions have ended.
				claims := &w.b.node.claims
				claims.mu.Lock()
				kept := maps.Clone(claims.taken)
				claims.mu.Unlock()
				if pages := claims.cellPages("another", page); len(kept) > 0 || pages != (cellPages{}) {
					t.Errorf("kept are %+v, and of the cells %v", kept, pages)
				}
			})
		})
	}
}

// TestPagesOfACellAreClaimedUntilTheyAreTaken by the guest's QEMU, or will not be.
func TestPagesOfACellAreClaimedUntilTheyAreTaken(t *testing.T) {
	t.Parallel()
	const page = 2 << 20
	for name, c := range map[string]struct {
		change func(*v1alpha1.LiveMigration)
		want   int64
	}{
		"it is on its way": {func(*v1alpha1.LiveMigration) {}, 8},
		"its QEMU is there": {func(lm *v1alpha1.LiveMigration) {
			lm.Status.Target.Domain = &v1alpha1.DomainObservation{ID: 1}
		}, 0},
		"it has arrived":           {func(lm *v1alpha1.LiveMigration) { lm.Status.Target.ArrivedTime = new(metav1.NowMicro()) }, 0},
		"it is over on the source": {func(lm *v1alpha1.LiveMigration) { lm.Status.Source.End = &v1alpha1.SourceEnd{} }, 0},
	} {
		lm := arriving(0, 8, 0)
		lm.Status.Target.Offer = &v1alpha1.TargetOffer{NUMA: &v1alpha1.TargetPins{MemoryNodes: "1"}}
		n := &Node{}
		n.keepClaim(lm)
		c.change(lm)
		n.keepClaim(lm)
		if got := n.claims.cellPages("another", page)[1]; got != c.want {
			t.Errorf("%s: %d pages of the cell are claimed, want %d", name, got, c.want)
		}
		if got := n.claims.cellPages("one", page)[1]; got != 0 {
			t.Errorf("%s: %d of its own are in its way", name, got)
		}
	}
}
