// Command statemetrics makes the configuration by which kube-state-metrics turns
// LiveMigrations and Hypervisors into metrics.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: statemetrics DIRECTORY")
		os.Exit(2)
	}
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "statemetrics:", err)
		os.Exit(1)
	}
}

// write writes the configuration for kube-state-metrics, and the ConfigMap with it.
func write(dir string) error {
	config, err := yaml.Marshal(configuration())
	if err != nil {
		return fmt.Errorf("writing the configuration: %w", err)
	}
	const head = "# Made by make generate. kube-state-metrics takes it with --custom-resource-state-config-file.\n"
	text := head + string(config)
	var b strings.Builder
	b.WriteString(`# Made by make generate.
apiVersion: v1
kind: ConfigMap
metadata:
  name: virtferry-kube-state-metrics
  namespace: virtferry-system
  labels:
    app.kubernetes.io/name: virtferry
data:
  config.yaml: |
`)
	for line := range strings.Lines(text) {
		b.WriteString("    " + line)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.yaml"), []byte(text), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "configmap.yaml"), []byte(b.String()), 0o644)
}

// object is a part of a YAML document.
type object = map[string]any

func configuration() object {
	return object{"kind": "CustomResourceStateMetrics", "spec": object{"resources": []object{
		{
			"groupVersionKind": kind("LiveMigration"), "resourcePlural": "livemigrations", "metricNamePrefix": "virtferry_livemigration",
			"labelsFromPath": object{"namespace": path("metadata.namespace"), "livemigration": path("metadata.name")},
			"metrics":        ofLiveMigrations(), "errorLogV": quiet,
		},
		{
			"groupVersionKind": kind("Hypervisor"), "resourcePlural": "hypervisors", "metricNamePrefix": "virtferry_hypervisor_object",
			"labelsFromPath": object{"hypervisor": path("metadata.name")},
			"metrics":        ofHypervisors(), "errorLogV": quiet,
		},
	}}}
}

// quiet is how much kube-state-metrics has to log before it says that an object lacks a
// field. Most lack some: one that waits has no progress.
const quiet = 5

func kind(name string) object {
	return object{"group": v1alpha1.GroupName, "version": v1alpha1.GroupVersion.Version, "kind": name}
}

func path(dotted string) []string { return strings.Split(dotted, ".") }

func ofLiveMigrations() []object {
	return []object{
		info("info", "What is moved where", object{
			"domain": path("spec.domain"), "guest": path("status.domainName"), "source_node": path("status.sourceNode"), "target_node": path("status.targetNode"),
		}),
		oneOf("phase", "The migration's phase", "phase", "status.phase",
			v1alpha1.PhasePending, v1alpha1.PhasePreparing, v1alpha1.PhaseMigrating, v1alpha1.PhasePostCopy, v1alpha1.PhaseRecovering,
			v1alpha1.PhaseConfirming, v1alpha1.PhaseCancelling, v1alpha1.PhaseSucceeded, v1alpha1.PhaseFailed, v1alpha1.PhaseCancelled, v1alpha1.PhaseUnknown),
		conditions("Whether a condition is True, False or Unknown, and why"),
		number("created_timestamp_seconds", "When the object was created", "metadata.creationTimestamp"),
		number("completed_timestamp_seconds", "When the migration ended", "status.completionTime"),
		number("downtime_milliseconds", "How long the guest was paused for its switch-over", "status.downtimeMilliseconds"),
		number("queue_position", "The place in the queue: 1 is next", "status.queue.position"),
		number("progress_percent", "How much of the guest has been copied", "status.progress.percent"),
		number("progress_elapsed_milliseconds", "For how long it has been copied", "status.progress.elapsedMilliseconds"),
		number("progress_memory_total_bytes", "How much memory the guest has", "status.progress.memory.totalBytes"),
		number("progress_memory_processed_bytes", "How much memory has been copied, repeated copies included", "status.progress.memory.processedBytes"),
		number("progress_memory_remaining_bytes", "How much memory is left to copy in the current pass", "status.progress.memory.remainingBytes"),
		number("progress_memory_iteration", "The current pass over the guest's memory", "status.progress.memoryIteration"),
		number("progress_dirty_bytes_per_second", "How fast the guest writes to its memory", "status.progress.dirtyBytesPerSecond"),
		number("progress_bytes_per_second", "How fast its memory is copied", "status.progress.bytesPerSecond"),
		number("progress_throttle_percent", "What auto-convergence takes from the guest's processors", "status.progress.throttlePercent"),
	}
}

func ofHypervisors() []object {
	return []object{
		info("info", "What the node runs", object{
			"libvirt_version": path("status.libvirtVersion"), "hypervisor_version": path("status.hypervisorVersion"), "migration_address": path("status.migrationAddress"),
		}),
		conditions("Whether a condition is True, False or Unknown, and why"),
		numberOrZero("domains", "Guests that the node's libvirt knows", "status.domainCount"),
		number("max_workers", "How many calls the node's libvirt serves at once", "status.maxWorkers"),
	}
}

// number is a metric of a field's value. An object without the field has none. The path is
// that of the field itself: with its last part as valueFrom, kube-state-metrics also takes
// a field of that name from each field beside it.
func number(name, help, field string) object {
	return gauge(name, help, object{"path": path(field)})
}

func gauge(name, help string, of object) object {
	return object{"name": name, "help": help, "each": object{"type": "Gauge", "gauge": of}}
}

// numberOrZero is the same where the field is left out because it is 0: of a node whose
// guests have all left, that is just what somebody wants to know.
func numberOrZero(name, help, field string) object {
	return gauge(name, help, object{"path": path(field), "nilIsZero": true})
}

// info is a metric that is 1 and has its labels from fields.
func info(name, help string, labels object) object {
	return object{"name": name, "help": help, "each": object{"type": "Info", "info": object{"labelsFromPath": labels}}}
}

// oneOf is a metric of 1 for the value that a field has, and 0 for each other.
func oneOf[S ~string](name, help, label, field string, values ...S) object {
	return object{"name": name, "help": help, "each": object{"type": "StateSet", "stateSet": object{
		"path": path(field), "labelName": label, "list": values,
	}}}
}

// conditions is the same for each condition.
func conditions(help string) object {
	return object{"name": "condition", "help": help, "each": object{"type": "StateSet", "stateSet": object{
		"path": path("status.conditions"), "labelName": "status", "list": []string{"True", "False", "Unknown"}, "valueFrom": []string{"status"},
		"labelsFromPath": object{"type": []string{"type"}, "reason": []string{"reason"}},
	}}}
}
