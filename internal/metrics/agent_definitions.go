package metrics

// The labels of one migration, which are there only where they are asked for. A label
// "namespace" would be taken for that of the agent's pod.
const (
	labelNamespace = "migration_namespace"
	labelMigration = "migration"
	labelGuest     = "guest"
)

// What an agent shows of the migrations that libvirt carries out from its node, all of
// them together.
var (
	defJobs = definition{name: "virtferry_agent_jobs", kind: gauge,
		help: "Running libvirt migrations from the node"}
	defJobsRemaining = definition{name: "virtferry_agent_jobs_remaining_bytes", kind: gauge, labels: []string{labelKind},
		help: "Bytes that they still have to copy in the current pass"}
	defJobsDirty = definition{name: "virtferry_agent_jobs_dirty_bytes_per_second", kind: gauge,
		help: "How fast their guests write to memory"}
	defJobsTransfer = definition{name: "virtferry_agent_jobs_transfer_bytes_per_second", kind: gauge,
		help: "How fast their memory is copied, as reported by libvirt"}
	defJobsThrottle = definition{name: "virtferry_agent_jobs_throttle_ratio", kind: gauge,
		help: "The strongest auto-convergence throttle among their guests, from 0 to 1"}
	defJobsStandstill = definition{name: "virtferry_agent_jobs_standstill_seconds", kind: gauge,
		help: "The longest time that any of them has made no progress, as seen by this agent"}
	defSent = definition{name: "virtferry_agent_sent_bytes_total", kind: counter,
		help: "Bytes of memory and disks that migrations from the node have copied while this agent followed them"}
)

// The same of each of them, where guests may be named.
var (
	labelsOfOne = []string{labelNamespace, labelMigration, labelGuest}

	defJobRemaining = definition{name: "virtferry_agent_job_remaining_bytes", kind: gauge, labels: append(labelsOfOne, labelKind),
		help: "Bytes that the migration still has to copy in the current pass"}
	defJobDirty = definition{name: "virtferry_agent_job_dirty_bytes_per_second", kind: gauge, labels: labelsOfOne,
		help: "How fast the guest writes to memory"}
	defJobTransfer = definition{name: "virtferry_agent_job_transfer_bytes_per_second", kind: gauge, labels: labelsOfOne,
		help: "How fast the guest's memory is copied, as reported by libvirt"}
	defJobThrottle = definition{name: "virtferry_agent_job_throttle_ratio", kind: gauge, labels: labelsOfOne,
		help: "The guest's auto-convergence throttle, from 0 to 1"}
	defJobStandstill = definition{name: "virtferry_agent_job_standstill_seconds", kind: gauge, labels: labelsOfOne,
		help: "How long the migration has made no progress, as seen by this agent"}
)

// What an agent shows of its node.
var (
	defSessions = definition{name: "virtferry_agent_sessions", kind: gauge, labels: []string{labelSide},
		help: "LiveMigrations that the agent takes part in, waiting ones included, by the node's side"}
	defGuests = definition{name: "virtferry_agent_guests", kind: gauge, labels: []string{labelState},
		help: "Guests that the node's libvirt knows; while libvirt is away, those that it knew last"}
	defCertificateEnd = definition{name: "virtferry_agent_certificate_end_timestamp_seconds", kind: gauge, labels: []string{labelUse, labelCertificate},
		help: "When a certificate of the host ends, as Unix time: the authority's, the server's or the client's, for control between libvirts or for migrations between QEMUs; none for one that cannot be read"}
	defConnected = definition{name: "virtferry_agent_libvirt_connected", kind: gauge,
		help: "Whether libvirt answered the agent's last query (1) or not (0)"}
	defReconnects = definition{name: "virtferry_agent_libvirt_reconnects_total", kind: counter, labels: []string{labelConnection},
		help: "Times that the agent had to reconnect to libvirt, for calls or for events"}
	defConnectFailures = definition{name: "virtferry_agent_libvirt_connect_failures_total", kind: counter, labels: []string{labelConnection},
		help: "Failed attempts to connect to libvirt"}
	defAbandoned = definition{name: "virtferry_agent_libvirt_calls_abandoned_total", kind: counter,
		help: "Calls to libvirt that were abandoned because they took too long"}
	defHung = definition{name: "virtferry_agent_libvirt_calls_hung", kind: gauge,
		help: "Abandoned calls to libvirt that have not returned yet; each occupies one of libvirt's workers"}
)

func agentDefinitions() []definition {
	return []definition{
		defJobs, defJobsRemaining, defJobsDirty, defJobsTransfer, defJobsThrottle, defJobsStandstill, defSent, defSessions, defGuests,
		defCertificateEnd, defConnected, defReconnects, defConnectFailures, defAbandoned, defHung,
	}
}

// namingDefinitions are the metrics that name guests.
func namingDefinitions() []definition {
	return []definition{defJobRemaining, defJobDirty, defJobTransfer, defJobThrottle, defJobStandstill}
}
