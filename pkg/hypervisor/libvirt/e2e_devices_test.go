//go:build e2e

package libvirt

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/test/lab"
)

// TestE2EDevices are attached to a running guest and detached, and its definition stays as it is.
// What it has not cannot be detached.
func TestE2EDevices(t *testing.T) {
	const mac = "52:54:00:64:65:76"
	const device = "<interface type='bridge'><mac address='" + mac + "'/><source bridge='" + lab.GuestBridge + "'/><model type='virtio'/></interface>"
	host := nodeA()
	guest := startGuest(t, host, lab.GuestConfig{Name: "devices", Persistent: true})
	if _, err := guest.Ticks().Wait(t.Context(), host.Name(), 2); err != nil {
		t.Fatal(err)
	}
	c := startClient(t, host, Config{})
	has := func(form hypervisor.XMLForm) bool {
		text, err := c.DomainXML(t.Context(), guest.UUID(), form)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(string(text), mac)
	}
	if err := c.DetachDevice(t.Context(), guest.UUID(), device); hypervisor.KindOf(err) != hypervisor.KindOther {
		t.Errorf("detaching what is not there: %v", err)
	}
	if err := c.AttachDevice(t.Context(), guest.UUID(), device); err != nil || !has(hypervisor.XMLMigratable) || has(hypervisor.XMLInactive) {
		t.Fatalf("attaching: %v", err)
	}
	if err := c.DetachDevice(t.Context(), guest.UUID(), device); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); has(hypervisor.XMLMigratable); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the guest does not let go")
		}
	}
}

// TestE2EGuestWithoutAnAgent is told from one whose agent is not there.
func TestE2EGuestWithoutAnAgent(t *testing.T) {
	host := nodeA()
	c := startClient(t, host, Config{})
	for name, want := range map[string]struct {
		device string
		kind   hypervisor.Kind
	}{
		"no-channel": {"", hypervisor.KindConfigUnsupported},
		"no-agent":   {"<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>", hypervisor.KindOther},
	} {
		guest := startGuest(t, host, lab.GuestConfig{Name: name, Tiny: true, ExtraDevices: want.device})
		err := c.SetGuestTime(t.Context(), guest.UUID(), time.Now())
		t.Log(err)
		if hypervisor.KindOf(err) != want.kind {
			t.Errorf("%s: %v is of kind %s, want %s", name, err, hypervisor.KindOf(err), want.kind)
		}
		err = c.FreezeGuest(t.Context(), guest.UUID())
		t.Log(err)
		if !errors.Is(err, hypervisor.ErrGuestNotAsked) {
			t.Errorf("%s: %v does not say that nobody was asked", name, err)
		}
		if err := c.ThawGuest(t.Context(), guest.UUID()); hypervisor.KindOf(err) != want.kind {
			t.Errorf("%s: %v is of kind %s, want %s", name, err, hypervisor.KindOf(err), want.kind)
		}
	}
	if err := c.FreezeGuest(t.Context(), "22222222-2222-4222-8222-222222222222"); !errors.Is(err, hypervisor.ErrGuestNotAsked) || !hypervisor.IsNoDomain(err) {
		t.Errorf("of no guest: %v", err)
	}
}

// TestE2EGuestIsFrozen and thawed, twice each; one that somebody else has frozen is left so. An agent that says nothing
// any more when it has frozen the guest leaves that open, soon.
func TestE2EGuestIsFrozen(t *testing.T) {
	host := nodeA()
	c := startClient(t, host, Config{})
	guest := startGuest(t, host, lab.GuestConfig{Name: "frozen", Agent: true})
	do := func(what string, call func(context.Context, string) error) error {
		t.Helper()
		begun := time.Now()
		err := call(t.Context(), guest.UUID())
		t.Logf("%s: %v, after %s", what, err, time.Since(begun))
		return err
	}
	for deadline := time.Now().Add(20 * time.Second); do("waiting for the agent", c.ThawGuest) != nil; time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the guest's agent is not there")
		}
	}
	if err := do("freezing", c.FreezeGuest); err != nil {
		t.Error(err)
	}
	if err := do("freezing once more", c.FreezeGuest); !errors.Is(err, hypervisor.ErrGuestNotAsked) {
		t.Error("a guest that is frozen is frozen once more")
	}
	if err := errors.Join(do("thawing", c.ThawGuest), do("thawing once more", c.ThawGuest)); err != nil {
		t.Error(err)
	}
	if _, err := guest.Command(t.Context(), host, "agent deaf-for-freeze"); err != nil {
		t.Fatal(err)
	}
	if err := do("freezing by one that hangs", c.FreezeGuest); err == nil || errors.Is(err, hypervisor.ErrGuestNotAsked) {
		t.Errorf("it says %v", err)
	}
}
