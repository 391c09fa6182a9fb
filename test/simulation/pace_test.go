package simulation

import (
	"context"
	"hash/fnv"
	"math/rand/v2"
	"sync"
	"time"
)

// pace is how long the steps of somebody take, and what else of theirs is left to chance.
// It depends on the seed and the name, and on nothing that others do.
type pace struct {
	seed uint64
	name string

	mu     sync.Mutex
	random *rand.Rand
	parts  map[string]*pace
}

func newPace(seed uint64, name string) *pace {
	h := fnv.New64a()
	h.Write([]byte(name))
	return &pace{seed: seed, name: name, random: rand.New(rand.NewPCG(seed, h.Sum64())), parts: map[string]*pace{}}
}

// of is the pace of one kind of steps: it does not depend on how many of others there are.
func (p *pace) of(kind string) *pace {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.parts[kind] == nil {
		p.parts[kind] = newPace(p.seed, p.name+"/"+kind)
	}
	return p.parts[kind]
}

// length is a length of time between two others, which nobody else draws.
func (p *pace) length(least, most time.Duration) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return least + time.Duration(p.random.Int64N(int64(most-least)))
}

// sleep lets such a length pass, and reports whether ctx goes on.
func (p *pace) sleep(ctx context.Context, least, most time.Duration) bool {
	t := time.NewTimer(p.length(least, most))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// chance is whether something happens that does so often of 100 times.
func (p *pace) chance(percent int) bool { return percent > 0 && p.number(100) < percent }

// number is one from 0 up to below n.
func (p *pace) number(n int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.random.IntN(n)
}
