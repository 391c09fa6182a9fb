//go:build e2e

package libvirt

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/test/lab"
)

func TestE2EMigrateErrors(t *testing.T) {
	a := startClient(t, nodeA(), Config{})
	guest := startGuest(t, nodeA(), lab.GuestConfig{
		Name: "stayer", Disks: []lab.Disk{{Path: lab.SharedDir + "/stayer.img", SizeMiB: 1}},
	})
	off := startGuest(t, nodeA(), lab.GuestConfig{Name: "off", Persistent: true})
	if _, err := nodeA().Virsh(t.Context(), "destroy", "off"); err != nil {
		t.Fatal(err)
	}
	good := paramsFor(t, a, guest.UUID(), nodeB())
	tests := []struct {
		name   string
		uuid   string
		change func(*hypervisor.MigrateParams)
		want   hypervisor.Kind
	}{
		{"no shared file system", guest.UUID(), func(*hypervisor.MigrateParams) {}, hypervisor.KindUnsafe},
		{"unknown domain", "6695eb01-f6a4-8304-79aa-97f2502e1931", func(*hypervisor.MigrateParams) {}, hypervisor.KindNoDomain},
		{"shut off domain", off.UUID(), func(*hypervisor.MigrateParams) {}, hypervisor.KindOperationInvalid},
		{"changed guest", guest.UUID(), func(p *hypervisor.MigrateParams) {
			p.LiveXML = hypervisor.DomainXML(strings.Replace(string(p.LiveXML), ">1</vcpu>", ">2</vcpu>", 1))
		}, hypervisor.KindConfigUnsupported},
		{"malformed definition", guest.UUID(), func(p *hypervisor.MigrateParams) {
			p.LiveXML = hypervisor.DomainXML("\n<domain><graphics passwd='sesame'</domain>")
		}, hypervisor.KindConfigUnsupported},
		{"nobody listens", guest.UUID(), func(p *hypervisor.MigrateParams) {
			p.DestinationURI = "qemu+tcp://node-b:1/system"
		}, hypervisor.KindPeerLost},
		{"unknown host", guest.UUID(), func(p *hypervisor.MigrateParams) {
			p.DestinationURI = "qemu+tcp://nowhere.invalid/system"
		}, hypervisor.KindPeerLost},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			params := good
			params.AllowUnsafe = test.want != hypervisor.KindUnsafe
			test.change(&params)
			begin := time.Now()
			err := a.Migrate(t.Context(), test.uuid, params)
			t.Logf("after %v: %v", time.Since(begin), err)
			wantKind(t, err, test.want)
			if strings.Contains(err.Error(), "sesame") {
				t.Error("the error holds a secret")
			}
		})
	}
	good.AllowUnsafe = true
	if err := a.Migrate(t.Context(), guest.UUID(), good); err != nil {
		t.Errorf("the migration as it should be: %v", err)
	}
}

func TestE2EDaemonDiesDuringAMigration(t *testing.T) {
	for _, host := range []*lab.Host{nodeA(), nodeB()} {
		t.Run(host.Name(), func(t *testing.T) {
			a, b := startClient(t, nodeA(), Config{}), startClient(t, nodeB(), Config{})
			guest := startGuest(t, nodeA(), lab.GuestConfig{Name: "tenacious", Persistent: true})
			params := paramsFor(t, a, guest.UUID(), nodeB())
			params.BandwidthMiBps = 2
			result := startMigration(t.Context(), a, guest.UUID(), params)
			awaitCopying(t, a, guest.UUID())
			begin := time.Now()
			signalDaemon(t, host, syscall.SIGKILL)
			err := <-result
			t.Logf("after %v: %v", time.Since(begin), err)
			want := hypervisor.KindConnectionLost
			if host != nodeA() {
				want = hypervisor.KindPeerLost
			}
			wantKind(t, err, want)
			if err := host.StartLibvirtd(t.Context()); err != nil {
				t.Fatal(err)
			}
			eventually(t, 10*time.Second, func() error {
				if _, err := b.LookupDomain(t.Context(), guest.UUID()); !hypervisor.IsNoDomain(err) {
					return fault("waiting", hypervisor.KindOther, "the destination still has its half")
				}
				domain, err := a.LookupDomain(t.Context(), guest.UUID())
				if err != nil || domain.State != hypervisor.StateRunning {
					return fault("waiting", hypervisor.KindOther, "the source does not run the guest: "+string(domain.State))
				}
				stats, err := a.JobStats(t.Context(), guest.UUID())
				if err == nil && stats.Active() {
					err = fault("waiting", hypervisor.KindOther, "the source still has the job")
				}
				return err
			})
		})
	}
}
