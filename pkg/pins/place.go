package pins

import (
	"cmp"
	"slices"
)

// Pin is threads of a guest, by their numbers, and what they are pinned to.
type Pin struct{ IDs, CPUs Set }

// Binding is a NUMA cell of a guest and the nodes that its memory is in.
type Binding struct {
	Cell  int
	Nodes Set
	// Pages is in how many huge pages it is.
	Pages int64
}

// Pins are all pins of a guest.
type Pins struct {
	VCPUs, IOThreads []Pin
	Emulator         Set
	Bindings         []Binding
	// Memory are the nodes of the memory as a whole, and Pages in how many huge pages that is
	// if it is in those of a single node.
	Memory Set
	Pages  int64
}

// Cell is a NUMA cell of a host.
type Cell struct {
	ID   int
	CPUs Set
	// Cores are the threads of each core that has several.
	Cores []Set
	// Pages is how many huge pages of the guest's size are free, of the target's; negative if
	// that is not known.
	Pages int64
}

// Host is the host to which a guest comes.
type Host struct {
	Cells []Cell
	// Dedicated are the CPUs that guests may have for themselves, and Shared those that they
	// share; of an empty set, the host says nothing.
	Dedicated, Shared Set
	// Alone are the CPUs that other guests have for themselves, and Used all that others are
	// pinned to.
	Alone, Used Set
}

// Shortage is why there is no room.
type Shortage struct {
	// Needs are what the guest needs, each in a cell of its own, the largest first, and Has
	// what is free in the host's cells.
	Needs, Has []Room
}

// Room is a part of a cell: CPUs that nothing else is pinned to, and huge pages.
type Room struct {
	Cell, CPUs int
	Pages      int64
}

// OwnCPUs are those that a guest has for itself.
func (p *Pins) OwnCPUs() Set {
	together := map[Set]int{}
	for _, pin := range p.VCPUs {
		together[pin.CPUs] += pin.IDs.Count()
	}
	var own Set
	for cpus, threads := range together {
		if cpus.Count() <= threads {
			own = own.Or(cpus)
		}
	}
	return own
}

// AllCPUs are those that the guest is pinned to.
func (p *Pins) AllCPUs() Set {
	all := p.Emulator
	for _, pin := range slices.Concat(p.VCPUs, p.IOThreads) {
		all = all.Or(pin.CPUs)
	}
	return all
}

// PagesOf is how many huge pages of the guest's memory are in a node.
func (p *Pins) PagesOf(node int) int64 {
	only := SetOf(node)
	var pages int64
	for _, b := range p.Bindings {
		if b.Nodes == only {
			pages += b.Pages
		}
	}
	if len(p.Bindings) == 0 && p.Memory == only {
		pages = p.Pages
	}
	return pages
}

// part is what a guest uses of a cell of its source.
type part struct {
	id    int
	all   Set // All CPUs of the cell.
	own   Set
	cores []Set // Of own.
	pages int64
	// bound is whether memory of a cell of the guest is in it.
	bound bool
	// shares is whether the guest is pinned to CPUs of it that are not its own.
	shares bool
	// to is its cell on the target; -1 before there is one.
	to int
}

// needed reports whether it has to have a cell of its own.
func (p *part) needed() bool { return !p.own.Empty() || p.pages > 0 || p.bound }

// Place finds room for a guest that is pinned on a host with the given cells, of which only
// what is used has to be told. The shortage is nil if there is room.
func Place(guest *Pins, source []Cell, host *Host) (Pins, *Shortage) {
	p := &placing{guest: guest, host: host, cpus: map[int]int{}, own: guest.OwnCPUs()}
	p.split(source)
	if shortage := p.match(); shortage != nil {
		return Pins{}, shortage
	}
	return p.result()
}

type placing struct {
	guest *Pins
	host  *Host
	own   Set
	parts []part
	cpus  map[int]int // From own CPUs on the source to those of the target.
	taken Set         // Those of the target.
}

// split finds out what the guest uses of each cell of the source.
func (p *placing) split(source []Cell) {
	var bound Set
	for _, b := range p.guest.Bindings {
		bound = bound.Or(b.Nodes)
	}
	all, nodes := p.guest.AllCPUs(), bound.Or(p.guest.Memory)
	for _, cell := range source {
		used := all.And(cell.CPUs)
		if used.Empty() && !nodes.Has(cell.ID) {
			continue
		}
		rest := used.Minus(p.own)
		part := part{
			id: cell.ID, all: cell.CPUs, own: used.And(p.own), pages: p.guest.PagesOf(cell.ID),
			bound: bound.Has(cell.ID), shares: !rest.Empty(), to: -1,
		}
		for _, core := range cell.Cores {
			if own := core.And(part.own); own.Count() > 1 {
				part.cores = append(part.cores, own)
			}
		}
		p.parts = append(p.parts, part)
	}
}

// match gives each part that needs one a cell of its own, by augmenting paths: it finds such
// cells if there are any. The others go where there is room, or to another part's cell.
func (p *placing) match() *Shortage {
	holder := make([]int, len(p.host.Cells)) // By cell of the target, the part that has it.
	for i := range holder {
		holder[i] = -1
	}
	order := p.order()
	for _, i := range order {
		if p.parts[i].needed() && !p.augment(i, holder, make([]bool, len(holder))) {
			return p.shortage(order)
		}
	}
	for cell, i := range holder {
		if i >= 0 {
			p.parts[i].to = cell
			p.pick(&p.parts[i])
		}
	}
	if !p.settle(order, holder) {
		return p.shortage(order)
	}
	return nil
}

// settle finds a cell for the parts that need none of their own. It reports whether each has
// one.
func (p *placing) settle(order, holder []int) bool {
	for _, i := range order {
		part := &p.parts[i]
		if part.to >= 0 {
			continue
		}
		for _, cell := range p.preferred(part) {
			if holder[cell] < 0 && p.fits(part, cell) {
				part.to, holder[cell] = cell, i
				break
			}
		}
	}
	for i := range p.parts {
		if part := &p.parts[i]; part.to < 0 {
			part.to = p.spare(part)
		}
		if p.parts[i].to < 0 {
			return false
		}
	}
	return true
}

// order returns the parts, the largest first.
func (p *placing) order() []int {
	order := make([]int, len(p.parts))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		x, y := &p.parts[a], &p.parts[b]
		return cmp.Or(cmp.Compare(y.own.Count(), x.own.Count()), cmp.Compare(y.pages, x.pages))
	})
	return order
}

func (p *placing) augment(i int, holder []int, tried []bool) bool {
	for _, cell := range p.preferred(&p.parts[i]) {
		if tried[cell] || !p.fits(&p.parts[i], cell) {
			continue
		}
		tried[cell] = true
		if holder[cell] < 0 || p.augment(holder[cell], holder, tried) {
			holder[cell] = i
			return true
		}
	}
	return false
}

// preferred returns the cells of the target in the order in which they are tried: that with the
// same number first, and of the others those with the least room that is left.
func (p *placing) preferred(part *part) []int {
	cells := make([]int, len(p.host.Cells))
	room := make([]int, len(cells))
	for i := range cells {
		free := p.free(i)
		cells[i], room[i] = i, free.Count()
	}
	slices.SortStableFunc(cells, func(a, b int) int {
		switch part.id {
		case p.host.Cells[a].ID:
			return -1
		case p.host.Cells[b].ID:
			return 1
		}
		return cmp.Compare(room[a], room[b])
	})
	return cells
}

// free are the CPUs of a cell that a guest can have for itself.
func (p *placing) free(cell int) Set {
	cpus := p.host.Cells[cell].CPUs
	switch {
	case !p.host.Dedicated.Empty():
		cpus = cpus.And(p.host.Dedicated)
	default:
		cpus = cpus.Minus(p.host.Shared)
	}
	return cpus.Minus(p.host.Used).Minus(p.taken)
}

// common are the CPUs of a cell that a guest can share, those first that are shared already.
func (p *placing) common(cell int) []int {
	cpus := p.host.Cells[cell].CPUs
	switch {
	case !p.host.Shared.Empty():
		cpus = cpus.And(p.host.Shared)
	default:
		cpus = cpus.Minus(p.host.Dedicated)
	}
	cpus = cpus.Minus(p.host.Alone).Minus(p.taken)
	shared := cpus.And(p.host.Used)
	rest := cpus.Minus(shared)
	return slices.AppendSeq(slices.Collect(shared.All()), rest.All())
}

func (p *placing) fits(part *part, cell int) bool {
	free, own := p.free(cell), part.own.Count()
	if free.Count() < own || p.host.Cells[cell].Pages >= 0 && p.host.Cells[cell].Pages < part.pages {
		return false
	}
	if !part.shares {
		return true
	}
	// What is shared must not be needed for what is not.
	common := SetOf(p.common(cell)...)
	either := common.Or(free)
	return !common.Empty() && either.Count() > own
}

// spare returns a cell that a part which needs none of its own may share with others.
func (p *placing) spare(part *part) int {
	for _, other := range p.parts {
		if other.to >= 0 && (!part.shares || len(p.common(other.to)) > 0) {
			return other.to
		}
	}
	return -1
}

// pick chooses the CPUs that take the place of a part's own: whole cores for those that are on
// one, and for the others what is left of the cores that have the least.
func (p *placing) pick(part *part) {
	rest := part.own
	for _, own := range part.cores {
		rest = rest.Minus(own)
		p.assign(own, p.core(part, own.Count()))
	}
	p.assign(rest, p.singles(part.to, part))
}

// assign gives CPUs those of the target that come first.
func (p *placing) assign(own Set, to []int) {
	i := 0
	for cpu := range own.All() {
		p.cpus[cpu] = to[i]
		p.taken.Add(to[i])
		i++
	}
}

// core returns free threads of one core; of several, if no core has so many.
func (p *placing) core(part *part, threads int) []int {
	free := p.free(part.to)
	best, least := Set{}, 0
	for _, core := range p.host.Cells[part.to].Cores {
		core = core.And(free)
		if n := core.Count(); n >= threads && (least == 0 || n < least) {
			best, least = core, n
		}
	}
	if least == 0 {
		return p.singles(part.to, part)
	}
	return slices.Collect(best.All())
}

// singles returns the free CPUs of a cell, those first whose cores have the fewest free, and last
// those that alone could be shared, if the part needs one of them.
func (p *placing) singles(cell int, part *part) []int {
	free := p.free(cell)
	left := map[int]int{}
	for _, core := range p.host.Cells[cell].Cores {
		core = core.And(free)
		for cpu := range core.All() {
			left[cpu] = core.Count()
		}
	}
	common := Set{}
	if part.shares {
		common = SetOf(p.common(cell)...)
	}
	out := slices.Collect(free.All())
	weight := func(cpu int) int {
		if common.Has(cpu) {
			return limit + left[cpu]
		}
		return left[cpu]
	}
	slices.SortStableFunc(out, func(a, b int) int { return cmp.Compare(weight(a), weight(b)) })
	return out
}

// result translates all pins.
func (p *placing) result() (Pins, *Shortage) {
	out := Pins{Pages: p.guest.Pages, Memory: p.nodes(p.guest.Memory)}
	ok := true
	translate := func(pins []Pin) []Pin {
		to := make([]Pin, 0, len(pins))
		for _, pin := range pins {
			cpus := p.translate(pin.CPUs)
			ok = ok && !cpus.Empty()
			to = append(to, Pin{IDs: pin.IDs, CPUs: cpus})
		}
		return to
	}
	out.VCPUs, out.IOThreads = translate(p.guest.VCPUs), translate(p.guest.IOThreads)
	if !p.guest.Emulator.Empty() {
		out.Emulator = p.translate(p.guest.Emulator)
		ok = ok && !out.Emulator.Empty()
	}
	for _, b := range p.guest.Bindings {
		b.Nodes = p.nodes(b.Nodes)
		ok = ok && !b.Nodes.Empty()
		out.Bindings = append(out.Bindings, b)
	}
	if !ok || out.Memory.Empty() != p.guest.Memory.Empty() {
		return Pins{}, p.shortage(p.order())
	}
	return out, nil
}

// translate gives a thread its own CPUs, and of those that it shares as many as it had, as far
// as there are any; if the host says which are shared, all of the cell.
func (p *placing) translate(cpus Set) Set {
	var out Set
	own := cpus.And(p.own)
	for cpu := range own.All() {
		if to, known := p.cpus[cpu]; known {
			out.Add(to)
		}
	}
	rest := cpus.Minus(p.own)
	for _, part := range p.parts {
		share := rest.And(part.all)
		n := share.Count()
		if n == 0 {
			continue
		}
		common := p.common(part.to)
		if p.host.Shared.Empty() {
			common = common[:min(n, len(common))]
		}
		out = out.Or(SetOf(common...))
	}
	return out
}

func (p *placing) nodes(nodes Set) Set {
	var out Set
	for _, part := range p.parts {
		if nodes.Has(part.id) {
			out.Add(p.host.Cells[part.to].ID)
		}
	}
	return out
}

func (p *placing) shortage(order []int) *Shortage {
	p.taken = Set{}
	out := &Shortage{}
	for _, i := range order {
		if part := &p.parts[i]; part.needed() || part.shares {
			out.Needs = append(out.Needs, Room{Cell: part.id, CPUs: part.own.Count(), Pages: part.pages})
		}
	}
	for i, cell := range p.host.Cells {
		free := p.free(i)
		out.Has = append(out.Has, Room{Cell: cell.ID, CPUs: free.Count(), Pages: cell.Pages})
	}
	return out
}
