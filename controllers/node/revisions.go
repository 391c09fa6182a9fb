package node

import (
	"sync"
	"time"
)

const (
	// perMillisecond is how many revisions lie between those of processes that were started a
	// millisecond apart. No process sends that many in one.
	perMillisecond = 1 << 10
	// ahead is how far a process passes another one, which may have sent more than is known.
	ahead = 1 << 20
	// mostRevision is the highest that the API server takes; that is the year 2248.
	mostRevision = 1<<53 - 1
)

// revisions number what a process reports, so that the API server can refuse what reaches
// it late: the client of a request that takes too long gives up and sends the next, but
// the first is carried out all the same, be it seconds later. Those of one process begin
// with the time at which it was started, so that nothing that its predecessor has sent
// counts as later.
type revisions struct {
	mu   sync.Mutex
	last int64
}

func newRevisions(started time.Time) *revisions {
	return &revisions{last: max(started.UnixMilli(), 0) * perMillisecond}
}

// next returns the number of the next report. It is zero, which the API server takes for
// none, where there is no higher one: somebody has made the last one up, who must not keep
// the node from reporting.
func (r *revisions) next() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last >= mostRevision {
		return 0
	}
	r.last++
	return r.last
}

// pass has the numbers that follow be higher than one of another process, and than those
// that it may have sent after that.
func (r *revisions) pass(other int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = max(r.last, min(other+ahead, mostRevision))
}
