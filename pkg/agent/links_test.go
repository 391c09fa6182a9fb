package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hostfiles"
)

// linkedHost returns a host's files with directories and links.
func linkedHost(t *testing.T, directories []string, links map[string]string) (files string) {
	t.Helper()
	dir := t.TempDir()
	for _, d := range directories {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range links {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestDirectoriesThatAreLinks lead out of what a node allows, or do not.
func TestDirectoriesThatAreLinks(t *testing.T) {
	data := func(path string) *v1alpha1.MigrateData {
		return &v1alpha1.MigrateData{Volumes: []v1alpha1.VolumeMigrateData{{
			TargetDevice: new("vda"), Source: &v1alpha1.VolumeSource{File: &v1alpha1.PathSource{Path: path}},
		}}}
	}
	for name, c := range map[string]struct {
		directories []string
		links       map[string]string
		to          string // Where the disk is to be there; empty is where it is.
		want        string // Part of the message of a refusal.
	}{
		"there are none":                       {directories: []string{"images"}},
		"the agent sees nothing":               {directories: []string{"etc"}},
		"one leads out":                        {[]string{"images"}, map[string]string{"images/out": "/etc"}, "/images/out/web.qcow2", `"/images/out/web.qcow2" leads to "/etc/web.qcow2" by a symbolic link`},
		"one leads out, in the middle":         {[]string{"images"}, map[string]string{"images/out": "../srv"}, "/images/out/deep/web.qcow2", `leads to "/srv/deep/web.qcow2" by a symbolic link`},
		"one leads to another that is allowed": {[]string{"images", "shared/x"}, map[string]string{"images/in": "/shared/x"}, "/images/in/web.qcow2", ""},
		"what is allowed is a link itself":     {[]string{"data"}, map[string]string{"images": "data"}, "/images/web.qcow2", ""},
		"what is allowed is now a link to /":   {nil, map[string]string{"images": "/"}, "/images/web.qcow2", ""},
		"the file is a link, as of a volume":   {[]string{"images", "dev"}, map[string]string{"images/web.raw": "/dev/dm-0"}, "/images/web.raw", ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := linkedHost(t, c.directories, c.links)
			inWorld(t, func(w *world) {
				w.b.files = hostfiles.Root(dir)
				w.b.restart()
				w.diskGuest()
				lm := w.settle(w.migrateWith(guestUUID, func(lm *v1alpha1.LiveMigration) {
					copies(v1alpha1.StorageCopyOptions{Disks: []v1alpha1.DiskName{"vda"}})(lm)
					if c.to != "" {
						lm.Spec.MigrateData = data(c.to)
						lm.Spec.MigrateData.Volumes = append(lm.Spec.MigrateData.Volumes, v1alpha1.VolumeMigrateData{
							TargetDevice: new("vdb"), Source: &v1alpha1.VolumeSource{File: &v1alpha1.PathSource{Path: "/shared/data.raw"}},
						})
					}
				}))
				message := meta.FindStatusCondition(lm.Status.Conditions, v1alpha1.ConditionSucceeded).Message
				switch {
				case c.want == "" && lm.Status.Phase == v1alpha1.PhaseSucceeded:
				case c.want == "" || lm.Status.Phase != v1alpha1.PhaseFailed || !strings.Contains(message, c.want) || blockersOf(lm)[0] != v1alpha1.BlockerPathNotAllowed:
					t.Errorf("it ends in %s: %s, want %q", lm.Status.Phase, message, c.want)
				default:
					w.requireFiles("node-b", "")
				}
			})
		})
	}
}

// TestAPlaceThatBecomesALink is neither written to nor removed from.
func TestAPlaceThatBecomesALink(t *testing.T) {
	dir := linkedHost(t, []string{"images"}, nil)
	turn := func() {
		if err := os.Remove(filepath.Join(dir, "images", "sub")); err != nil && !os.IsNotExist(err) {
			t.Error(err)
		}
		if err := os.Symlink("/etc", filepath.Join(dir, "images", "sub")); err != nil {
			t.Error(err)
		}
	}
	mapped := func(lm *v1alpha1.LiveMigration) {
		copies(v1alpha1.StorageCopyOptions{})(lm)
		lm.Spec.MigrateData = &v1alpha1.MigrateData{Volumes: []v1alpha1.VolumeMigrateData{
			{TargetDevice: new("vda"), Source: &v1alpha1.VolumeSource{File: &v1alpha1.PathSource{Path: "/images/sub/web.qcow2"}}},
			{TargetDevice: new("vdb"), Source: &v1alpha1.VolumeSource{File: &v1alpha1.PathSource{Path: "/shared/data.raw"}}},
		}}
	}
	for name, made := range map[string]bool{"before it is made": false, "before it is removed": true} {
		t.Run(name, func(t *testing.T) {
			_ = os.Remove(filepath.Join(dir, "images", "sub"))
			inWorld(t, func(w *world) {
				w.b.files = hostfiles.Root(dir)
				w.b.restart()
				w.diskGuest()
				w.api.full = true
				if !made {
					w.fleet.Host("node-b").OnLook("/images/sub", turn)
				}
				lm := w.migrateWith(guestUUID, mapped)
				if made {
					w.await(lm, "the target", func(lm *v1alpha1.LiveMigration) bool {
						return lm.Status.Target != nil && lm.Status.Target.ReadyTime != nil
					})
					turn()
					w.ask(lm, v1alpha1.AnnotationCancel, "now")
				}
				end := w.settle(lm)
				time.Sleep(time.Minute)
				got := w.files("node-b")
				images := w.api.get(end).Status.Target.Images
				switch {
				case !made && (got != "" || !strings.Contains(message(end), "/images/sub/web.qcow2 now leads to /etc/web.qcow2")):
					t.Errorf("there are %q: %s", got, message(end))
				case made && (!strings.Contains(got, "/images/sub/web.qcow2") || !strings.Contains(images[0].Error, "has become a symbolic link to /etc/web.qcow2") ||
					!strings.Contains(message(end), "/images/sub/web.qcow2")):
					t.Errorf("there are %q, of which it says %+v: %s", got, images, message(end))
				}
			})
		})
	}
}
