package libvirt

import (
	"context"
	"errors"

	lv "libvirt.org/go/libvirt"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

const (
	opMigrate = "migrating"
	opRecover = "recovering post-copy"
)

// Migrate implements hypervisor.Migrator. The call has a connection to itself
// and no deadline. When ctx ends it returns at once with KindCanceled, but the
// job goes on: a peer-to-peer migration belongs to the two daemons and outlives
// whoever started it. Use AbortJob to end it.
func (c *Client) Migrate(ctx context.Context, uuid string, params hypervisor.MigrateParams) error {
	if params.DestinationURI == "" || params.LiveXML == "" {
		return fault(opMigrate, hypervisor.KindOther, "a migration needs a destination URI and a definition")
	}
	parameters, flags := migrateArguments(params)
	return c.leave(ctx, uuid, departure{op: opMigrate, to: params.DestinationURI, parameters: parameters, flags: flags})
}

// RecoverPostCopy implements hypervisor.Migrator. As to connection, deadline and
// the end of ctx it is like Migrate.
func (c *Client) RecoverPostCopy(ctx context.Context, uuid string, params hypervisor.MigrateParams) error {
	if params.DestinationURI == "" {
		return fault(opRecover, hypervisor.KindOther, "a recovery needs a destination URI")
	}
	if err := c.mayRecover(ctx, uuid); err != nil {
		return err
	}
	parameters, flags := recoverArguments(params)
	return c.leave(ctx, uuid, departure{op: opRecover, to: params.DestinationURI, parameters: parameters, flags: flags})
}

// mayRecover returns why there is nothing to recover, if there is nothing.
func (c *Client) mayRecover(ctx context.Context, uuid string) error {
	stats, err := c.JobStats(ctx, uuid)
	switch {
	case err != nil:
		return err
	case stats.PostCopyFailed && stats.Operation != hypervisor.OperationMigrationIn:
		return nil
	case !stats.MigratingOut():
		return refusal(opRecover, hypervisor.ErrNoJob)
	case !stats.PostCopy:
		return refusal(opRecover, hypervisor.ErrNotInPostCopy)
	}
	return refusal(opRecover, hypervisor.ErrPostCopyRuns)
}

// departure is a call that moves a domain away.
type departure struct {
	op, to     string
	parameters *lv.DomainMigrateParameters
	flags      lv.DomainMigrateFlags
}

// leave makes a call that moves a domain away, on a connection of its own.
func (c *Client) leave(ctx context.Context, uuid string, d departure) error {
	if err := c.control.enter(); err != nil {
		return notSent(d.op, err)
	}
	defer c.control.spawned.Done()
	l, err := c.dialOwn(ctx)
	if err != nil {
		return notSent(d.op, err)
	}
	aborted := c.aborts.watch(uuid)
	results := make(chan error, 1)
	c.control.spawned.Go(func() {
		defer l.shut()
		results <- migrate(l.conn, uuid, d)
	})
	select {
	case err := <-results:
		return asAborted(convert(d.op, err), c.aborts.forget(uuid, aborted))
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-c.control.closing:
		err = errClosing
	}
	c.aborts.forget(uuid, aborted)
	c.log.Info("Stopped waiting for a migration, which goes on in libvirt", "domain", uuid)
	return convert(d.op, err)
}

// dialOwn opens a connection that the caller has to shut.
func (c *Client) dialOwn(ctx context.Context) (*link, error) {
	ctx, expire := context.WithTimeoutCause(ctx, c.config.CallTimeout, errDeadline)
	defer expire()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-c.control.closing:
			cancel(errClosing)
		case <-ctx.Done():
		}
	}()
	select {
	case <-c.started:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	d := newDialer(c.dial, c.config.CallTimeout, c.control.spawned.Go)
	defer d.stop()
	l, err := d.open(ctx)
	if err != nil {
		return nil, &notConnectedError{err}
	}
	return l, nil
}

// migrate makes the call, which returns when the migration is over.
func migrate(conn *lv.Connect, uuid string, d departure) error {
	domain, err := lookup(conn, uuid)
	switch {
	case err != nil && hypervisor.KindOf(convert(d.op, err)).OutcomeUnknown():
		return notSent(d.op, err)
	case err != nil:
		return err
	}
	defer func() { _ = domain.Free() }()
	err = domain.MigrateToURI3(d.to, d.parameters, d.flags)
	if hypervisor.KindOf(convert(d.op, err)) == hypervisor.KindConnectionLost && answers(conn) {
		return peerLost(d.op, err)
	}
	if e := (lv.Error{}); errors.As(err, &e) && e.Code == lv.ERR_NO_DOMAIN {
		// The destination lost its half of the domain and the source passes
		// that on: it must not look as if the source did not know the domain.
		return &hypervisor.Error{
			Op: d.op, Kind: hypervisor.KindOther, Code: int(e.Code), Domain: int(e.Domain),
			Message: "the target lost the domain: " + sanitize(messageOf(e)),
		}
	}
	return err
}

// answers reports whether a connection has survived a call on it: then it was libvirt
// itself that could not reach the other. A daemon that hangs makes it wait until the
// connection's keepalive gives up.
func answers(conn *lv.Connect) bool {
	_, err := conn.GetLibVersion()
	return err == nil
}

// migrateArguments translates the parameters of a migration. The client
// library sets a limit for post-copy along with Bandwidth: StartPostCopy lifts
// it.
func migrateArguments(params hypervisor.MigrateParams) (*lv.DomainMigrateParameters, lv.DomainMigrateFlags) {
	flags := lv.MIGRATE_LIVE | lv.MIGRATE_PEER2PEER
	if params.Persist {
		flags |= lv.MIGRATE_PERSIST_DEST | lv.MIGRATE_UNDEFINE_SOURCE
	}
	if params.AllowUnsafe {
		flags |= lv.MIGRATE_UNSAFE
	}
	if params.PostCopy {
		flags |= lv.MIGRATE_POSTCOPY
	}
	parameters := &lv.DomainMigrateParameters{
		URISet:           params.MigrateURI != "",
		URI:              params.MigrateURI,
		ListenAddressSet: params.ListenAddress != "",
		ListenAddress:    params.ListenAddress,
		DestXMLSet:       params.LiveXML != "",
		DestXML:          string(params.LiveXML),
		PersistXMLSet:    params.PersistentXML != "",
		PersistXML:       string(params.PersistentXML),
		BandwidthSet:     params.BandwidthMiBps != 0,
		Bandwidth:        params.BandwidthMiBps,
	}
	if slow := params.AutoConverge; slow != nil {
		flags |= lv.MIGRATE_AUTO_CONVERGE
		parameters.AutoConvergeInitialSet = slow.InitialPercent != 0
		parameters.AutoConvergeInitial = int(slow.InitialPercent)
		parameters.AutoConvergeIncrementSet = slow.IncrementPercent != 0
		parameters.AutoConvergeIncrement = int(slow.IncrementPercent)
	}
	return parameters, flags | transferArguments(params.Transfer, parameters) | copyDisks(parameters, params.Copy, params.DisksURI)
}

// transferArguments sets how the guest is sent, and returns the flags for that.
func transferArguments(t hypervisor.Transferral, parameters *lv.DomainMigrateParameters) lv.DomainMigrateFlags {
	var flags lv.DomainMigrateFlags
	if t.TLS {
		flags |= lv.MIGRATE_TLS
		parameters.TLSDestinationSet, parameters.TLSDestination = t.TLSDestination != "", t.TLSDestination
	}
	if t.ParallelConnections != 0 {
		flags |= lv.MIGRATE_PARALLEL
		parameters.ParallelConnectionsSet, parameters.ParallelConnections = true, int(t.ParallelConnections)
	}
	if t.ZeroCopy {
		flags |= lv.MIGRATE_ZEROCOPY
	}
	parameters.BandwidthAvailSwitchoverSet, parameters.BandwidthAvailSwitchover = t.SwitchoverBandwidthMiBps != 0, t.SwitchoverBandwidthMiBps
	if t.Compression != hypervisor.NoCompression {
		flags |= lv.MIGRATE_COMPRESSED
		parameters.CompressionSet, parameters.Compression = true, string(t.Compression)
		leveled := t.CompressionLevel != 0
		switch t.Compression { //nolint:exhaustive // The others have no level.
		case hypervisor.CompressionZlib:
			parameters.CompressionZlibLevelSet, parameters.CompressionZlibLevel = leveled, int(t.CompressionLevel)
		case hypervisor.CompressionZstd:
			parameters.CompressionZstdLevelSet, parameters.CompressionZstdLevel = leveled, int(t.CompressionLevel)
		}
	}
	return flags
}

// recoverArguments translates the parameters of a migration for its recovery,
// which libvirt wants to have the flags of the first call, and post-copy's in
// any case. It has no bandwidth: that would limit what is left, which
// StartPostCopy had lifted.
func recoverArguments(params hypervisor.MigrateParams) (*lv.DomainMigrateParameters, lv.DomainMigrateFlags) {
	params.PostCopy, params.BandwidthMiBps, params.Transfer.SwitchoverBandwidthMiBps = true, 0, 0
	parameters, flags := migrateArguments(params)
	return parameters, flags | lv.MIGRATE_POSTCOPY_RESUME
}
