//go:build e2e && linux

package lab_test

import (
	"testing"

	"github.com/virtferry/virtferry/test/lab"
)

func TestTinyGuestsTickOnAcrossMigrations(t *testing.T) {
	ctx, l := start(t, lab.Options{Hosts: 2})
	a, b := l.Host("node-a"), l.Host("node-b")
	g := startGuest(ctx, t, a, lab.GuestConfig{Name: "tiny", Persistent: true, Tiny: true})
	for _, hop := range []struct{ from, to *lab.Host }{{a, b}, {b, a}} {
		if err := g.Migrate(ctx, hop.from, hop.to); err != nil {
			t.Fatal(err)
		}
		if _, err := g.Ticks().Advance(ctx, hop.to.Name(), 3); err != nil {
			t.Fatal(err)
		}
		if copied := jobStats(ctx, t, hop.to, g.Name(), "--completed")["memory_normal_bytes"]; copied < 8<<20 {
			t.Errorf("%d bytes could not be compressed, want 8 MiB at least", copied)
		}
	}
	if err := g.Ticks().Check(); err != nil {
		t.Error(err)
	}
}
