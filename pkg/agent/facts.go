package agent

import (
	"context"
	"io/fs"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/virtferry/virtferry/pkg/hostfiles"
	"github.com/virtferry/virtferry/pkg/hypervisor"
)

const (
	// factsInterval is the time between two looks at what changes while a host runs; the
	// rest is looked at each hostInterval, and when libvirt was away.
	factsInterval = time.Minute
	// firstFacts is how long the first publication waits for what the host has.
	firstFacts = 2 * time.Second
)

// HostFiles are the files of a node's host.
type HostFiles struct {
	// System has what the kernel tells: proc and sys. Host has the host's etc. What is nil
	// is not seen.
	System, Host fs.FS
}

// changing are the groups that change while a host runs.
//
//nolint:gochecknoglobals // A constant.
var changing = []hypervisor.FactGroup{hypervisor.FactsMemory, hypervisor.FactsStoragePools, hypervisor.FactsMediatedDevices}

// known is what was read of a host.
type known struct {
	facts hypervisor.HostFacts
	files hostfiles.Facts
}

// factReader reads what a node's host has and offers, beside everything else: what hangs
// there holds nothing up.
type factReader struct {
	node *Node
	// again asks for everything to be read once more.
	again chan struct{}
	// tried is closed when the first read is over.
	tried chan struct{}
	// known is what was read last; nil before.
	known atomic.Pointer[known]
	// all is when everything was read last.
	all time.Time
}

func newFactReader(node *Node) *factReader {
	return &factReader{node: node, again: make(chan struct{}, 1), tried: make(chan struct{})}
}

// run reads until ctx ends.
func (f *factReader) run(ctx context.Context) {
	f.read(ctx)
	close(f.tried)
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.again:
			f.all = time.Time{}
		case <-f.node.Clock.After(factsInterval):
		}
		f.read(ctx)
	}
}

// refresh asks for everything to be read once more.
func (f *factReader) refresh() {
	select {
	case f.again <- struct{}{}:
	default:
	}
}

// awaitFirst waits until something is known, but not for long.
func (f *factReader) awaitFirst(ctx context.Context) {
	select {
	case <-f.tried:
	case <-f.node.Clock.After(firstFacts):
	case <-ctx.Done():
	}
}

// read looks at the host. While libvirt cannot be reached, what is known stays.
func (f *factReader) read(ctx context.Context) {
	now := f.node.Clock.Now()
	before := f.known.Load()
	groups := hypervisor.FactGroups()
	if before != nil && !f.all.IsZero() && now.Sub(f.all) < hostInterval {
		groups = slices.Concat(changing, slices.Collect(maps.Keys(before.facts.Errors)))
	} else {
		f.all = now
	}
	facts, err := f.node.Hypervisor.HostFacts(ctx, groups...)
	if err != nil {
		f.all = time.Time{}
		return
	}
	after := &known{facts: facts, files: hostfiles.Read(f.node.Files.System, f.node.Files.Host, now)}
	if before != nil {
		keepFacts(&after.facts, &before.facts, groups)
	}
	f.log(before, after)
	f.known.Store(after)
}

// keepFacts takes over what was not asked for, and what libvirt did not answer in time: that is
// likely to be as it was.
func keepFacts(to, from *hypervisor.HostFacts, asked []hypervisor.FactGroup) {
	stays := func(group hypervisor.FactGroup) bool {
		return !slices.Contains(asked, group) || hypervisor.KindOf(to.Errors[group]) == hypervisor.KindTimeout
	}
	if stays(hypervisor.FactsCapabilities) {
		to.Capabilities = from.Capabilities
	}
	if stays(hypervisor.FactsOfferedCPUs) {
		to.OfferedCPUs = from.OfferedCPUs
	}
	if stays(hypervisor.FactsMemory) {
		to.Memory = from.Memory
	}
	if stays(hypervisor.FactsNetworks) {
		to.Networks = from.Networks
	}
	if stays(hypervisor.FactsBridges) {
		to.Bridges = from.Bridges
	}
	if stays(hypervisor.FactsStoragePools) {
		to.StoragePools = from.StoragePools
	}
	if stays(hypervisor.FactsMediatedDevices) {
		to.MediatedTypes = from.MediatedTypes
	}
}

// log tells of what cannot be read any more.
func (f *factReader) log(before, after *known) {
	for group, err := range after.facts.Errors {
		if before == nil || before.facts.Errors[group] == nil {
			f.node.Log.Info("A fact of the host could not be read", "fact", group, "error", err.Error())
		}
	}
}
