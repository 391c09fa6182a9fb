package fake

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// HostInfo implements hypervisor.Host.
func (h *Host) HostInfo(ctx context.Context) (hypervisor.HostInfo, error) {
	return invoke(ctx, h, &Call{Method: MethodHostInfo}, func() (hypervisor.HostInfo, error) { return h.info, nil })
}

// MaxWorkers implements hypervisor.Host.
func (h *Host) MaxWorkers(ctx context.Context) (int, error) {
	return invoke(ctx, h, &Call{Method: MethodMaxWorkers}, func() (int, error) { return h.workers.ordinary, nil })
}

// ListDomains implements hypervisor.Host.
func (h *Host) ListDomains(ctx context.Context) ([]hypervisor.Domain, error) {
	return invoke(ctx, h, &Call{Method: MethodListDomains}, func() ([]hypervisor.Domain, error) {
		domains := make([]hypervisor.Domain, 0, len(h.domains))
		for _, d := range h.domains {
			domains = append(domains, d.describe())
		}
		slices.SortFunc(domains, func(a, b hypervisor.Domain) int {
			return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.UUID, b.UUID))
		})
		return domains, nil
	})
}

// withDomain makes a call on a domain.
func withDomain[T any](ctx context.Context, h *Host, call *Call, effect func(*domain) (T, error)) (T, error) {
	return invoke(ctx, h, call, func() (T, error) {
		d := h.domains[call.UUID]
		if d == nil {
			var none T
			return none, noDomain(call.Method, call.UUID)
		}
		return effect(d)
	})
}

// onDomain is withDomain for calls that return nothing.
func onDomain(ctx context.Context, h *Host, call *Call, effect func(*domain) error) error {
	_, err := withDomain(ctx, h, call, func(d *domain) (struct{}, error) { return struct{}{}, effect(d) })
	return err
}

// LookupDomain implements hypervisor.Host.
func (h *Host) LookupDomain(ctx context.Context, uuid string) (hypervisor.Domain, error) {
	return withDomain(ctx, h, &Call{Method: MethodLookupDomain, UUID: uuid}, func(d *domain) (hypervisor.Domain, error) {
		return d.describe(), nil
	})
}

// DomainXML implements hypervisor.Migrator.
func (h *Host) DomainXML(ctx context.Context, uuid string, form hypervisor.XMLForm) (hypervisor.DomainXML, error) {
	return withDomain(ctx, h, &Call{Method: MethodDomainXML, UUID: uuid}, func(d *domain) (hypervisor.DomainXML, error) {
		switch {
		case form == hypervisor.XMLInactive && d.persistent:
			return d.withChannel(d.inactive), nil
		case form == hypervisor.XMLRunning && d.guest.RunningXML != "":
			return d.withChannel(d.guest.RunningXML), nil
		}
		return d.withChannel(d.live), nil
	})
}

// Ties implements hypervisor.Migrator.
func (h *Host) Ties(ctx context.Context, uuid string) (hypervisor.Ties, error) {
	return withDomain(ctx, h, &Call{Method: MethodTies, UUID: uuid}, func(d *domain) (hypervisor.Ties, error) {
		return d.guest.Ties, nil
	})
}

// Migrate implements hypervisor.Migrator.
func (h *Host) Migrate(ctx context.Context, uuid string, params hypervisor.MigrateParams) error {
	call := &Call{Method: MethodMigrate, UUID: uuid, Params: params}
	return h.ride(ctx, call, func() (*migrateCall, error) { return h.begin(uuid, params) })
}

// ride makes a call that returns when a migration does.
func (h *Host) ride(ctx context.Context, call *Call, start func() (*migrateCall, error)) error {
	call.Host = h.name
	h.fleet.mu.Lock()
	h.fleet.record(call)
	lost := h.lost
	h.fleet.mu.Unlock()
	c, err := perform(ctx, h, call, func(worker *request) (*migrateCall, error) {
		c, err := start()
		if err != nil {
			worker.finish()
			return nil, err
		}
		c.worker = worker
		return c, nil
	})
	if err == nil {
		select {
		case <-c.done:
			err = c.err
		case <-lost:
			err = lostConnection(call.Method)
		case <-ctx.Done():
			err = ended(ctx, call.Method)
		}
	}
	h.fleet.mu.Lock()
	defer h.fleet.mu.Unlock()
	call.Returned, call.Err = true, err
	return err
}

// begin starts a migration where libvirt would.
func (h *Host) begin(uuid string, params hypervisor.MigrateParams) (*migrateCall, error) {
	const method = MethodMigrate
	d := h.domains[uuid]
	if d == nil {
		return nil, noDomain(method, uuid)
	}
	if err := d.mayLeave(params); err != nil {
		return nil, err
	}
	target := h.fleet.resolve(params.DestinationURI)
	switch {
	case target == nil:
		return nil, fault(method, hypervisor.KindPeerLost, "Unable to resolve address: Name or service not known")
	case target.down:
		return nil, fault(method, hypervisor.KindPeerLost, "unable to connect to server: Connection refused")
	case h.fleet.apart(h, target):
		return nil, unreachable(method)
	}
	if err := target.accept(h, d); err != nil {
		return nil, err
	}
	if err := target.mayCopy(h, d, params); err != nil {
		return nil, err
	}
	m := &migration{
		fleet: h.fleet, source: h, target: target, uuid: uuid, params: params, script: h.fleet.scripts[uuid],
		begun: time.Now(), maxDowntime: d.maxDowntime, bandwidth: h.fleet.limit(cmp.Or(params.BandwidthMiBps<<20, d.bandwidth)),
		wake: make(chan struct{}, 1), call: newMigrateCall(),
	}
	delete(h.fleet.scripts, uuid)
	d.out, d.completed = m, hypervisor.JobStats{}
	m.start()
	return m.call, nil
}

// mayLeave returns why the source does not let a guest go, if it does not.
func (d *domain) mayLeave(params hypervisor.MigrateParams) error {
	const method = MethodMigrate
	switch {
	case params.DestinationURI == "" || params.LiveXML == "":
		return fault(method, hypervisor.KindOther, "a migration needs a destination URI and a definition")
	case !d.active():
		return notRunning(method)
	case d.out != nil:
		return fault(method, hypervisor.KindOperationInvalid,
			"Requested operation is not valid: another migration job is already running for the domain")
	case d.in != nil:
		return fault(method, hypervisor.KindBusy,
			"Timed out during operation: cannot acquire state change lock (held by monitor=migration in)")
	case d.partial:
		return fault(method, hypervisor.KindOther,
			"internal error: unable to execute QEMU command 'migrate': Guest is waiting for an incoming migration")
	case strings.Contains(string(d.live), passedThrough):
		return fault(MethodMigrate, hypervisor.KindOperationInvalid, "Requested operation is not valid: cannot migrate a domain with a device of its host")
	case d.guest.Unsafe && !params.AllowUnsafe:
		return fault(method, hypervisor.KindUnsafe, "Unsafe migration: Migration without shared storage is unsafe")
	case params.PostCopy && d.state == hypervisor.StatePaused:
		return fault(method, hypervisor.KindOther,
			"argument unsupported: post-copy migration is not supported with non-live or paused migration")
	}
	return nil
}

// accept returns why the host does not take a guest, if it does not.
func (h *Host) accept(source *Host, d *domain) error {
	if h == source {
		e := Error(hypervisor.KindOther, "internal error: Attempt to migrate guest to the same host "+h.info.UUID)
		e.Op, e.Code = operations[MethodMigrate], codeInternal
		return e
	}
	for _, other := range h.domains {
		switch {
		case other.guest.UUID == d.guest.UUID && other.active():
			return alreadyActive(d)
		case other.guest.UUID != d.guest.UUID && other.guest.Name == d.guest.Name:
			return failed("operation failed: domain '" + d.guest.Name + "' already exists with uuid " + other.guest.UUID)
		}
	}
	return nil
}

func alreadyActive(d *domain) error {
	return fault(MethodMigrate, hypervisor.KindOperationInvalid,
		"Requested operation is not valid: domain '"+d.guest.Name+"' is already active")
}

// JobStats implements hypervisor.Migrator.
func (h *Host) JobStats(ctx context.Context, uuid string) (hypervisor.JobStats, error) {
	return withDomain(ctx, h, &Call{Method: MethodJobStats, UUID: uuid}, func(d *domain) (hypervisor.JobStats, error) {
		switch {
		case d.in != nil:
			return d.withPhase(hypervisor.JobStats{Type: hypervisor.JobUnbounded, Operation: hypervisor.OperationMigrationIn}), nil
		case d.out != nil:
			return d.withPhase(d.out.stats()), nil
		}
		return hypervisor.JobStats{Type: hypervisor.JobNone, Operation: hypervisor.OperationUnknown}, nil
	})
}

// withPhase adds what only the domain's state tells of a job.
func (d *domain) withPhase(stats hypervisor.JobStats) hypervisor.JobStats {
	stats.PostCopy = d.describe().InPostCopy()
	stats.PostCopyFailed = stats.PostCopy && d.reason == hypervisor.ReasonPostcopyFailed
	if stats.PostCopy {
		stats.Downtime, stats.DowntimeKnown = 0, false
	}
	return stats
}

// CompletedJobStats implements hypervisor.Migrator.
func (h *Host) CompletedJobStats(ctx context.Context, uuid string) (hypervisor.JobStats, error) {
	call := &Call{Method: MethodCompletedJobStats, UUID: uuid}
	return withDomain(ctx, h, call, func(d *domain) (hypervisor.JobStats, error) {
		if d.completed.Type == "" {
			return hypervisor.JobStats{Type: hypervisor.JobNone, Operation: hypervisor.OperationUnknown}, nil
		}
		return d.completed, nil
	})
}

// Undefine implements hypervisor.Cleaner.
func (h *Host) Undefine(ctx context.Context, uuid string) error {
	err := onDomain(ctx, h, &Call{Method: MethodUndefine, UUID: uuid}, func(d *domain) error {
		if d.active() {
			return fault(MethodUndefine, hypervisor.KindOperationInvalid, "the domain is active")
		}
		delete(h.domains, uuid)
		h.emit(uuid, hypervisor.LifecycleUndefined, "Removed")
		return nil
	})
	if hypervisor.IsNoDomain(err) {
		return nil
	}
	return err
}

// DestroyIncoming implements hypervisor.Cleaner.
func (h *Host) DestroyIncoming(ctx context.Context, uuid string) error {
	return h.destroyPaused(ctx, MethodDestroyIncoming, uuid, func(d *domain) bool {
		return d.reason == hypervisor.ReasonMigration && d.out == nil
	})
}

// DestroyStale implements hypervisor.Cleaner.
func (h *Host) DestroyStale(ctx context.Context, uuid string) error {
	return h.destroyPaused(ctx, MethodDestroyStale, uuid, func(d *domain) bool {
		switch d.reason { //nolint:exhaustive // No other is for a migration.
		case hypervisor.ReasonMigration:
			return d.out == nil && d.in == nil
		case hypervisor.ReasonPostcopy, hypervisor.ReasonPostcopyFailed:
			return d.in == nil
		default:
			return false
		}
	})
}

func (h *Host) destroyPaused(ctx context.Context, method Method, uuid string, leftover func(*domain) bool) error {
	err := onDomain(ctx, h, &Call{Method: method, UUID: uuid}, func(d *domain) error {
		switch {
		case d.state == hypervisor.StateShutoff:
			return nil
		case d.state != hypervisor.StatePaused || !leftover(d):
			return fault(method, hypervisor.KindOperationInvalid, "the domain is not what a migration that is over leaves behind")
		}
		in, out := d.in, d.out
		h.emit(uuid, hypervisor.LifecycleShutdown, "Host")
		h.emit(uuid, hypervisor.LifecycleStopped, "Destroyed")
		h.end(d, hypervisor.ReasonDestroyed)
		if in != nil {
			in.interrupt(cause{ending: endsDestroyed})
		}
		if out != nil {
			out.loseSource()
		}
		return nil
	})
	if hypervisor.IsNoDomain(err) {
		return nil
	}
	return err
}
