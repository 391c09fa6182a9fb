package libvirt

import (
	"context"
	"errors"

	lv "libvirt.org/go/libvirt"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

const opMigrate = "migrating"

// Migrate implements hypervisor.Migrator. The call has a connection to itself
// and no deadline. When ctx ends it returns at once with KindCanceled, but the
// job goes on: a peer-to-peer migration belongs to the two daemons and outlives
// whoever started it. Use AbortJob to end it.
func (c *Client) Migrate(ctx context.Context, uuid string, params hypervisor.MigrateParams) error {
	if params.DestinationURI == "" || params.LiveXML == "" {
		return fault(opMigrate, hypervisor.KindOther, "a migration needs a destination URI and a definition")
	}
	if err := c.control.enter(); err != nil {
		return convert(opMigrate, err)
	}
	defer c.control.spawned.Done()
	l, err := c.dialOwn(ctx)
	if err != nil {
		return convert(opMigrate, err)
	}
	aborted := c.aborts.watch(uuid)
	results := make(chan error, 1)
	c.control.spawned.Go(func() {
		defer l.shut()
		results <- migrate(l.conn, uuid, params)
	})
	select {
	case err := <-results:
		return asAborted(convert(opMigrate, err), c.aborts.forget(uuid, aborted))
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-c.control.closing:
		err = errClosing
	}
	c.aborts.forget(uuid, aborted)
	c.log.Info("Left a migration to itself", "domain", uuid)
	return convert(opMigrate, err)
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
func migrate(conn *lv.Connect, uuid string, params hypervisor.MigrateParams) error {
	domain, err := conn.LookupDomainByUUIDString(uuid)
	if err != nil {
		return err
	}
	defer func() { _ = domain.Free() }()
	parameters, flags := migrateArguments(params)
	err = domain.MigrateToURI3(params.DestinationURI, parameters, flags)
	if e := (lv.Error{}); errors.As(err, &e) && e.Code == lv.ERR_NO_DOMAIN {
		// The destination lost its half of the domain and the source passes
		// that on: it must not look as if the source did not know the domain.
		return &hypervisor.Error{
			Op: opMigrate, Kind: hypervisor.KindOther, Code: int(e.Code), Domain: int(e.Domain),
			Message: "the destination lost the domain: " + sanitize(messageOf(e)),
		}
	}
	return err
}

// migrateArguments translates the parameters of a migration. The client
// library sets a limit for post-copy along with Bandwidth; as long as nothing
// switches to post-copy this does not matter.
func migrateArguments(params hypervisor.MigrateParams) (*lv.DomainMigrateParameters, lv.DomainMigrateFlags) {
	flags := lv.MIGRATE_LIVE | lv.MIGRATE_PEER2PEER
	if params.Persist {
		flags |= lv.MIGRATE_PERSIST_DEST | lv.MIGRATE_UNDEFINE_SOURCE
	}
	if params.AllowUnsafe {
		flags |= lv.MIGRATE_UNSAFE
	}
	return &lv.DomainMigrateParameters{
		URISet:        params.MigrateURI != "",
		URI:           params.MigrateURI,
		DestXMLSet:    true,
		DestXML:       string(params.LiveXML),
		PersistXMLSet: params.PersistentXML != "",
		PersistXML:    string(params.PersistentXML),
		BandwidthSet:  params.BandwidthMiBps != 0,
		Bandwidth:     params.BandwidthMiBps,
	}, flags
}
