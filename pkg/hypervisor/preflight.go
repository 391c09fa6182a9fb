package hypervisor

import (
	"context"
	"time"
)

// EmulatorNeeds are what a guest needs of the emulator that is to run it.
type EmulatorNeeds struct {
	// Emulator is its path on the host; empty is libvirt's own choice.
	Emulator string
	// VirtType is the kind of virtualization, such as "kvm", Arch the guest's architecture and
	// Machine its type of machine, all as in its definition.
	VirtType, Arch, Machine string
	// CPU is the guest's <cpu> as libvirt shows it of a running guest; empty is not compared.
	CPU string
}

// EmulatorFit is what a host says to that. What it has nothing against is empty.
type EmulatorFit struct {
	// Missing is why there is no such emulator to be asked, in libvirt's words. It may be about
	// to be replaced.
	Missing string
	// Unsupported is why the emulator cannot run such a machine at all, in libvirt's words.
	Unsupported string
	// CPUProblem is why the host cannot give the guest its CPU.
	CPUProblem string
}

// Receiver looks after guests that are to come, that have just come, or that are about to go.
type Receiver interface {
	// CheckEmulator compares a guest that is to come with what the host offers. What the
	// host cannot be asked about, as for want of a driver, fits.
	CheckEmulator(ctx context.Context, needs EmulatorNeeds) (EmulatorFit, error)
	// SetGuestTime has the agent in a running guest set its clock. The agent may be slow, deaf or
	// not there; without a channel to one, the error is of kind KindConfigUnsupported. It is
	// bounded, also in libvirt: an agent that does not answer occupies nothing there for
	// longer.
	SetGuestTime(ctx context.Context, uuid string, now time.Time) error
	// FreezeGuest has the agent in a running guest run the guest's hooks and freeze its file
	// systems. An error whose cause is ErrGuestNotAsked says that nothing was frozen: the guest is not
	// running, has no channel to an agent, or its agent does not answer. After any other, they
	// may be frozen, or come to be so later. It is bounded as SetGuestTime is.
	FreezeGuest(ctx context.Context, uuid string) error
	// ThawGuest has the agent in a running guest thaw what is frozen. It is idempotent, and bounded
	// in the same way; without a channel to an agent, the error is of kind KindConfigUnsupported.
	ThawGuest(ctx context.Context, uuid string) error
	// AttachDevice adds a device to a running domain, and DetachDevice asks for one to be taken
	// away; device is its element in a definition. The definition that outlives the domain
	// is left alone. A device is gone only when the guest lets go of it: the running
	// definition says so.
	AttachDevice(ctx context.Context, uuid string, device DomainXML) error
	DetachDevice(ctx context.Context, uuid string, device DomainXML) error
}
