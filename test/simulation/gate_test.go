package simulation

import (
	"context"
	"sync"
)

// gate is what all goes through that a process asks or hears. It is shut while the process
// hangs. A nil gate is open.
type gate struct {
	mu sync.Mutex
	// opened is closed when the gate is opened, and nil while it is open.
	opened chan struct{}
}

func newGate() *gate { return &gate{} }

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.opened == nil {
		g.opened = make(chan struct{})
	}
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.opened != nil {
		close(g.opened)
		g.opened = nil
	}
}

// pass waits until the gate is open, whoever gives up meanwhile: a process that hangs does not
// see that either.
func (g *gate) pass(ctx context.Context) error {
	if g == nil {
		return nil
	}
	g.mu.Lock()
	opened := g.opened
	g.mu.Unlock()
	if opened != nil {
		<-opened
	}
	return ctx.Err()
}
