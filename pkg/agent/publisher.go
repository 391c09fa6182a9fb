package agent

import (
	"context"
	"fmt"
	"reflect"
	"sync/atomic"
	"time"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// How often a node is published.
const (
	// publishDelay gathers the events of one change into one publication.
	publishDelay = 20 * time.Millisecond
	// publishInterval is the time between two looks where no event tells.
	publishInterval = 10 * time.Second
	// HeartbeatInterval is the time between two signs of life of an agent.
	HeartbeatInterval = 10 * time.Second
	// HeartbeatTimeout is how long an agent may be silent before it is lost.
	HeartbeatTimeout = 40 * time.Second
)

// maxPublishedDomains bounds a Hypervisor's size.
const maxPublishedDomains = 4096

// HypervisorReport is all that an agent says of its node.
type HypervisorReport struct {
	// Connected is whether the agent talks to libvirt; Message says why not.
	Connected bool
	Message   string
	// Status holds the fields that the agent owns, without conditions.
	Status v1alpha1.HypervisorStatus
}

// HypervisorRecorder publishes a node.
type HypervisorRecorder interface {
	// RecordHypervisor creates the node's Hypervisor if need be and writes its
	// status.
	RecordHypervisor(ctx context.Context, report HypervisorReport) error
	// Heartbeat gives a sign of life, which is good for HeartbeatTimeout.
	Heartbeat(ctx context.Context) error
}

// Publisher publishes a node as a Hypervisor and gives its agent's signs of
// life.
type Publisher struct {
	node      *Node
	recorder  HypervisorRecorder
	last      *HypervisorReport
	published atomic.Bool
}

// NewPublisher returns the publisher of a node.
func NewPublisher(node *Node, recorder HypervisorRecorder) *Publisher {
	return &Publisher{node: node, recorder: recorder}
}

// Published reports whether the node has been published, connected or not.
func (p *Publisher) Published() bool { return p.published.Load() }

// Start publishes the node with every change of its guests until ctx ends.
func (p *Publisher) Start(ctx context.Context) error {
	beating := make(chan struct{})
	go func() {
		defer close(beating)
		p.beat(ctx)
	}()
	defer func() { <-beating }()
	events := p.node.Hypervisor.Subscribe(ctx, "")
	for {
		wait := publishInterval
		if !p.publish(ctx) {
			wait = retryInterval
		}
		if !p.awaitChange(ctx, events, wait) {
			return nil
		}
	}
}

// awaitChange blocks until wait has passed or the node has changed, and then
// for the moment in which more of the same change comes in.
func (p *Publisher) awaitChange(ctx context.Context, events <-chan hypervisor.Event, wait time.Duration) bool {
	timer := p.node.Clock.NewTimer(wait)
	defer timer.Stop()
	gathering := false
	for {
		select {
		case <-ctx.Done():
			return false
		case <-timer.C():
			return true
		case e, ok := <-events:
			if !ok {
				return false
			}
			if !gathering && (e.Type == hypervisor.EventLifecycle || e.Type == hypervisor.EventResync) {
				gathering = true
				timer.Reset(publishDelay)
			}
		}
	}
}

func (p *Publisher) publish(ctx context.Context) bool {
	report := p.report(ctx)
	if p.last != nil && reflect.DeepEqual(*p.last, report) {
		return report.Connected
	}
	if err := p.recorder.RecordHypervisor(ctx, report); err != nil {
		if ctx.Err() == nil {
			p.node.Log.Error(err, "Publishing the hypervisor failed; trying again", "after", retryInterval)
		}
		return false
	}
	p.last = &report
	p.published.Store(true)
	return report.Connected
}

// report reads the node. While libvirt is away it repeats what was known last.
func (p *Publisher) report(ctx context.Context) HypervisorReport {
	r := HypervisorReport{}
	host, err := p.node.Hypervisor.HostInfo(ctx)
	var domains []hypervisor.Domain
	if err == nil {
		domains, err = p.node.Hypervisor.ListDomains(ctx)
	}
	if err != nil {
		if p.last != nil {
			r.Status = p.last.Status
		}
		r.Message = fmt.Sprintf("The agent cannot reach libvirt: %s", err)
		return r
	}
	r.Connected = true
	r.Status = v1alpha1.HypervisorStatus{
		HostUUID: host.UUID, LibvirtVersion: host.LibvirtVersion, HypervisorVersion: host.HypervisorVersion,
		MigrationAddress: p.node.Receive.MigrationAddress,
	}
	for _, d := range domains[:min(len(domains), maxPublishedDomains)] {
		r.Status.Domains = append(r.Status.Domains, v1alpha1.HypervisorDomain{
			UUID: d.UUID, Name: d.Name, State: string(d.State), Reason: string(d.Reason),
		})
	}
	return r
}

func (p *Publisher) beat(ctx context.Context) {
	for {
		wait := HeartbeatInterval
		if err := p.recorder.Heartbeat(ctx); err != nil && ctx.Err() == nil {
			wait = HeartbeatInterval / 10
			p.node.Log.Error(err, "Renewing the lease failed; trying again", "after", wait)
		}
		select {
		case <-ctx.Done():
			return
		case <-p.node.Clock.After(wait):
		}
	}
}
