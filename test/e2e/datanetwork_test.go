//go:build e2e

package e2e

import (
	"cmp"
	"context"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/test/lab"
)

// TestDataHasANetworkOfItsOwn: QEMU sends the guest to the target's address in another network,
// and libvirt's own connection stays where it was. Either may be of IPv6.
func TestDataHasANetworkOfItsOwn(t *testing.T) {
	const v4, v6 = "198.51.100.12", "2001:db8::12"
	for h, addresses := range map[*lab.Host][]string{env.a: {"198.51.100.11/24", "2001:db8::11/64"}, env.b: {v4 + "/24", v6 + "/64"}} {
		for _, address := range addresses {
			if out, err := h.Exec(t.Context(), "ip", "address", "add", address, "dev", "eth0", "nodad"); err != nil {
				t.Fatal(err, out)
			}
			t.Cleanup(func() { _, _ = h.Exec(context.Background(), "ip", "address", "delete", address, "dev", "eth0") })
		}
	}
	t.Cleanup(func() { env.replaceAgent(t, env.b) })
	for _, c := range []struct{ name, control, data string }{
		{"data over IPv4", "", v4},
		{"everything over IPv6", v6, v6},
	} {
		t.Run(c.name, func(t *testing.T) {
			flags := []string{"--migration-data-address=" + c.data}
			if c.control != "" {
				flags = append(flags, "--migration-address="+c.control)
			}
			env.replaceAgent(t, env.b, flags...)
			env.requireSentTo(t, cmp.Or(c.control, env.b.Address()), c.data)
		})
	}
}

// requireSentTo moves a guest from a to b, and looks at the connections of the source.
func (e *environment) requireSentTo(t *testing.T, control, data string) {
	t.Helper()
	g := e.startGuest(t, e.a, lab.GuestConfig{Persistent: true, Load: slowLoad()})
	lm := e.migrate(t, v1alpha1.LiveMigrationSpec{Domain: g.Name(), TargetNode: e.b.Name(), Options: slow()})
	lm = e.awaitCopying(t, lm)
	connections, err := e.a.Exec(t.Context(), "ss", "--tcp", "--numeric", "--no-header", "state", "established")
	if err != nil {
		t.Fatal(err)
	}
	at := net.JoinHostPort
	if !strings.Contains(connections, at(data, "4915")) || !strings.Contains(connections, at(control, "16509")) ||
		control != data && strings.Contains(connections, at(control, "4915")) {
		t.Errorf("the source's connections are:\n%s", connections)
	}
	want := v1alpha1.TargetEndpoint{Transport: v1alpha1.TransportTCP, Address: control, DataAddress: data}
	if got := lm.Status.Target.Endpoint; got == nil || *got != want {
		t.Errorf("the endpoint is %+v, want %+v", got, want)
	}
	e.awaitPhase(t, lm, v1alpha1.PhaseSucceeded)
	e.requireOn(t, g, e.b)
}

// TestDisksHaveANetworkOfTheirOwn: what is copied of disks goes to the target's address for that,
// here in the other family, and nothing else does.
func TestDisksHaveANetworkOfTheirOwn(t *testing.T) {
	const disksAddress, shown = "2001:db8:77::12", "[2001:db8:77::12]:"
	env.receiveDisksElsewhere(t, "2001:db8:77::11/64", disksAddress, 64)
	g, local := env.diskGuest(t)
	lm := env.migrate(t, v1alpha1.LiveMigrationSpec{Domain: g.Name(), TargetNode: env.b.Name(), Options: &v1alpha1.MigrationOptions{
		BandwidthMiBps: new(int64(32)), StorageCopy: &v1alpha1.StorageCopyOptions{Mode: v1alpha1.StorageCopyFull},
	}})
	lm = env.await(t, lm, "a part of the disk", func(now *v1alpha1.LiveMigration) bool {
		p := now.Status.Progress
		return p != nil && p.Disk != nil && p.Disk.ProcessedBytes > 0
	})
	connections, err := env.a.Exec(t.Context(), "ss", "--tcp", "--numeric", "--no-header", "state", "established")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(connections, shown+"4915") || strings.Contains(connections, shown+"16509") {
		t.Errorf("the source's connections are:\n%s", connections)
	}
	if e := lm.Status.Target.Endpoint; e.Address != env.b.Address() || e.DisksAddress != disksAddress {
		t.Errorf("the endpoint is %+v", e)
	}
	env.awaitPhase(t, lm, v1alpha1.PhaseSucceeded)
	env.requireOn(t, g, env.b)
	if listening, err := env.b.Exec(t.Context(), "ss", "--tcp", "--numeric", "--no-header", "--listening"); err != nil || strings.Contains(listening, shown) {
		t.Errorf("something listens still: %s, %v", listening, err)
	}
	requireImages(t, env.b, filepath.Base(local))
}

// receiveDisksElsewhere gives both hosts addresses in another network, and has the target's agent
// tell of its own, until the test ends.
func (e *environment) receiveDisksElsewhere(t *testing.T, source, target string, bits int) {
	t.Helper()
	for h, address := range map[*lab.Host]string{e.a: source, e.b: target + "/" + strconv.Itoa(bits)} {
		add := []string{"address", "add", address, "dev", "eth0"}
		if strings.Contains(address, ":") {
			add = append(add, "nodad")
		}
		if _, err := h.Exec(t.Context(), "ip", add...); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _, _ = h.Exec(context.Background(), "ip", "address", "delete", address, "dev", "eth0") })
	}
	e.replaceAgent(t, e.b, "--migration-disks-address="+target)
	t.Cleanup(func() { e.replaceAgent(t, e.b) })
}

// moveDiskByTLS copies a disk to an address that the target's certificate does not have: the
// source holds it to a name in that.
func (e *environment) moveDiskByTLS(t *testing.T) {
	t.Helper()
	e.receiveDisksElsewhere(t, "192.0.2.211/24", "192.0.2.212", 24)
	const image = lab.PrivateDir + "/by-tls.qcow2"
	g := e.startGuest(t, e.a, lab.GuestConfig{Name: "-tls", Disks: []lab.Disk{{Path: image, SizeMiB: diskMiB, Format: "qcow2"}}})
	lm := e.migrate(t, v1alpha1.LiveMigrationSpec{Domain: g.Name(), TargetNode: e.b.Name(), Options: &v1alpha1.MigrationOptions{
		StorageCopy: &v1alpha1.StorageCopyOptions{Mode: v1alpha1.StorageCopyFull}, Transfer: &v1alpha1.TransferOptions{Encryption: v1alpha1.EncryptionRequired},
	}})
	lm = e.awaitPhase(t, lm, v1alpha1.PhaseSucceeded)
	if plan := lm.Status.Source.Transfer; plan == nil || !plan.Encrypted || plan.TLSDestination == "" {
		t.Errorf("it was sent as %+v", plan)
	}
	e.requireOn(t, g, e.b)
}

// replaceAgent replaces a host's agent by one with more flags.
func (e *environment) replaceAgent(t *testing.T, h *lab.Host, flags ...string) {
	t.Helper()
	if err := h.Agent().Kill(context.Background(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := h.StartVirtferry(context.Background(), flags...); err != nil {
		t.Fatal(err)
	}
}
