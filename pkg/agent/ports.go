package agent

import (
	"fmt"
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// portPool remembers which ports were promised to guests that have not arrived
// yet.
type portPool struct {
	mu       sync.Mutex
	promised map[types.UID][]int32
}

// promise picks n ports of the range that neither used says are taken nor
// another migration was promised.
func (p *portPool) promise(uid types.UID, n int, r PortRange, used map[int32]bool) ([]int32, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for other, ports := range p.promised {
		for _, port := range ports {
			used[port] = used[port] || other != uid
		}
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
	p.promised[uid] = ports
}

// release ends a promise.
func (p *portPool) release(uid types.UID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.promised, uid)
}
