// Package agent carries a node's part in migrations out: one session for each
// migration and side that the node has in it.
//
// A session is a goroutine with a loop: it gathers facts (the LiveMigration as
// last seen, the hypervisor's word on the guest, the state of its own migrate
// call), lets pkg/migration decide, and acts. It is woken by changes of the
// object, by the hypervisor's events, by the return of its call and, because
// events get lost, by a timer. Sessions share nothing, so one that hangs in the
// hypervisor holds up no other. What a session must remember is in the object:
// an agent that starts anew finds its sessions again and goes on with them.
package agent
