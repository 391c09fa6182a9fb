package hostfiles

import (
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// TestMappedDevices: which there are, and what they are known by.
func TestMappedDevices(t *testing.T) {
	t.Parallel()
	got := MappedDevices(files(map[string]string{
		"sys/class/block/sda/size": "1", "sys/class/block/dm-0/dm/name": "vg0-web--1\n", "sys/class/block/dm-0/dm/uuid": "LVM-abc\n",
		"sys/class/block/dm-1/dm/name": "crypt\n", "sys/class/block/dm-1/dm/uuid": "\n", "sys/class/block/dm-2/size": "1",
	}))
	if diff := cmp.Diff(map[string]string{"vg0-web--1": "LVM-abc", "crypt": ""}, got); diff != "" {
		t.Errorf("they differ (-want +got):\n%s", diff)
	}
	if got := MappedDevices(fstest.MapFS{}); got != nil {
		t.Errorf("where nothing is seen, there are %v", got)
	}
	if got := MappedDevices(files(map[string]string{"sys/class/block/sda/size": "1"})); got == nil || len(got) != 0 {
		t.Errorf("where there are none, there are %v", got)
	}
}

// TestMappedName: of paths below /dev.
func TestMappedName(t *testing.T) {
	t.Parallel()
	for file, want := range map[string]string{
		"/dev/vg0/web-1": "vg0-web--1", "/dev/my-vg/lv": "my--vg-lv", "/dev/mapper/vg0-web--1": "vg0-web--1",
		"/dev/sda": "", "/dev/md/0": "", "/dev/drbd/web": "", "/dev/disk/by-id/x": "", "/srv/vg0/web": "", "/dev//web": "", "/dev/vg0/": "", "dev/vg0/web": "",
	} {
		if got, ok := MappedName(file); got != want || ok != (want != "") {
			t.Errorf("%s: got %q, %t, want %q", file, got, ok, want)
		}
	}
	for id, want := range map[string]bool{"LVM-abc": true, "mpath-36001": true, "CRYPT-LUKS2-abc-web": false, "": false} {
		if got := IsIdentity(id); got != want {
			t.Errorf("%q: got %t", id, got)
		}
	}
}
