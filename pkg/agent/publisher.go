package agent

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/migration"
)

// How often a node is looked at and published.
const (
	// publishDelay gathers the events of one change into one publication, and
	// passingDelay those of a migration, in which a guest's half comes or stands still:
	// more is to follow, and nobody goes by the list for that guest meanwhile.
	publishDelay = 20 * time.Millisecond
	passingDelay = 2 * time.Second
	// publishInterval is the time between two looks where no event tells.
	publishInterval = 10 * time.Second
	// lastPublishTimeout is how long an agent that stops tries to publish once more.
	lastPublishTimeout = 5 * time.Second
	// HeartbeatInterval is the time between two signs of life of an agent.
	HeartbeatInterval = 10 * time.Second
	// HeartbeatTimeout is how long an agent may be silent before it is lost.
	HeartbeatTimeout = 40 * time.Second
	// heartbeatRetry is the time until one that failed is repeated.
	heartbeatRetry = time.Second
)

// HypervisorReport is all that an agent says of its node.
type HypervisorReport struct {
	// Connected is whether the agent talks to libvirt. Message says why not, or
	// what is wrong all the same.
	Connected bool
	Message   string
	// Reason is why it does not, as the condition LibvirtConnected gives it.
	Reason string
	// Status holds the fields that the agent owns, without conditions.
	Status v1alpha1.HypervisorStatus
}

// HypervisorRecorder publishes a node.
type HypervisorRecorder interface {
	// RecordHypervisor creates the node's Hypervisor if need be and writes its
	// status.
	RecordHypervisor(ctx context.Context, report HypervisorReport) error
	// LastRecorded reads what was published last, by this process or one before,
	// as in HypervisorReport.Status.
	LastRecorded(ctx context.Context) (v1alpha1.HypervisorStatus, error)
	// Shows reports whether the Hypervisor, as last heard of it, says what the
	// report does; true where it is not known.
	Shows(ctx context.Context, report HypervisorReport) bool
	// Changes tells, by a value, that the Hypervisor has changed or is gone.
	Changes() <-chan struct{}
	// Heartbeat gives a sign of life, which is good for HeartbeatTimeout.
	Heartbeat(ctx context.Context) error
}

// Publisher publishes a node as a Hypervisor and gives its agent's signs of
// life.
type Publisher struct {
	node      *Node
	recorder  HypervisorRecorder
	inventory inventory
	pace      pace
	workers   workers
	facts     *factReader
	machines  machineTypes
	last      *HypervisorReport
	published atomic.Bool
}

// NewPublisher returns the publisher of a node.
func NewPublisher(node *Node, recorder HypervisorRecorder) *Publisher {
	return &Publisher{node: node, recorder: recorder, inventory: inventory{node: node, recorder: recorder}, facts: newFactReader(node)}
}

// Published reports whether the node has been published, connected or not.
func (p *Publisher) Published() bool { return p.published.Load() }

// Start publishes the node with every change of its guests until ctx ends, and then
// once more: what it says last stands for as long as no other agent comes.
func (p *Publisher) Start(ctx context.Context) error {
	var beside sync.WaitGroup
	defer beside.Wait()
	beside.Go(func() { p.beat(ctx) })
	beside.Go(func() { p.facts.run(ctx) })
	events := p.node.Hypervisor.Subscribe(ctx, "")
	p.facts.awaitFirst(ctx)
	for p.awaitChange(ctx, events, p.publish(ctx)) {
	}
	p.publishLast(ctx)
	return nil
}

// awaitChange blocks until most has passed or there is something to publish, and
// then for the moment in which more of the same change comes in, or for as long as
// publications have to be apart.
func (p *Publisher) awaitChange(ctx context.Context, events <-chan hypervisor.Event, most time.Duration) bool {
	due := p.node.Clock.Now().Add(most)
	timer := p.node.Clock.NewTimer(most)
	defer timer.Stop()
	for {
		var gather time.Duration
		select {
		case <-ctx.Done():
			return false
		case <-timer.C():
			return true
		case <-p.recorder.Changes():
			if p.last != nil && !p.recorder.Shows(ctx, *p.last) {
				gather = publishDelay
			}
		case e, ok := <-events:
			if !ok {
				return false
			}
			gather = p.gather(e)
		}
		if gather == 0 {
			continue // It is no news.
		}
		now := p.node.Clock.Now()
		if pause := max(gather, p.pace.delay(now)); now.Add(pause).Before(due) {
			due = now.Add(pause)
			timer.Reset(pause)
		}
	}
}

// gather takes an event in and says for how long more of the same change is waited for;
// zero where it is no news of the node.
func (p *Publisher) gather(e hypervisor.Event) time.Duration {
	if !p.inventory.note(e) {
		return 0
	}
	if e.Type == hypervisor.EventResync {
		p.facts.refresh()
	}
	passing := e.Lifecycle == hypervisor.LifecycleStarted || e.Lifecycle == hypervisor.LifecycleSuspended
	if e.Type == hypervisor.EventLifecycle && passing && e.Detail == hypervisor.DetailMigrated {
		return passingDelay
	}
	return publishDelay
}

// publish looks at the node, publishes it if there is anything new, and returns when
// to look again if nothing happens before.
func (p *Publisher) publish(ctx context.Context) time.Duration {
	now := p.node.Clock.Now()
	if delay := p.pace.delay(now); delay > 0 {
		return delay
	}
	report, err := p.report(ctx)
	next := publishInterval
	if !report.Connected {
		next = retryInterval
	}
	if err == nil && p.isPublished(ctx, report) {
		return next
	}
	if err == nil {
		err = p.recorder.RecordHypervisor(ctx, report)
	}
	if err != nil {
		pause := p.pace.failed(p.node.Clock.Now())
		if ctx.Err() == nil {
			p.node.Log.Error(err, "Publishing the Hypervisor failed; trying again", "after", pause)
		}
		return pause
	}
	p.pace.succeeded(p.node.Clock.Now())
	p.last = &report
	p.published.Store(true)
	return next
}

// isPublished reports whether a report says nothing new: neither to us, nor to the
// API server, where the Hypervisor may have been deleted, edited or restored.
func (p *Publisher) isPublished(ctx context.Context, report HypervisorReport) bool {
	if p.last == nil {
		return false
	}
	report.Status.Host = steady(report.Status.Host, p.last.Status.Host)
	return reflect.DeepEqual(*p.last, report) && p.recorder.Shows(ctx, report)
}

// publishLast publishes what has changed since the last time, though ctx has ended.
func (p *Publisher) publishLast(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastPublishTimeout)
	defer cancel()
	report, err := p.report(ctx)
	if err != nil || !report.Connected || p.isPublished(ctx, report) {
		return
	}
	if err := p.recorder.RecordHypervisor(ctx, report); err != nil {
		p.node.Log.Error(err, "The last update of the Hypervisor failed; it still shows the previous list of guests")
	}
}

// report reads the node. While libvirt is away it repeats what was published last,
// be it by the process before this one.
func (p *Publisher) report(ctx context.Context) (HypervisorReport, error) {
	found, err := p.inventory.read(ctx)
	p.node.note(found.domains, err)
	var host *v1alpha1.HypervisorHost
	if err == nil {
		if host, err = p.host(ctx, found.host.HypervisorVersion); err != nil {
			return HypervisorReport{}, err
		}
		return HypervisorReport{
			Connected: true, Message: p.warning(found),
			Status: v1alpha1.HypervisorStatus{
				HostUUID: found.host.UUID, LibvirtVersion: found.host.LibvirtVersion, HypervisorVersion: found.host.HypervisorVersion,
				MigrationAddress: p.node.Receive.Endpoint.Address, MaxWorkers: p.maxWorkers(ctx),
				Host:        host,
				DomainCount: int32(len(found.domains)), //nolint:gosec // No host has so many.
				Domains:     listDomains(found.domains, p.machines.read(ctx, p.node, found.domains, p.inventory.stuck)),
			},
		}, nil
	}
	r := disconnected(err)
	if p.last != nil {
		r.Status = p.last.Status
		return r, nil
	}
	r.Status, err = p.recorder.LastRecorded(ctx)
	return r, err
}

// host returns what the host has and offers. Before that could be read, it is what was
// published last, be it by the process before this one.
func (p *Publisher) host(ctx context.Context, emulatorVersion string) (*v1alpha1.HypervisorHost, error) {
	if k := p.facts.known.Load(); k != nil {
		return hostSection(*k, p.node.Receive, emulatorVersion), nil
	}
	if p.last != nil {
		return p.last.Status.Host, nil
	}
	status, err := p.recorder.LastRecorded(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the last published status: %w", err)
	}
	return status.Host, nil
}

// disconnected says why the agent does not talk to libvirt, and what helps where that is
// known.
func disconnected(err error) HypervisorReport {
	r := HypervisorReport{Reason: v1alpha1.ReasonDisconnected, Message: "The agent cannot reach libvirt: " + err.Error()}
	if errors.Is(err, hypervisor.ErrNotQEMU) {
		r.Reason = v1alpha1.ReasonNotQEMU
		r.Message = "The agent moves QEMU's guests only: " + err.Error() + ". Ask an administrator to set --libvirt-uri to libvirt's driver for QEMU or to install that driver, or to take the node's label away"
	}
	r.Message = migration.Shorten(r.Message, migration.MaxConditionMessage)
	return r
}

// warning tells what is wrong though the agent talks to libvirt.
func (p *Publisher) warning(found findings) string {
	trouble := p.node.loanTrouble.Load()
	switch {
	case trouble == nil:
		return found.warning
	case found.warning == "":
		return *trouble
	default:
		return found.warning + "; " + *trouble
	}
}

// beat gives signs of life. The intervals vary, so that thousands of agents that
// were started at once do not keep in step.
func (p *Publisher) beat(ctx context.Context) {
	retry := heartbeatRetry
	for {
		pause := wait.Jitter(HeartbeatInterval*4/5, jitterFactor)
		if err := p.recorder.Heartbeat(ctx); err == nil {
			retry = heartbeatRetry
		} else if ctx.Err() == nil {
			pause = wait.Jitter(retry, jitterFactor)
			p.node.Log.Error(err, "Renewing the lease failed; trying again", "after", pause)
			retry = min(2*retry, HeartbeatInterval)
		}
		select {
		case <-ctx.Done():
			return
		case <-p.node.Clock.After(pause):
		}
	}
}
