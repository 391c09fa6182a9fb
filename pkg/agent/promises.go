package agent

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// promises remembers what was promised to guests that have not arrived yet, and that no two
// may have. Its zero value is ready.
type promises[T comparable] struct {
	mu       sync.Mutex
	promised map[types.UID][]T
	// surveys counts the looks at what guests have that are under way, and
	// late holds what was released since the first of them began.
	surveys int
	late    map[T]bool
}

// survey begins a look at what the guests of the host have, which done ends. What is released
// meanwhile stays taken until then: the look may have missed the guest that has just arrived
// with it.
func (p *promises[T]) survey() (done func()) {
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

// choose promises what a function chooses, which is told in used what others were promised,
// beside what the result of a survey that is not done says is taken.
func (p *promises[T]) choose(uid types.UID, used map[T]bool, choose func() ([]T, error)) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for other, things := range p.promised {
		for _, thing := range things {
			used[thing] = used[thing] || other != uid
		}
	}
	for thing := range p.late {
		used[thing] = true
	}
	chosen, err := choose()
	if err == nil {
		p.keepLocked(uid, chosen)
	}
	return err
}

// keep restores a promise that an earlier process made.
func (p *promises[T]) keep(uid types.UID, things []T) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keepLocked(uid, things)
}

func (p *promises[T]) keepLocked(uid types.UID, things []T) {
	p.dropLocked(uid)
	if len(things) == 0 {
		return
	}
	if p.promised == nil {
		p.promised = map[types.UID][]T{}
	}
	p.promised[uid] = things
}

func (p *promises[T]) dropLocked(uid types.UID) {
	if p.surveys > 0 {
		if p.late == nil {
			p.late = map[T]bool{}
		}
		for _, thing := range p.promised[uid] {
			p.late[thing] = true
		}
	}
	delete(p.promised, uid)
}

// release ends a promise.
func (p *promises[T]) release(uid types.UID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dropLocked(uid)
}
