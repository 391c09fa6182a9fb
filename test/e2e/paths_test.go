//go:build e2e

package e2e

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/test/lab"
)

// TestHostPathsAreGuarded: migrate data cannot give a guest what the target does
// not allow.
func TestHostPathsAreGuarded(t *testing.T) {
	disk := lab.Disk{Path: lab.SharedDir + "/guarded.img", SizeMiB: 16, Serial: "guarded"}
	g := env.startGuest(t, env.a, lab.GuestConfig{Persistent: true, Disks: []lab.Disk{disk}})
	lm := env.awaitReason(t, env.migrate(t, v1alpha1.LiveMigrationSpec{
		Domain: g.Name(), TargetNode: env.b.Name(),
		Options: &v1alpha1.MigrationOptions{AllowUnsafe: new(true)},
		MigrateData: &v1alpha1.MigrateData{Volumes: []v1alpha1.VolumeMigrateData{{
			Serial: &disk.Serial, Source: &v1alpha1.VolumeSource{File: &v1alpha1.PathSource{Path: "/etc/shadow"}},
		}}},
	}), v1alpha1.ReasonTargetCheckFailed)
	message := meta.FindStatusCondition(lm.Status.Conditions, v1alpha1.ConditionStalled).Message
	if !strings.Contains(message, "spec.migrateData.volumes[0].source.file.path") || !strings.Contains(message, "--allowed-paths") {
		t.Errorf("the message names neither field nor remedy: %s", message)
	}
	env.requireOn(t, g, env.a)
}
