package libvirt

import (
	"strconv"

	lv "libvirt.org/go/libvirt"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// stateNames names a state and, by libvirt's numbers, its reasons.
type stateNames struct {
	state   hypervisor.State
	reasons []hypervisor.Reason
}

var states = map[lv.DomainState]stateNames{
	lv.DOMAIN_NOSTATE: {hypervisor.StateNoState, []hypervisor.Reason{hypervisor.ReasonUnknown}},
	lv.DOMAIN_RUNNING: {hypervisor.StateRunning, []hypervisor.Reason{
		hypervisor.ReasonUnknown, hypervisor.ReasonBooted, hypervisor.ReasonMigrated, hypervisor.ReasonRestored, hypervisor.ReasonFromSnapshot,
		hypervisor.ReasonUnpaused, hypervisor.ReasonMigrationCanceled, "SaveCanceled", "Wakeup",
		hypervisor.ReasonCrashed, hypervisor.ReasonPostcopy, hypervisor.ReasonPostcopyFailed,
	}},
	lv.DOMAIN_BLOCKED: {hypervisor.StateBlocked, []hypervisor.Reason{hypervisor.ReasonUnknown}},
	lv.DOMAIN_PAUSED: {hypervisor.StatePaused, []hypervisor.Reason{
		hypervisor.ReasonUnknown, hypervisor.ReasonUser, hypervisor.ReasonMigration, "Save", "Dump", "IOError",
		"Watchdog", "FromSnapshot", "ShuttingDown", "Snapshot", hypervisor.ReasonCrashed, "StartingUp",
		hypervisor.ReasonPostcopy, hypervisor.ReasonPostcopyFailed, "APIError",
	}},
	lv.DOMAIN_SHUTDOWN: {hypervisor.StateShutdown, []hypervisor.Reason{hypervisor.ReasonUnknown, hypervisor.ReasonUser}},
	lv.DOMAIN_SHUTOFF: {hypervisor.StateShutoff, []hypervisor.Reason{
		hypervisor.ReasonUnknown, hypervisor.ReasonShutdown, hypervisor.ReasonDestroyed, hypervisor.ReasonCrashed,
		hypervisor.ReasonMigrated, "Saved", hypervisor.ReasonFailed, "FromSnapshot", "Daemon",
	}},
	lv.DOMAIN_CRASHED:     {hypervisor.StateCrashed, []hypervisor.Reason{hypervisor.ReasonUnknown, "Panicked"}},
	lv.DOMAIN_PMSUSPENDED: {hypervisor.StatePMSuspended, []hypervisor.Reason{hypervisor.ReasonUnknown}},
}

// stateOf names a state and its reason. Numbers that a newer libvirt may have
// added are passed on as such, as they are no state that decisions know.
func stateOf(state lv.DomainState, reason int) (hypervisor.State, hypervisor.Reason) {
	names, ok := states[state]
	if !ok {
		return hypervisor.State(unnamed(int(state))), hypervisor.Reason(unnamed(reason))
	}
	if reason < 0 || reason >= len(names.reasons) {
		return names.state, hypervisor.Reason(unnamed(reason))
	}
	return names.state, names.reasons[reason]
}

// lifecycleNames names a lifecycle event and, by libvirt's numbers, its details.
type lifecycleNames struct {
	lifecycle hypervisor.Lifecycle
	details   []string
}

var lifecycles = map[lv.DomainEventType]lifecycleNames{
	lv.DOMAIN_EVENT_DEFINED:   {hypervisor.LifecycleDefined, []string{"Added", "Updated", "Renamed", "FromSnapshot"}},
	lv.DOMAIN_EVENT_UNDEFINED: {hypervisor.LifecycleUndefined, []string{"Removed", "Renamed"}},
	lv.DOMAIN_EVENT_STARTED: {hypervisor.LifecycleStarted, []string{
		"Booted", "Migrated", "Restored", "FromSnapshot", "Wakeup", "Recreated",
	}},
	lv.DOMAIN_EVENT_SUSPENDED: {hypervisor.LifecycleSuspended, []string{
		"Paused", "Migrated", "IOError", "Watchdog", "Restored", "FromSnapshot", "APIError", "Postcopy",
		"PostcopyFailed", "GuestShutdown",
	}},
	lv.DOMAIN_EVENT_RESUMED: {hypervisor.LifecycleResumed, []string{
		"Unpaused", "Migrated", "FromSnapshot", "Postcopy", "PostcopyFailed",
	}},
	lv.DOMAIN_EVENT_STOPPED: {hypervisor.LifecycleStopped, []string{
		"Shutdown", "Destroyed", "Crashed", "Migrated", "Saved", "Failed", "FromSnapshot", "Recreated",
	}},
	lv.DOMAIN_EVENT_SHUTDOWN:    {hypervisor.LifecycleShutdown, []string{"Finished", "Guest", "Host"}},
	lv.DOMAIN_EVENT_PMSUSPENDED: {hypervisor.LifecyclePMSuspended, []string{"Memory", "Disk"}},
	lv.DOMAIN_EVENT_CRASHED:     {hypervisor.LifecycleCrashed, []string{"Panicked", "Crashloaded"}},
}

// lifecycleOf names a lifecycle event and its detail. The client library's own
// names lack those of post-copy.
func lifecycleOf(event lv.DomainEventType, detail int) (hypervisor.Lifecycle, string) {
	names, ok := lifecycles[event]
	if !ok {
		return hypervisor.Lifecycle(unnamed(int(event))), unnamed(detail)
	}
	if detail < 0 || detail >= len(names.details) {
		return names.lifecycle, unnamed(detail)
	}
	return names.lifecycle, names.details[detail]
}

func unnamed(number int) string { return "Number" + strconv.Itoa(number) }

// poolState names a storage pool's state.
func poolState(state lv.StoragePoolState) string {
	switch state {
	case lv.STORAGE_POOL_INACTIVE:
		return "Inactive"
	case lv.STORAGE_POOL_BUILDING:
		return "Building"
	case lv.STORAGE_POOL_RUNNING:
		return hypervisor.PoolRunning
	case lv.STORAGE_POOL_DEGRADED:
		return hypervisor.PoolDegraded
	case lv.STORAGE_POOL_INACCESSIBLE:
		return "Inaccessible"
	default:
		return "Unknown"
	}
}
