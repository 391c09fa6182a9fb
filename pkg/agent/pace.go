package agent

import (
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// How often a node is published at most.
const (
	// publishBurst publications follow each other at once, and then there is one
	// each publishSpacing: a guest that crashes in a loop would otherwise have the
	// whole list written, and sent to every reader, several times a second.
	publishBurst   = 5
	publishSpacing = 2 * time.Second
	// publishRetryMost is the longest pause after a publication that failed.
	publishRetryMost = 30 * time.Second
)

// pace says when the next publication may be made.
type pace struct {
	// due is when the next one would be if they were spaced evenly.
	due time.Time
	// pause is what the last failure has cost, and until its end.
	pause time.Duration
	until time.Time
}

// delay returns how long to wait before the next publication.
func (p *pace) delay(now time.Time) time.Duration {
	ahead := p.due.Add(-(publishBurst - 1) * publishSpacing)
	return max(ahead.Sub(now), p.until.Sub(now), 0)
}

// succeeded accounts for a publication.
func (p *pace) succeeded(now time.Time) {
	if p.due.Before(now) {
		p.due = now
	}
	p.due = p.due.Add(publishSpacing)
	p.pause, p.until = 0, time.Time{}
}

// failed accounts for one that failed and returns the pause after it.
func (p *pace) failed(now time.Time) time.Duration {
	p.pause = min(max(2*p.pause, retryInterval), publishRetryMost)
	pause := wait.Jitter(p.pause, jitterFactor)
	p.until = now.Add(pause)
	return pause
}
