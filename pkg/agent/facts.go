package agent

import (
	"context"
	"errors"
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
	// filesPatience is how long files of the host may take: they may be on storage that does
	// not respond.
	filesPatience = 5 * time.Second
)

var errFilesHang = errors.New("a file of the host does not answer: ask an administrator to check what /etc/pki, and what links there lead to, is stored on")

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
	// filesError is why the files could not be read the last time.
	filesError error
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
	// all is when everything was read last; zero while nothing is known, or it has to be read
	// again.
	all time.Time
	// files is what was read of files last, and reading brings what is being read; nil if
	// nothing is.
	files   hostfiles.Facts
	reading chan hostfiles.Facts
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
	if now.Sub(f.all) < hostInterval {
		groups = slices.Concat(changing, slices.Collect(maps.Keys(before.facts.Errors)))
	} else {
		f.all = now
	}
	facts, err := f.node.Hypervisor.HostFacts(ctx, groups...)
	if err != nil {
		f.all = time.Time{}
		return
	}
	after := &known{facts: facts}
	after.files, after.filesError = f.readFiles(ctx, now)
	if before != nil {
		keepFacts(&after.facts, &before.facts, groups)
	}
	f.log(before, after)
	f.known.Store(after)
	f.node.certificateEnds.Store(new(CertificateEnds(after.files)))
}

// readFiles reads the files of the host. While that hangs, what was read last stays, and
// nothing else is opened. Nobody can end a read that hangs, so nobody waits for its end.
func (f *factReader) readFiles(ctx context.Context, now time.Time) (hostfiles.Facts, error) {
	if f.reading == nil {
		reading, files := make(chan hostfiles.Facts, 1), f.node.Files
		f.reading = reading
		go func() { reading <- hostfiles.Read(files.System, files.Host, now) }()
	}
	select {
	case f.files = <-f.reading:
		f.reading = nil
		return f.files, nil
	case <-f.node.Clock.After(filesPatience):
	case <-ctx.Done():
	}
	return f.files, errFilesHang
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
	if after.filesError != nil && (before == nil || before.filesError == nil) {
		f.node.Log.Info("Files of the host could not be read", "error", after.filesError.Error())
	}
	for group, err := range after.facts.Errors {
		if before == nil || before.facts.Errors[group] == nil {
			f.node.Log.Info("A fact of the host could not be read", "fact", group, "error", err.Error())
		}
	}
}
