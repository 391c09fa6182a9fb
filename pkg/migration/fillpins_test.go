package migration

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/pins"
)

func pinned() *v1alpha1.GuestResources {
	return &v1alpha1.GuestResources{
		HugePages: &v1alpha1.GuestHugePages{SizeBytes: 2 << 20, Count: 8},
		Pinning: &v1alpha1.GuestPinning{
			VCPUPins: []v1alpha1.GuestPin{{IDs: "1", HostCPUs: "9"}, {IDs: "0", HostCPUs: "8"}}, IOThreadPins: []v1alpha1.GuestPin{{IDs: "2,1", HostCPUs: "8"}},
			EmulatorCPUs: "8-9", MemoryNodes: "1", CellBindings: []v1alpha1.GuestCellBinding{{Cell: 0, HostNodes: "1", HugePages: 8}},
			HostCells: []v1alpha1.GuestHostCell{{ID: 1, CPUs: "8-9", Cores: []v1alpha1.CPUSet{"8-9"}}},
		},
	}
}

func twoCells() *pins.Host {
	return &pins.Host{Cells: []pins.Cell{
		{ID: 0, CPUs: pins.SetOf(0, 1, 2, 3), Pages: 8}, {ID: 1, CPUs: pins.SetOf(4, 5, 6, 7), Cores: []pins.Set{pins.SetOf(4, 5), pins.SetOf(6, 7)}, Pages: 8},
	}, Used: pins.SetOf(4), Alone: pins.SetOf(4)}
}

// TestFilledPins are in the order of the guest's threads, and are read as they were written.
func TestFilledPins(t *testing.T) {
	t.Parallel()
	got, problem := FillPins("node-b", pinned(), twoCells())
	want := &v1alpha1.TargetPins{
		VCPUPins:     []v1alpha1.VCPUPin{{VCPU: 0, HostCPUs: "6"}, {VCPU: 1, HostCPUs: "7"}},
		IOThreadPins: []v1alpha1.IOThreadPin{{IOThread: 1, HostCPUs: "6"}, {IOThread: 2, HostCPUs: "6"}},
		EmulatorPin:  "6-7", CellPins: []v1alpha1.CellPin{{Cell: 0, HostNodes: "1"}}, MemoryNodes: "1",
	}
	if diff := cmp.Diff(want, got); problem != "" || diff != "" {
		t.Fatalf("%s (-want +got):\n%s", problem, diff)
	}
	lm := filled(pinned(), nil)
	read := TargetPins(lm, &v1alpha1.TargetOffer{NUMA: got})
	if own := read.OwnCPUs(); own.String() != "6-7" || read.PagesOf(1) != 8 || read.PagesOf(0) != 0 {
		t.Errorf("its own are %s, with %d pages", own, read.PagesOf(1))
	}
	lm.Spec.MigrateData = &v1alpha1.MigrateData{NUMA: &v1alpha1.NUMAMigrateData{VCPUPins: []v1alpha1.VCPUPin{{VCPU: 0, HostCPUs: "3"}}}}
	read = TargetPins(lm, &v1alpha1.TargetOffer{NUMA: got})
	if own := read.OwnCPUs(); own.String() != "3" {
		t.Errorf("the user says 3, and it has %s", own)
	}
	if read = TargetPins(&v1alpha1.LiveMigration{}, nil); !cmp.Equal(read, pins.Pins{}) {
		t.Errorf("of nothing, %+v", read)
	}
}

// TestWhyPinsAreNotFilledIn is told with what there is.
func TestWhyPinsAreNotFilledIn(t *testing.T) {
	t.Parallel()
	few, wrong, many := twoCells(), pinned(), pinned()
	many.Pinning.VCPUPins = []v1alpha1.GuestPin{{IDs: "0-4096", HostCPUs: "8-9"}}
	few.Cells[0].Pages, few.Used = 7, pins.SetOf(4, 5, 6)
	wrong.Pinning.EmulatorCPUs = "all"
	for _, c := range []struct {
		r    *v1alpha1.GuestResources
		host *pins.Host
		says string
	}{
		{pinned(), few, "it needs 2 CPUs with 8 huge pages, in a NUMA cell each. node-b has, free of other guests that are pinned there or on their way: 4 CPUs with 7 huge pages in cell 0, 1 CPU with 8 huge pages in cell 1. Choose"},
		{many, twoCells(), "has more pins than can be filled in. Give"},
		{wrong, twoCells(), `makes no sense: "all" is`},
	} {
		if numa, problem := FillPins("node-b", c.r, c.host); numa != nil || !strings.Contains(problem, c.says) {
			t.Errorf("got %+v, %s; want %s", numa, problem, c.says)
		}
	}
}

// TestWhoChoosesPins is the target, unless the user has said anything or the guest has none.
func TestWhoChoosesPins(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		lm   *v1alpha1.LiveMigration
		want bool
	}{
		"nothing is known":      {&v1alpha1.LiveMigration{}, false},
		"nothing of its source": {filled(nil, nil), false},
		"it is not pinned":      {filled(&v1alpha1.GuestResources{}, nil), false},
		"it is":                 {filled(pinned(), nil), true},
		"and the user says":     {filled(pinned(), &v1alpha1.MigrateData{PerfEvents: []v1alpha1.PerfEvent{}}), true},
		"and says of pins":      {filled(pinned(), &v1alpha1.MigrateData{NUMA: &v1alpha1.NUMAMigrateData{}}), false},
	} {
		if got := WantsPins(c.lm); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
