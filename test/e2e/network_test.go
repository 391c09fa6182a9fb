//go:build e2e

package e2e

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/test/lab"
)

// TestPeersFindTheGuest before and after its move. Meanwhile the guest sends nothing by itself,
// so that only what is announced for it tells the switch where it has gone. How long its peers
// miss it is what `make bench-outage` measures.
func TestPeersFindTheGuest(t *testing.T) {
	const mac = "52:54:00:76:66:0a"
	address := netip.MustParseAddr("198.51.100.10")
	g := env.startGuest(t, env.a, lab.GuestConfig{Persistent: true, NICs: []lab.NIC{{MAC: mac, Address: address}, {Bridge: lab.LocalBridge}}})
	peer, err := env.lab.AddPeer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	call := func(signals ...lab.Signal) *lab.Contact {
		t.Helper()
		contact, err := peer.Call(ctx, address, signals...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(contact.Close)
		return contact
	}
	call(lab.Signals()...).Close()
	contact := call(lab.Ping, lab.Echo)

	began := time.Now()
	lm := env.migrate(t, v1alpha1.LiveMigrationSpec{Domain: g.Name(), TargetNode: env.b.Name()})
	lm = env.awaitPhase(t, lm, v1alpha1.PhaseSucceeded)
	env.requireOn(t, g, env.b)
	if err := contact.Wait(ctx, time.Now(), lab.Ping, lab.Echo); err != nil {
		t.Fatalf("after the move: %v", err)
	}
	call(lab.Signals()...).Close()
	for _, signal := range []lab.Signal{lab.Ping, lab.Echo} {
		t.Logf("%s was silent for %s", signal, contact.LongestSilence(signal, began, time.Now()).Length())
	}

	env.requireEvent(t, lm, v1alpha1.NoticeSwitchedOver, mac)
	if macs := lm.Status.Source.Guest.MACAddresses; len(macs) != 2 || macs[0] != mac {
		t.Errorf("the MAC addresses are %v, want %s and another", macs, mac)
	}
	i := slices.IndexFunc(lm.Status.Notices, func(n v1alpha1.Notice) bool { return n.Reason == v1alpha1.NoticeSwitchedOver })
	switch {
	case i < 0:
		t.Errorf("nobody is told of the switch-over: %s", describe(lm))
	case !strings.Contains(lm.Status.Notices[i].Message, env.b.Name()) || !strings.Contains(lm.Status.Notices[i].Message, mac):
		t.Errorf("what is told of the switch-over lacks the node or the MAC address: %s", lm.Status.Notices[i].Message)
	case lm.Status.Notices[i].Time.Truncate(time.Second).After(lm.Status.CompletionTime.Time): // That has no fractions.
		t.Errorf("the switch-over is told at %s, after the end at %s", lm.Status.Notices[i].Time, lm.Status.CompletionTime)
	}
}

// requireEvent waits for the event of a notice, as a network controller or a person does.
func (e *environment) requireEvent(t *testing.T, lm *v1alpha1.LiveMigration, reason v1alpha1.NoticeReason, says string) {
	t.Helper()
	var out string
	var err error
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(pollInterval) {
		out, err = e.lab.ControlPlane().Kubectl(t.Context(), "get", "events", "-A", "--field-selector", "reason="+string(reason),
			"-o", `jsonpath={range .items[*]}{.involvedObject.name} {.message}{"\n"}{end}`)
		for line := range strings.Lines(out) {
			if strings.HasPrefix(line, lm.Name+" ") && strings.Contains(line, says) {
				return
			}
		}
	}
	t.Errorf("no event %s of %s says %s (%v): %s", reason, lm.Name, says, err, out)
}
