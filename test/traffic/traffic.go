// Package traffic counts the guests that are on their way to a host, by what the
// host's hypervisor tells.
package traffic

import (
	"sync"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// Counter counts the guests that are on their way to one host. Its zero value is
// ready, and its methods may be called concurrently.
type Counter struct {
	mu       sync.Mutex
	arriving map[string]bool
	most     int
}

// Note takes in an event of the host. A guest is on its way from the moment at which
// its incoming half appears until it runs, or is gone. Events that were lost make the
// count too small, never too large.
func (c *Counter) Note(e hypervisor.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case e.Type == hypervisor.EventResync:
		clear(c.arriving) // Whether they have arrived was told to nobody.
	case e.Type != hypervisor.EventLifecycle:
	case e.Lifecycle == hypervisor.LifecycleStarted && e.Detail == hypervisor.DetailMigrated:
		if c.arriving == nil {
			c.arriving = map[string]bool{}
		}
		c.arriving[e.UUID] = true
		c.most = max(c.most, len(c.arriving))
	case e.Lifecycle == hypervisor.LifecycleResumed, e.Lifecycle == hypervisor.LifecycleStopped:
		delete(c.arriving, e.UUID)
	}
}

// Most returns the largest number of guests that were on their way at once.
func (c *Counter) Most() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.most
}
