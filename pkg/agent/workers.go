package agent

import (
	"context"
	"math"
	"time"
)

// workersInterval is the time between two questions for the number of workers, which
// changes with libvirt's configuration only.
const workersInterval = time.Minute

// workers is how many calls the node's libvirt serves at once, as was read last.
type workers struct {
	count int32
	read  time.Time
}

// maxWorkers returns how many calls the node's libvirt serves at once; zero where that
// is not known. Where it cannot be asked, what was read before stands.
func (p *Publisher) maxWorkers(ctx context.Context) int32 {
	now := p.node.Clock.Now()
	if !p.workers.read.IsZero() && now.Sub(p.workers.read) < workersInterval {
		return p.workers.count
	}
	p.workers.read = now
	count, err := p.node.Hypervisor.MaxWorkers(ctx)
	if err != nil {
		p.node.Log.V(1).Info("The number of libvirt's workers could not be read", "error", err.Error())
		return p.workers.count
	}
	p.workers.count = int32(min(count, math.MaxInt32)) //nolint:gosec // Bounded.
	return p.workers.count
}
