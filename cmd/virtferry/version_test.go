package main

import (
	"runtime/debug"
	"strings"
	"testing"
)

func TestVersion(t *testing.T) {
	t.Parallel()
	built := func() (*debug.BuildInfo, bool) {
		return &debug.BuildInfo{
			Main: debug.Module{Version: "v0.3.1"}, Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}},
		}, true
	}
	nothing := func() (*debug.BuildInfo, bool) { return nil, false }
	for name, tt := range map[string]struct {
		version, revision string
		read              func() (*debug.BuildInfo, bool)
		want              string
	}{
		"what the linker was told":     {"v1.0.0", "def", built, "virtferry v1.0.0, revision def, go"},
		"what Go knows":                {"", "", built, "virtferry v0.3.1, revision abc, go"},
		"what nobody knows is unknown": {"", "", nothing, "virtferry unknown, revision unknown, go"},
	} {
		if got := describeVersion(tt.version, tt.revision, tt.read); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s: it is %q", name, got)
		}
	}
}
