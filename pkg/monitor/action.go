package monitor

import "time"

// Kind is what to do.
type Kind string

// The kinds of actions. StartPostCopy, Pause and Abort are asked for once each, and Freeze for as long as
// Config says that it is to come.
const (
	// SetMaxDowntime sets the hypervisor's limit of the switch-over's downtime.
	SetMaxDowntime Kind = "SetMaxDowntime"
	// StartPostCopy switches to post-copy.
	StartPostCopy Kind = "StartPostCopy"
	// Pause pauses the guest on its source until everything is copied.
	Pause Kind = "Pause"
	// Freeze freezes the guest's file systems.
	Freeze Kind = "Freeze"
	// Abort ends the migration. The guest stays, or is resumed, where it was.
	Abort Kind = "Abort"
)

// Reason is why.
type Reason string

// The reasons of actions.
const (
	// ReasonInitial sets the limit that a strategy begins with.
	ReasonInitial Reason = "Initial"
	// ReasonStep is a step of Stepped.
	ReasonStep Reason = "Step"
	// ReasonWithinReach: a switch-over now would keep to the maximum.
	ReasonWithinReach Reason = "WithinReach"
	// ReasonSlow: the passes hardly become smaller, or not at all.
	ReasonSlow Reason = "Slow"
	// ReasonMaximumLowered: the user allows less than before.
	ReasonMaximumLowered Reason = "MaximumLowered"
	// ReasonNotConverging: the passes lead to no end within the maximum.
	ReasonNotConverging Reason = "NotConverging"
	// ReasonCompletionTimeout: the job takes too long.
	ReasonCompletionTimeout Reason = "CompletionTimeout"
	// ReasonProgressTimeout: the job has come no closer to its end for too long.
	ReasonProgressTimeout Reason = "ProgressTimeout"
	// ReasonRequested: somebody asked for it.
	ReasonRequested Reason = "Requested"
	// ReasonFreeze: the guest is to be frozen before its switch-over.
	ReasonFreeze Reason = "Freeze"
	// ReasonFreezeOver: the guest is frozen, or will not be.
	ReasonFreezeOver Reason = "FreezeOver"
	// ReasonPauseTimeout: the guest has stood paused for too long.
	ReasonPauseTimeout Reason = "PauseTimeout"
)

// Action is something to do, once.
type Action struct {
	Kind Kind
	// MaxDowntimeMilliseconds belongs to SetMaxDowntime.
	MaxDowntimeMilliseconds int64
	// Reason is why. An action in place of one that failed keeps its reason.
	Reason Reason
	// Message says why to the user, with the numbers. It has no full stop.
	Message string
}

// Order is an action that was asked for.
type Order struct {
	// Ordered is false as long as it was not.
	Ordered bool
	// At is when, in the job's time.
	At     time.Duration
	Reason Reason
	// Failed is whether it is known, or has to be taken, to have failed.
	Failed bool
	// Refused is whether the hypervisor has refused it: then it has no effect, not
	// even a late one.
	Refused bool
}

// failed returns the order, if it was one, as one that has failed.
func (o Order) failed(refused bool) Order {
	o.Failed, o.Refused = o.Ordered, o.Ordered && refused
	return o
}

// pending reports whether an order is under way.
func (o Order) pending() bool { return o.Ordered && !o.Failed }
