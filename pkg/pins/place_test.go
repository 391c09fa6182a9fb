package pins

import (
	"fmt"
	"strings"
	"testing"
)

func set(t *testing.T, text string) Set {
	t.Helper()
	s, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// pinsOf reads pins as in "0:4 1:5".
func pinsOf(t *testing.T, text string) []Pin {
	t.Helper()
	var out []Pin
	for field := range strings.FieldsSeq(text) {
		ids, cpus, _ := strings.Cut(field, ":")
		out = append(out, Pin{IDs: set(t, ids), CPUs: set(t, cpus)})
	}
	return out
}

func textOf(pins []Pin) string {
	var out []string
	for _, pin := range pins {
		out = append(out, pin.IDs.String()+":"+pin.CPUs.String())
	}
	return strings.Join(out, " ")
}

// cells reads cells as in "0:0-3 1:4-7", each with cores of two threads, as in 0 and 1, if
// threads is set.
func cells(t *testing.T, text string, threads bool) []Cell {
	t.Helper()
	var out []Cell
	for _, pin := range pinsOf(t, text) {
		cell := Cell{CPUs: pin.CPUs, Pages: -1}
		for id := range pin.IDs.All() {
			cell.ID = id
		}
		for cpu := range cell.CPUs.All() {
			if threads && cpu%2 == 0 {
				cell.Cores = append(cell.Cores, SetOf(cpu, cpu+1))
			}
		}
		out = append(out, cell)
	}
	return out
}

type placeCase struct {
	name                       string
	vcpus, ioThreads, emulator string
	bindings, memory           string
	pages                      int64 // Of each binding, or of the whole if there is none.
	source, target             string
	threads                    bool
	dedicated, shared          string
	alone, used                string
	hostPages                  []int64
	want                       string // The virtual CPUs, I/O threads, emulator, bindings and memory.
	needs                      string // Of a shortage.
}

func (c *placeCase) run(t *testing.T) {
	t.Helper()
	guest := &Pins{
		VCPUs: pinsOf(t, c.vcpus), IOThreads: pinsOf(t, c.ioThreads), Emulator: set(t, c.emulator), Memory: set(t, c.memory),
	}
	for _, b := range pinsOf(t, c.bindings) {
		for id := range b.IDs.All() {
			guest.Bindings = append(guest.Bindings, Binding{Cell: id, Nodes: b.CPUs, Pages: c.pages})
		}
	}
	if len(guest.Bindings) == 0 {
		guest.Pages = c.pages
	}
	host := &Host{
		Cells: cells(t, c.target, c.threads), Dedicated: set(t, c.dedicated), Shared: set(t, c.shared),
		Alone: set(t, c.alone), Used: set(t, c.used).Or(set(t, c.alone)),
	}
	for i, pages := range c.hostPages {
		host.Cells[i].Pages = pages
	}
	got, shortage := Place(guest, cells(t, c.source, c.threads), host)
	if (shortage != nil) != (c.needs != "") {
		t.Fatalf("the shortage is %+v, want %q", shortage, c.needs)
	}
	if shortage != nil {
		if text := fmt.Sprint(shortage.Needs, shortage.Has); text != c.needs {
			t.Errorf("the shortage is %s, want %s", text, c.needs)
		}
		return
	}
	var bindings []Pin
	for _, b := range got.Bindings {
		bindings = append(bindings, Pin{IDs: SetOf(b.Cell), CPUs: b.Nodes})
	}
	text := strings.Join([]string{textOf(got.VCPUs), textOf(got.IOThreads), got.Emulator.String(), textOf(bindings), got.Memory.String()}, "|")
	if text != c.want {
		t.Errorf("got  %s\nwant %s", text, c.want)
	}
	own, all, dedicated := got.OwnCPUs(), got.AllCPUs(), guest.OwnCPUs()
	taken, alone := own.And(host.Used), all.And(host.Alone)
	if own.Count() < dedicated.Count() || !taken.Empty() || !alone.Empty() {
		t.Errorf("its own are %s of %s, in others' %s and %s", own, dedicated, taken, alone)
	}
}

func TestPlace(t *testing.T) {
	t.Parallel()
	for _, c := range []placeCase{
		{name: "one CPU", vcpus: "0:4", source: "0:0-7", target: "0:0-3", want: "0:0||||"},
		{name: "beside another guest", vcpus: "0:0 1:1", source: "0:0-7", target: "0:0-3", alone: "0,2", want: "0:1 1:3||||"},
		{name: "beside CPUs that others share", vcpus: "0:0", source: "0:0-7", target: "0:0-3", used: "0-2", want: "0:3||||"},
		{name: "CPUs together", vcpus: "0-3:4-7", source: "0:0-7", target: "0:0-15", alone: "0-7", want: "0-3:8-11||||"},
		{name: "the emulator is where virtual CPUs are", vcpus: "0:4 1:5", emulator: "4-5", ioThreads: "1:5", source: "0:0-7", target: "0:0-3", want: "0:0 1:1|1:1|0-1||"},
		{name: "the emulator shares CPUs", vcpus: "0:4", emulator: "0-1", source: "0:0-7", target: "0:0-7", used: "5,6", want: "0:0||5-6||"},
		{name: "the emulator shares fewer CPUs", vcpus: "0:4", emulator: "0-2", source: "0:0-7", target: "0:0-2", want: "0:0||1-2||"},
		{name: "none is left to share", vcpus: "0:4 1:5", emulator: "0", source: "0:0-7", target: "0:0-1", needs: "[{0 2 0}] [{0 2 -1}]"},
		{name: "nothing is free", vcpus: "0:4", source: "0:0-7", target: "0:0-3", used: "0-3", needs: "[{0 1 0}] [{0 0 -1}]"},
		{name: "what is for guests alone", vcpus: "0:4", emulator: "0-1", source: "0:0-7", target: "0:0-7", dedicated: "4-7", want: "0:4||0-1||"},
		{name: "what is shared", vcpus: "0:4", emulator: "0-1", source: "0:0-7", target: "0:0-7", shared: "0-3", want: "0:4||0-3||"},
		{name: "both are told", vcpus: "0:4", emulator: "0-1", source: "0:0-7", target: "0:0-7", shared: "0-1", dedicated: "6-7", want: "0:6||0-1||"},
		{name: "the guest shares all", vcpus: "0:0-7 1:0-7", source: "0:0-7", target: "0:0-7", shared: "0-3", alone: "2", want: "0:0-1,3 1:0-1,3||||"},
		{name: "two cells", vcpus: "0:0 1:8", bindings: "0:0 1:1", memory: "0-1", source: "0:0-7 1:8-15", target: "0:0-3 1:4-7", want: "0:0 1:4|||0:0 1:1|0-1"},
		{name: "two cells of three, by other numbers", vcpus: "0:0 1:8", bindings: "0:0 1:1", source: "0:0-7 1:8-15", target: "0:0-3 1:4-7 3:8-11", alone: "0-3", want: "0:8 1:4|||0:3 1:1|"},
		{name: "one of two has to make way", vcpus: "0:0 1:8-10 2:8-10 3:8-10", source: "0:0-7 1:8-15", target: "0:0-3 1:4-7", alone: "4-6", want: "0:7 1:0-2 2:0-2 3:0-2||||"},
		{name: "two cells where there is one", vcpus: "0:0 1:8", source: "0:0-7 1:8-15", target: "0:0-7", needs: "[{0 1 0} {1 1 0}] [{0 8 -1}]"},
		{name: "one cell whose CPUs are in two", vcpus: "0:0 1:1", source: "0:0-7", target: "0:0-1 1:2-3", alone: "0,2", needs: "[{0 2 0}] [{0 1 -1} {1 1 -1}]"},
		{name: "memory alone", bindings: "0:1", memory: "1", source: "0:0-3 1:4-7", target: "0:0-3", want: "|||0:0|0"},
		{name: "memory of all nodes, where there are fewer", memory: "0-3", source: "0:0-1 1:2-3 2:4-5 3:6-7", target: "0:0-3 1:4-7", want: "||||0-1"},
		{name: "huge pages in the other cell", vcpus: "0:0", bindings: "0:0", pages: 4, source: "0:0-3", target: "0:0-3 1:4-7", hostPages: []int64{3, 4}, want: "0:4|||0:1|"},
		{name: "huge pages in none", vcpus: "0:0", bindings: "0:0", pages: 4, source: "0:0-3", target: "0:0-3 1:4-7", hostPages: []int64{3, 3}, needs: "[{0 1 4}] [{0 4 3} {1 4 3}]"},
		{name: "huge pages of the whole", vcpus: "0:0", memory: "0", pages: 4, source: "0:0-3", target: "0:0-3 1:4-7", hostPages: []int64{3, 4}, want: "0:4||||1"},
		{name: "threads of a core", vcpus: "0:2 1:3", source: "0:0-7", target: "0:0-7", threads: true, alone: "0,2,4", want: "0:6 1:7||||"},
		{name: "threads of a core, where there is none", vcpus: "0:2 1:3", source: "0:0-7", target: "0:0-7", threads: true, alone: "0,2,4,6", want: "0:1 1:3||||"},
		{name: "no core is broken for one thread", vcpus: "0:2", source: "0:0-7", target: "0:0-7", threads: true, alone: "6", want: "0:7||||"},
		{name: "CPUs of a cell that is not told", vcpus: "0:9", source: "0:0-7", target: "0:0-7", needs: "[] [{0 8 -1}]"},
		{name: "the emulator is in another cell", vcpus: "0:0", emulator: "8", source: "0:0-7 1:8-15", target: "0:0-3 1:4-7", want: "0:0||4||"},
		{name: "the emulator is in another cell, where there is none", vcpus: "0:0", emulator: "8", source: "0:0-7 1:8-15", target: "0:0-3", want: "0:0||1||"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(t)
		})
	}
}

func TestSets(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"": "", "0": "0", "3,1-2": "1-3", "0-3,8": "0-3,8", "16383": "16383", "63-64": "63-64", "7,7": "7",
	} {
		if got, err := Parse(text); err != nil || got.String() != want {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	for _, text := range []string{"16384", "3-1", "a", "1,", "-1", "1-", "0-99999", "^1"} {
		if got, err := Parse(text); err == nil || !got.Empty() {
			t.Errorf("%q is %q", text, got)
		}
	}
	s := SetOf(-1, 5, limit)
	if s.String() != "5" || s.Has(-1) || s.Has(limit) {
		t.Errorf("got %q", s)
	}
}

// TestPagesOfANode are those of memory that is in it and nowhere else.
func TestPagesOfANode(t *testing.T) {
	t.Parallel()
	bound := Pins{Bindings: []Binding{{Nodes: SetOf(1), Pages: 3}, {Nodes: SetOf(1), Pages: 4}, {Nodes: SetOf(0, 1), Pages: 5}}, Memory: SetOf(1), Pages: 12}
	whole := Pins{Memory: SetOf(1), Pages: 12}
	for node, want := range map[int][2]int64{0: {0, 0}, 1: {7, 12}} {
		if got := [2]int64{bound.PagesOf(node), whole.PagesOf(node)}; got != want {
			t.Errorf("in %d: %v, want %v", node, got, want)
		}
	}
}
