package controllers

import (
	"slices"
	"strconv"
	"strings"
	"sync"
	"unique"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/migration"
	"github.com/virtferry/virtferry/pkg/versions"
)

// platforms knows which QEMUs the nodes have: a few, however many nodes there are. A node that
// is not ready counts as well: most are soon again.
type platforms struct {
	mu      sync.Mutex
	byNode  map[string]unique.Handle[string]
	classes map[unique.Handle[string]]*class
	// newest is the latest of them; nil while there is none.
	newest *migration.Platform
}

// class are nodes with the same platform.
type class struct {
	platform *migration.Platform
	nodes    int
}

// put takes in what a node has, and returns that, and the newest of the cluster if that is
// newer.
func (p *platforms) put(hv *v1alpha1.Hypervisor) (own, newest *migration.Platform) {
	p.mu.Lock()
	defer p.mu.Unlock()
	key, known := classOf(hv)
	switch c := p.classes[key]; {
	case !known:
	case c != nil:
		own = c.platform
	default:
		own = platformOf(hv)
	}
	if was, counted := p.byNode[hv.Name]; counted && (!known || was != key) {
		p.drop(hv.Name, was)
	}
	if _, counted := p.byNode[hv.Name]; known && !counted {
		p.add(hv.Name, key, own)
	}
	if p.newest != nil && versions.Newer(p.newest.Version, hv.Status.HypervisorVersion) {
		newest = p.newest
	}
	return own, newest
}

// forget drops what is known of a node.
func (p *platforms) forget(node string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if was, counted := p.byNode[node]; counted {
		p.drop(node, was)
	}
}

func (p *platforms) add(node string, key unique.Handle[string], platform *migration.Platform) {
	if p.byNode == nil {
		p.byNode, p.classes = map[string]unique.Handle[string]{}, map[unique.Handle[string]]*class{}
	}
	if p.classes[key] == nil {
		p.classes[key] = &class{platform: platform}
		p.newest = later(p.newest, platform)
	}
	p.classes[key].nodes++
	p.byNode[node] = key
}

func (p *platforms) drop(node string, key unique.Handle[string]) {
	delete(p.byNode, node)
	p.classes[key].nodes--
	if p.classes[key].nodes > 0 {
		return
	}
	delete(p.classes, key)
	p.newest = nil
	for _, c := range p.classes {
		p.newest = later(p.newest, c.platform)
	}
}

// later is the platform with the later version. Of two of the same, it is the one that offers
// more: that is where guests would go.
func later(a, b *migration.Platform) *migration.Platform {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	case versions.Newer(b.Version, a.Version), !versions.Newer(a.Version, b.Version) && len(b.Offered) > len(a.Offered):
		return b
	default:
		return a
	}
}

// classOf names the platform that a Hypervisor tells of; known is false where it tells of
// none.
func classOf(hv *v1alpha1.Hypervisor) (key unique.Handle[string], known bool) {
	host := hv.Status.Host
	if host == nil || host.Architectures == nil || hv.Status.HypervisorVersion == "" {
		return key, false
	}
	parts := []string{hv.Status.HypervisorVersion, strconv.Itoa(int(host.Architectures.Count))}
	for _, a := range host.Architectures.Items {
		parts = append(parts, strconv.Itoa(int(a.MachineTypeCount)), strings.Join(a.MachineTypes, separator), strings.Join(a.Deprecated, separator))
	}
	return unique.Make(strings.Join(parts, separator+separator)), true
}

// platformOf is what a Hypervisor says of its QEMU.
func platformOf(hv *v1alpha1.Hypervisor) *migration.Platform {
	host := hv.Status.Host
	out := &migration.Platform{Version: hv.Status.HypervisorVersion, Offered: map[string]bool{}, Deprecated: map[string]bool{}}
	complete := len(host.Architectures.Items) == int(host.Architectures.Count)
	for _, a := range host.Architectures.Items {
		complete = complete && len(a.MachineTypes) == int(a.MachineTypeCount)
		for _, machine := range a.MachineTypes {
			out.Offered[machine] = true
		}
		for _, machine := range a.Deprecated {
			out.Deprecated[machine] = true
		}
	}
	if !complete {
		out.Offered = nil // What is not listed may be there all the same.
	}
	return out
}

// separator is what no machine type has in it.
const separator = "\n"

// shared returns texts whose contents all who have the same ones share: thousands of nodes
// have the machine types of a few QEMUs.
func shared(texts []string) []string {
	if len(texts) == 0 || slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(text, separator) }) {
		return texts
	}
	return strings.Split(unique.Make(strings.Join(texts, separator)).Value(), separator)
}
