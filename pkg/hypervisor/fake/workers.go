package fake

import (
	"slices"
)

// How many workers a libvirt daemon has by default: max_workers and
// prio_workers of its configuration. A further limit, max_client_requests, is
// of no effect here: the real client has one call at a time on a connection.
const (
	defaultWorkers         = 20
	defaultPriorityWorkers = 5
	// adminWorkers are those that serve its administration.
	adminWorkers = 5
)

// WithWorkers sets how many workers the daemon of each host has, and how many
// more that serve nothing but calls of high priority. They are 20 and 5
// otherwise, as libvirt's own.
//
// Each request to a daemon takes a worker for as long as it is served, and waits
// in a queue where there is none. A migration holds one at its source from its
// beginning to its end, and one at its target while it prepares there, while it
// switches over and throughout post-copy. The real client's LookupDomain,
// ListDomains, Subscribe and Undefine are made of requests of high priority only;
// no other method is.
func WithWorkers(ordinary, priority int) Option {
	return func(f *Fleet) { f.workers, f.priorityWorkers = ordinary, priority }
}

// urgent are the methods that a priority worker serves, too.
var urgent = []Method{MethodLookupDomain, MethodListDomains, MethodUndefine}

// workers are those of one daemon. A daemon that is started anew gets new ones.
// All is guarded by the fleet's mutex.
type workers struct {
	// ordinary and priority are how many there are, busy and busyPriority how many
	// of them serve a request.
	ordinary, priority int
	busy, busyPriority int
	// queue are the requests that wait, the oldest first.
	queue []*request
	// dead is whether the daemon was killed: its queue is served no more.
	dead bool
}

// request is one that waits for a worker, or that has one.
type request struct {
	workers *workers
	urgent  bool
	// begin is called, with the mutex held, once a worker takes the request. The
	// worker is free again after finish.
	begin func(*request)
	// taken is whether a worker has taken it, onPriority one for such requests, and
	// done whether it has finished.
	taken, onPriority, done bool
}

// poolFor returns the workers that serve a method.
func (h *Host) poolFor(method Method) *workers {
	if method == MethodMaxWorkers {
		return h.adminWorkers
	}
	return h.workers
}

func newWorkers(f *Fleet) *workers {
	return &workers{ordinary: f.workers, priority: f.priorityWorkers}
}

// enqueue adds a request to the queue and has it served if a worker is free.
func (w *workers) enqueue(urgent bool, begin func(*request)) *request {
	r := &request{workers: w, urgent: urgent, begin: begin}
	w.queue = append(w.queue, r)
	w.serve()
	return r
}

// serve gives the requests that wait to the workers that are free.
func (w *workers) serve() {
	for !w.dead {
		i := w.next()
		if i < 0 {
			return
		}
		r := w.queue[i]
		w.queue = slices.Delete(w.queue, i, i+1)
		r.taken = true
		if r.onPriority = w.busy >= w.ordinary; r.onPriority {
			w.busyPriority++
		} else {
			w.busy++
		}
		r.begin(r)
	}
}

// next returns which request of the queue is served next, or -1. An ordinary
// worker takes the oldest, a priority worker the oldest that is urgent.
func (w *workers) next() int {
	if len(w.queue) > 0 && w.busy < w.ordinary {
		return 0
	}
	if w.busyPriority < w.priority {
		return slices.IndexFunc(w.queue, func(r *request) bool { return r.urgent })
	}
	return -1
}

// finish frees the request's worker, or its place in the queue. It may be called
// again.
func (r *request) finish() {
	if r == nil || r.done {
		return
	}
	r.done = true
	w := r.workers
	switch {
	case !r.taken:
		w.queue = slices.DeleteFunc(w.queue, func(other *request) bool { return other == r })
	case r.onPriority:
		w.busyPriority--
	default:
		w.busy--
	}
	w.serve()
}

// kill ends the daemon: who waits for a worker waits in vain.
func (w *workers) kill() {
	w.dead = true
	w.queue = nil
}

// occupy waits for a worker of the destination. An abort does not cut that
// short: the source looks for one only between two requests to the destination.
func (m *migration) occupy() {
	r := m.target.workers.enqueue(false, func(*request) { m.change() })
	m.atTarget = r
	for !r.taken && !r.workers.dead && !m.finished {
		m.fleet.mu.Unlock()
		<-m.wake
		m.fleet.mu.Lock()
	}
}

// vacate gives back what occupy got.
func (m *migration) vacate() {
	m.atTarget.finish()
	m.atTarget = nil
}
