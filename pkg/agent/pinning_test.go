package agent

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/xmlrewrite"
)

// TestWhatIsToldOfPins is all or nothing: half of it would lead to a guest that is pinned by half.
func TestWhatIsToldOfPins(t *testing.T) {
	t.Parallel()
	cells := pinCells([]hypervisor.Cell{
		{ID: 0, CPUs: []int{0, 1, 2, 3}, Offline: []int{3}, Cores: [][]int{{0, 1}, {2}}}, {ID: 1, CPUs: []int{4, 5}},
	})
	good := func() *xmlrewrite.GuestPins {
		return &xmlrewrite.GuestPins{
			VCPUs: []xmlrewrite.ThreadPin{{ID: 0, CPUs: "0"}, {ID: 1, CPUs: "0-1"}, {ID: 2, CPUs: "0"}}, IOThreads: []xmlrewrite.ThreadPin{{ID: 1, CPUs: "2"}},
			Emulator: "0-2", Cells: []xmlrewrite.CellBinding{{Cell: 0, Nodes: "1", MemoryBytes: 3 << 20}}, MemoryNodes: "0-1",
		}
	}
	want := &v1alpha1.GuestPinning{
		VCPUPins: []v1alpha1.GuestPin{{IDs: "0,2", HostCPUs: "0"}, {IDs: "1", HostCPUs: "0-1"}}, IOThreadPins: []v1alpha1.GuestPin{{IDs: "1", HostCPUs: "2"}},
		EmulatorCPUs: "0-2", MemoryNodes: "0-1", CellBindings: []v1alpha1.GuestCellBinding{{Cell: 0, HostNodes: "1", HugePages: 2}},
		HostCells: []v1alpha1.GuestHostCell{{ID: 0, CPUs: "0-2", Cores: []v1alpha1.CPUSet{"0-1"}}, {ID: 1}},
	}
	if diff := cmp.Diff(want, tellPinning(good(), cells, 2<<20)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	many := func(n int) []xmlrewrite.ThreadPin {
		var out []xmlrewrite.ThreadPin
		for i := range n {
			out = append(out, xmlrewrite.ThreadPin{ID: i, CPUs: strings.Repeat("0,", i) + "0"})
		}
		return out
	}
	for name, spoil := range map[string]func(p *xmlrewrite.GuestPins){
		"a CPU of no cell":         func(p *xmlrewrite.GuestPins) { p.VCPUs[0].CPUs = "6" },
		"a CPU that is offline":    func(p *xmlrewrite.GuestPins) { p.Emulator = "3" },
		"a pin to nothing":         func(p *xmlrewrite.GuestPins) { p.IOThreads[0].CPUs = "" },
		"a node of none":           func(p *xmlrewrite.GuestPins) { p.MemoryNodes = "2" },
		"a cell on a node of none": func(p *xmlrewrite.GuestPins) { p.Cells[0].Nodes = "2" },
		"a cell beyond all":        func(p *xmlrewrite.GuestPins) { p.Cells[0].Cell = 1024 },
		"too many sets":            func(p *xmlrewrite.GuestPins) { p.VCPUs = many(513) },
		"too many I/O threads":     func(p *xmlrewrite.GuestPins) { p.IOThreads = many(129) },
		"too long a set":           func(p *xmlrewrite.GuestPins) { p.Emulator = strings.Repeat("0,", 2048) + "0" },
		"too much text": func(p *xmlrewrite.GuestPins) {
			p.VCPUs = nil
			for i := range 17 {
				p.VCPUs = append(p.VCPUs, xmlrewrite.ThreadPin{ID: i, CPUs: strings.Repeat("0,", 2040-i) + "0"})
			}
		},
		"too many cells": func(p *xmlrewrite.GuestPins) {
			for i := range 64 {
				p.Cells = append(p.Cells, xmlrewrite.CellBinding{Cell: i + 1, Nodes: "0"})
			}
		},
	} {
		p := good()
		spoil(p)
		if got := tellPinning(p, cells, 0); got != nil {
			t.Errorf("%s: %s is told", name, fmt.Sprint(*got))
		}
	}
}
