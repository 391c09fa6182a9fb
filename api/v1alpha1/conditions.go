package v1alpha1

// Condition types. Succeeded, Ready, Reconciling and Stalled follow kstatus,
// so that kubectl wait, Flux and Argo CD understand every object.
const (
	// ConditionSucceeded is True once the guest is on the target, False once the
	// migration has ended in any other way, and Unknown until then. Once True or False,
	// it does not change. Positive polarity.
	ConditionSucceeded = "Succeeded"
	// ConditionReady repeats Succeeded for tools that look for Ready alone; on
	// a Hypervisor it says whether migrations can use the node. Positive
	// polarity.
	ConditionReady = "Ready"
	// ConditionReconciling is True while the migration is under way, with the current
	// step as its reason, and absent otherwise. Negative polarity.
	ConditionReconciling = "Reconciling"
	// ConditionStalled is True when nothing more happens unless somebody acts: the
	// migration failed, was cancelled, or its outcome is not known. Absent otherwise.
	// Negative polarity.
	ConditionStalled = "Stalled"
	// ConditionLibvirtConnected says whether a Hypervisor's agent can talk to
	// the node's libvirt. Written by the agent. Positive polarity.
	ConditionLibvirtConnected = "LibvirtConnected"
	// ConditionWorkersSufficient says whether a Hypervisor's libvirt daemon has as many
	// workers as the migrations need that the manager allows at a time. Unknown if
	// libvirt does not report it. Written by the manager. Positive polarity.
	ConditionWorkersSufficient = "WorkersSufficient"
	// ConditionCertificatesValid says whether the certificates of a Hypervisor's host, as far as
	// there are any, serve their purposes and do so for two weeks more. Unknown if the agent
	// sees none. Written by the agent. Positive polarity.
	ConditionCertificatesValid = "CertificatesValid"
	// ConditionGuestsUpgradable says whether the guests that run on a Hypervisor could go on
	// on a newer one, as far as their machine types tell: the newest QEMU of the cluster has
	// them, and a node's own does not call them deprecated where none is newer. Unknown while
	// that is not known. Written by the manager. Positive polarity.
	ConditionGuestsUpgradable = "GuestsUpgradable"
)

// Reasons of a migration under way (Succeeded=Unknown, Reconciling=True).
const (
	// ReasonResolving: the manager looks for the guest and the target node.
	ReasonResolving = "Resolving"
	// ReasonWaitingForOtherMigration: another migration of the same guest has not ended
	// yet; this one continues after it.
	ReasonWaitingForOtherMigration = "WaitingForOtherMigration"
	// ReasonWaitingForSlot: as many guests as may move at a time are already moving from
	// or to a node, or in the whole cluster; this migration continues when it is its
	// turn.
	ReasonWaitingForSlot = "WaitingForSlot"
	// ReasonCheckingTarget: the guest seems to be on the target already, and the
	// target's agent checks whether it is.
	ReasonCheckingTarget = "CheckingTarget"
	// ReasonCheckingSource: the source's agent checks the guest.
	ReasonCheckingSource = "CheckingSource"
	// ReasonPreparingTarget: the target's agent checks and prepares its host.
	ReasonPreparingTarget = "PreparingTarget"
	// ReasonStarting: the source's agent rewrites the definition and starts
	// the migration.
	ReasonStarting = "Starting"
	// ReasonMigrating: libvirt copies the guest.
	ReasonMigrating = "Migrating"
	// ReasonPostCopy: the guest runs on the target, and the rest of its memory
	// follows.
	ReasonPostCopy = "PostCopy"
	// ReasonRecovering: post-copy was interrupted and is resumed as soon as the two
	// hosts can reach each other.
	ReasonRecovering = "Recovering"
	// ReasonConfirming: the copy has ended and both sides are being checked to find out
	// where the guest runs.
	ReasonConfirming = "Confirming"
	// ReasonCancelling: the migration is being aborted on request.
	ReasonCancelling = "Cancelling"
	// ReasonCleaningUp: the migration ends without having been started, and what was made for
	// it on the nodes is being removed.
	ReasonCleaningUp = "CleaningUp"
)

// Reasons of success (Succeeded=True).
const (
	// ReasonMigrated: the guest runs on the target and nowhere else, or is paused there
	// because its user had paused it.
	ReasonMigrated = "Migrated"
	// ReasonArrivedNotRunning: the guest is on the target and nowhere else, but does not
	// run there: it was suspended, has crashed, or one of its disks fails.
	ReasonArrivedNotRunning = "ArrivedNotRunning"
	// ReasonAlreadyOnTarget: the guest ran on the target before anything was
	// done; nothing was touched.
	ReasonAlreadyOnTarget = "AlreadyOnTarget"
	// ReasonChecksPassed: this is a dry run, and the guest could be moved; nothing was
	// touched.
	ReasonChecksPassed = "ChecksPassed"
)

// Reasons of failure (Succeeded=False, Stalled=True). For all of them except GuestStopped,
// the guest is still on the source, or wherever it was if it was not found.
const (
	// ReasonDomainNotFound: no hypervisor knows the guest.
	ReasonDomainNotFound = "DomainNotFound"
	// ReasonDomainAmbiguous: several guests match spec.domain.
	ReasonDomainAmbiguous = "DomainAmbiguous"
	// ReasonDomainNotRunning: the guest is shut off.
	ReasonDomainNotRunning = "DomainNotRunning"
	// ReasonDomainNotOnSource: the guest is not on the node that spec.sourceNode names,
	// or left its node before it was checked.
	ReasonDomainNotOnSource = "DomainNotOnSource"
	// ReasonDomainOnSeveralNodes: the same guest runs on more than one node.
	ReasonDomainOnSeveralNodes = "DomainOnSeveralNodes"
	// ReasonNodeNotFound: no agent serves the named node.
	ReasonNodeNotFound = "NodeNotFound"
	// ReasonNodeNotReady: the agent on a node, or its libvirt, did not answer in time.
	ReasonNodeNotReady = "NodeNotReady"
	// ReasonInvalidMigrateData: the migrate data does not fit the guest.
	ReasonInvalidMigrateData = "InvalidMigrateData"
	// ReasonSourceCheckFailed: the source's host cannot send the guest.
	ReasonSourceCheckFailed = "SourceCheckFailed"
	// ReasonTargetCheckFailed: the target's host cannot take the guest.
	ReasonTargetCheckFailed = "TargetCheckFailed"
	// ReasonNotStarted: the source's agent could not reach its libvirt, or the API
	// server, at the moment of the start. Nothing was started.
	ReasonNotStarted = "NotStarted"
	// ReasonUnsafe: libvirt refuses the migration because the guest's disks might be
	// damaged.
	ReasonUnsafe = "Unsafe"
	// ReasonMigrationFailed: libvirt reported that the migration failed.
	ReasonMigrationFailed = "MigrationFailed"
	// ReasonCompletionTimeout: the copy took longer than
	// options.completionTimeoutSecondsPerGiB allows.
	ReasonCompletionTimeout = "CompletionTimeout"
	// ReasonProgressTimeout: the copy made no progress for
	// options.progressTimeoutSeconds.
	ReasonProgressTimeout = "ProgressTimeout"
	// ReasonPauseTimeout: the guest was paused so that the copy could finish, and even
	// so it took too long.
	ReasonPauseTimeout = "PauseTimeout"
	// ReasonWillNotConverge: the guest writes to its memory faster than it can
	// be copied, and neither post-copy nor a pause is allowed.
	ReasonWillNotConverge = "WillNotConverge"
	// ReasonInterrupted: a restart of libvirt or the agent ended the migration.
	ReasonInterrupted = "Interrupted"
	// ReasonGuestStopped: the guest powered off, crashed or was stopped while
	// it was being migrated.
	ReasonGuestStopped = "GuestStopped"
	// ReasonCancelled: the migration was cancelled.
	ReasonCancelled = "Cancelled"
)

// ReasonOutcomeUnknown: the migration has ended, but the two sides do not show exactly one
// running guest, or one of them cannot be checked. Nothing that may be the only copy is
// destroyed; an administrator has to look (Succeeded=Unknown, Stalled=True).
const ReasonOutcomeUnknown = "OutcomeUnknown"

// Reasons of a Hypervisor's conditions.
const (
	// ReasonAvailable: the agent is running and connected to libvirt.
	ReasonAvailable = "Available"
	// ReasonAgentLost: the agent has stopped renewing its lease.
	ReasonAgentLost = "AgentLost"
	// ReasonConnected: the agent is connected to libvirt.
	ReasonConnected = "Connected"
	// ReasonDisconnected: the agent cannot reach libvirt.
	ReasonDisconnected = "Disconnected"
	// ReasonNotQEMU: the agent reaches libvirt, but not its driver for QEMU.
	ReasonNotQEMU = "NotQEMU"
	// ReasonEnoughWorkers: libvirt has as many workers as migrations need.
	ReasonEnoughWorkers = "EnoughWorkers"
	// ReasonTooFewWorkers: with as many migrations as the manager allows at a time,
	// calls to libvirt may have to wait for the end of one.
	ReasonTooFewWorkers = "TooFewWorkers"
	// ReasonWorkersUnknown: libvirt does not report how many workers it has.
	ReasonWorkersUnknown = "WorkersUnknown"
	// ReasonCertificatesGood: all certificates serve their purposes for two weeks more.
	ReasonCertificatesGood = "CertificatesGood"
	// ReasonCertificatesEnding: one of them ends within two weeks.
	ReasonCertificatesEnding = "CertificatesEnding"
	// ReasonCertificatesBad: one of them does not serve its purpose, such as because it has
	// ended.
	ReasonCertificatesBad = "CertificatesBad"
	// ReasonCertificatesUnknown: the agent sees no certificates.
	ReasonCertificatesUnknown = "CertificatesUnknown"
	// ReasonMachineTypesOffered: the machine types of all guests are there to stay.
	ReasonMachineTypesOffered = "MachineTypesOffered"
	// ReasonGuestsStranded: some guests cannot go on on a newer QEMU.
	ReasonGuestsStranded = "GuestsStranded"
	// ReasonMachineTypesUnknown: the agent does not tell which machine types the node's QEMU,
	// or the cluster's newest, has.
	ReasonMachineTypesUnknown = "MachineTypesUnknown"
)
