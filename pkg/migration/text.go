package migration

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// What the API takes of messages, in characters; see the markers of the types.
const (
	// MaxConditionMessage bounds a condition's message.
	MaxConditionMessage = 32768
	// MaxProblemMessage bounds that of a problem.
	MaxProblemMessage = 16384
	// MaxMessage bounds all others: errors of libvirt's, steps, requests.
	MaxMessage = 1024
)

// Shorten keeps a message within so many bytes, and thereby characters. It cuts no
// character in two, and leaves none that is not valid.
func Shorten(message string, most int) string {
	const more = " … and more"
	message = strings.ToValidUTF8(message, "\uFFFD")
	if len(message) <= most {
		return message
	}
	return strings.ToValidUTF8(message[:most-len(more)], "") + more
}

// isReason is what the schema takes for a condition's reason.
var isReason = regexp.MustCompile(`^([A-Za-z]|[A-Za-z][A-Za-z0-9_,:]*[A-Za-z0-9_])$`)

// fittingReason returns an agent's reason if a condition takes it, and otherwise another:
// a status with a reason that does not fit is refused as a whole, again and again.
func fittingReason(reason, otherwise string) string {
	if len(reason) > 64 || !isReason.MatchString(reason) {
		return otherwise
	}
	return reason
}

// arrival says in what state the guest is on the target, with a reason of the Succeeded
// condition. One that does not run there has arrived as well: its only copy is there.
func arrival(lm *v1alpha1.LiveMigration, source *v1alpha1.SourceStatus) (reason, message string) {
	node, d := lm.Status.TargetNode, lm.Status.Target.Domain
	state := hypervisor.State(d.State)
	switch {
	case state == hypervisor.StateRunning, state == hypervisor.StateBlocked:
		return v1alpha1.ReasonMigrated, fmt.Sprintf("The guest runs on %s", node)
	case source.GuestPaused && resumable(d):
		return v1alpha1.ReasonMigrated, fmt.Sprintf("The guest is on %s, paused as it was before", node)
	case PausedByUs(source) && resumable(d) && seenLate(lm, source):
		return v1alpha1.ReasonArrivedNotRunning, fmt.Sprintf("The guest is on %s, paused. The migration paused it, and the agent there came too late to "+
			"tell whether somebody has paused it again since: %s once it is clear that it runs nowhere else", node, ask(node, "resume it with `virsh resume`"))
	case PausedByUs(source) && resumable(d):
		return v1alpha1.ReasonArrivedNotRunning, fmt.Sprintf("The guest is on %s, paused; the migration paused it and could not resume it: %s",
			node, ask(node, "resume it with `virsh resume`"))
	}
	what, remedy := standstill(d)
	return v1alpha1.ReasonArrivedNotRunning, fmt.Sprintf("The guest is on %s and nowhere else, but does not run: %s (%s). Ask an administrator to %s",
		node, what, describe(d), remedy)
}

// stillThere says in what state a guest is that has not left its node and, where something
// is wrong with it, what to do about that.
func stillThere(node string, d *v1alpha1.DomainObservation) (where, remedy string) {
	state := hypervisor.State(d.State)
	switch {
	case state == hypervisor.StateRunning, state == hypervisor.StateBlocked:
		return "The guest still runs on " + node, ""
	case resumable(d):
		return fmt.Sprintf("The guest is still on %s, paused", node), ""
	}
	what, remedy := standstill(d)
	return fmt.Sprintf("The guest is still on %s, but does not run: %s (%s)", node, what, describe(d)), ". Ask an administrator to " + remedy
}

// standstill says why a guest does not run, and what an administrator of its node may do.
func standstill(d *v1alpha1.DomainObservation) (what, remedy string) {
	switch state, reason := hypervisor.State(d.State), hypervisor.Reason(d.Reason); {
	case state == hypervisor.StatePMSuspended:
		return "it is suspended to memory", "wake it with `virsh dompmwakeup`"
	case state == hypervisor.StateShutdown:
		return "it is shutting down", "start it again when it has stopped, if it is to run"
	case state == hypervisor.StateCrashed, reason == hypervisor.ReasonCrashed:
		return "its operating system has crashed", "look at its console, and to restart it with `virsh reset` and `virsh resume`"
	case reason == hypervisor.ReasonIOError:
		return "it was paused after an I/O error on one of its disks", "check the storage, and then to resume it with `virsh resume`"
	case resumable(d):
		return "somebody has paused it", "resume it with `virsh resume`, if it is to run"
	default:
		return "it was paused", "find out why with `virsh domstate --reason`, and to resume it with `virsh resume`"
	}
}

// ask says whom to ask: whoever may use the API need not have access to the hosts.
func ask(node, what string) string {
	return fmt.Sprintf("ask an administrator to %s on %s", what, node)
}
