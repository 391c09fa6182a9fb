package metrics

// The buckets of the histograms.
var (
	bucketsOfDuration      = []float64{1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200}
	bucketsOfWait          = []float64{1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 28800}
	bucketsOfPreparation   = []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}
	bucketsOfDowntime      = []float64{.01, .025, .05, .1, .2, .3, .5, 1, 2, 5, 10, 30, 60}
	bucketsOfDowntimeRatio = []float64{.05, .1, .25, .5, .75, 1, 1.25, 1.5, 2, 5, 10}
	bucketsOfPasses        = []float64{1, 2, 3, 4, 5, 10, 20, 50, 100}
	bucketsOfBytes         = []float64{1 << 26, 1 << 28, 1 << 30, 1 << 32, 1 << 34, 1 << 36, 1 << 38, 1 << 40}
)

// The labels.
const (
	labelPhase       = "phase"
	labelOutcome     = "outcome"
	labelReason      = "reason"
	labelKind        = "kind"
	labelState       = "state"
	labelNode        = "node"
	labelWaitingFor  = "waiting_for"
	labelSwitchover  = "switchover"
	labelStep        = "step"
	labelCache       = "cache"
	labelSide        = "side"
	labelConnection  = "connection"
	labelUse         = "use"
	labelCertificate = "certificate"
	labelSourceNode  = "source_node"
	labelTargetNode  = "target_node"
)

// What the manager shows of migrations that have not ended, of the queue and of nodes.
// It is there only at the manager that leads.
var (
	defPhases = definition{name: "virtferry_migrations", kind: gauge, labels: []string{labelPhase},
		help: "Migrations that have not ended, by phase"}
	defLongest = definition{name: "virtferry_migrations_longest_seconds", kind: gauge, labels: []string{labelPhase},
		help: "The longest time that a migration has been in the phase so far, as seen by this manager; for Pending see virtferry_queue_oldest_seconds"}
	defQueueLength = definition{name: "virtferry_queue_length", kind: gauge, labels: []string{labelWaitingFor},
		help: "Waiting migrations, by what they wait for: a slot of their source, of their target or of the cluster, or another migration of the same guest"}
	defQueueOldest = definition{name: "virtferry_queue_oldest_seconds", kind: gauge,
		help: "Age of the oldest waiting migration; 0 if none waits"}
	defSlotsUsed = definition{name: "virtferry_slots_used", kind: gauge, labels: []string{labelKind},
		help: "Migrations that hold a copying slot, and migrations that are prepared, or being prepared, without one"}
	defSlotsFree = definition{name: "virtferry_slots_free", kind: gauge, labels: []string{labelKind},
		help: "How many more migrations could be copied, or prepared, if they were spread over all ready nodes"}
	defHypervisors = definition{name: "virtferry_hypervisors", kind: gauge, labels: []string{labelState},
		help: "Nodes with a Hypervisor, by state"}
	defHypervisorReady = definition{name: "virtferry_hypervisor_ready", kind: gauge, labels: []string{labelNode},
		help: "Whether the node can be used for migrations (1) or not (0)"}
	defHypervisorLost = definition{name: "virtferry_hypervisor_agent_lost", kind: gauge, labels: []string{labelNode},
		help: "Whether the node's agent has stopped renewing its lease (1) or not (0)"}
	defUnreadable = definition{name: "virtferry_objects_unreadable", kind: gauge, labels: []string{labelKind},
		help: "Objects that cannot be decoded, and are therefore left alone"}
)

// What the manager counts when it has written how a migration ended.
var (
	defEnded = definition{name: "virtferry_migrations_ended_total", kind: counter, labels: []string{labelOutcome, labelReason},
		help: "Migrations that have ended, by outcome and reason, without dry runs"}
	defDryRuns = definition{name: "virtferry_dry_runs_ended_total", kind: counter, labels: []string{labelOutcome, labelReason},
		help: "Dry runs that have ended, by outcome and reason; no other metric of ended migrations counts them"}
	defBetween = definition{name: "virtferry_migrations_between_nodes_total", kind: counter, labels: []string{labelSourceNode, labelTargetNode, labelOutcome},
		help: "Migrations from one node to another that have ended, by outcome; begins for two nodes when a guest is first to move from one to the other"}
	defDuration = definition{name: "virtferry_migration_duration_seconds", kind: histogram, labels: []string{labelOutcome}, buckets: bucketsOfDuration,
		help: "Time from the creation of a LiveMigration to its end; the time of creation is in whole seconds"}
	defQueueWait = definition{name: "virtferry_migration_queue_wait_seconds", kind: histogram, buckets: bucketsOfWait,
		help: "Time from the creation of a LiveMigration until it got its copying slot; the time of creation is in whole seconds"}
	defPreparation = definition{name: "virtferry_migration_preparation_seconds", kind: histogram, buckets: bucketsOfPreparation,
		help: "Time from the admission of a migration, by the manager's clock, until the target was ready, by the target's clock"}
	defDowntime = definition{name: "virtferry_migration_downtime_seconds", kind: histogram, labels: []string{labelSwitchover}, buckets: bucketsOfDowntime,
		help: "How long guests were paused for their switch-over, as measured by the hypervisor, by what completed the migration"}
	defDowntimeRatio = definition{name: "virtferry_migration_downtime_ratio", kind: histogram, labels: []string{labelSwitchover}, buckets: bucketsOfDowntimeRatio,
		help: "Downtime divided by maxDowntimeMilliseconds; above 1 the limit was exceeded"}
	defBytes = definition{name: "virtferry_migration_transferred_bytes", kind: histogram, labels: []string{labelKind}, buckets: bucketsOfBytes,
		help: "Bytes of memory and of disks that a migration copied, repeated copies included, whatever its outcome"}
	defPasses = definition{name: "virtferry_migration_passes", kind: histogram, buckets: bucketsOfPasses,
		help: "Passes over the guest's memory, whatever the outcome"}
	defForced = definition{name: "virtferry_migrations_forced_total", kind: counter, labels: []string{labelStep, labelReason},
		help: "Steps taken to force migrations to complete, by reason: a switch to post-copy, or a pause of the guest"}
	defPostCopies = definition{name: "virtferry_migrations_post_copy_total", kind: counter,
		help: "Migrations that switched to post-copy"}
	defInterrupted = definition{name: "virtferry_post_copy_interrupted_total", kind: counter, labels: []string{labelOutcome},
		help: "Migrations whose post-copy was interrupted, by whether it was resumed"}
	defRecoveries = definition{name: "virtferry_post_copy_recovery_attempts_total", kind: counter,
		help: "Attempts to resume an interrupted post-copy"}
	defAborted = definition{name: "virtferry_migrations_aborted_total", kind: counter, labels: []string{labelReason},
		help: "Migrations that were aborted while they ran, by reason"}
)

func managerDefinitions() []definition {
	return []definition{
		defPhases, defLongest, defQueueLength, defQueueOldest, defSlotsUsed, defSlotsFree, defHypervisors, defHypervisorReady,
		defHypervisorLost, defUnreadable, defEnded, defDryRuns, defBetween, defDuration, defQueueWait, defPreparation, defDowntime, defDowntimeRatio,
		defBytes, defPasses, defForced, defPostCopies, defInterrupted, defRecoveries, defAborted,
	}
}
