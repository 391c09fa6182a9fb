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
	labelPhase      = "phase"
	labelOutcome    = "outcome"
	labelReason     = "reason"
	labelKind       = "kind"
	labelState      = "state"
	labelNode       = "node"
	labelWaitingFor = "waiting_for"
	labelSwitchover = "switchover"
	labelStep       = "step"
	labelCache      = "cache"
	labelSide       = "side"
	labelConnection = "connection"
)

// What the manager shows of migrations that have not ended, of the queue and of nodes.
// It is there only at the manager that leads.
var (
	defPhases = definition{name: "virtferry_migrations", kind: gauge, labels: []string{labelPhase},
		help: "Migrations that have not ended, by their phase"}
	defLongest = definition{name: "virtferry_migrations_longest_seconds", kind: gauge, labels: []string{labelPhase},
		help: "How long the migration that has been in the phase for longest has been there, as far as this manager has seen; virtferry_queue_oldest_seconds is about those that are Pending"}
	defQueueLength = definition{name: "virtferry_queue_length", kind: gauge, labels: []string{labelWaitingFor},
		help: "Migrations that wait, by what for: a slot of their source, of their target or of the cluster, or another migration of the same guest"}
	defQueueOldest = definition{name: "virtferry_queue_oldest_seconds", kind: gauge,
		help: "Age of the oldest migration that waits; 0 where none does"}
	defSlotsUsed = definition{name: "virtferry_slots_used", kind: gauge, labels: []string{labelKind},
		help: "Migrations in the cluster that hold a slot for copying, and those that are prepared, or being prepared, without one"}
	defSlotsFree = definition{name: "virtferry_slots_free", kind: gauge, labels: []string{labelKind},
		help: "Migrations that might be copied, or prepared, beside those, if they were spread over all nodes that are ready"}
	defHypervisors = definition{name: "virtferry_hypervisors", kind: gauge, labels: []string{labelState},
		help: "Nodes with a Hypervisor, by what the manager makes of them"}
	defHypervisorReady = definition{name: "virtferry_hypervisor_ready", kind: gauge, labels: []string{labelNode},
		help: "Whether migrations can use the node: 1 if they can, 0 if not"}
	defHypervisorLost = definition{name: "virtferry_hypervisor_agent_lost", kind: gauge, labels: []string{labelNode},
		help: "Whether the node's agent has stopped to give signs of life: 1 if it has, 0 if not"}
	defUnreadable = definition{name: "virtferry_objects_unreadable", kind: gauge, labels: []string{labelKind},
		help: "Objects that cannot be decoded, so that nothing is done about them"}
)

// What the manager counts when it has written how a migration ended.
var (
	defEnded = definition{name: "virtferry_migrations_ended_total", kind: counter, labels: []string{labelOutcome, labelReason},
		help: "Migrations that have ended, by outcome and reason"}
	defDuration = definition{name: "virtferry_migration_duration_seconds", kind: histogram, labels: []string{labelOutcome}, buckets: bucketsOfDuration,
		help: "Time from the creation of a LiveMigration, in whole seconds, to its end"}
	defQueueWait = definition{name: "virtferry_migration_queue_wait_seconds", kind: histogram, buckets: bucketsOfWait,
		help: "Time from the creation of a LiveMigration, in whole seconds, until it got its slot for copying, of those that got one"}
	defPreparation = definition{name: "virtferry_migration_preparation_seconds", kind: histogram, buckets: bucketsOfPreparation,
		help: "Time from when a migration was let go ahead, by the manager's clock, until its target was ready, by the target's"}
	defDowntime = definition{name: "virtferry_migration_downtime_seconds", kind: histogram, labels: []string{labelSwitchover}, buckets: bucketsOfDowntime,
		help: "How long guests stood still for their switch-over, as the hypervisor measured it, by what brought them over"}
	defDowntimeRatio = definition{name: "virtferry_migration_downtime_ratio", kind: histogram, labels: []string{labelSwitchover}, buckets: bucketsOfDowntimeRatio,
		help: "That time divided by what maxDowntimeMilliseconds allows: above 1 it was exceeded"}
	defBytes = definition{name: "virtferry_migration_transferred_bytes", kind: histogram, labels: []string{labelKind}, buckets: bucketsOfBytes,
		help: "What was copied of memory and of disks, parts that were copied again counted again, whatever the outcome"}
	defPasses = definition{name: "virtferry_migration_passes", kind: histogram, buckets: bucketsOfPasses,
		help: "Passes over the guest's memory, whatever the outcome"}
	defForced = definition{name: "virtferry_migrations_forced_total", kind: counter, labels: []string{labelStep, labelReason},
		help: "Steps taken to force migrations to their end, by why: the switch to post-copy, and a pause of the guest"}
	defPostCopies = definition{name: "virtferry_migrations_post_copy_total", kind: counter,
		help: "Migrations whose guest went ahead to the target before its memory"}
	defInterrupted = definition{name: "virtferry_post_copy_interrupted_total", kind: counter, labels: []string{labelOutcome},
		help: "Migrations whose post-copy was interrupted, by whether it went on in the end"}
	defRecoveries = definition{name: "virtferry_post_copy_recovery_attempts_total", kind: counter,
		help: "Attempts to resume a post-copy that was interrupted"}
	defAborted = definition{name: "virtferry_migrations_aborted_total", kind: counter, labels: []string{labelReason},
		help: "Migrations that were aborted while they ran, by why"}
)

func managerDefinitions() []definition {
	return []definition{
		defPhases, defLongest, defQueueLength, defQueueOldest, defSlotsUsed, defSlotsFree, defHypervisors, defHypervisorReady,
		defHypervisorLost, defUnreadable, defEnded, defDuration, defQueueWait, defPreparation, defDowntime, defDowntimeRatio,
		defBytes, defPasses, defForced, defPostCopies, defInterrupted, defRecoveries, defAborted,
	}
}
