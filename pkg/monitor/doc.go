// Package monitor steers a running migration to its end. It is told what the
// hypervisor says of the job, and answers with what to do about it: raise the
// allowed downtime, switch to post-copy, pause the guest, or give up.
//
// It acts on nothing and knows no clock: a decision is a function of the
// configuration, of what was decided before, and of a sample. Times are the
// job's own, counted from its beginning by the hypervisor, so that whoever takes
// a job over goes on with the same deadlines. What must not be forgotten is in
// Facts, which fit in a status; everything else is measured again.
//
// Two strategies work up to the allowed downtime. Stepped goes by the clock, as
// OpenStack Nova does. Adaptive looks at each pass over the guest's memory and
// foresees where the passes lead. On top of either come the timeouts and the
// request to force completion, and the escalation from post-copy to a pause to
// the end: each once, each with a deadline.
package monitor
