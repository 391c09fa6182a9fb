//go:build e2e

package libvirt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
	"github.com/virtferry/virtferry/test/lab"
)

// storyMiBps is how fast the network is in stories with post-copy.
const storyMiBps = 8

// settled is a guest with memory to copy that it does not touch: one that waits
// for its memory in post-copy still gets on.
var settled = lab.GuestConfig{Persistent: true, Load: lab.Load{WorkingSetMiB: 32}}

// steered are the stories in which a migration is steered.
var steered = []story{
	{
		name: "post-copy", config: settled, postCopy: true,
		both: func(n *notes, a, b hypervisor.Hypervisor) {
			n.sides("in post-copy", a, b)
			n.refusals(a, b)
		},
	},
	{
		name: "post-copy-not-enabled", config: lab.GuestConfig{Persistent: true},
		both: func(n *notes, a, b hypervisor.Hypervisor) {
			n.result("switching", a.StartPostCopy(n.Context(), n.uuid))
			n.result("switching at the destination", b.StartPostCopy(n.Context(), n.uuid))
			n.result("recovering", a.RecoverPostCopy(n.Context(), n.uuid, n.params))
			n.result("aborting", a.AbortJob(n.Context(), n.uuid))
		},
		afterwards: func(n *notes, a, _ hypervisor.Hypervisor) {
			n.result("switching afterwards", a.StartPostCopy(n.Context(), n.uuid))
			n.result("recovering afterwards", a.RecoverPostCopy(n.Context(), n.uuid, n.params))
		},
	},
	{
		name: "broken-post-copy", config: settled, postCopy: true,
		real: breakPostCopy,
		fake: func(_ *testing.T, fleet *fake.Fleet, _, _ *fake.Host, uuid string) { fleet.BreakPostCopy(uuid) },
		afterwards: func(n *notes, a, b hypervisor.Hypervisor) {
			n.await(b, hypervisor.StateRunning, hypervisor.ReasonPostcopyFailed)
			n.sides("broken", a, b)
			n.refusals(a, b)
			// Neither definition is needed any more.
			params := hypervisor.MigrateParams{DestinationURI: n.params.DestinationURI, Persist: n.params.Persist}
			ctx, cancel := context.WithTimeout(n.Context(), time.Minute)
			defer cancel()
			// Now and then the destination's libvirt takes the old failure for a
			// new one: the call fails, and what it has recovered goes on unattended.
			n.Logf("recovering: %v", a.RecoverPostCopy(ctx, n.uuid, params))
			n.await(b, hypervisor.StateRunning, hypervisor.ReasonMigrated)
			n.removed(a)
		},
		settle: func(end *ending) {
			recovered := slices.Index(end.AtSource, "Suspended/PostcopyFailed") + 1
			end.AtSource = slices.Concat(end.AtSource[:recovered], slices.DeleteFunc(end.AtSource[recovered:], func(event string) bool {
				return event == "Suspended/PostcopyFailed" || event == "Undefined/Removed"
			}))
		},
	},
	{
		name: "lost-in-post-copy", config: settled, postCopy: true,
		real: func(t *testing.T, _, _ *Client, guest *lab.Guest) { check(t, nodeB().KillQEMU(guest.Name())) },
		afterwards: func(n *notes, a, b hypervisor.Hypervisor) {
			n.await(b, hypervisor.StateShutoff, hypervisor.ReasonCrashed, hypervisor.ReasonFailed)
			n.sides("lost", a, b)
			n.result("recovering", a.RecoverPostCopy(n.Context(), n.uuid, n.params))
			n.result("resuming", a.Resume(n.Context(), n.uuid))
		},
		settle: func(end *ending) {
			// Where libvirt was just asking the emulator something, it says that it has failed.
			crashed := strings.NewReplacer("Shutoff/Failed", "Shutoff/Crashed", "Stopped/Failed", "Stopped/Crashed")
			end.Target = crashed.Replace(end.Target)
			for _, list := range [][]string{end.AtTarget, end.Notes} {
				for i := range list {
					list[i] = crashed.Replace(list[i])
				}
			}
		},
	},
	{
		name: "kill-source-daemon-in-post-copy", config: settled, postCopy: true,
		real: func(t *testing.T, _, _ *Client, _ *lab.Guest) { restartDaemon(t, nodeA()) },
		fake: func(_ *testing.T, _ *fake.Fleet, a, _ *fake.Host, _ string) {
			a.KillDaemon()
			a.Reconnect()
		},
		afterwards: unattended,
	},
	{
		name: "kill-target-daemon-in-post-copy", config: settled, postCopy: true,
		real: func(t *testing.T, _, _ *Client, guest *lab.Guest) {
			awaitFinish(t, guest)
			awaitAnswers(t, guest)
			restartDaemon(t, nodeB())
		},
		fake: func(_ *testing.T, _ *fake.Fleet, _, b *fake.Host, _ string) {
			b.KillDaemon()
			b.Reconnect()
		},
		afterwards: unattended,
	},
	{
		// The daemons notice after half a minute that they have lost each other.
		// The emulators would after a quarter of an hour.
		name: "cut-off-in-post-copy", config: settled, postCopy: true,
		real: func(t *testing.T, _, _ *Client, _ *lab.Guest) {
			check(t, nodeB().CutOff(t.Context()))
			t.Cleanup(func() { check(t, nodeB().Reconnect(context.Background())) })
		},
		fake: func(_ *testing.T, fleet *fake.Fleet, _, _ *fake.Host, uuid string) { fleet.LoseSupervision(uuid) },
		afterwards: func(n *notes, a, b hypervisor.Hypervisor) {
			if _, ok := a.(*Client); ok {
				check(n.T, nodeB().Reconnect(n.Context()))
			}
			unattended(n, a, b)
		},
	},
	{
		name: "paused-in-the-middle", config: lab.GuestConfig{Persistent: true},
		both: func(n *notes, a, b hypervisor.Hypervisor) {
			n.result("pausing the incoming half", b.Suspend(n.Context(), n.uuid))
			n.result("pausing", a.Suspend(n.Context(), n.uuid))
			n.result("pausing again", a.Suspend(n.Context(), n.uuid))
			n.sides("paused", a, b)
			n.result("resuming", a.Resume(n.Context(), n.uuid))
			n.result("resuming the incoming half", b.Resume(n.Context(), n.uuid))
			n.result("hurrying up", a.SetBandwidth(n.Context(), n.uuid, 1000))
		},
		afterwards: func(n *notes, a, b hypervisor.Hypervisor) {
			n.sides("migrated", a, b)
			n.result("resuming", b.Resume(n.Context(), n.uuid))
			n.result("pausing", b.Suspend(n.Context(), n.uuid))
			n.sides("paused again", a, b)
			n.result("resuming", b.Resume(n.Context(), n.uuid))
		},
	},
	{
		name: "paused-and-aborted", config: lab.GuestConfig{Persistent: true},
		both: func(n *notes, a, _ hypervisor.Hypervisor) {
			n.result("pausing", a.Suspend(n.Context(), n.uuid))
			n.result("aborting", a.AbortJob(n.Context(), n.uuid))
		},
	},
}

// breakPostCopy breaks the memory's stream as a network does in the end. libvirt
// does it on request. An emulator that waits for memory could not be recovered by
// its libvirt.
func breakPostCopy(t *testing.T, _, _ *Client, guest *lab.Guest) {
	awaitAnswers(t, guest)
	_, err := nodeA().Virsh(t.Context(), "domjobabort", "--postcopy", guest.Name())
	check(t, err)
}

// awaitFinish returns once the destination's libvirt finishes a migration. One that dies
// earlier takes a guest that runs already for one that never arrived: it destroys it when
// it comes back. Only its own notes on the guest tell how far it is.
func awaitFinish(t *testing.T, guest *lab.Guest) {
	t.Helper()
	path := nodeB().Path("/run/libvirt/qemu/" + guest.Name() + ".xml")
	eventually(t, 10*time.Second, func() error {
		text, err := os.ReadFile(path)
		if err == nil && !strings.Contains(string(text), "phase='finish3'") {
			err = errors.New("the destination's libvirt does not finish the migration")
		}
		return err
	})
}

// awaitAnswers returns once the guest writes at the destination: it has the memory that
// it needs to take interrupts, and its emulator has answered to the command to run. One
// that waits for memory in the middle of a command does not answer to its libvirt, and if
// that was restarted meanwhile, the answer reaches the new one, which takes it for an
// answer to a command of its own, cannot make sense of it, and destroys the guest.
func awaitAnswers(t *testing.T, guest *lab.Guest) {
	t.Helper()
	_, err := guest.Ticks().Wait(t.Context(), "node-b", 1)
	check(t, err)
}

// unattended sees the memory arrive without anybody to follow it.
func unattended(n *notes, a, b hypervisor.Hypervisor) {
	n.sides("unattended", a)
	// A daemon that was restarted may not answer about jobs until the memory is
	// there: it asks the emulator, which may wait for memory.
	domain, err := b.LookupDomain(n.Context(), n.uuid)
	n.note("unattended at the destination: %s/%s %v", domain.State, domain.Reason, err)
	n.result("recovering", a.RecoverPostCopy(n.Context(), n.uuid, n.params))
	n.await(b, hypervisor.StateRunning, hypervisor.ReasonMigrated)
	n.await(a, hypervisor.StateShutoff, hypervisor.ReasonMigrated)
}

// notes are what is seen on the way.
type notes struct {
	*testing.T
	uuid   string
	params hypervisor.MigrateParams
	texts  []string
}

func (n *notes) note(format string, args ...any) {
	n.texts = append(n.texts, fmt.Sprintf(format, args...))
}

// result notes what became of a call.
func (n *notes) result(call string, err error) {
	n.Logf("%s: %v", call, err)
	n.note("%s: %s %v", call, hypervisor.KindOf(err), errors.Unwrap(err))
}

// sides notes what both sides say.
func (n *notes) sides(when string, hosts ...hypervisor.Hypervisor) {
	n.Helper()
	for _, h := range hosts {
		domain, err := h.LookupDomain(n.Context(), n.uuid)
		if err != nil {
			n.note("%s: %s", when, hypervisor.KindOf(err))
			continue
		}
		job, err := h.JobStats(n.Context(), n.uuid)
		n.note("%s: %s/%s, %s %s, post-copy %v, failed %v, downtime known %v, %v", when, domain.State, domain.Reason,
			job.Type, job.Operation, job.PostCopy, job.PostCopyFailed, job.DowntimeKnown, err)
	}
}

// refusals notes what both sides say to all that must not be done in post-copy.
func (n *notes) refusals(hosts ...hypervisor.Hypervisor) {
	for _, h := range hosts {
		n.result("switching", h.StartPostCopy(n.Context(), n.uuid))
		n.result("aborting", h.AbortJob(n.Context(), n.uuid))
		n.result("pausing", h.Suspend(n.Context(), n.uuid))
		n.result("resuming", h.Resume(n.Context(), n.uuid))
		n.result("destroying", h.DestroyIncoming(n.Context(), n.uuid))
		n.result("undefining", h.Undefine(n.Context(), n.uuid))
	}
	n.result("migrating", hosts[0].Migrate(n.Context(), n.uuid, n.params))
	n.result("recovering at the destination", hosts[1].RecoverPostCopy(n.Context(), n.uuid, n.params))
}

// switchToPostCopy returns once the guest runs at the destination.
func (n *notes) switchToPostCopy(a, b hypervisor.Hypervisor) {
	n.Helper()
	check(n.T, a.StartPostCopy(n.Context(), n.uuid))
	n.await(b, hypervisor.StateRunning, hypervisor.ReasonPostcopy)
}

// removed removes what is left of a domain that has moved away, and returns once
// it is gone.
func (n *notes) removed(h hypervisor.Hypervisor) {
	n.Helper()
	eventually(n.T, 10*time.Second, func() error { return h.Undefine(n.Context(), n.uuid) })
}

// await returns once a host says so of the guest, with any of the reasons.
func (n *notes) await(h hypervisor.Hypervisor, state hypervisor.State, reasons ...hypervisor.Reason) {
	n.Helper()
	begin := time.Now()
	eventually(n.T, 2*time.Minute, func() error {
		domain, err := h.LookupDomain(n.Context(), n.uuid)
		if err == nil && (domain.State != state || !slices.Contains(reasons, domain.Reason)) {
			err = fmt.Errorf("the guest is %s/%s", domain.State, domain.Reason)
		}
		return err
	})
	n.Logf("%s/%s after %v", state, reasons, time.Since(begin))
}
