package agent

import (
	"slices"
	"strings"
	"testing"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
)

// TestEndpointURIs: whatever the target's agent writes, the source's libvirt is
// given a URI of one form or none.
func TestEndpointURIs(t *testing.T) {
	for _, c := range []struct {
		transport, address   string
		destination, migrate string
	}{
		{"tls", "192.0.2.2", "qemu+tls://192.0.2.2/system", "tcp://192.0.2.2"},
		{"tcp", "2001:db8::2", "qemu+tcp://[2001:db8::2]/system", "tcp://[2001:db8::2]"},
		{"ssh", "node-b.example.com", "qemu+ssh://node-b.example.com/system", "tcp://node-b.example.com"},
		{"tcp", "169.254.7.2", "qemu+tcp://169.254.7.2/system", "tcp://169.254.7.2"},
		{"unix", "192.0.2.2", "qemu+unix:///system?socket=/run/peers/b.sock", "tcp://192.0.2.2"},
		{"unix", "b?command=x", "", ""},
		{"ext", "b", "", ""},
		{"tls+ext", "b", "", ""},
		{"", "b", "", ""},
		{"tcp", "", "", ""},
		{"ssh", "-oProxyCommand=touch", "", ""},
		{"tcp", "b/system?command=/bin/sh", "", ""},
		{"tcp", "b?command=x", "", ""},
		{"tcp", "b#x", "", ""},
		{"tcp", "user@b", "", ""},
		{"tcp", "b:16509", "", ""},
		{"tcp", "[::1]", "", ""},
		{"tcp", "B", "", ""},
		{"tcp", "b\n", "", ""},
		{"tcp", "127.0.0.1", "", ""},
		{"tcp", "::1", "", ""},
		{"tcp", "::ffff:192.0.2.2", "", ""},
		{"tcp", "fe80::2%eth0", "", ""},
		{"tcp", "0.0.0.0", "", ""},
		{"tcp", "224.0.0.1", "", ""},
		{"tcp", strings.Repeat("a", 254), "", ""},
	} {
		destination, migrate := endpointURIs(&v1alpha1.TargetEndpoint{Transport: v1alpha1.Transport(c.transport), Address: c.address}, "/run/peers/b.sock")
		if destination != c.destination || migrate != c.migrate {
			t.Errorf("%s to %q: got %q and %q, want %q and %q", c.transport, c.address, destination, migrate, c.destination, c.migrate)
		}
	}
	for data, want := range map[string]string{"198.51.100.2": "tcp://198.51.100.2", "2001:db8::2": "tcp://[2001:db8::2]", "b.data": "tcp://b.data", "b?x": ""} {
		destination, migrate := endpointURIs(&v1alpha1.TargetEndpoint{Transport: v1alpha1.TransportTCP, Address: "192.0.2.2", DataAddress: data}, "")
		if migrate != want || (destination == "qemu+tcp://192.0.2.2/system") != (want != "") {
			t.Errorf("data to %q: got %q and %q, want %q", data, destination, migrate, want)
		}
	}
	for data, want := range map[string]string{"198.51.100.2": "198.51.100.2", "2001:db8::2": "2001:db8::2", "b.data": "", "": "", "198.51.100.2?x": ""} {
		if got := listensAt(&v1alpha1.TargetEndpoint{Transport: v1alpha1.TransportTCP, Address: "192.0.2.2", DataAddress: data}); got != want {
			t.Errorf("data to %q: it listens at %q, want %q", data, got, want)
		}
	}
	for disks, want := range map[string]string{
		"": "", "198.51.100.2": "tcp://198.51.100.2", "2001:db8::2": "tcp://[2001:db8::2]",
		"b.disks": "", "198.51.100.2?x": "", "[2001:db8::2]": "", "fe80::2": "", "127.0.0.1": "", "198.51.100.2:1": "",
	} {
		endpoint := &v1alpha1.TargetEndpoint{Transport: v1alpha1.TransportTCP, Address: "192.0.2.2", DataAddress: "b.data", DisksAddress: disks}
		if got := disksURI(endpoint); got != want {
			t.Errorf("disks to %q: got %q, want %q", disks, got, want)
		}
		if destination, _ := endpointURIs(endpoint, ""); (destination != "") != (want != "" || disks == "") {
			t.Errorf("disks to %q: libvirt is reached at %q", disks, destination)
		}
	}
	if destination, migrate := endpointURIs(&v1alpha1.TargetEndpoint{Transport: v1alpha1.TransportUnix, Address: "192.0.2.2"}, ""); destination != "" || migrate != "" {
		t.Errorf("without a socket: got %q and %q", destination, migrate)
	}
	if destination, migrate := endpointURIs(nil, "/run/peers/b.sock"); destination != "" || migrate != "" {
		t.Errorf("without an endpoint: got %q and %q", destination, migrate)
	}
}

// TestSourceChecksWhatTheTargetSays: the migration is refused before anything is
// touched, whatever the API server let pass.
func TestSourceChecksWhatTheTargetSays(t *testing.T) {
	for name, spoil := range map[string]func(*v1alpha1.TargetStatus){
		"no endpoint":          func(s *v1alpha1.TargetStatus) { s.Endpoint = nil },
		"a command":            func(s *v1alpha1.TargetStatus) { s.Endpoint.Transport = "ext" },
		"a parameter":          func(s *v1alpha1.TargetStatus) { s.Endpoint.Address = "node-b/system?command=x" },
		"a parameter of data":  func(s *v1alpha1.TargetStatus) { s.Endpoint.DataAddress = "node-b?x=y" },
		"a parameter of disks": func(s *v1alpha1.TargetStatus) { s.Endpoint.DisksAddress = "198.51.100.2?x=y" },
		"a host name":          func(s *v1alpha1.TargetStatus) { s.Offer.Graphics.VNCListenAddress = new("node-b") },
		"an address with XML":  func(s *v1alpha1.TargetStatus) { s.Offer.Serial.ListenAddress = new("192.0.2.1'/><x y='") },
		"a port of none":       func(s *v1alpha1.TargetStatus) { s.Offer.Serial.Ports = []int32{70000} },
		"a network of two lines": func(s *v1alpha1.TargetStatus) {
			s.Offer.NetworkMappings = []v1alpha1.NetworkMapping{{Kind: v1alpha1.NetworkKindBridge, From: "br0", To: "br\n0"}}
		},
		"a network of no kind": func(s *v1alpha1.TargetStatus) {
			s.Offer.NetworkMappings = []v1alpha1.NetworkMapping{{Kind: "Tunnel", From: "br0", To: "br1"}}
		},
		"CPUs in words":      func(s *v1alpha1.TargetStatus) { s.Host.OnlineCPUs = "all" },
		"nodes with a caret": func(s *v1alpha1.TargetStatus) { s.Host.NUMANodes = "0-3,^1" },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.api.spoil = spoil
				lm := w.settle(w.migrate(guestUUID))
				w.requireEnd(lm, v1alpha1.PhaseFailed, v1alpha1.ReasonTargetCheckFailed, "")
				w.requireCalls(fake.MethodMigrate, 0)
				if codes := blockersOf(lm); !slices.Equal(codes, []v1alpha1.BlockerCode{v1alpha1.BlockerTargetReportMalformed}) {
					t.Errorf("the blockers are %v", codes)
				}
			})
		})
	}
}

// TestWhatATargetMaySay, at the limits of it.
func TestWhatATargetMaySay(t *testing.T) {
	t.Parallel()
	offer := func(ports ...int32) *v1alpha1.TargetOffer {
		return &v1alpha1.TargetOffer{Serial: &v1alpha1.SerialMigrateData{Ports: ports}}
	}
	listening := func(g v1alpha1.GraphicsMigrateData) *v1alpha1.TargetOffer { return &v1alpha1.TargetOffer{Graphics: &g} }
	for _, c := range []struct {
		name  string
		offer *v1alpha1.TargetOffer
		want  bool
	}{
		{"nothing", nil, true},
		{"an empty offer", &v1alpha1.TargetOffer{}, true},
		{"the first port and the last", offer(1, 65535), true},
		{"a port before the first", offer(0), false},
		{"a port behind the last", offer(1, 65536), false},
		{"a port below zero", offer(-1), false},
		{"an address", listening(v1alpha1.GraphicsMigrateData{VNCListenAddress: new("2001:db8::1")}), true},
		{"an address with a zone", listening(v1alpha1.GraphicsMigrateData{VNCListenAddress: new("fe80::1%eth0")}), false},
		{"only the last address, which is none", listening(v1alpha1.GraphicsMigrateData{RDPListenAddress: new("node-b")}), false},
	} {
		err := checkTargetSection(&v1alpha1.TargetStatus{Endpoint: &v1alpha1.TargetEndpoint{Transport: "tls", Address: "192.0.2.2"}, Offer: c.offer})
		if (err == nil) != c.want {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestSetsThatAreTooLong for the API are not known.
func TestSetsThatAreTooLong(t *testing.T) {
	t.Parallel()
	for length, want := range map[int]int{0: 0, 4096: 4096, 4097: 0} {
		if got := cpuSetOf(strings.Repeat("1", length)); len(got) != want {
			t.Errorf("of %d bytes, %d are left", length, len(got))
		}
	}
}
