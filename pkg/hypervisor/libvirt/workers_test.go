package libvirt

import (
	"slices"
	"testing"
)

func TestTheAdministrationIsBesideTheDaemonsSocket(t *testing.T) {
	const (
		single = "/run/libvirt/libvirt-admin-sock"
		qemu   = "/run/libvirt/virtqemud-admin-sock"
	)
	tests := []struct {
		name, uri string
		exist     []string
		want      admin
	}{
		{
			name: "the single daemon", uri: "qemu:///system", exist: []string{"/run/libvirt/libvirt-sock", single},
			want: admin{uri: "libvirtd:///system?socket=%2Frun%2Flibvirt%2Flibvirt-admin-sock", server: "libvirtd"},
		},
		{
			name: "separate daemons", uri: "qemu:///system",
			exist: []string{"/run/libvirt/libvirt-sock", "/run/libvirt/virtqemud-sock", qemu},
			want:  admin{uri: "virtqemud:///system?socket=%2Frun%2Flibvirt%2Fvirtqemud-admin-sock", server: "virtqemud"},
		},
		{
			name: "a socket that the URI names", uri: "qemu+unix:///system?socket=/srv/run/libvirt-sock",
			exist: []string{"/srv/run/libvirt-admin-sock"},
			want:  admin{uri: "libvirtd:///system?socket=%2Fsrv%2Frun%2Flibvirt-admin-sock", server: "libvirtd"},
		},
		{
			name: "the socket of a separate daemon that the URI names", uri: "qemu+unix:///system?socket=/srv/run/virtqemud-sock",
			exist: []string{"/srv/run/virtqemud-admin-sock"},
			want:  admin{uri: "virtqemud:///system?socket=%2Fsrv%2Frun%2Fvirtqemud-admin-sock", server: "virtqemud"},
		},
		{name: "no administration", uri: "qemu:///system", exist: []string{"/run/libvirt/libvirt-sock"}},
		{name: "another host", uri: "qemu+tcp://192.0.2.1/system", exist: []string{single}},
		{name: "a user's own daemon", uri: "qemu:///session", exist: []string{single}},
		{name: "no daemon", uri: "test:///default", exist: []string{single}},
		{name: "a socket of a strange name", uri: "qemu+unix:///system?socket=/srv/run/own", exist: []string{"/srv/run/own-admin-sock"}},
		{name: "no URI", uri: "qemu://%zz"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := findAdmin(tt.uri, func(path string) bool { return slices.Contains(tt.exist, path) })
			if got != tt.want || ok != (tt.want != admin{}) {
				t.Errorf("found %+v, %v; want %+v", got, ok, tt.want)
			}
		})
	}
}
