package agent

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"testing"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// TestListens: a port is taken where somebody accepts connections, and no earlier.
func TestListens(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	if !Listens(t.Context(), netip.MustParseAddrPort(listener.Addr().String())) {
		t.Error("a listener is not seen")
	}
	// A port that is bound, so that nobody else can get it, but not listened on.
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Close(socket) }()
	if err := syscall.Bind(socket, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	bound, err := syscall.Getsockname(socket)
	if err != nil {
		t.Fatal(err)
	}
	address, ok := bound.(*syscall.SockaddrInet4)
	if !ok {
		t.Fatalf("the socket is bound to a %T", bound)
	}
	if Listens(t.Context(), netip.AddrPortFrom(netip.AddrFrom4(address.Addr), uint16(address.Port))) {
		t.Error("a port on which nobody listens is taken for one")
	}
}

// TestListeningAsksForEachPort: every port is asked about, at the address where the
// guest's consoles will be.
func TestListeningAsksForEachPort(t *testing.T) {
	t.Parallel()
	n := &Node{Listens: func(_ context.Context, at netip.AddrPort) bool {
		return at.Addr() == netip.MustParseAddr("192.0.2.1") && at.Port()%2 == 0
	}}
	got := n.listening(t.Context(), netip.MustParseAddr("192.0.2.1"), []int32{10000, 10001, 10002})
	slices.Sort(got)
	if !slices.Equal(got, []int32{10000, 10002}) {
		t.Errorf("these are taken: %v", got)
	}
	if got := n.listening(t.Context(), netip.Addr{}, []int32{10000}); got != nil {
		t.Errorf("at no address, these are taken: %v", got)
	}
	if got := (&Node{}).listening(t.Context(), netip.MustParseAddr("192.0.2.1"), []int32{10000}); got != nil {
		t.Errorf("where nobody looks, these are taken: %v", got)
	}
}

func TestConsoleAddress(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, listen, endpoint, given string
		want                          netip.Addr
	}{
		{name: "the agent's", listen: "192.0.2.1", endpoint: "192.0.2.2", want: netip.MustParseAddr("192.0.2.1")},
		{name: "the user's", listen: "192.0.2.1", endpoint: "192.0.2.2", given: "2001:db8::3", want: netip.MustParseAddr("2001:db8::3")},
		{name: "all of them", listen: "::", endpoint: "192.0.2.2", want: netip.MustParseAddr("192.0.2.2")},
		{name: "all of a host with a name", listen: "0.0.0.0", endpoint: "localhost", want: netip.MustParseAddr("127.0.0.1")},
		{name: "all of a host whose name is unknown", listen: "0.0.0.0", endpoint: "node-a.invalid"},
		{name: "one that is malformed", listen: "192.0.2.1", endpoint: "192.0.2.2", given: "here"},
	} {
		lm := &v1alpha1.LiveMigration{}
		if c.given != "" {
			lm.Spec.MigrateData = &v1alpha1.MigrateData{Serial: &v1alpha1.SerialMigrateData{ListenAddress: &c.given}}
		}
		config := ReceiveConfig{ListenAddress: netip.MustParseAddr(c.listen), Endpoint: v1alpha1.TargetEndpoint{Address: c.endpoint}}
		if got := consoleAddress(t.Context(), lm, config); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}
