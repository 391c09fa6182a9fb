//go:build linux

package lab

import "testing"

func TestReleaseName(t *testing.T) {
	for name, c := range map[string]struct {
		release string
		want    Generation
	}{
		"Debian":               {"PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_CODENAME=bookworm\nID=debian\n", Bookworm},
		"quoted":               {"ID=\"debian\"\nVERSION_CODENAME='trixie'\n", Trixie},
		"another distribution": {"ID=ubuntu\nID_LIKE=debian\nVERSION_CODENAME=noble\n", ""},
		"without a release":    {"ID=debian\n", ""},
		"nothing":              {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := releaseName(c.release); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestHostPaths(t *testing.T) {
	l := &Lab{dir: "/tmp/lab"}
	own, rooted := newHost(l, 0), newHost(l, 1)
	rooted.root = "/cache/roots/trixie"
	for inside, want := range map[string][2]string{
		SharedDir + "/disk.img":        {"/tmp/lab/shared/disk.img", "/tmp/lab/shared/disk.img"},
		"/run/libvirt/libvirt-sock":    {"/tmp/lab/node-a/run/libvirt/libvirt-sock", "/tmp/lab/node-b/run/libvirt/libvirt-sock"},
		"/etc/pki/qemu":                {"/tmp/lab/node-a/etc/pki/qemu", "/tmp/lab/node-b/etc/pki/qemu"},
		"/usr/bin/qemu-system-x86_64":  {"/usr/bin/qemu-system-x86_64", "/cache/roots/trixie/usr/bin/qemu-system-x86_64"},
		"/var/lib/libvirtd/not-inside": {"/var/lib/libvirtd/not-inside", "/cache/roots/trixie/var/lib/libvirtd/not-inside"},
	} {
		if got := [2]string{own.Path(inside), rooted.Path(inside)}; got != want {
			t.Errorf("%s lies at %v, want %v", inside, got, want)
		}
	}
}
