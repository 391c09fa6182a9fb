//go:build e2e

package libvirt

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/test/lab"
)

func TestE2EHostAndDomains(t *testing.T) {
	c := startClient(t, nodeA(), Config{})
	info, err := c.HostInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", info)
	if info.UUID == "" || info.Hostname != "node-a" || info.LibvirtVersion == "" || info.HypervisorVersion == "" {
		t.Errorf("host is %+v", info)
	}
	events := record(t, c, "")
	guest := startGuest(t, nodeA(), lab.GuestConfig{Name: "listed", Persistent: true})
	started := events.await(t, 0, "Started/Booted", 5*time.Second)
	if started.UUID != guest.UUID() {
		t.Errorf("event is of %s, want %s", started.UUID, guest.UUID())
	}
	domain, err := c.LookupDomain(t.Context(), guest.UUID())
	if err != nil {
		t.Fatal(err)
	}
	want := hypervisor.Domain{
		UUID: guest.UUID(), Name: "listed", ID: domain.ID, State: hypervisor.StateRunning, Reason: hypervisor.ReasonBooted,
		Persistent: true, MemoryBytes: 128 << 20,
	}
	if domain != want || domain.ID == 0 {
		t.Errorf("domain is %+v, want %+v", domain, want)
	}
	domains, err := c.ListDomains(t.Context())
	if err != nil || len(domains) != 1 || domains[0] != want {
		t.Errorf("domains are %+v, %v", domains, err)
	}
	_, err = c.LookupDomain(t.Context(), "6695eb01-f6a4-8304-79aa-97f2502e1931")
	wantKind(t, err, hypervisor.KindNoDomain)
	_, err = c.JobStats(t.Context(), "6695eb01-f6a4-8304-79aa-97f2502e1931")
	wantKind(t, err, hypervisor.KindNoDomain)
	stats, err := c.JobStats(t.Context(), guest.UUID())
	if err != nil || stats.Type != hypervisor.JobNone {
		t.Errorf("job is %+v, %v", stats, err)
	}
	if _, err := nodeA().Virsh(t.Context(), "destroy", "listed"); err != nil {
		t.Fatal(err)
	}
	events.await(t, 0, "Stopped/Destroyed", 5*time.Second)
	stats, err = c.JobStats(t.Context(), guest.UUID())
	if err != nil || stats.Type != hypervisor.JobNone {
		t.Errorf("job of a domain that is shut off is %+v, %v", stats, err)
	}
	stats, err = c.CompletedJobStats(t.Context(), guest.UUID())
	if err != nil || stats.Type != hypervisor.JobNone {
		t.Errorf("last job of a domain that is shut off is %+v, %v", stats, err)
	}
	if err := c.Undefine(t.Context(), guest.UUID()); err != nil {
		t.Error(err)
	}
	if err := c.Undefine(t.Context(), guest.UUID()); err != nil {
		t.Errorf("undefining twice: %v", err)
	}
}

// TestE2EMissingSecrets: one without a value is of no use, and of a private one nobody is told
// whether it has one.
func TestE2EMissingSecrets(t *testing.T) {
	c := startClient(t, nodeA(), Config{})
	define := func(uuid, attributes, usage, value string) hypervisor.SecretName {
		t.Helper()
		xml := filepath.Join(t.TempDir(), "secret.xml")
		if err := os.WriteFile(xml, []byte("<secret "+attributes+"><uuid>"+uuid+"</uuid>"+usage+"</secret>"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := nodeA().Virsh(t.Context(), "secret-define", xml); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if _, err := nodeA().Virsh(context.WithoutCancel(t.Context()), "secret-undefine", uuid); err != nil {
				t.Error(err)
			}
		})
		if value == "" {
			return hypervisor.SecretName{UUID: uuid}
		}
		if _, err := nodeA().Virsh(t.Context(), "secret-set-value", uuid, value); err != nil {
			t.Fatal(err)
		}
		return hypervisor.SecretName{UUID: uuid}
	}
	const ceph = "<usage type='ceph'><name>client.me secret</name></usage>"
	empty := define("5e26d0f7-8c1e-4b57-9f0e-3a8d2a0c6b11", "ephemeral='yes'", "", "")
	full := define("5e26d0f7-8c1e-4b57-9f0e-3a8d2a0c6b12", "ephemeral='yes'", ceph, "aGVsbG8=")
	private := define("5e26d0f7-8c1e-4b57-9f0e-3a8d2a0c6b13", "ephemeral='yes' private='yes'", "", "aGVsbG8=")
	// Were libvirt to tell this one from the one before, docs/livemigration.md would be wrong.
	hollow := define("5e26d0f7-8c1e-4b57-9f0e-3a8d2a0c6b15", "ephemeral='yes' private='yes'", "", "")
	unknown := hypervisor.SecretName{UUID: "5e26d0f7-8c1e-4b57-9f0e-3a8d2a0c6b14"}
	named := hypervisor.SecretName{UsageType: "ceph", UsageName: "client.me secret"}
	misnamed := hypervisor.SecretName{UsageType: "iscsi", UsageName: "client.me secret"}
	got, err := c.MissingSecrets(t.Context(), "default/one/1", []hypervisor.SecretName{empty, full, private, hollow, unknown, named, misnamed})
	if want := []hypervisor.SecretName{empty, unknown, misnamed}; err != nil || !slices.Equal(got, want) {
		t.Errorf("missing are %+v, %v; want %+v", got, err, want)
	}
}

// TestE2ESecretsAreLent: libvirt tells nobody the value, forgets it with its last borrower, and
// keeps what is its own.
func TestE2ESecretsAreLent(t *testing.T) {
	c := startClient(t, nodeA(), Config{})
	lend := func(name hypervisor.SecretName, borrower string) {
		t.Helper()
		loan := hypervisor.SecretLoan{Name: name, Borrower: borrower, Value: []byte("correct horse")}
		if err := c.LendSecret(t.Context(), loan); err != nil {
			t.Fatal(err)
		}
	}
	wantBorrowers := func(want ...string) {
		t.Helper()
		if got, err := c.SecretBorrowers(t.Context()); err != nil || !slices.Equal(got, want) {
			t.Errorf("the borrowers are %v, %v; want %v", got, err, want)
		}
	}
	disk := hypervisor.SecretName{UUID: "5e26d0f7-8c1e-4b57-9f0e-3a8d2a0c6b21"}
	names := []hypervisor.SecretName{
		disk, {UsageType: "ceph", UsageName: "client.lent secret"}, {UsageType: "iscsi", UsageName: "lent"}, {UsageType: "volume", UsageName: "/lent"},
	}
	for _, name := range names {
		lend(name, "default/one/1")
	}
	lend(disk, "default/two/2")
	lend(disk, "default/two/2")
	if missing, err := c.MissingSecrets(t.Context(), "default/one/1", names); err != nil || len(missing) > 0 {
		t.Errorf("missing are %+v, %v", missing, err)
	}
	if missing, err := c.MissingSecrets(t.Context(), "default/three/3", names); err != nil || !slices.Equal(missing, names) {
		t.Errorf("to whom nothing is lent, missing are %+v, %v", missing, err)
	}
	err := c.LendSecret(t.Context(), hypervisor.SecretLoan{Name: disk, Borrower: "other/one/1", Value: []byte("wrong")})
	if err == nil || hypervisor.KindOf(err) != hypervisor.KindOther || !strings.Contains(err.Error(), "another namespace") {
		t.Errorf("lent to another namespace: %v", err)
	}
	if out, err := nodeA().Virsh(t.Context(), "secret-get-value", disk.UUID); err == nil {
		t.Errorf("the value is told: %s", out)
	}
	wantBorrowers("default/one/1", "default/two/2")
	for _, borrower := range []string{"default/one/1", "default/none/3"} {
		if err := c.ReturnSecrets(t.Context(), borrower); err != nil {
			t.Error(err)
		}
	}
	wantBorrowers("default/two/2")
	if missing, err := c.MissingSecrets(t.Context(), "default/two/2", names); err != nil || !slices.Equal(missing, names[1:]) {
		t.Errorf("missing are %+v, %v", missing, err)
	}
	if err := c.ReturnSecrets(t.Context(), "default/two/2"); err != nil {
		t.Error(err)
	}
	own := filepath.Join(t.TempDir(), "secret.xml")
	// As an administrator makes it of one that was lent.
	const description = "<description>" + lentTo + "default/two/2</description>"
	if err := os.WriteFile(own, []byte("<secret ephemeral='no'><uuid>"+disk.UUID+"</uuid>"+description+"</secret>"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"secret-define", own}, {"secret-set-value", disk.UUID, "aGVsbG8="}} {
		if _, err := nodeA().Virsh(t.Context(), args...); err != nil {
			t.Fatal(err)
		}
	}
	lend(disk, "default/one/1")
	wantBorrowers()
	if out, err := nodeA().Virsh(t.Context(), "secret-get-value", disk.UUID); err != nil || !strings.Contains(out, "aGVsbG8=") {
		t.Errorf("the host's own is %q, %v", out, err)
	}
	if _, err := nodeA().Virsh(t.Context(), "secret-undefine", disk.UUID); err != nil {
		t.Error(err)
	}
}

// TestE2ESecretsAreLentAtOnce: guests that need the same secret are prepared side by side, and
// others end meanwhile.
func TestE2ESecretsAreLentAtOnce(t *testing.T) {
	c := startClient(t, nodeA(), Config{})
	names := []hypervisor.SecretName{{UUID: "5e26d0f7-8c1e-4b57-9f0e-3a8d2a0c6b31"}, {UsageType: "ceph", UsageName: "client.many secret"}}
	for range 10 {
		if err := c.LendSecret(t.Context(), hypervisor.SecretLoan{Name: names[0], Borrower: "default/old/0", Value: []byte("x")}); err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		all.Go(func() {
			if err := c.ReturnSecrets(t.Context(), "default/old/0"); err != nil {
				t.Error(err)
			}
		})
		borrowers := []string{"default/one/1", "default/two/2", "default/three/3"}
		for _, borrower := range borrowers {
			for _, name := range names {
				all.Go(func() {
					if err := c.LendSecret(t.Context(), hypervisor.SecretLoan{Name: name, Borrower: borrower, Value: []byte("x")}); err != nil {
						t.Error(err)
					}
				})
			}
		}
		all.Wait()
		for _, borrower := range borrowers {
			if missing, err := c.MissingSecrets(t.Context(), borrower, names); err != nil || len(missing) > 0 {
				t.Fatalf("of %s, missing are %+v, %v", borrower, missing, err)
			}
			if err := c.ReturnSecrets(t.Context(), borrower); err != nil {
				t.Fatal(err)
			}
		}
		if left, err := c.SecretBorrowers(t.Context()); err != nil || len(left) > 0 {
			t.Fatalf("it is still lent to %v, %v", left, err)
		}
	}
}

func TestE2EClientSurvivesARestartOfItsDaemon(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
		t.Run(signal.String(), func(t *testing.T) {
			c := startClient(t, nodeA(), Config{})
			events := record(t, c, "")
			guest := startGuest(t, nodeA(), lab.GuestConfig{Name: "survivor"})
			signalDaemon(t, nodeA(), signal)
			_, err := c.LookupDomain(t.Context(), guest.UUID())
			wantKind(t, err, hypervisor.KindConnectionLost)
			seen := len(events.all())
			if err := nodeA().StartLibvirtd(t.Context()); err != nil {
				t.Fatal(err)
			}
			up := time.Now()
			events.await(t, seen, "Resync", 2*time.Second)
			t.Logf("resync came %v after the daemon answered", time.Since(up))
			if _, err := c.LookupDomain(t.Context(), guest.UUID()); err != nil {
				t.Error(err)
			}
			t.Logf("calls went %v after the daemon answered", time.Since(up))
			seen = len(events.all())
			if _, err := nodeA().Virsh(t.Context(), "suspend", "survivor"); err != nil {
				t.Fatal(err)
			}
			events.await(t, seen, "Suspended/Paused", 2*time.Second)
		})
	}
}

func TestE2EHungDaemonStopsNobodyElse(t *testing.T) {
	const timeout = time.Second
	hung := startClient(t, nodeA(), Config{CallTimeout: timeout})
	other := startClient(t, nodeB(), Config{CallTimeout: timeout})
	events := record(t, hung, "")
	guest := startGuest(t, nodeA(), lab.GuestConfig{Name: "behind"})
	if _, err := hung.ListDomains(t.Context()); err != nil {
		t.Fatal(err)
	}

	signalDaemon(t, nodeA(), syscall.SIGSTOP)
	t.Cleanup(func() { _ = nodeA().KillLibvirtd(context.Background(), syscall.SIGCONT) })
	for range 3 {
		var group sync.WaitGroup
		for range 10 {
			group.Go(func() {
				begin := time.Now()
				_, err := hung.LookupDomain(t.Context(), guest.UUID())
				wantKind(t, err, hypervisor.KindTimeout)
				if took := time.Since(begin); took > timeout+200*time.Millisecond {
					t.Errorf("call took %v", took)
				}
			})
		}
		for range 5 {
			begin := time.Now()
			if _, err := other.ListDomains(t.Context()); err != nil {
				t.Error(err)
			}
			if took := time.Since(begin); took > 200*time.Millisecond {
				t.Errorf("call to the other daemon took %v", took)
			}
		}
		group.Wait()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	begin := time.Now()
	_, err := hung.HostInfo(ctx)
	wantKind(t, err, hypervisor.KindTimeout)
	if took := time.Since(begin); took > 100*time.Millisecond {
		t.Errorf("call took %v", took)
	}

	signalDaemon(t, nodeA(), syscall.SIGCONT)
	begin = time.Now()
	eventually(t, 2*time.Second, func() error {
		_, err := hung.LookupDomain(t.Context(), guest.UUID())
		return err
	})
	t.Logf("calls went %v after the daemon went on", time.Since(begin))
	seen := len(events.all())
	if _, err := nodeA().Virsh(t.Context(), "suspend", "behind"); err != nil {
		t.Fatal(err)
	}
	events.await(t, seen, "Suspended/Paused", 2*time.Second)
	eventually(t, 5*time.Second, func() error {
		hung.control.mu.Lock()
		defer hung.control.mu.Unlock()
		if len(hung.control.hung) != 0 {
			return fmt.Errorf("calls still hang: %v", hung.control.hung)
		}
		return nil
	})
}

// TestE2EKeepAliveNoticesAHungDaemon waits for the probes to find out.
func TestE2EKeepAliveNoticesAHungDaemon(t *testing.T) {
	c := startClient(t, nodeA(), Config{CallTimeout: 2 * time.Second, KeepAliveInterval: time.Second, KeepAliveCount: 1})
	events := record(t, c, "")
	seen := len(events.all())
	signalDaemon(t, nodeA(), syscall.SIGSTOP)
	t.Cleanup(func() { _ = nodeA().KillLibvirtd(context.Background(), syscall.SIGCONT) })
	time.Sleep(5 * time.Second)
	signalDaemon(t, nodeA(), syscall.SIGCONT)
	events.await(t, seen, "Resync", 3*time.Second)
	if _, err := c.ListDomains(t.Context()); err != nil {
		t.Error(err)
	}
}
