package agent

import (
	"context"
	"time"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

const (
	// machineTypesBudget is how long reading machine types may hold a publication up; those
	// that are not read by then come with a later one.
	machineTypesBudget = time.Second
	// machineTypeRetry is when a guest is asked again for a machine type that it did not tell.
	machineTypeRetry = time.Minute
)

// machineTypes knows what machines are emulated for the guests that run. That does not change
// while a guest runs, so that it is read once.
type machineTypes struct {
	known map[guestRun]readMachine
}

// guestRun is a guest, from when it starts or arrives until it stops or leaves.
type guestRun struct {
	uuid string
	id   int64
}

type readMachine struct {
	machine string
	// retry is when to read it again where it could not be.
	retry time.Time
}

// read returns the machine types of guests by their UUIDs, as far as they are known. Guests
// of which libvirt does not answer are not asked.
func (m *machineTypes) read(ctx context.Context, n *Node, domains []hypervisor.Domain, stuck map[string]bool) map[string]string {
	out, began := make(map[string]string, len(domains)), n.Clock.Now()
	known := make(map[guestRun]readMachine, len(domains))
	for _, d := range domains {
		if d.ID == 0 || !d.Active() {
			continue
		}
		run := guestRun{d.UUID, d.ID}
		is, ok := m.known[run]
		now := n.Clock.Now()
		due := !ok || is.machine == "" && !now.Before(is.retry)
		if due && !stuck[d.UUID] && now.Sub(began) < machineTypesBudget {
			is, ok = readMachine{retry: now.Add(machineTypeRetry)}, true
			var err error
			if is.machine, err = n.Hypervisor.MachineType(ctx, d.UUID); err != nil {
				n.Log.V(1).Info("Reading a guest's machine type failed; trying again later", "domain", d.UUID, "error", err.Error())
			}
		}
		if ok {
			known[run] = is
		}
		if fits(is.machine, maxMachine) {
			out[d.UUID] = is.machine
		}
	}
	m.known = known
	return out
}
