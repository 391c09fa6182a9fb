package main

import "github.com/grafana/grafana-foundation-sdk/go/dashboard"

// fleet is the dashboard of all nodes together.
func fleet() *dashboard.DashboardBuilder {
	b := board("virtferry-fleet", "Virtferry / Fleet", "All migrations of the cluster.")
	fleetNow(b)
	fleetQueue(b)
	fleetOutcomes(b)
	fleetDowntime(b)
	fleetCopying(b)
	fleetNodes(b)
	return b
}

// Gauges are the leading manager's. Right after a change of leaders two may have them.

func fleetNow(b *dashboard.DashboardBuilder) {
	b.WithRow(dashboard.NewRowBuilder("Now")).
		WithPanel(number(about{"Moving", "Guests that are being copied or completed.", count, 4}, 0,
			query{`sum(max by (phase) (virtferry_migrations{phase!~"Pending|Preparing|Unknown"}))`, ""})).
		WithPanel(number(about{"Waiting", "Migrations that wait for a slot or for another migration of their guest.", count, 4}, 0,
			query{`sum(max by (waiting_for) (virtferry_queue_length))`, ""})).
		WithPanel(number(about{"Outcome unknown", "Migrations that a person has to look at: the two hosts do not show exactly one guest.", count, 4}, 1,
			query{`max(virtferry_migrations{phase="Unknown"})`, ""})).
		WithPanel(number(about{"Post-copy interrupted", "Guests that stand still between two hosts until these reach each other again.", count, 4}, 1,
			query{`max(virtferry_migrations{phase="Recovering"})`, ""})).
		WithPanel(number(about{"Nodes not ready", "Nodes that can neither send nor receive guests.", count, 4}, 1,
			query{`sum(max by (state) (virtferry_hypervisors{state!="Available"}))`, ""})).
		WithPanel(number(about{"Unreadable objects", "Objects that cannot be decoded, and are left alone.", count, 4}, 1,
			query{`sum(max by (kind) (virtferry_objects_unreadable))`, ""})).
		WithPanel(stacked(about{"Migrations by phase", "All migrations that have not ended.", count, half},
			query{`max by (phase) (virtferry_migrations)`, "{{phase}}"})).
		WithPanel(lines(about{"The longest in each phase", "How long the slowest migration has been where it is. Confirming and Cancelling take seconds.", seconds, half},
			query{`max by (phase) (virtferry_migrations_longest_seconds)`, "{{phase}}"}))
}

func fleetQueue(b *dashboard.DashboardBuilder) {
	b.WithRow(dashboard.NewRowBuilder("Queue and slots")).
		WithPanel(stacked(about{"Queue", "Waiting migrations, by what they wait for.", count, third},
			query{`max by (waiting_for) (virtferry_queue_length)`, "{{waiting_for}}"})).
		WithPanel(lines(about{"Oldest in the queue", "For how long the oldest of them has waited.", seconds, third},
			query{`max(virtferry_queue_oldest_seconds)`, "oldest"})).
		WithPanel(lines(about{"Slots", "How many guests move or are prepared, and how many more could.", count, third},
			query{`max by (kind) (virtferry_slots_used)`, "{{kind}}, used"}, query{`max by (kind) (virtferry_slots_free)`, "{{kind}}, free"})).
		WithPanel(lines(about{"Wait for a slot", "From the creation of a LiveMigration until its guest could be copied.", seconds, half},
			quantiles("virtferry_migration_queue_wait_seconds", "", "")...)).
		WithPanel(lines(about{"Preparation", "From the admission of a migration until its target was ready.", seconds, half},
			quantiles("virtferry_migration_preparation_seconds", "", "")...))
}

func fleetOutcomes(b *dashboard.DashboardBuilder) {
	b.WithRow(dashboard.NewRowBuilder("Outcomes")).
		WithPanel(stacked(about{"Ended", "Migrations that have ended.", count, half},
			query{`sum by (outcome) (increase(virtferry_migrations_ended_total[$__rate_interval]))`, "{{outcome}}"})).
		WithPanel(ranking(about{"Outcomes by reason", "In the time shown. docs/troubleshooting.md explains each reason.", count, half},
			query{`sort_desc(sum by (outcome, reason) (increase(virtferry_migrations_ended_total[$__range])) > 0)`, "{{outcome}}: {{reason}}"})).
		WithPanel(lines(about{"Duration", "From the creation of a LiveMigration to its end.", seconds, half},
			quantiles("virtferry_migration_duration_seconds", "outcome", "{{outcome}}, ")...)).
		WithPanel(heat(about{"Duration, all of them", "How long migrations took, whatever their outcome.", seconds, half}, "virtferry_migration_duration_seconds")).
		WithPanel(ranking(about{"Forced to complete", "Steps that forced a migration to complete, and why.", count, quarter},
			query{`sort_desc(sum by (step, reason) (increase(virtferry_migrations_forced_total[$__range])) > 0)`, "{{step}}: {{reason}}"})).
		WithPanel(ranking(about{"Aborted", "Migrations that were aborted while they ran, and why.", count, quarter},
			query{`sort_desc(sum by (reason) (increase(virtferry_migrations_aborted_total[$__range])) > 0)`, "{{reason}}"})).
		WithPanel(ranking(about{"Dry runs by reason", "What dry runs have found in the time shown. No other panel counts them.", count, quarter},
			query{`sort_desc(sum by (outcome, reason) (increase(virtferry_dry_runs_ended_total[$__range])) > 0)`, "{{outcome}}: {{reason}}"})).
		WithPanel(lines(about{"Post-copy", "Switches to post-copy, interruptions of it, and attempts to resume.", count, quarter},
			query{`sum(increase(virtferry_migrations_post_copy_total[$__rate_interval]))`, "switched"},
			query{`sum by (outcome) (increase(virtferry_post_copy_interrupted_total[$__rate_interval]))`, "interrupted, {{outcome}}"},
			query{`sum(increase(virtferry_post_copy_recovery_attempts_total[$__rate_interval]))`, "attempts to resume"}))
}

func fleetDowntime(b *dashboard.DashboardBuilder) {
	b.WithRow(dashboard.NewRowBuilder("Downtime")).
		WithPanel(heat(about{"Downtime over what was allowed", "Above 100 % guests were paused for longer than maxDowntimeMilliseconds.", ratio, half}, "virtferry_migration_downtime_ratio")).
		WithPanel(heat(about{"Downtime", "For how long guests were paused for their switch-over.", seconds, half}, "virtferry_migration_downtime_seconds")).
		WithPanel(lines(about{"Downtime by switch-over", "By what completed the migration.", seconds, half},
			quantiles("virtferry_migration_downtime_seconds", "switchover", "{{switchover}}, ")...)).
		WithPanel(lines(about{"Share above the limit", "Of the switch-overs in the time shown, those that took longer than allowed.", ratio, half},
			query{`1 - sum by (switchover) (increase(virtferry_migration_downtime_ratio_bucket{le=~"1|1.0"}[$__range]))
  / (sum by (switchover) (increase(virtferry_migration_downtime_ratio_count[$__range])) > 0)`, "{{switchover}}"}))
}

func fleetCopying(b *dashboard.DashboardBuilder) {
	b.WithRow(dashboard.NewRowBuilder("Copying")).
		WithPanel(lines(about{"Copied and written", "How fast memory is copied, and how fast guests write to it. Where the second is above the first for long, migrations do not converge.", bytesPerSecond, third},
			query{`sum(virtferry_agent_jobs_transfer_bytes_per_second)`, "copied"}, query{`sum(virtferry_agent_jobs_dirty_bytes_per_second)`, "written by guests"})).
		WithPanel(lines(about{"Remaining", "What running migrations still have to copy in their current passes.", bytes, third},
			query{`sum by (kind) (virtferry_agent_jobs_remaining_bytes)`, "{{kind}}"})).
		WithPanel(lines(about{"Sent by each node", "Memory and disks.", bytesPerSecond, third},
			query{`sum by (node) (rate(virtferry_agent_sent_bytes_total[$__rate_interval]))`, "{{node}}"})).
		WithPanel(heat(about{"Passes", "Passes over the guest's memory. Many of them mean that guests write about as fast as they are copied.", count, half}, "virtferry_migration_passes")).
		WithPanel(lines(about{"Copied by a migration", "Repeated copies included.", bytes, half},
			quantiles("virtferry_migration_transferred_bytes", "kind", "{{kind}}, ")...))
}

func fleetNodes(b *dashboard.DashboardBuilder) {
	between := func(filter string) string {
		return `sum by (source_node, target_node) (increase(virtferry_migrations_between_nodes_total` + filter + `[$__range])) > 0`
	}
	b.WithRow(dashboard.NewRowBuilder("Nodes")).
		WithPanel(matrix(about{"Moved, from row to column", "Guests that have arrived in the time shown.", count, half}, between(`{outcome="Succeeded"}`))).
		WithPanel(matrix(about{"Not moved, from row to column", "Migrations that failed or were cancelled in the time shown. A row or a column that stands out points to a node, a single cell to the link.", count, half},
			between(`{outcome!="Succeeded"}`))).
		WithPanel(states(about{"Nodes", "Whether each node can be used for migrations.", "", half}, "ready", "not ready",
			query{`max by (node) (virtferry_hypervisor_ready)`, "{{node}}"})).
		WithPanel(stacked(about{"Nodes by state", "Available nodes, and others by what is wrong.", count, half},
			query{`max by (state) (virtferry_hypervisors)`, "{{state}}"})).
		WithPanel(states(about{"Views of the cluster", "Whether what each process knows of the cluster is up to date.", "", half}, "up to date", "stale",
			query{`min by (cache) (virtferry_cache_up_to_date)`, "{{cache}}"})).
		WithPanel(lines(about{"Guests", "Guests of all nodes.", count, half},
			query{`sum by (state) (virtferry_agent_guests)`, "{{state}}"}))
}
