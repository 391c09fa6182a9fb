package agent

import (
	"fmt"

	"k8s.io/apimachinery/pkg/types"
)

// portPool remembers which ports were promised to guests that have not arrived
// yet.
type portPool struct{ promises[int32] }

// promise picks n ports of the range that neither used, which is the result of a
// survey that is not done, says are taken nor another migration was promised.
func (p *portPool) promise(uid types.UID, n int, r PortRange, used map[int32]bool) ([]int32, error) {
	ports := make([]int32, 0, n)
	err := p.choose(uid, used, func() ([]int32, error) {
		for port := int32(r.First); port <= int32(r.Last) && len(ports) < n; port++ {
			if !used[port] {
				ports = append(ports, port)
			}
		}
		if len(ports) < n {
			return nil, fmt.Errorf("only %d of the %d TCP ports that the guest's serial consoles need are free in %s", len(ports), n, r)
		}
		return ports, nil
	})
	if err != nil {
		return nil, err
	}
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
