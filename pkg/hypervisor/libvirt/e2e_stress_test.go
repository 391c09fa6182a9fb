//go:build e2e

package libvirt

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	lv "libvirt.org/go/libvirt"

	"github.com/virtferry/virtferry/test/lab"
)

const labProcess = "github.com/virtferry/virtferry/test/lab.(*spawner).startProcess.func1"

// TestE2EClientsComeAndGoAmidEvents ends clients while events arrive, half of
// them while their daemon dies too. The client library panics when an event
// meets a callback that is gone.
func TestE2EClientsComeAndGoAmidEvents(t *testing.T) {
	startGuest(t, nodeA(), lab.GuestConfig{Name: "busy"})
	// The lab has a goroutine for each libvirtd that it starts.
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent(), goleak.IgnoreAnyFunction(labProcess))
	runBriefly(t, 50*time.Millisecond)
	before := openFiles(t)
	ctx, cancel := context.WithCancel(t.Context())
	var noise sync.WaitGroup
	noise.Go(func() { toggle(ctx, "busy") })
	var received, killed int
	for round := range 30 {
		var group sync.WaitGroup
		var mu sync.Mutex
		for range 4 {
			group.Go(func() {
				n := runBriefly(t, time.Duration(50+10*round)*time.Millisecond)
				mu.Lock()
				received += n
				mu.Unlock()
			})
		}
		if round%10 == 9 {
			time.Sleep(time.Duration(45+10*round) * time.Millisecond)
			if err := nodeA().KillLibvirtd(ctx, syscall.SIGKILL); err != nil {
				t.Error(err)
			}
			killed++
		}
		group.Wait()
		if err := nodeA().StartLibvirtd(ctx); err != nil {
			t.Error(err)
		}
	}
	cancel()
	noise.Wait()
	// The library closes a connection's files when its event loop turns next,
	// which it does for clients only. Where its daemon was killed, it was seen to keep a
	// file once in many runs; what a client forgot would be there once for each of them.
	t.Logf("received %d events", received)
	if received < 100 {
		t.Errorf("received %d events only", received)
	}
	eventually(t, 10*time.Second, func() error {
		runBriefly(t, 50*time.Millisecond)
		if after := openFiles(t); len(after) > len(before)+killed {
			return fmt.Errorf("open files are %v, were %v", after, before)
		}
		return nil
	})
}

// runBriefly runs a client for a while and returns how many events it received.
func runBriefly(t *testing.T, length time.Duration) int {
	c, err := New(Config{URI: nodeA().LibvirtURI()})
	if err != nil {
		t.Error(err)
		return 0
	}
	ctx, cancel := context.WithTimeout(context.Background(), length)
	defer cancel()
	events := c.Subscribe(ctx, "")
	if err := c.Run(ctx); err != nil {
		t.Error(err)
	}
	var n int
	for range events {
		n++
	}
	return n
}

// toggle pauses and resumes a guest until ctx ends.
func toggle(ctx context.Context, name string) {
	for ctx.Err() == nil {
		conn, err := lv.NewConnect(nodeA().LibvirtURI())
		if err != nil {
			time.Sleep(20 * time.Millisecond)
			continue
		}
		if domain, err := conn.LookupDomainByName(name); err == nil {
			for ctx.Err() == nil && domain.Suspend() == nil && domain.Resume() == nil {
			}
			_ = domain.Resume()
			_ = domain.Free()
		}
		_, _ = conn.Close()
	}
}

// TestE2EManyDomains measures what a host with many domains costs.
func TestE2EManyDomains(t *testing.T) {
	const count = 300
	c := startClient(t, nodeA(), Config{})
	conn, err := lv.NewConnect(nodeA().LibvirtURI())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = conn.Close() }()
	t.Cleanup(func() {
		domains, err := c.ListDomains(context.Background())
		if err != nil {
			t.Error(err)
		}
		for _, domain := range domains {
			if strings.HasPrefix(domain.Name, "many-") {
				if err := c.Undefine(context.Background(), domain.UUID); err != nil {
					t.Error(err)
				}
			}
		}
	})
	startGuest(t, nodeA(), lab.GuestConfig{Name: "one"})
	for i := range count {
		domain, err := conn.DomainDefineXML(fmt.Sprintf(`<domain type='qemu'><name>many-%03d</name><memory unit='MiB'>64</memory>
			<os><type arch='x86_64' machine='pc-i440fx-7.2'>hvm</type></os></domain>`, i))
		if err != nil {
			t.Fatal(err)
		}
		_ = domain.Free()
	}
	for range 3 {
		begin := time.Now()
		domains, err := c.ListDomains(t.Context())
		if err != nil || len(domains) < count {
			t.Fatalf("got %d domains, %v", len(domains), err)
		}
		t.Logf("listing %d domains took %v", len(domains), time.Since(begin))
		begin = time.Now()
		stats, err := conn.GetAllDomainStats(nil, lv.DOMAIN_STATS_STATE|lv.DOMAIN_STATS_BALLOON, lv.CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("bulk statistics of %d domains took %v", len(stats), time.Since(begin))
		for i := range stats {
			_ = stats[i].Domain.Free()
		}
	}
}
