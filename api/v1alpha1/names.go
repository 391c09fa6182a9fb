package v1alpha1

// MaxInteger is the largest integer that the API takes where nothing less is the
// bound: the largest that every reader of JSON takes as it is.
const MaxInteger = 1<<53 - 1

// FinalizerGuestSafe holds a LiveMigration that is being deleted until its
// guest is known to be safe on one side.
const FinalizerGuestSafe = GroupName + "/guest-safe"

// Annotations that ask for something. Each new value is one request; what becomes
// of it is shown in status.requests.
const (
	// AnnotationForceComplete asks for the completion of a migration whatever it
	// costs the guest; see RequestForceComplete.
	AnnotationForceComplete = GroupName + "/force-complete"
	// AnnotationCancel asks for the end of a migration; see RequestCancel.
	AnnotationCancel = GroupName + "/cancel"
)

// Field owners for server-side apply. Each part of a status has exactly one.
const (
	// OwnerManager owns a LiveMigration's resolved fields, conditions, phase
	// and finalizer, and a Hypervisor's Ready condition.
	OwnerManager = "virtferry-manager"
	// OwnerSourceAgent owns status.source and status.progress.
	OwnerSourceAgent = "virtferry-agent-source"
	// OwnerTargetAgent owns status.target.
	OwnerTargetAgent = "virtferry-agent-target"
	// OwnerHypervisorAgent owns a Hypervisor and the rest of its status.
	OwnerHypervisorAgent = "virtferry-agent"
)

// AgentLeaseName returns the name of the Lease, in the system's namespace, that
// the agent of a node renews as its sign of life.
func AgentLeaseName(node string) string { return "agent-" + node }
