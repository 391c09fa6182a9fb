//go:build e2e

package e2e

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/test/lab"
)

// TestLibvirtIsReachedByAProxy: the source's libvirt connects to a socket on its own host, and
// from there something leads to the target's. Without that, nothing is touched.
func TestLibvirtIsReachedByAProxy(t *testing.T) {
	dir, err := os.MkdirTemp("", "peers") //nolint:usetesting // The path of a socket has to be short.
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	env.replaceAgent(t, env.a, "--peer-socket-dir="+dir)
	env.replaceAgent(t, env.b, "--transport=unix")
	t.Cleanup(func() {
		env.replaceAgent(t, env.a)
		env.replaceAgent(t, env.b)
	})
	g := env.startGuest(t, env.a, lab.GuestConfig{Persistent: true, Load: slowLoad()})
	options := slow()
	options.AllowPostCopy = new(true)
	spec := v1alpha1.LiveMigrationSpec{Domain: g.Name(), TargetNode: env.b.Name(), Options: options}

	refused := func() {
		t.Helper()
		lm := env.awaitPhase(t, env.migrate(t, spec), v1alpha1.PhaseFailed)
		problem := lm.Status.Source.Problem
		if problem == nil || problem.Blockers[0].Code != v1alpha1.BlockerPeerSocketMissing || lm.Status.Source.StartRequestedTime != nil {
			t.Fatalf("the source's section is %+v", lm.Status.Source)
		}
		t.Log(problem.Message)
		env.requireOn(t, g, env.a)
	}
	socket := filepath.Join(dir, env.b.Name()+".sock")
	refused()

	silent, err := net.Listen("unix", socket) // The kernel accepts, and nobody reads.
	if err != nil {
		t.Fatal(err)
	}
	refused()
	if err := silent.Close(); err != nil {
		t.Fatal(err)
	}

	relay(t, socket, env.b.LibvirtSocket())
	typeOn(t, env.a, "virsh -c 'qemu+unix:///system?socket="+socket+"' list")
	lm := env.awaitCopying(t, env.migrate(t, spec))
	connections, err := env.a.Exec(t.Context(), "ss", "--tcp", "--numeric", "--no-header", "state", "established")
	if err != nil || strings.Contains(connections, ":16509") || !strings.Contains(connections, env.b.Address()+":4915") {
		t.Errorf("the source's connections are (%v):\n%s", err, connections)
	}
	env.ask(t, lm, v1alpha1.AnnotationForceComplete, "now")
	env.awaitPhase(t, lm, v1alpha1.PhaseSucceeded)
	env.requireOn(t, g, env.b)
}

// relay leads from one socket to another until the test ends.
func relay(t *testing.T, from, to string) {
	t.Helper()
	listener, err := net.Listen("unix", from)
	if err != nil {
		t.Fatal(err)
	}
	var open sync.WaitGroup
	t.Cleanup(func() {
		if err := listener.Close(); err != nil {
			t.Error(err)
		}
		open.Wait()
	})
	open.Go(func() {
		for {
			in, err := listener.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				t.Error(err)
				return
			}
			out, err := net.Dial("unix", to)
			if err != nil {
				t.Error(err)
				_ = in.Close()
				continue
			}
			for _, c := range [][2]net.Conn{{in, out}, {out, in}} {
				open.Go(func() {
					_, _ = io.Copy(c[0], c[1]) // Either end may close it.
					_ = c[0].Close()
				})
			}
		}
	})
}
