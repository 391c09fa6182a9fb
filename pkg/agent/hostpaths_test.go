package agent

import (
	"errors"
	"strings"
	"testing"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

func TestCheckPaths(t *testing.T) {
	c := ReceiveConfig{AllowedPaths: []string{"/srv/images", "/dev/mapper/"}}
	for _, tc := range []struct {
		path, problem string
		code          v1alpha1.BlockerCode
	}{
		{"/srv/images/web.qcow2", "", ""},
		{"/srv/images/deep/down/web.qcow2", "", ""},
		{"/dev/mapper/web", "", ""},
		{"/srv/images", "not the directory itself", v1alpha1.BlockerPathNotAllowed},
		{"/srv/images2/web.qcow2", "does not allow", v1alpha1.BlockerPathNotAllowed},
		{"/etc/shadow", "does not allow", v1alpha1.BlockerPathNotAllowed},
		{"/srv/images/../../etc/shadow", "without surplus slashes, . or ..", v1alpha1.BlockerPathMalformed},
		{"srv/images/web.qcow2", "absolute", v1alpha1.BlockerPathMalformed},
		{"/srv/images//web.qcow2", "without surplus slashes", v1alpha1.BlockerPathMalformed},
	} {
		data := &v1alpha1.MigrateData{Volumes: []v1alpha1.VolumeMigrateData{{
			Serial: new("s"), Source: &v1alpha1.VolumeSource{File: &v1alpha1.PathSource{Path: tc.path}},
		}}}
		err := c.checkPaths("node-b", data)
		switch {
		case tc.problem == "" && err != nil:
			t.Errorf("%s: %v", tc.path, err)
		case tc.problem != "" && !hasCode(err, tc.code):
			t.Errorf("%s: %v, want it refused as %s", tc.path, err, tc.code)
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

// hasCode reports whether an error is a refusal for that alone.
func hasCode(err error, code v1alpha1.BlockerCode) bool {
	var r *refusal
	return errors.As(err, &r) && len(r.Blockers) == 1 && r.Blockers[0].Code == code
}
