package libvirt

import (
	"context"
	"errors"

	lv "libvirt.org/go/libvirt"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// keepTPMVersion is the first libvirt that can keep a TPM's state, 8.9.0; one
// before it refuses the flag, and keeps the state of a persistent TPM anyway.
const keepTPMVersion = 8_009_000

// Undefine implements hypervisor.Cleaner. Between the look at the state and
// the call somebody may start the domain: libvirt then makes it transient,
// which leaves the guest running.
func (c *Client) Undefine(ctx context.Context, uuid string) error {
	const op = "undefining the domain"
	_, err := call(ctx, c, op, uuid, func(conn *lv.Connect) (struct{}, error) {
		return struct{}{}, undefine(conn, op, uuid)
	})
	if hypervisor.IsNoDomain(err) {
		return nil
	}
	return err
}

func undefine(conn *lv.Connect, op, uuid string) error {
	domain, err := lookup(conn, uuid)
	if err != nil {
		return err
	}
	defer func() { _ = domain.Free() }()
	active, err := domain.IsActive()
	if err != nil {
		return err
	}
	if active {
		return fault(op, hypervisor.KindOperationInvalid, "the domain is active")
	}
	version, err := conn.GetLibVersion()
	if err != nil {
		return err
	}
	flags := lv.DOMAIN_UNDEFINE_KEEP_NVRAM
	if version >= keepTPMVersion {
		flags |= lv.DOMAIN_UNDEFINE_KEEP_TPM
	}
	return domain.UndefineFlags(flags)
}

// DestroyIncoming implements hypervisor.Cleaner. It is safe only together with
// what its caller has proved before: that the guest runs at the source and that
// the source has no job of migrating it away. The destination alone cannot tell
// a leftover from a guest about to come to life: at the switch to post-copy,
// the source is already paused for good while the destination still looks like
// any incoming shell, and destroying it then loses the guest. Only a job at the
// source brings the guest to life here, so after that proof, and as long as
// nobody starts another migration, nothing can; the time that passes between
// the look at the state below and the call, which libvirt cannot make one, does
// not matter then.
func (c *Client) DestroyIncoming(ctx context.Context, uuid string) error {
	return c.destroyPaused(ctx, "destroying the incoming domain", uuid, fateOfIncoming)
}

// DestroyStale implements hypervisor.Cleaner. It is safe only together with what
// its caller has proved before: that the guest runs at the destination, all of it.
func (c *Client) DestroyStale(ctx context.Context, uuid string) error {
	const op = "destroying the stale domain"
	err := toDomain(ctx, c, op, uuid, func(domain *lv.Domain) error { return sparesImages(op, domain) })
	if err != nil && !hypervisor.IsNoDomain(err) {
		return err
	}
	return c.destroyPaused(ctx, op, uuid, fateOfStale)
}

// sparesImages refuses a domain whose end would harm the guest where it runs.
func sparesImages(op string, domain *lv.Domain) error {
	if active, err := domain.IsActive(); err != nil || !active {
		return err
	}
	text, err := domain.GetXMLDesc(0)
	if err != nil {
		return err
	}
	disk, err := diskTakenAway(text)
	if err != nil {
		return fault(op, hypervisor.KindOther, err.Error())
	}
	if disk != "" {
		return fault(op, hypervisor.KindOperationInvalid, "libvirt would give the image of its disk "+disk+
			" back to root, and so take it away from the guest that runs on the target; set dynamic_ownership = 0 in this host's "+
			"qemu.conf, restart libvirtd, and destroy the domain with virsh")
	}
	return nil
}

// decision is that about the fate of a domain.
type decision func(hypervisor.State, hypervisor.Reason, hypervisor.JobStats) fate

func (c *Client) destroyPaused(ctx context.Context, op, uuid string, decide decision) error {
	err := toDomain(ctx, c, op, uuid, func(domain *lv.Domain) error { return destroyPaused(op, domain, decide) })
	if hypervisor.IsNoDomain(err) {
		return nil
	}
	return err
}

func destroyPaused(op string, domain *lv.Domain, decide decision) error {
	stats, err := jobStats(domain)
	if err != nil {
		return err
	}
	// The state is read last, as close to the deed as can be.
	number, because, err := domain.GetState()
	if err != nil {
		return err
	}
	state, reason := stateOf(number, because)
	switch decide(state, reason, stats) {
	case fateDestroyed:
	case fateGone:
		return nil
	case fateSpared:
		return fault(op, hypervisor.KindOperationInvalid, "the domain is not a leftover of a migration that has ended")
	}
	err = domain.DestroyFlags(lv.DOMAIN_DESTROY_DEFAULT)
	if errors.Is(err, lv.ERR_OPERATION_INVALID) {
		// It ended by itself meanwhile; anything else keeps the error.
		if active, activeErr := domain.IsActive(); activeErr == nil && !active {
			return nil
		}
	}
	return err
}
