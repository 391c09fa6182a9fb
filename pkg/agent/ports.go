package agent

import (
	"fmt"
	"maps"
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// portPool remembers which ports were promised to guests that have not arrived
// yet.
type portPool struct {
	mu       sync.Mutex
	promised map[types.UID][]int32
	// surveys counts the looks at the ports of guests that are under way, and
	// late holds what was released since the first of them began.
	surveys int
	late    map[int32]bool
	// last are the ports on which guests, by their UUIDs, were last seen to listen.
	last map[string][]int32
}

// note remembers on which ports a guest listens, and lastOf returns that.
func (p *portPool) note(guest string, ports []int32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last == nil {
		p.last = map[string][]int32{}
	}
	p.last[guest] = ports
}

func (p *portPool) lastOf(guest string) []int32 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last[guest]
}

// forgetOthers drops what was noted of guests that are not among those of the host.
func (p *portPool) forgetOthers(guests []hypervisor.Domain) {
	p.mu.Lock()
	defer p.mu.Unlock()
	here := make(map[string]bool, len(guests))
	for _, d := range guests {
		here[d.UUID] = true
	}
	maps.DeleteFunc(p.last, func(guest string, _ []int32) bool { return !here[guest] })
}

// survey begins a look at which ports the guests of the host have, which done
// ends. A port that is released meanwhile stays taken until then: the look may
// have missed the guest that has just arrived with it.
func (p *portPool) survey() (done func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.surveys++
	return sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.surveys--
		if p.surveys == 0 {
			p.late = nil
		}
	})
}

// promise picks n ports of the range that neither used, which is the result of a
// survey that is not done, says are taken nor another migration was promised.
func (p *portPool) promise(uid types.UID, n int, r PortRange, used map[int32]bool) ([]int32, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for other, ports := range p.promised {
		for _, port := range ports {
			used[port] = used[port] || other != uid
		}
	}
	for port := range p.late {
		used[port] = true
	}
	ports := make([]int32, 0, n)
	for port := int32(r.First); port <= int32(r.Last) && len(ports) < n; port++ {
		if !used[port] {
			ports = append(ports, port)
		}
	}
	if len(ports) < n {
		return nil, fmt.Errorf("only %d of the %d TCP ports that the guest's serial consoles need are free in %s", len(ports), n, r)
	}
	p.keepLocked(uid, ports)
	return ports, nil
}

// promiseFree is promise, of ports on which nothing else of the host listens either. Which
// of the given ones are taken, the function says; it may be slow, and is asked of few.
func (p *portPool) promiseFree(uid types.UID, n int, r PortRange, used map[int32]bool, taken func([]int32) []int32) ([]int32, error) {
	for {
		ports, err := p.promise(uid, n, r, used)
		if err != nil {
			p.release(uid) // Of what was promised before they turned out to be too few.
			return nil, err
		}
		occupied := taken(ports)
		if len(occupied) == 0 {
			return ports, nil
		}
		for _, port := range occupied {
			used[port] = true
		}
	}
}

// keep restores a promise that an earlier process made.
func (p *portPool) keep(uid types.UID, ports []int32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keepLocked(uid, ports)
}

func (p *portPool) keepLocked(uid types.UID, ports []int32) {
	if p.promised == nil {
		p.promised = map[types.UID][]int32{}
	}
	p.dropLocked(uid)
	p.promised[uid] = ports
}

func (p *portPool) dropLocked(uid types.UID) {
	if p.surveys > 0 {
		if p.late == nil {
			p.late = map[int32]bool{}
		}
		for _, port := range p.promised[uid] {
			p.late[port] = true
		}
	}
	delete(p.promised, uid)
}

// release ends a promise.
func (p *portPool) release(uid types.UID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dropLocked(uid)
}
