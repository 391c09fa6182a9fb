package agent

import (
	"strings"
	"testing"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

func TestCheckPaths(t *testing.T) {
	c := ReceiveConfig{AllowedPaths: []string{"/srv/images", "/dev/mapper/"}}
	for _, tc := range []struct{ path, problem string }{
		{"/srv/images/web.qcow2", ""},
		{"/srv/images/deep/down/web.qcow2", ""},
		{"/dev/mapper/web", ""},
		{"/srv/images", "not the directory itself"},
		{"/srv/images2/web.qcow2", "does not allow"},
		{"/etc/shadow", "does not allow"},
		{"/srv/images/../../etc/shadow", "without surplus slashes, . or .."},
		{"srv/images/web.qcow2", "absolute"},
		{"/srv/images//web.qcow2", "without surplus slashes"},
	} {
		data := &v1alpha1.MigrateData{Volumes: []v1alpha1.VolumeMigrateData{{
			Serial: new("s"), Source: &v1alpha1.VolumeSource{File: &v1alpha1.PathSource{Path: tc.path}},
		}}}
		err := c.checkPaths("node-b", data)
		switch {
		case tc.problem == "" && err != nil:
			t.Errorf("%s: %v", tc.path, err)
		case tc.problem != "" && (err == nil || !strings.Contains(err.Error(), tc.problem) || !strings.Contains(err.Error(), "spec.migrateData.volumes[0]")):
			t.Errorf("%s: %v, want it refused by its name and with %q", tc.path, err, tc.problem)
		}
	}
	mapped := &v1alpha1.MigrateData{PathMappings: []v1alpha1.PathMapping{{From: "/srv/nvram/", To: "/srv/images//nvram/"}, {From: "/etc/", To: "/etc"}}}
	if err := c.checkPaths("node-b", mapped); err != nil {
		t.Errorf("an entry with surplus slashes, and one that changes nothing: %v", err)
	}
	whole := &v1alpha1.MigrateData{PathMappings: []v1alpha1.PathMapping{{From: "/srv/nvram", To: "/srv/images/"}}}
	if err := c.checkPaths("node-b", whole); err == nil || !strings.Contains(err.Error(), "map what is in it") {
		t.Errorf("an entry that leads to the whole of an allowed directory: %v, want it refused with what helps", err)
	}
	if err := c.checkPaths("node-b", nil); err != nil {
		t.Errorf("no migrate data: %v", err)
	}
}
