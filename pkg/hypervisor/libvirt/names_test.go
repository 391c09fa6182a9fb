package libvirt

import (
	"testing"

	lv "libvirt.org/go/libvirt"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

func TestStateOf(t *testing.T) {
	tests := []struct {
		state      lv.DomainState
		reason     int
		wantState  hypervisor.State
		wantReason hypervisor.Reason
	}{
		{lv.DOMAIN_NOSTATE, 0, hypervisor.StateNoState, hypervisor.ReasonUnknown},
		{lv.DOMAIN_RUNNING, int(lv.DOMAIN_RUNNING_BOOTED), hypervisor.StateRunning, hypervisor.ReasonBooted},
		{lv.DOMAIN_RUNNING, int(lv.DOMAIN_RUNNING_MIGRATED), hypervisor.StateRunning, hypervisor.ReasonMigrated},
		{lv.DOMAIN_RUNNING, int(lv.DOMAIN_RUNNING_RESTORED), hypervisor.StateRunning, "Restored"},
		{lv.DOMAIN_RUNNING, int(lv.DOMAIN_RUNNING_FROM_SNAPSHOT), hypervisor.StateRunning, "FromSnapshot"},
		{lv.DOMAIN_RUNNING, int(lv.DOMAIN_RUNNING_UNPAUSED), hypervisor.StateRunning, hypervisor.ReasonUnpaused},
		{lv.DOMAIN_RUNNING, int(lv.DOMAIN_RUNNING_MIGRATION_CANCELED), hypervisor.StateRunning, hypervisor.ReasonMigrationCanceled},
		{lv.DOMAIN_RUNNING, int(lv.DOMAIN_RUNNING_SAVE_CANCELED), hypervisor.StateRunning, "SaveCanceled"},
		{lv.DOMAIN_RUNNING, int(lv.DOMAIN_RUNNING_WAKEUP), hypervisor.StateRunning, "Wakeup"},
		{lv.DOMAIN_RUNNING, int(lv.DOMAIN_RUNNING_CRASHED), hypervisor.StateRunning, hypervisor.ReasonCrashed},
		{lv.DOMAIN_RUNNING, int(lv.DOMAIN_RUNNING_POSTCOPY), hypervisor.StateRunning, hypervisor.ReasonPostcopy},
		{lv.DOMAIN_RUNNING, int(lv.DOMAIN_RUNNING_POSTCOPY_FAILED), hypervisor.StateRunning, hypervisor.ReasonPostcopyFailed},
		{lv.DOMAIN_BLOCKED, 0, hypervisor.StateBlocked, hypervisor.ReasonUnknown},
		{lv.DOMAIN_PAUSED, int(lv.DOMAIN_PAUSED_USER), hypervisor.StatePaused, hypervisor.ReasonUser},
		{lv.DOMAIN_PAUSED, int(lv.DOMAIN_PAUSED_MIGRATION), hypervisor.StatePaused, hypervisor.ReasonMigration},
		{lv.DOMAIN_PAUSED, int(lv.DOMAIN_PAUSED_IOERROR), hypervisor.StatePaused, "IOError"},
		{lv.DOMAIN_PAUSED, int(lv.DOMAIN_PAUSED_SHUTTING_DOWN), hypervisor.StatePaused, "ShuttingDown"},
		{lv.DOMAIN_PAUSED, int(lv.DOMAIN_PAUSED_CRASHED), hypervisor.StatePaused, hypervisor.ReasonCrashed},
		{lv.DOMAIN_PAUSED, int(lv.DOMAIN_PAUSED_STARTING_UP), hypervisor.StatePaused, "StartingUp"},
		{lv.DOMAIN_PAUSED, int(lv.DOMAIN_PAUSED_POSTCOPY), hypervisor.StatePaused, hypervisor.ReasonPostcopy},
		{lv.DOMAIN_PAUSED, int(lv.DOMAIN_PAUSED_POSTCOPY_FAILED), hypervisor.StatePaused, hypervisor.ReasonPostcopyFailed},
		{lv.DOMAIN_PAUSED, int(lv.DOMAIN_PAUSED_API_ERROR), hypervisor.StatePaused, "APIError"},
		{lv.DOMAIN_SHUTDOWN, int(lv.DOMAIN_SHUTDOWN_USER), hypervisor.StateShutdown, hypervisor.ReasonUser},
		{lv.DOMAIN_SHUTOFF, int(lv.DOMAIN_SHUTOFF_SHUTDOWN), hypervisor.StateShutoff, hypervisor.ReasonShutdown},
		{lv.DOMAIN_SHUTOFF, int(lv.DOMAIN_SHUTOFF_DESTROYED), hypervisor.StateShutoff, hypervisor.ReasonDestroyed},
		{lv.DOMAIN_SHUTOFF, int(lv.DOMAIN_SHUTOFF_CRASHED), hypervisor.StateShutoff, hypervisor.ReasonCrashed},
		{lv.DOMAIN_SHUTOFF, int(lv.DOMAIN_SHUTOFF_MIGRATED), hypervisor.StateShutoff, hypervisor.ReasonMigrated},
		{lv.DOMAIN_SHUTOFF, int(lv.DOMAIN_SHUTOFF_SAVED), hypervisor.StateShutoff, "Saved"},
		{lv.DOMAIN_SHUTOFF, int(lv.DOMAIN_SHUTOFF_FAILED), hypervisor.StateShutoff, hypervisor.ReasonFailed},
		{lv.DOMAIN_SHUTOFF, int(lv.DOMAIN_SHUTOFF_DAEMON), hypervisor.StateShutoff, "Daemon"},
		{lv.DOMAIN_CRASHED, int(lv.DOMAIN_CRASHED_PANICKED), hypervisor.StateCrashed, "Panicked"},
		{lv.DOMAIN_PMSUSPENDED, 0, hypervisor.StatePMSuspended, hypervisor.ReasonUnknown},
		{lv.DOMAIN_PAUSED, 15, hypervisor.StatePaused, "Number15"},
		{lv.DOMAIN_PAUSED, -1, hypervisor.StatePaused, "Number-1"},
		{8, 1, "Number8", "Number1"},
	}
	for _, test := range tests {
		state, reason := stateOf(test.state, test.reason)
		if state != test.wantState || reason != test.wantReason {
			t.Errorf("state %d, reason %d is %s/%s, want %s/%s", test.state, test.reason, state, reason, test.wantState, test.wantReason)
		}
	}
}

func TestLifecycleOf(t *testing.T) {
	tests := []struct {
		event      lv.DomainEventType
		detail     int
		want       hypervisor.Lifecycle
		wantDetail string
	}{
		{lv.DOMAIN_EVENT_DEFINED, int(lv.DOMAIN_EVENT_DEFINED_ADDED), hypervisor.LifecycleDefined, "Added"},
		{lv.DOMAIN_EVENT_DEFINED, int(lv.DOMAIN_EVENT_DEFINED_FROM_SNAPSHOT), hypervisor.LifecycleDefined, "FromSnapshot"},
		{lv.DOMAIN_EVENT_UNDEFINED, int(lv.DOMAIN_EVENT_UNDEFINED_REMOVED), hypervisor.LifecycleUndefined, "Removed"},
		{lv.DOMAIN_EVENT_UNDEFINED, int(lv.DOMAIN_EVENT_UNDEFINED_RENAMED), hypervisor.LifecycleUndefined, "Renamed"},
		{lv.DOMAIN_EVENT_STARTED, int(lv.DOMAIN_EVENT_STARTED_MIGRATED), hypervisor.LifecycleStarted, "Migrated"},
		{lv.DOMAIN_EVENT_STARTED, int(lv.DOMAIN_EVENT_STARTED_RECREATED), hypervisor.LifecycleStarted, "Recreated"},
		{lv.DOMAIN_EVENT_SUSPENDED, int(lv.DOMAIN_EVENT_SUSPENDED_MIGRATED), hypervisor.LifecycleSuspended, "Migrated"},
		{lv.DOMAIN_EVENT_SUSPENDED, int(lv.DOMAIN_EVENT_SUSPENDED_API_ERROR), hypervisor.LifecycleSuspended, "APIError"},
		{lv.DOMAIN_EVENT_SUSPENDED, int(lv.DOMAIN_EVENT_SUSPENDED_POSTCOPY), hypervisor.LifecycleSuspended, "Postcopy"},
		{lv.DOMAIN_EVENT_SUSPENDED, int(lv.DOMAIN_EVENT_SUSPENDED_POSTCOPY_FAILED), hypervisor.LifecycleSuspended, "PostcopyFailed"},
		{lv.DOMAIN_EVENT_SUSPENDED, int(lv.DOMAIN_EVENT_SUSPENDED_GUEST_SHUTDOWN), hypervisor.LifecycleSuspended, "GuestShutdown"},
		{lv.DOMAIN_EVENT_RESUMED, int(lv.DOMAIN_EVENT_RESUMED_MIGRATED), hypervisor.LifecycleResumed, "Migrated"},
		{lv.DOMAIN_EVENT_RESUMED, int(lv.DOMAIN_EVENT_RESUMED_POSTCOPY), hypervisor.LifecycleResumed, "Postcopy"},
		{lv.DOMAIN_EVENT_RESUMED, int(lv.DOMAIN_EVENT_RESUMED_POSTCOPY_FAILED), hypervisor.LifecycleResumed, "PostcopyFailed"},
		{lv.DOMAIN_EVENT_STOPPED, int(lv.DOMAIN_EVENT_STOPPED_DESTROYED), hypervisor.LifecycleStopped, "Destroyed"},
		{lv.DOMAIN_EVENT_STOPPED, int(lv.DOMAIN_EVENT_STOPPED_MIGRATED), hypervisor.LifecycleStopped, "Migrated"},
		{lv.DOMAIN_EVENT_STOPPED, int(lv.DOMAIN_EVENT_STOPPED_FAILED), hypervisor.LifecycleStopped, "Failed"},
		{lv.DOMAIN_EVENT_STOPPED, int(lv.DOMAIN_EVENT_STOPPED_RECREATED), hypervisor.LifecycleStopped, "Recreated"},
		{lv.DOMAIN_EVENT_SHUTDOWN, int(lv.DOMAIN_EVENT_SHUTDOWN_HOST), hypervisor.LifecycleShutdown, "Host"},
		{lv.DOMAIN_EVENT_PMSUSPENDED, int(lv.DOMAIN_EVENT_PMSUSPENDED_DISK), hypervisor.LifecyclePMSuspended, "Disk"},
		{lv.DOMAIN_EVENT_CRASHED, int(lv.DOMAIN_EVENT_CRASHED_CRASHLOADED), hypervisor.LifecycleCrashed, "Crashloaded"},
		{lv.DOMAIN_EVENT_RESUMED, 5, hypervisor.LifecycleResumed, "Number5"},
		{lv.DOMAIN_EVENT_RESUMED, -1, hypervisor.LifecycleResumed, "Number-1"},
		{9, 0, "Number9", "Number0"},
	}
	for _, test := range tests {
		got, detail := lifecycleOf(test.event, test.detail)
		if got != test.want || detail != test.wantDetail {
			t.Errorf("event %d, detail %d is %s/%s, want %s/%s", test.event, test.detail, got, detail, test.want, test.wantDetail)
		}
	}
}
