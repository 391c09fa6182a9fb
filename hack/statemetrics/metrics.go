package main

import "github.com/virtferry/virtferry/api/v1alpha1"

// metric is what is shown of an object of ours, whoever shows it.
type metric struct {
	name, help string
	shape      shape
	// field is the path of the field with the value, where the metric has one.
	field string
	// labels are paths of fields, by the labels that have their values. Those of conditions
	// are below a condition.
	labels map[string]string
	// label has the state, and states are all that there are, of states and conditions.
	label  string
	states []string
}

// shape is what becomes of a field.
type shape int

const (
	// number is the field's value; an object without the field has none.
	number shape = iota
	// numberOrZero is the same where the field is left out because it is 0: of a node whose
	// guests have all left, that is just what somebody wants to know.
	numberOrZero
	// timestamp is a time, in seconds since 1970.
	timestamp
	// info is 1, with labels.
	info
	// states is 1 for the value that a field has, and 0 for each other.
	states
	// conditions is the same for each condition of a list.
	conditions
)

func ofLiveMigrations() []metric {
	return []metric{
		{shape: info, name: "info", help: "What is moved where", labels: map[string]string{
			"domain": "spec.domain", "guest": "status.domainName", "source_node": "status.sourceNode", "target_node": "status.targetNode",
		}},
		{shape: states, name: "phase", help: "The migration's phase", label: "phase", field: "status.phase", states: phases()},
		conditionMetric("Whether a condition is True, False or Unknown, and why"),
		{shape: timestamp, name: "created_timestamp_seconds", help: "When the object was created", field: "metadata.creationTimestamp"},
		{shape: timestamp, name: "completed_timestamp_seconds", help: "When the migration ended", field: "status.completionTime"},
		{shape: number, name: "downtime_milliseconds", help: "How long the guest was paused for its switch-over", field: "status.downtimeMilliseconds"},
		{shape: number, name: "queue_position", help: "The place in the queue: 1 is next", field: "status.queue.position"},
		{shape: number, name: "progress_percent", help: "How much of the guest has been copied", field: "status.progress.percent"},
		{shape: number, name: "progress_elapsed_milliseconds", help: "For how long it has been copied", field: "status.progress.elapsedMilliseconds"},
		{shape: number, name: "progress_memory_total_bytes", help: "How much memory the guest has", field: "status.progress.memory.totalBytes"},
		{shape: number, name: "progress_memory_processed_bytes", help: "How much memory has been copied, repeated copies included", field: "status.progress.memory.processedBytes"},
		{shape: number, name: "progress_memory_remaining_bytes", help: "How much memory is left to copy in the current pass", field: "status.progress.memory.remainingBytes"},
		{shape: number, name: "progress_memory_iteration", help: "The current pass over the guest's memory", field: "status.progress.memoryIteration"},
		{shape: number, name: "progress_dirty_bytes_per_second", help: "How fast the guest writes to its memory", field: "status.progress.dirtyBytesPerSecond"},
		{shape: number, name: "progress_bytes_per_second", help: "How fast its memory is copied", field: "status.progress.bytesPerSecond"},
		{shape: number, name: "progress_throttle_percent", help: "What auto-convergence takes from the guest's processors", field: "status.progress.throttlePercent"},
	}
}

func ofHypervisors() []metric {
	return []metric{
		{shape: info, name: "info", help: "What the node runs", labels: map[string]string{
			"libvirt_version": "status.libvirtVersion", "hypervisor_version": "status.hypervisorVersion", "migration_address": "status.migrationAddress",
		}},
		conditionMetric("Whether a condition is True, False or Unknown, and why"),
		{shape: numberOrZero, name: "domains", help: "Guests that the node's libvirt knows", field: "status.domainCount"},
		{shape: number, name: "max_workers", help: "How many calls the node's libvirt serves at once", field: "status.maxWorkers"},
	}
}

// phases returns all of a LiveMigration.
func phases() []string {
	all := []v1alpha1.LiveMigrationPhase{
		v1alpha1.PhasePending, v1alpha1.PhasePreparing, v1alpha1.PhaseMigrating, v1alpha1.PhasePostCopy, v1alpha1.PhaseRecovering,
		v1alpha1.PhaseConfirming, v1alpha1.PhaseCancelling, v1alpha1.PhaseSucceeded, v1alpha1.PhaseFailed, v1alpha1.PhaseCancelled, v1alpha1.PhaseUnknown,
	}
	out := make([]string, 0, len(all))
	for _, p := range all {
		out = append(out, string(p))
	}
	return out
}

// conditionMetric is that of an object's conditions.
func conditionMetric(help string) metric {
	return metric{
		shape: conditions, name: "condition", help: help, field: "status.conditions", label: "status", states: []string{"True", "False", "Unknown"},
		labels: map[string]string{"type": "type", "reason": "reason"},
	}
}

// kind is one of ours, with the metrics of its objects.
type kind struct {
	// name and plural are the API's, prefix is what the names of metrics begin with, and
	// label has an object's name.
	name, plural, prefix, label string
	namespaced                  bool
	metrics                     []metric
}

// kinds returns what there is to show: the one list of which all configurations are made.
func kinds() []kind {
	return []kind{
		{name: "LiveMigration", plural: "livemigrations", prefix: "virtferry_livemigration", label: "livemigration", namespaced: true, metrics: ofLiveMigrations()},
		{name: "Hypervisor", plural: "hypervisors", prefix: "virtferry_hypervisor_object", label: "hypervisor", metrics: ofHypervisors()},
	}
}
