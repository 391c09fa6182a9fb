package hostfiles

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"
)

// TestFollow: links lead where they lead on the host, also to what is not seen.
func TestFollow(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, d := range []string{"images/real", "data/images"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{
		"images/inside": "real", "images/out": "/etc", "images/up": "../data/images", "images/above": "../../../../etc", "images/deep": "inside/../out", "images/gone": "/nowhere/at/all",
		"images/one": "two", "images/two": "one", "images/real/file": "../../data/images/x", "srv": "/data/images",
	} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{
		"/images/a": "/images/a", "/images/real/a": "/images/real/a", "/images/inside/a": "/images/real/a", "/images/out/shadow": "/etc/shadow",
		"/images/up/a": "/data/images/a", "/images/above/a": "/etc/a", "/images/deep/a": "/etc/a", "/images/gone/a": "/nowhere/at/all/a", "/images/one/a": "/images/one/a",
		"/images/real/file": "/data/images/x", "/srv/a": "/data/images/a", "/not/seen/a": "/not/seen/a", "/": "/", "/images/missing/../out/a": "/etc/a",
	} {
		if got := Follow(Root(dir), name); got != want {
			t.Errorf("%s leads to %s, want %s", name, got, want)
		}
	}
	if got := Follow(noLinks{fstest.MapFS{}}, "/a/b"); got != "/a/b" {
		t.Errorf("without links, /a/b leads to %s", got)
	}
}

// noLinks is a file system that tells nothing of links.
type noLinks struct{ fs.FS }
