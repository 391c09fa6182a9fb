package metrics

// The labels of one migration, which are there only where they are asked for.
const (
	labelNamespace = "namespace"
	labelMigration = "migration"
	labelGuest     = "guest"
)

// What an agent shows of the migrations that libvirt carries out from its node, all of
// them together.
var (
	defJobs = definition{name: "virtferry_agent_jobs", kind: gauge,
		help: "Migrations that libvirt carries out from the node"}
	defJobsRemaining = definition{name: "virtferry_agent_jobs_remaining_bytes", kind: gauge, labels: []string{labelKind},
		help: "What is still to be copied of them in the present pass"}
	defJobsDirty = definition{name: "virtferry_agent_jobs_dirty_bytes_per_second", kind: gauge,
		help: "How fast their guests write to their memory"}
	defJobsTransfer = definition{name: "virtferry_agent_jobs_transfer_bytes_per_second", kind: gauge,
		help: "How fast their memory is copied, by libvirt's word"}
	defJobsThrottle = definition{name: "virtferry_agent_jobs_throttle_ratio", kind: gauge,
		help: "By how much auto-convergence slows the guest down that it slows down most, from 0 to 1"}
	defJobsStandstill = definition{name: "virtferry_agent_jobs_standstill_seconds", kind: gauge,
		help: "How long the migration that has not come closer to its end for longest has not, as far as this agent has seen"}
	defSent = definition{name: "virtferry_agent_sent_bytes_total", kind: counter,
		help: "What migrations from the node have copied of memory and disks while this agent followed them"}
)

// The same of each of them, where guests may be named.
var (
	labelsOfOne = []string{labelNamespace, labelMigration, labelGuest}

	defJobRemaining = definition{name: "virtferry_agent_job_remaining_bytes", kind: gauge, labels: append(labelsOfOne, labelKind),
		help: "What is still to be copied of the migration in the present pass"}
	defJobDirty = definition{name: "virtferry_agent_job_dirty_bytes_per_second", kind: gauge, labels: labelsOfOne,
		help: "How fast the guest writes to its memory"}
	defJobTransfer = definition{name: "virtferry_agent_job_transfer_bytes_per_second", kind: gauge, labels: labelsOfOne,
		help: "How fast the guest's memory is copied, by libvirt's word"}
	defJobThrottle = definition{name: "virtferry_agent_job_throttle_ratio", kind: gauge, labels: labelsOfOne,
		help: "By how much auto-convergence slows the guest down, from 0 to 1"}
	defJobStandstill = definition{name: "virtferry_agent_job_standstill_seconds", kind: gauge, labels: labelsOfOne,
		help: "How long the migration has not come closer to its end, as far as this agent has seen"}
)

// What an agent shows of its node.
var (
	defSessions = definition{name: "virtferry_agent_sessions", kind: gauge, labels: []string{labelSide},
		help: "LiveMigrations that the agent has to do with, by the side on which the node is, those that wait included"}
	defGuests = definition{name: "virtferry_agent_guests", kind: gauge, labels: []string{labelState},
		help: "Guests that the node's libvirt knows, by whether they run; while libvirt is away, those that it knew last"}
	defConnected = definition{name: "virtferry_agent_libvirt_connected", kind: gauge,
		help: "Whether libvirt answered the agent the last time: 1 if it did, 0 if not"}
	defReconnects = definition{name: "virtferry_agent_libvirt_reconnects_total", kind: counter, labels: []string{labelConnection},
		help: "How often the agent had to connect to libvirt anew, for calls or for events"}
	defConnectFailures = definition{name: "virtferry_agent_libvirt_connect_failures_total", kind: counter, labels: []string{labelConnection},
		help: "Attempts to connect to libvirt that failed"}
	defAbandoned = definition{name: "virtferry_agent_libvirt_calls_abandoned_total", kind: counter,
		help: "Calls to libvirt that were given up because they took too long"}
	defHung = definition{name: "virtferry_agent_libvirt_calls_hung", kind: gauge,
		help: "Calls to libvirt that were given up and have still not returned; each holds one of libvirt's workers"}
)

func agentDefinitions() []definition {
	return []definition{
		defJobs, defJobsRemaining, defJobsDirty, defJobsTransfer, defJobsThrottle, defJobsStandstill, defSent, defSessions, defGuests,
		defConnected, defReconnects, defConnectFailures, defAbandoned, defHung,
	}
}

// namingDefinitions are the metrics that name guests.
func namingDefinitions() []definition {
	return []definition{defJobRemaining, defJobDirty, defJobTransfer, defJobThrottle, defJobStandstill}
}
