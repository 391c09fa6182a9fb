package agent

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
)

// TestTheBandwidthIsChangedWhileItCopies, once for each value that the user gives, and again
// where that fails.
func TestTheBandwidthIsChangedWhileItCopies(t *testing.T) {
	inWorld(t, func(w *world) {
		w.busy()
		lm := w.migrateWith(guestUUID, options(v1alpha1.MigrationOptions{OnTimeout: v1alpha1.TimeoutKeepGoing, BandwidthMiBps: new(int64(900))}))
		w.copying(lm)
		set := func(limit *int64) {
			w.api.update(lm.UID, func(lm *v1alpha1.LiveMigration) {
				lm.Spec.Options.BandwidthMiBps, lm.Generation = limit, lm.Generation+1
			})
			time.Sleep(10 * time.Second)
			synctest.Wait()
		}
		set(new(int64(900)))
		set(nil)
		w.requireCalls(fake.MethodSetBandwidth, 0)
		set(new(int64(100)))
		w.requireCalls(fake.MethodSetBandwidth, 1)
		w.fleet.Host("node-a").FailNext(fake.MethodSetBandwidth, errors.New("busy"))
		set(new(int64(200)))
		w.requireCalls(fake.MethodSetBandwidth, 3)
		set(new(int64(200)))
		w.requireCalls(fake.MethodSetBandwidth, 3)
		calls := w.fleet.Calls()
		last := slices.IndexFunc(calls, func(c fake.Call) bool { return c.Method == fake.MethodSetBandwidth && c.Value == 200 && c.Err == nil })
		if last < 0 {
			t.Error("what the user wants was not set")
		}
		w.ask(lm, v1alpha1.AnnotationCancel, "1")
		w.settle(lm)
	})
}
