package fake

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// Method is a method of hypervisor.Hypervisor.
type Method string

// The methods.
const (
	MethodHostInfo          Method = "HostInfo"
	MethodMaxWorkers        Method = "MaxWorkers"
	MethodHostFacts         Method = "HostFacts"
	MethodMissingSecrets    Method = "MissingSecrets"
	MethodLendSecret        Method = "LendSecret"
	MethodReturnSecrets     Method = "ReturnSecrets"
	MethodSecretBorrowers   Method = "SecretBorrowers"
	MethodListDomains       Method = "ListDomains"
	MethodLookupDomain      Method = "LookupDomain"
	MethodSubscribe         Method = "Subscribe"
	MethodDomainXML         Method = "DomainXML"
	MethodTies              Method = "Ties"
	MethodDirtyRate         Method = "DirtyRate"
	MethodMachineType       Method = "MachineType"
	MethodMigrate           Method = "Migrate"
	MethodJobStats          Method = "JobStats"
	MethodCompletedJobStats Method = "CompletedJobStats"
	MethodAbortJob          Method = "AbortJob"
	MethodSetMaxDowntime    Method = "SetMaxDowntime"
	MethodSetBandwidth      Method = "SetBandwidth"
	MethodMaxDowntime       Method = "MaxDowntime"
	MethodStartPostCopy     Method = "StartPostCopy"
	MethodRecoverPostCopy   Method = "RecoverPostCopy"
	MethodSuspend           Method = "Suspend"
	MethodResume            Method = "Resume"
	MethodUndefine          Method = "Undefine"
	MethodDestroyIncoming   Method = "DestroyIncoming"
	MethodDestroyStale      Method = "DestroyStale"
	MethodCheckEmulator     Method = "CheckEmulator"
	MethodLookAtImage       Method = "LookAtImage"
	MethodMakeImage         Method = "MakeImage"
	MethodRemoveImage       Method = "RemoveImage"
	MethodDiskSize          Method = "DiskSize"
	MethodSetGuestTime      Method = "SetGuestTime"
	MethodFreezeGuest       Method = "FreezeGuest"
	MethodThawGuest         Method = "ThawGuest"
	MethodAttachDevice      Method = "AttachDevice"
	MethodDetachDevice      Method = "DetachDevice"
)

// operations are what errors call the methods.
var operations = map[Method]string{ //nolint:gosec // No credentials: names of methods.
	MethodHostInfo:          "reading the host",
	MethodMaxWorkers:        "reading how many workers libvirt has",
	MethodHostFacts:         "reading facts of the host",
	MethodMissingSecrets:    "looking secrets up",
	MethodLendSecret:        "lending a secret",
	MethodReturnSecrets:     "returning secrets",
	MethodSecretBorrowers:   "listing lent secrets",
	MethodListDomains:       "listing domains",
	MethodLookupDomain:      "looking up the domain",
	MethodDomainXML:         "reading the domain's definition",
	MethodTies:              "reading what ties the domain to its host",
	MethodDirtyRate:         "measuring the dirty rate",
	MethodMachineType:       "reading the machine type",
	MethodMigrate:           "migrating",
	MethodJobStats:          "reading the job's statistics",
	MethodCompletedJobStats: "reading the last job's statistics",
	MethodAbortJob:          "aborting the job",
	MethodSetMaxDowntime:    "setting the maximum downtime",
	MethodSetBandwidth:      "setting the bandwidth",
	MethodMaxDowntime:       "reading the maximum downtime",
	MethodStartPostCopy:     "switching to post-copy",
	MethodRecoverPostCopy:   "recovering post-copy",
	MethodSuspend:           "pausing the domain",
	MethodResume:            "resuming the domain",
	MethodUndefine:          "undefining the domain",
	MethodDestroyIncoming:   "destroying the incoming domain",
	MethodDestroyStale:      "destroying the stale domain",
	MethodCheckEmulator:     "checking the emulator",
	MethodLookAtImage:       "looking at an image",
	MethodMakeImage:         "making an image",
	MethodRemoveImage:       "removing an image",
	MethodDiskSize:          "reading the size of a disk",
	MethodSetGuestTime:      "setting the guest's clock",
	MethodFreezeGuest:       "freezing the guest's file systems",
	MethodThawGuest:         "thawing the guest's file systems",
	MethodAttachDevice:      "attaching a device",
	MethodDetachDevice:      "detaching a device",
}

// Call is one call to a host.
type Call struct {
	Host   string
	Method Method
	UUID   string
	// Params belong to Migrate and RecoverPostCopy, and Value to SetMaxDowntime and SetBandwidth.
	Params hypervisor.MigrateParams
	Value  uint64
	// Time is when it was made.
	Time time.Time
	// Returned is whether it has returned, and Err is what it returned.
	Returned bool
	Err      error
}

// record notes a call in the log. The fleet's mutex is held.
func (f *Fleet) record(call *Call) {
	call.Time = time.Now()
	f.calls = append(f.calls, call)
}

// Calls returns the calls to all hosts in the order in which they were made. A
// call counts from the moment it is made, whatever becomes of it.
func (f *Fleet) Calls() []Call {
	f.mu.Lock()
	defer f.mu.Unlock()
	calls := make([]Call, len(f.calls))
	for i, call := range f.calls {
		calls[i] = *call
	}
	return calls
}

// Count returns how often a method was called on any host; with a UUID, how
// often for that domain.
func (f *Fleet) Count(method Method, uuid string) int {
	var count int
	for _, call := range f.Calls() {
		if call.Method == method && (uuid == "" || call.UUID == uuid) {
			count++
		}
	}
	return count
}

// Count is Fleet.Count for one host.
func (h *Host) Count(method Method, uuid string) int {
	var count int
	for _, call := range h.fleet.Calls() {
		if call.Host == h.name && call.Method == method && (uuid == "" || call.UUID == uuid) {
			count++
		}
	}
	return count
}

// invoke makes a call: it logs it, applies the host's faults and, with the
// fleet's mutex held, calls effect.
func invoke[T any](ctx context.Context, h *Host, call *Call, effect func() (T, error)) (T, error) {
	call.Host = h.name
	h.fleet.mu.Lock()
	h.fleet.record(call)
	h.fleet.mu.Unlock()
	value, err := perform(ctx, h, call, func(worker *request) (T, error) {
		defer worker.finish()
		return effect()
	})
	h.fleet.mu.Lock()
	defer h.fleet.mu.Unlock()
	call.Returned, call.Err = true, err
	if err != nil {
		var none T
		return none, err
	}
	return value, nil
}

// perform has a worker of the host's daemon carry out a call, and waits for the
// outcome for as long as a caller does. The effect finishes the worker's request,
// or sees to it that somebody does.
func perform[T any](ctx context.Context, h *Host, call *Call, effect func(worker *request) (T, error)) (T, error) {
	var none T
	method := call.Method
	if err := h.admit(ctx, method); err != nil {
		return none, err
	}
	// Whether or not its caller is still there, a call is carried out once it can be.
	result := make(chan outcome[T], 1)
	h.fleet.mu.Lock()
	lost := h.lost
	h.poolFor(method).enqueue(slices.Contains(urgent, method), func(worker *request) {
		carryOut := func() {
			value, err := witnessed(h, call, func() (T, error) { return apply(h, method, worker, effect) })
			result <- outcome[T]{value, err}
		}
		if stuck := h.stuck(call); stuck != nil {
			stuck.calls = append(stuck.calls, carryOut)
		} else {
			carryOut()
		}
	})
	h.fleet.mu.Unlock()
	select {
	case r := <-result:
		return r.value, r.err
	default:
	}
	return await(ctx, h, method, result, lost)
}

// await waits for the outcome of a call.
func await[T any](ctx context.Context, h *Host, method Method, result <-chan outcome[T], lost <-chan struct{}) (T, error) {
	var none T
	timer := time.NewTimer(h.fleet.real(h.fleet.callTimeout))
	defer timer.Stop()
	if method == MethodMigrate || method == MethodRecoverPostCopy {
		timer.Stop()
	}
	select {
	case r := <-result:
		return r.value, r.err
	case <-timer.C:
		return none, fault(method, hypervisor.KindTimeout, "libvirt did not answer in time")
	case <-ctx.Done():
		return none, ended(ctx, method)
	case <-lost:
		return none, lostConnection(method)
	}
}

type outcome[T any] struct {
	value T
	err   error
}

// admit waits for the host's latency.
func (h *Host) admit(ctx context.Context, method Method) error {
	if ctx.Err() != nil {
		return ended(ctx, method)
	}
	h.fleet.mu.Lock()
	latency := h.latency
	h.fleet.mu.Unlock()
	if latency == 0 {
		return nil
	}
	timer := time.NewTimer(h.fleet.real(latency))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ended(ctx, method)
	}
}

// apply lets an effect happen unless a fault prevents it. The fleet's mutex is
// held.
func apply[T any](h *Host, method Method, worker *request, effect func(*request) (T, error)) (T, error) {
	var none T
	if !h.connected {
		worker.finish()
		return none, lostConnection(method)
	}
	if queue := h.failures[method]; len(queue) > 0 {
		h.failures[method] = queue[1:]
		if queue[0] != nil {
			worker.finish()
			return none, injected(method, queue[0])
		}
	}
	return effect(worker)
}

// ended returns the error of a call whose context ended.
func ended(ctx context.Context, method Method) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fault(method, hypervisor.KindTimeout, context.Cause(ctx).Error())
	}
	return fault(method, hypervisor.KindCanceled, context.Cause(ctx).Error())
}
