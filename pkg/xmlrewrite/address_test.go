package xmlrewrite

import "testing"

// TestScopeOf: what libvirt's and QEMU's C libraries take for loopback or wildcard is
// recognized, in whatever spelling.
func TestScopeOf(t *testing.T) {
	t.Parallel()
	for scope, addresses := range map[bindScope][]string{
		scopeUnset: {""},
		scopeAny:   {"0.0.0.0", "::", "[::]", "0", "0x0", "0.0", "::ffff:0.0.0.0", "00.0.0.0"},
		scopeLoopback: {
			"127.0.0.1", "::1", "[::1]", "127.1", "127.0.1", "2130706433", "0x7f000001", "0177.1", "127.8.9.10", "::ffff:127.0.0.1",
			"localhost", "LOCALHOST", "localhost.", "localhost.localdomain", "localhost6.localdomain6", "ip6-localhost", "x.localhost",
		},
		scopeHost: {
			"192.0.2.11", "2001:db8::11", "192.0.2", "node-a.example.com", "1.2.3.4.5", "256.0.0.1", "127.0.0.256", "127.16777216",
			"localhosts", "1", "0x1_0", "-1", "4294967296", "*",
		},
	} {
		for _, address := range addresses {
			if got := scopeOf(address); got != scope {
				t.Errorf("the scope of %q is %d, wanted %d", address, got, scope)
			}
		}
	}
}

func TestSUSENamesOfLoopback(t *testing.T) {
	t.Parallel()
	for _, name := range [...]string{"ipv6-localhost", "ipv6-loopback", "ip6-localhost", "ip6-loopback"} {
		if scopeOf(name) != scopeLoopback {
			t.Errorf("%s is taken for an address of the host", name)
		}
	}
}
