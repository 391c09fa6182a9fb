package migration

// spareWorkers are for all that has nothing to do with a migration: the list of
// guests, other tools, and people.
const spareWorkers = 5

// WorkersNeeded returns how many workers a node's libvirt daemon needs so that no
// call has to wait for a migration's end: three for each guest that leaves, of which
// the migration holds one throughout, the agent's calls need one, and the guest's agent may keep one waiting; two for
// each that arrives, as the source's daemon needs one there, in post-copy throughout;
// one for each that is being prepared on either side; and some for others.
func WorkersNeeded(outgoing, incoming, preparing int) int {
	return 3*outgoing + 2*incoming + 2*preparing + spareWorkers
}
