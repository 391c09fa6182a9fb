package libvirt

import (
	"errors"
	"io"
	"net"
	"slices"
	"strings"
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
			want: admin{socket: single, server: "libvirtd"},
		},
		{
			name: "separate daemons", uri: "qemu:///system",
			exist: []string{"/run/libvirt/libvirt-sock", "/run/libvirt/virtqemud-sock", qemu},
			want:  admin{socket: qemu, server: "virtqemud"},
		},
		{
			name: "a socket that the URI names", uri: "qemu+unix:///system?socket=/srv/run/libvirt-sock",
			exist: []string{"/srv/run/libvirt-admin-sock"},
			want:  admin{socket: "/srv/run/libvirt-admin-sock", server: "libvirtd"},
		},
		{
			name: "the socket of a separate daemon that the URI names", uri: "qemu+unix:///system?socket=/srv/run/virtqemud-sock",
			exist: []string{"/srv/run/virtqemud-admin-sock"},
			want:  admin{socket: "/srv/run/virtqemud-admin-sock", server: "virtqemud"},
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

// answer encodes a daemon's message.
func answer(program, procedure, kind, status uint32, body []byte) []byte {
	message := append(words(program, adminVersion, procedure, kind, 0, status), body...)
	return append(words(uint32(wordBytes+len(message))), message...)
}

func TestAdminCall(t *testing.T) {
	const keepAlive = 0x6b656570
	parameters := slices.Concat(words(3),
		text("maxWorkers"), words(parameterUint, 20), text("big"), words(parameterUll, 1, 2), text("name"), words(7), text("libvirt"))
	many := words(maxParameters)
	for range maxParameters {
		many = slices.Concat(many, text("maxWorkers"), words(parameterUint, 20))
	}
	failure := slices.Concat(words(38, 7, 1), text("no such server"), words(2))
	tests := []struct {
		name    string
		answers [][]byte
		want    uint32
		wrong   string
	}{
		{name: "parameters of several types", answers: [][]byte{answer(adminProgram, adminGetThreadPool, messageReply, statusOK, parameters)}, want: 20},
		{
			name: "a probe comes first",
			answers: [][]byte{
				answer(keepAlive, 1, 2, statusOK, nil), answer(adminProgram, adminGetThreadPool, messageReply, statusOK, parameters),
			},
			want: 20,
		},
		{
			name: "a call of the daemon's comes first",
			answers: [][]byte{
				answer(adminProgram, adminGetThreadPool, messageCall, statusOK, nil), answer(adminProgram, adminGetThreadPool, messageReply, statusOK, parameters),
			},
			want: 20,
		},
		{
			name: "a reply to somebody else comes first",
			answers: [][]byte{
				answer(keepAlive, 1, messageReply, statusOK, nil), answer(adminProgram, adminGetThreadPool, messageReply, statusOK, parameters),
			},
			want: 20,
		},
		{name: "as many parameters as may be", answers: [][]byte{answer(adminProgram, adminGetThreadPool, messageReply, statusOK, many)}, want: 20},
		{name: "one more", answers: [][]byte{answer(adminProgram, adminGetThreadPool, messageReply, statusOK, append(words(maxParameters+1), many[wordBytes:]...))}, wrong: "malformed"},
		{
			name:    "as long as may be",
			answers: [][]byte{answer(adminProgram, adminGetThreadPool, messageReply, statusOK, append(slices.Clone(many), make([]byte, maxReply-wordBytes*(1+headerWords)-len(many))...))}, want: 20,
		},
		{name: "longer", answers: [][]byte{words(maxReply+1, 0)}, wrong: "malformed"},
		{name: "shorter than its header", answers: [][]byte{words(wordBytes*(1+headerWords)-1, 0)}, wrong: "malformed"},
		{name: "an error", answers: [][]byte{answer(adminProgram, adminGetThreadPool, messageReply, 1, failure)}, wrong: "libvirt's error 38: no such server"},
		{name: "another call's answer", answers: [][]byte{answer(adminProgram, adminOpen, messageReply, statusOK, nil)}, wrong: "malformed"},
		{name: "too many parameters", answers: [][]byte{answer(adminProgram, adminGetThreadPool, messageReply, statusOK, words(1<<31))}, wrong: "malformed"},
		{name: "a body that ends early", answers: [][]byte{answer(adminProgram, adminGetThreadPool, messageReply, statusOK, parameters[:30])}, wrong: "malformed"},
		{name: "a length that cannot be", answers: [][]byte{words(1<<31, 0)}, wrong: "malformed"},
		{name: "the daemon hangs up", wrong: io.EOF.Error()},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ours, daemons := net.Pipe()
			defer ours.Close()
			go func() {
				defer daemons.Close()
				_, _, err := readMessage(daemons)
				for _, message := range tt.answers {
					_, writeErr := daemons.Write(message)
					err = errors.Join(err, writeErr)
				}
				if err != nil && tt.wrong == "" {
					t.Errorf("the daemon failed: %v", err)
				}
			}()
			body, err := adminCall(ours, adminGetThreadPool, append(text("libvirtd"), words(0)...))
			var got map[string]uint32
			if err == nil {
				got, err = readParameters(body)
			}
			switch {
			case tt.wrong != "":
				if err == nil || !strings.Contains(err.Error(), tt.wrong) {
					t.Errorf("the error is %v, want %q", err, tt.wrong)
				}
			case err != nil || got["maxWorkers"] != tt.want:
				t.Errorf("read %v (%v), want %d workers", got, err, tt.want)
			}
		})
	}
}

func FuzzReadParameters(f *testing.F) {
	f.Add(slices.Concat(words(1), text("maxWorkers"), words(parameterUint, 20)))
	f.Fuzz(func(_ *testing.T, body []byte) {
		_, _ = readParameters(body)
		_ = adminError(body)
	})
}
