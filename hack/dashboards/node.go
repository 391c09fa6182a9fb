package main

import "github.com/grafana/grafana-foundation-sdk/go/dashboard"

// node is the dashboard of one node.
func node() *dashboard.DashboardBuilder {
	b := board("virtferry-node", "Virtferry / Node", "One node: its guests, what it sends and receives, and its libvirt.").
		WithVariable(choice("node", "Node", "virtferry_hypervisor_ready, node"))
	of := func(metric string) string { return metric + `{node="$node"}` }
	b.WithRow(dashboard.NewRowBuilder("Now")).
		WithPanel(states(about{"State", "Whether the node can be used for migrations, its agent gives signs of life, and its libvirt answers.", "", half}, "yes", "no",
			query{`max(` + of("virtferry_hypervisor_ready") + `)`, "ready"},
			query{`1 - max(` + of("virtferry_hypervisor_agent_lost") + `)`, "agent alive"},
			query{`max(` + of("virtferry_agent_libvirt_connected") + `)`, "libvirt connected"})).
		WithPanel(lines(about{"Guests", "Guests that the node's libvirt knows.", count, half},
			query{`sum by (state) (` + of("virtferry_agent_guests") + `)`, "{{state}}"})).
		WithPanel(lines(about{"Migrations", "Those that the node takes part in, waiting ones included, and those that libvirt carries out from it.", count, third},
			query{`sum by (side) (` + of("virtferry_agent_sessions") + `)`, "as {{side}}"}, query{`sum(` + of("virtferry_agent_jobs") + `)`, "running"})).
		WithPanel(stacked(about{"Left for", "Where guests of this node went, and how it ended.", count, third},
			query{`sum by (target_node, outcome) (increase(virtferry_migrations_between_nodes_total{source_node="$node"}[$__rate_interval]))`, "{{target_node}}: {{outcome}}"})).
		WithPanel(stacked(about{"Came from", "Where guests came from to this node, and how it ended.", count, third},
			query{`sum by (source_node, outcome) (increase(virtferry_migrations_between_nodes_total{target_node="$node"}[$__rate_interval]))`, "{{source_node}}: {{outcome}}"}))
	b.WithRow(dashboard.NewRowBuilder("Sending")).
		WithPanel(lines(about{"Copied and written", "How fast memory is copied, and how fast the guests write to it.", bytesPerSecond, half},
			query{`sum(` + of("virtferry_agent_jobs_transfer_bytes_per_second") + `)`, "copied"},
			query{`sum(` + of("virtferry_agent_jobs_dirty_bytes_per_second") + `)`, "written by guests"})).
		WithPanel(lines(about{"Sent", "Memory and disks, over the time of each step.", bytesPerSecond, half},
			query{`sum(rate(` + of("virtferry_agent_sent_bytes_total") + `[$__rate_interval]))`, "sent"})).
		WithPanel(lines(about{"Remaining", "What running migrations still have to copy in their current passes.", bytes, third},
			query{`sum by (kind) (` + of("virtferry_agent_jobs_remaining_bytes") + `)`, "{{kind}}"})).
		WithPanel(lines(about{"Throttle", "The strongest that auto-convergence applies to a guest.", ratio, third},
			query{`max(` + of("virtferry_agent_jobs_throttle_ratio") + `)`, "throttle"})).
		WithPanel(lines(about{"Standstill", "For how long a migration has made no progress.", seconds, third},
			query{`max(` + of("virtferry_agent_jobs_standstill_seconds") + `)`, "longest"}))
	b.WithRow(dashboard.NewRowBuilder("libvirt")).
		WithPanel(lines(about{"Connections", "Times that the agent had to reconnect, and attempts that failed.", count, third},
			query{`sum by (connection) (increase(` + of("virtferry_agent_libvirt_reconnects_total") + `[$__rate_interval]))`, "{{connection}}, again"},
			query{`sum by (connection) (increase(` + of("virtferry_agent_libvirt_connect_failures_total") + `[$__rate_interval]))`, "{{connection}}, failed"})).
		WithPanel(lines(about{"Calls", "Calls that took too long and were abandoned. Each that has not returned yet occupies one of libvirt's workers.", count, third},
			query{`sum(increase(` + of("virtferry_agent_libvirt_calls_abandoned_total") + `[$__rate_interval]))`, "abandoned"},
			query{`sum(` + of("virtferry_agent_libvirt_calls_hung") + `)`, "not returned yet"})).
		WithPanel(ranking(about{"Certificates", "How long each certificate of the host is still valid, for control between libvirts and for migrations between QEMUs. Below 0 it has ended.", seconds, third},
			query{`min by (use, certificate) (` + of("virtferry_agent_certificate_end_timestamp_seconds") + `) - time()`, "{{use}}: {{certificate}}"}))
	return b
}

// oneMigration is the dashboard of one migration, for agents that name guests.
func oneMigration() *dashboard.DashboardBuilder {
	const one = `{migration_namespace="$namespace", migration="$migration"}`
	b := board("virtferry-migration", "Virtferry / Migration", "One migration while it runs. It needs agents with --metrics-guest-names.").
		WithVariable(choice("namespace", "Namespace", "virtferry_agent_job_remaining_bytes, migration_namespace")).
		WithVariable(choice("migration", "Migration", `virtferry_agent_job_remaining_bytes{migration_namespace="$namespace"}, migration`))
	b.WithPanel(lines(about{"Remaining", "What it still has to copy in the current pass. It falls to nearly nothing, jumps up with each pass, and should jump less each time.", bytes, whole},
		query{`max by (guest, node, kind) (virtferry_agent_job_remaining_bytes` + one + `)`, "{{guest}} from {{node}}, {{kind}}"})).
		WithPanel(lines(about{"Copied and written", "How fast its memory is copied, and how fast the guest writes to it. It converges only if the second is below the first.", bytesPerSecond, half},
			query{`max(virtferry_agent_job_transfer_bytes_per_second` + one + `)`, "copied"},
			query{`max(virtferry_agent_job_dirty_bytes_per_second` + one + `)`, "written by the guest"})).
		WithPanel(lines(about{"Throttle", "What auto-convergence takes from the guest's processors.", ratio, third - 2},
			query{`max(virtferry_agent_job_throttle_ratio` + one + `)`, "throttle"})).
		WithPanel(lines(about{"Standstill", "For how long it has made no progress.", seconds, third - 2},
			query{`max(virtferry_agent_job_standstill_seconds` + one + `)`, "standstill"}))
	return b
}
