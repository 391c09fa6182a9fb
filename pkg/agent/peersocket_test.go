package agent

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
)

// TestWherePeerSocketsAre: nothing that means something in a URI, and nothing that leads out of
// the directory.
func TestWherePeerSocketsAre(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ dir, node, want string }{
		{DefaultPeerSocketDir, "node-b", "/run/virtferry/peers/node-b.sock"},
		{DefaultPeerSocketDir, "node-b.example.com", "/run/virtferry/peers/node-b.example.com.sock"},
		{DefaultPeerSocketDir, "../node-b", ""},
		{DefaultPeerSocketDir, "b&command=x", ""},
		{DefaultPeerSocketDir, "", ""},
		{"", "node-b", ""},
		{"peers", "node-b", ""},
		{"/run/peers/", "node-b", ""},
		{"/run/../peers", "node-b", ""},
		{"/run/peers?x=y", "node-b", ""},
		{"/run/my peers", "node-b", ""},
		{"/" + strings.Repeat("d", 52), "b", "/" + strings.Repeat("d", 52) + "/b.sock"},
		{"/" + strings.Repeat("d", 53), "b", ""},
	} {
		if got := (PeerSockets{Dir: c.dir}).to(c.node); got != c.want {
			t.Errorf("to %q in %q: %q, want %q", c.node, c.dir, got, c.want)
		}
	}
}

// TestPeersAreDialed: a socket that is missing or that nobody serves is told, and one at which
// libvirt does not answer. What the agent cannot see, or may not use, is not.
func TestPeersAreDialed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	listen := func(name string, serve func(*net.UnixConn)) *net.UnixListener {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, name), Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		l.SetUnlinkOnClose(false)
		t.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				c, err := l.AcceptUnix()
				if err != nil {
					return
				}
				t.Cleanup(func() { _ = c.Close() })
				serve(c)
			}
		}()
		return l
	}
	answer := func(words ...uint32) func(*net.UnixConn) {
		return func(c *net.UnixConn) {
			call := make([]byte, 28)
			if _, err := io.ReadFull(c, call); err != nil || call[15] != 66 {
				t.Errorf("it was asked %v, %v", call, err)
			}
			_ = binary.Write(c, binary.BigEndian, words)
		}
	}
	listen("served", answer(36, 0x20008086, 1, 66, 1, 0, 0, 1, 0))
	listen("other", answer(36, 0x06900690, 1, 66, 1, 0, 0, 1, 0))
	listen("short", func(c *net.UnixConn) { _, _ = c.Write([]byte("HTTP/1.1 400")); _ = c.Close() })
	listen("closed", func(c *net.UnixConn) { _ = c.Close() })
	listen("silent", func(*net.UnixConn) {})
	if err := listen("left", func(*net.UnixConn) {}).Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"served": "", "left": "nothing accepts", "missing": "no such socket", "file": "nothing accepts", "none/missing": "",
		"other": "is not libvirt", "short": "are closed", "closed": "are closed", "silent": "does not answer",
	} {
		patience := time.Minute
		if name == "silent" {
			patience = time.Second / 10
		}
		err := dialPeer(t.Context(), filepath.Join(dir, name), patience)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
}

// TestMigrationsByPeerSockets: libvirt is given the socket of the target, and is not asked where
// that leads nowhere.
func TestMigrationsByPeerSockets(t *testing.T) {
	long := "/" + strings.Repeat("d", 52)
	for name, c := range map[string]struct {
		peers   PeerSockets
		refused string
	}{
		"it leads there":    {PeerSockets{Dir: "/run/peers", Dial: func(context.Context, string) error { return nil }}, ""},
		"nobody has looked": {PeerSockets{Dir: "/run/peers"}, ""},
		"it is missing": {
			PeerSockets{Dir: "/run/peers", Dial: func(_ context.Context, socket string) error { return errors.New("not " + socket) }},
			"by the socket /run/peers/node-b.sock, but not /run/peers/node-b.sock. Ask",
		},
		"there is no place for it": {PeerSockets{Dir: "peers"}, "the agent on node-a has the directory \"peers\" for these: it must be an absolute path"},
		"its path is short enough": {PeerSockets{Dir: long}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.api.spoil = func(s *v1alpha1.TargetStatus) {
					if s.Endpoint != nil {
						s.Endpoint.Transport = v1alpha1.TransportUnix
					}
				}
				w.a.node.Peers = c.peers
				lm := w.settle(w.migrate(guestUUID))
				if c.refused != "" {
					w.requireEnd(lm, v1alpha1.PhaseFailed, v1alpha1.ReasonSourceCheckFailed, "")
					if p := lm.Status.Source.Problem; p.Blockers[0].Code != v1alpha1.BlockerPeerSocketMissing || !strings.Contains(p.Message, c.refused) {
						t.Errorf("the problem is %+v", p)
					}
					w.requireCalls(fake.MethodMigrate, 0)
					return
				}
				w.requireEnd(lm, v1alpha1.PhaseSucceeded, v1alpha1.ReasonMigrated, "")
				for _, call := range w.fleet.Calls() {
					if want := "qemu+unix:///system?socket=" + c.peers.Dir + "/node-b.sock"; call.Method == fake.MethodMigrate && call.Params.DestinationURI != want {
						t.Errorf("libvirt was sent to %q, want %q", call.Params.DestinationURI, want)
					}
				}
			})
		})
	}
}

// TestPeerSocketsOfNodesWithLongNames cannot be made, and that is said.
func TestPeerSocketsOfNodesWithLongNames(t *testing.T) {
	t.Parallel()
	s := &sourceSession{lm: &v1alpha1.LiveMigration{}}
	s.node = &Node{Name: "node-a", Peers: PeerSockets{Dir: DefaultPeerSocketDir}}
	s.lm.Status.Attempt = &v1alpha1.AttemptStatus{ID: "1"}
	s.lm.Status.Target = &v1alpha1.TargetStatus{AttemptID: "1", Endpoint: &v1alpha1.TargetEndpoint{Transport: v1alpha1.TransportUnix, Address: "192.0.2.2"}}
	for length, want := range map[int]bool{81: true, 82: false} {
		s.lm.Status.TargetNode = strings.Repeat("b", 40) + "." + strings.Repeat("b", length-41)
		if err := s.checkPeerSocket(t.Context()); (err == nil) != want || err != nil && !strings.Contains(err.Error(), "--peer-socket-dir of the agent on node-a") {
			t.Errorf("with a name of %d characters: %v", length, err)
		}
	}
}

// TestPeerSocketsOfNodesWithOtherNames cannot be either: they would be somewhere else, and nothing is
// said of a socket without a path.
func TestPeerSocketsOfNodesWithOtherNames(t *testing.T) {
	t.Parallel()
	s := &sourceSession{lm: &v1alpha1.LiveMigration{}}
	s.node = &Node{Name: "node-a", Peers: PeerSockets{Dir: DefaultPeerSocketDir}}
	s.lm.Status.Attempt = &v1alpha1.AttemptStatus{ID: "1"}
	s.lm.Status.Target = &v1alpha1.TargetStatus{AttemptID: "1", Endpoint: &v1alpha1.TargetEndpoint{Transport: v1alpha1.TransportUnix, Address: "192.0.2.2"}}
	for _, name := range []string{"../b", "Node-B", "b c"} {
		s.lm.Status.TargetNode = name
		want := fmt.Sprintf("by a socket that has its node's name, and %q cannot be that of one", name)
		if err := s.checkPeerSocket(t.Context()); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "  ") || strings.Contains(err.Error(), "socket ,") {
			t.Errorf("of the node %q: %v", name, err)
		}
	}
}
