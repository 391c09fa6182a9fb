package simulation

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
)

// conn is an agent's way to the libvirt of its node. Each call takes a moment, and a
// process that is dead gets nothing through.
type conn struct {
	*fake.Host
	observer *observer
	backups  *backups
	pace     *pace
	gate     *gate
	dead     atomic.Bool
}

var _ hypervisor.Hypervisor = (*conn)(nil)

// ask makes a call.
func ask[T any](ctx context.Context, c *conn, step string, call func() (T, error)) (T, error) {
	var none T
	_ = c.gate.pass(ctx)
	gone := &hypervisor.Error{Op: "calling libvirt", Kind: hypervisor.KindCanceled, Message: errDead.Error()}
	if !c.pace.of(step).sleep(ctx, 200*time.Microsecond, 4*time.Millisecond) || c.dead.Load() {
		return none, gone
	}
	value, err := call()
	_ = c.gate.pass(ctx)
	if c.dead.Load() {
		return none, gone
	}
	return value, err
}

// tell makes a call that returns nothing.
func tell(ctx context.Context, c *conn, step string, call func() error) error {
	_, err := ask(ctx, c, step, func() (struct{}, error) { return struct{}{}, call() })
	return err
}

// act makes a call that changes a guest.
func (c *conn) act(ctx context.Context, method fake.Method, uuid string, call func(context.Context, string) error) error {
	return tell(ctx, c, string(method)+uuid, func() error {
		c.observer.noteAct(c.Name(), uuid, string(method))
		return call(ctx, uuid)
	})
}

// HostInfo implements hypervisor.Host.
func (c *conn) HostInfo(ctx context.Context) (hypervisor.HostInfo, error) {
	return ask(ctx, c, "HostInfo", func() (hypervisor.HostInfo, error) { return c.Host.HostInfo(ctx) })
}

// HostFacts implements hypervisor.Host.
func (c *conn) HostFacts(ctx context.Context, groups ...hypervisor.FactGroup) (hypervisor.HostFacts, error) {
	return ask(ctx, c, "HostFacts", func() (hypervisor.HostFacts, error) { return c.Host.HostFacts(ctx, groups...) })
}

// MaxWorkers implements hypervisor.Host.
func (c *conn) MaxWorkers(ctx context.Context) (int, error) {
	return ask(ctx, c, "MaxWorkers", func() (int, error) { return c.Host.MaxWorkers(ctx) })
}

// ListDomains implements hypervisor.Host.
func (c *conn) ListDomains(ctx context.Context) ([]hypervisor.Domain, error) {
	return ask(ctx, c, "ListDomains", func() ([]hypervisor.Domain, error) { return c.Host.ListDomains(ctx) })
}

// LookupDomain implements hypervisor.Host.
func (c *conn) LookupDomain(ctx context.Context, uuid string) (hypervisor.Domain, error) {
	return ask(ctx, c, "LookupDomain"+uuid, func() (hypervisor.Domain, error) { return c.Host.LookupDomain(ctx, uuid) })
}

// DomainXML implements hypervisor.Migrator.
func (c *conn) DomainXML(ctx context.Context, uuid string, form hypervisor.XMLForm) (hypervisor.DomainXML, error) {
	return ask(ctx, c, "DomainXML"+uuid, func() (hypervisor.DomainXML, error) { return c.Host.DomainXML(ctx, uuid, form) })
}

// Migrate implements hypervisor.Migrator.
func (c *conn) Migrate(ctx context.Context, uuid string, params hypervisor.MigrateParams) error {
	return tell(ctx, c, "Migrate"+uuid, func() error {
		c.observer.noteMigrate(c.Name(), uuid, params)
		if err := c.backups.await(ctx, uuid); err != nil {
			return err
		}
		return c.Host.Migrate(ctx, uuid, params)
	})
}

// RecoverPostCopy implements hypervisor.Migrator.
func (c *conn) RecoverPostCopy(ctx context.Context, uuid string, params hypervisor.MigrateParams) error {
	return tell(ctx, c, "RecoverPostCopy"+uuid, func() error {
		c.observer.noteRecover(c.Name(), uuid, params)
		return c.Host.RecoverPostCopy(ctx, uuid, params)
	})
}

// JobStats implements hypervisor.Migrator.
func (c *conn) JobStats(ctx context.Context, uuid string) (hypervisor.JobStats, error) {
	return ask(ctx, c, "JobStats"+uuid, func() (hypervisor.JobStats, error) {
		job, err := c.Host.JobStats(ctx, uuid)
		if err == nil {
			job = c.backups.stats(uuid, job)
		}
		return job, err
	})
}

// CompletedJobStats implements hypervisor.Migrator.
func (c *conn) CompletedJobStats(ctx context.Context, uuid string) (hypervisor.JobStats, error) {
	return ask(ctx, c, "CompletedJobStats"+uuid, func() (hypervisor.JobStats, error) {
		job, err := c.Host.CompletedJobStats(ctx, uuid)
		if err == nil {
			job = c.backups.completed(uuid, job)
		}
		return job, err
	})
}

// AbortJob implements hypervisor.Steerer.
func (c *conn) AbortJob(ctx context.Context, uuid string) error {
	return tell(ctx, c, "AbortJob"+uuid, func() error { return c.Host.AbortJob(ctx, uuid) })
}

// SetGuestTime implements hypervisor.Receiver.
func (c *conn) SetGuestTime(ctx context.Context, uuid string, now time.Time) error {
	return tell(ctx, c, "SetGuestTime"+uuid, func() error { return c.Host.SetGuestTime(ctx, uuid, now) })
}

// FreezeGuest implements hypervisor.Receiver.
func (c *conn) FreezeGuest(ctx context.Context, uuid string) error {
	return tell(ctx, c, "FreezeGuest"+uuid, func() error { return c.Host.FreezeGuest(ctx, uuid) })
}

// ThawGuest implements hypervisor.Receiver.
func (c *conn) ThawGuest(ctx context.Context, uuid string) error {
	return tell(ctx, c, "ThawGuest"+uuid, func() error { return c.Host.ThawGuest(ctx, uuid) })
}

// AttachDevice implements hypervisor.Receiver.
func (c *conn) AttachDevice(ctx context.Context, uuid string, device hypervisor.DomainXML) error {
	return tell(ctx, c, "AttachDevice"+uuid, func() error { return c.Host.AttachDevice(ctx, uuid, device) })
}

// DetachDevice implements hypervisor.Receiver.
func (c *conn) DetachDevice(ctx context.Context, uuid string, device hypervisor.DomainXML) error {
	return tell(ctx, c, "DetachDevice"+uuid, func() error { return c.Host.DetachDevice(ctx, uuid, device) })
}

// SetMaxDowntime implements hypervisor.Steerer.
func (c *conn) SetMaxDowntime(ctx context.Context, uuid string, milliseconds uint64) error {
	return tell(ctx, c, "SetMaxDowntime"+uuid, func() error { return c.Host.SetMaxDowntime(ctx, uuid, milliseconds) })
}

// MaxDowntime implements hypervisor.Steerer.
func (c *conn) MaxDowntime(ctx context.Context, uuid string) (uint64, error) {
	return ask(ctx, c, "MaxDowntime"+uuid, func() (uint64, error) { return c.Host.MaxDowntime(ctx, uuid) })
}

// SetBandwidth implements hypervisor.Steerer.
func (c *conn) SetBandwidth(ctx context.Context, uuid string, mebibytesPerSecond uint64) error {
	return tell(ctx, c, "SetBandwidth"+uuid, func() error { return c.Host.SetBandwidth(ctx, uuid, mebibytesPerSecond) })
}

// StartPostCopy implements hypervisor.Steerer.
func (c *conn) StartPostCopy(ctx context.Context, uuid string) error {
	return tell(ctx, c, "StartPostCopy"+uuid, func() error { return c.Host.StartPostCopy(ctx, uuid) })
}

// Suspend implements hypervisor.Steerer.
func (c *conn) Suspend(ctx context.Context, uuid string) error {
	return c.act(ctx, fake.MethodSuspend, uuid, c.Host.Suspend)
}

// Resume implements hypervisor.Steerer.
func (c *conn) Resume(ctx context.Context, uuid string) error {
	return c.act(ctx, fake.MethodResume, uuid, c.Host.Resume)
}

// Undefine implements hypervisor.Cleaner.
func (c *conn) Undefine(ctx context.Context, uuid string) error {
	return c.act(ctx, fake.MethodUndefine, uuid, c.Host.Undefine)
}

// DestroyIncoming implements hypervisor.Cleaner.
func (c *conn) DestroyIncoming(ctx context.Context, uuid string) error {
	return c.act(ctx, fake.MethodDestroyIncoming, uuid, c.Host.DestroyIncoming)
}

// DestroyStale implements hypervisor.Cleaner.
func (c *conn) DestroyStale(ctx context.Context, uuid string) error {
	return c.act(ctx, fake.MethodDestroyStale, uuid, c.Host.DestroyStale)
}
