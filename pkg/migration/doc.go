// Package migration decides: what the two agents of a migration do next, what
// became of it, and what its status says. All of it is pure functions of facts;
// nothing here talks to a hypervisor or to Kubernetes, and time is a parameter.
//
// The files follow the life of a migration: resolve.go finds the guest and its
// nodes in the inventory, schedule.go says whose turn it is, admission.go lets
// migrations go ahead, source.go and target.go choose the agents' next acts, progress.go turns libvirt's
// statistics into a status, outcome.go judges the end from both sides, and
// summary.go says it all in conditions.
package migration
