// Package rig is what the benches of load have in common, beside shuttle: agents over made-up
// hypervisors, a process of its own for what is measured or is in its way, and what
// a process takes.
package rig
