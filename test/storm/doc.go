//go:build linux

// Command storm moves dozens of guests between two real hosts at once, in both
// directions, and cancels some of the migrations meanwhile. Everything is real: the
// control plane, the manager and the agents, the libvirt hosts and the guests are
// the lab's.
//
// All LiveMigrations are applied at the same time. Some are cancelled while they
// wait for their turn, and some while they copy. Meanwhile no node may be anything
// but ready, each cancellation must be over within seconds, every state of every
// object must be in order, and libvirt must never see more guests on their way than
// the manager's limits allow. In the end each guest must be where its LiveMigration
// says and nowhere else, its ticks must have gone on without going back, and nothing
// may be left behind on either host.
//
// The environment selects what is done:
//
//	STORM_GUESTS   how many guests each host begins with; 24 unless set
//	STORM_CANCELS  how many migrations from each host are cancelled while they wait,
//	               and how many while they copy; 3 unless set
//	STORM_MINUTES  how long all may take; 15 unless set
//	KEEP_LAB       leaves the lab's logs behind
//
// It prints a row for each migration and ends with what all came to. It exits with 1
// if there were violations.
package main
