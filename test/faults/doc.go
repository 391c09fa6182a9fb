//go:build linux

// Command faults kills, stops and cuts off each part of a running system at each
// phase of a migration and checks what becomes of the guest and of what the
// LiveMigration says about it. Everything is real: the control plane, the manager
// and the agents, the libvirt hosts and the guests are the lab's.
//
// A case is a fault at a phase. The cases are in table.go, with what each may end
// in: where physics decides, as at the moment of a switch-over, there are several
// ways. After each case the guest must be as the ending says and nowhere else,
// its ticks must have gone on without going back, the status must say so and must
// have been in order at every moment, nothing may be left behind on either host,
// and all daemons must be well.
//
// The environment selects what is done:
//
//	FAULT_ONLY  a regular expression; only cases whose name matches are run
//	FAULT_RUNS  how many random cases follow those of the table
//	FAULT_SEED  repeats the random cases of an earlier run
//	FAULT_LABS  how many labs share the work, one case at a time each; 2 unless set
//	KEEP_LAB    leaves the lab's logs behind
//
// It prints a row for each case and ends with the number of cases, the number of
// violations, and how long it took from the end of a fault until the status was
// settled and right. It exits with 1 if there were violations.
package main
