// Package fake is a scripted fleet of hypervisors for tests and demonstrations.
// It behaves as libvirt 9.0 with QEMU 7.2 was seen to behave: the same states
// and reasons on both sides, the same events in the same order, the same kinds
// and codes of errors, and statistics that libvirt keeps or loses as they are
// kept or lost there.
//
// Guests write to their memory, so a migration goes through passes until what
// is left fits into the maximum downtime, or for ever: unless it is switched to
// post-copy, its guest is paused or slowed down, or a limit is changed. Post-copy
// may break, be recovered, lose who follows it, or lose the guest. Faults are
// injected through the Host and the Fleet. Migrations may be held at any of their
// stages and let go again, so a test need not sleep to be at the right place:
//
//	fleet := fake.NewFleet(fake.WithSpeed(1000))
//	defer fleet.Close()
//	source, target := fleet.Host("node-a"), fleet.Host("node-b")
//	source.AddGuest(fake.Guest{UUID: uuid, Name: "vm"})
//	gate := fleet.Hold(uuid, fake.StageSwitched)
//	go source.Migrate(ctx, uuid, hypervisor.MigrateParams{DestinationURI: target.URI(), LiveXML: xml})
//	<-gate.Reached()
//	source.LoseConnection() // The guest has moved, and the caller does not know.
//	gate.Release()
//
// All waiting is done by package time's timers, so that in a bubble of
// testing/synctest the fleet's time is the bubble's.
package fake
