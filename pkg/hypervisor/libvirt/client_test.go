package libvirt

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	lv "libvirt.org/go/libvirt"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// These tests use the hypervisor that libvirt's client library simulates
// inside the process: they need the library, but no daemon.

const testDomain = "6695eb01-f6a4-8304-79aa-97f2502e193f"

// newTestClient returns a client of the simulated hypervisor, with one domain.
func newTestClient(t *testing.T) *Client {
	t.Helper()
	c, err := New(Config{anyDriver: true, URI: "test:///default", CallTimeout: 5 * time.Second})
	if err != nil {
		t.Skipf("libvirt's client library is missing: %v", err)
	}
	return c
}

// run runs a client and returns what ends it.
func run(t *testing.T, c *Client) func() {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run returned %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func TestClientReadsTheHost(t *testing.T) {
	c := newTestClient(t)
	run(t, c)
	info, err := c.HostInfo(t.Context())
	if err != nil || info.Hostname == "" || info.LibvirtVersion == "" || info.HypervisorVersion == "" {
		t.Errorf("host is %+v, %v", info, err)
	}
	want := hypervisor.Domain{
		UUID: testDomain, Name: "test", ID: 1, State: hypervisor.StateRunning, Reason: hypervisor.ReasonUnknown,
		Persistent: true, MemoryBytes: 8 << 30,
	}
	domains, err := c.ListDomains(t.Context())
	if err != nil || len(domains) != 1 || domains[0] != want {
		t.Errorf("domains are %+v, %v", domains, err)
	}
	domain, err := c.LookupDomain(t.Context(), testDomain)
	if err != nil || domain != want {
		t.Errorf("domain is %+v, %v", domain, err)
	}
	_, err = c.LookupDomain(t.Context(), "6695eb01-f6a4-8304-79aa-97f2502e1931")
	if !hypervisor.IsNoDomain(err) {
		t.Errorf("got %v", err)
	}
	if err := c.Undefine(t.Context(), testDomain); hypervisor.KindOf(err) != hypervisor.KindOperationInvalid {
		t.Errorf("undefining an active domain: %v", err)
	}
	if err := c.Undefine(t.Context(), "6695eb01-f6a4-8304-79aa-97f2502e1931"); err != nil {
		t.Errorf("undefining an unknown domain: %v", err)
	}
}

func TestClientReadsDefinitions(t *testing.T) {
	c := newTestClient(t)
	run(t, c)
	text, err := c.DomainXML(t.Context(), testDomain, hypervisor.XMLInactive)
	if err != nil || len(text) == 0 {
		t.Errorf("got %d bytes, %v", len(text), err)
	}
	if _, err := c.DomainXML(t.Context(), testDomain, 7); err == nil {
		t.Error("an unknown form is no error")
	}
	if ties, err := c.Ties(t.Context(), testDomain); err != nil || ties.Snapshots != 0 || ties.Checkpoints != 0 || ties.BlockJobs != nil {
		t.Errorf("there are %+v, %v", ties, err)
	}
}

func TestClientSendsEvents(t *testing.T) {
	c := newTestClient(t)
	events := c.Subscribe(t.Context(), testDomain)
	run(t, c)
	if event := <-events; event.Type != hypervisor.EventResync {
		t.Fatalf("the first event is %+v", event)
	}
	suspend := func(domain *lv.Domain) error { return domain.Suspend() }
	if err := toDomain(t.Context(), c, "suspending", testDomain, suspend); err != nil {
		t.Fatal(err)
	}
	want := hypervisor.Event{
		Type: hypervisor.EventLifecycle, UUID: testDomain, Lifecycle: hypervisor.LifecycleSuspended, Detail: "Paused",
	}
	if event := <-events; event != want {
		t.Errorf("got %+v, want %+v", event, want)
	}
	// The simulated hypervisor is shared by the connections of the process.
	if err := toDomain(t.Context(), c, "resuming", testDomain, (*lv.Domain).Resume); err != nil {
		t.Fatal(err)
	}
}

func TestClientWaitsForRun(t *testing.T) {
	c := newTestClient(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := c.ListDomains(ctx); hypervisor.KindOf(err) != hypervisor.KindTimeout {
		t.Errorf("got %v", err)
	}
	if err := c.Migrate(ctx, testDomain, hypervisor.MigrateParams{DestinationURI: "test:///default", LiveXML: "x"}); hypervisor.KindOf(err) != hypervisor.KindNotSent {
		t.Errorf("got %v", err)
	}
	result := make(chan error, 1)
	go func() {
		_, err := c.ListDomains(t.Context())
		result <- err
	}()
	run(t, c)
	if err := <-result; err != nil {
		t.Error(err)
	}
}

func TestClientRunsOnce(t *testing.T) {
	c := newTestClient(t)
	stop := run(t, c)
	if _, err := c.ListDomains(t.Context()); err != nil {
		t.Fatal(err)
	}
	stop()
	if err := c.Run(t.Context()); err == nil {
		t.Error("Run ran twice")
	}
	_, err := c.ListDomains(t.Context())
	if hypervisor.KindOf(err) != hypervisor.KindConnectionLost {
		t.Errorf("got %v", err)
	}
}

func TestClientReturnsWhenItsContextEnds(t *testing.T) {
	c := newTestClient(t)
	stop := run(t, c)
	release := make(chan struct{})
	hang := func(*lv.Connect) (int, error) {
		<-release
		return 0, nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	results := make(chan error)
	go func() {
		_, err := call(ctx, c, "hanging", "one", hang)
		results <- err
	}()
	cancel()
	if err := <-results; hypervisor.KindOf(err) != hypervisor.KindCanceled {
		t.Errorf("the caller left, and got %v", err)
	}
	go func() {
		_, err := call(t.Context(), c, "hanging", "two", hang)
		results <- err
	}()
	if _, err := c.ListDomains(t.Context()); err != nil {
		t.Error(err)
	}
	time.AfterFunc(50*time.Millisecond, func() { stop() })
	if err := <-results; hypervisor.KindOf(err) != hypervisor.KindCanceled {
		t.Errorf("the client was closed, and the caller got %v", err)
	}
	close(release)
	stop() // Until it has ended, the client may still spawn what is waited for.
	c.control.wait()
}

func TestClientCannotConnect(t *testing.T) {
	c, err := New(Config{URI: "qemu+unix:///system?socket=/nonexistent"})
	if err != nil {
		t.Skip(err)
	}
	run(t, c)
	begin := time.Now()
	_, err = c.ListDomains(t.Context())
	if hypervisor.KindOf(err) != hypervisor.KindConnectionLost {
		t.Errorf("got %v", err)
	}
	if took := time.Since(begin); took > time.Second {
		t.Errorf("it took %v", took)
	}
	if contact := c.Contact(); contact.Control.Failed == 0 || contact.Control.Again != 0 || contact.Abandoned != 0 {
		t.Errorf("the contact is %+v", contact)
	}
	params := hypervisor.MigrateParams{DestinationURI: "test:///default", LiveXML: "x"}
	if err := c.Migrate(t.Context(), testDomain, params); hypervisor.KindOf(err) != hypervisor.KindNotSent {
		t.Errorf("got %v", err)
	}
}

func TestNewRefusesNonsense(t *testing.T) {
	for _, config := range []Config{{CallTimeout: -1}, {KeepAliveInterval: -1}, {KeepAliveCount: -1}} {
		if _, err := New(config); err == nil {
			t.Errorf("%+v is accepted", config)
		}
	}
}

func TestMigrateRefusesHalfAnOrder(t *testing.T) {
	c := newTestClient(t)
	for _, params := range []hypervisor.MigrateParams{{DestinationURI: "x"}, {LiveXML: "x"}} {
		if err := c.Migrate(t.Context(), testDomain, params); err == nil {
			t.Errorf("%+v is accepted", params)
		}
	}
}

// TestClientLeavesNothingBehind starts and ends clients, several at a time, and
// counts goroutines and file descriptors afterwards.
func TestClientLeavesNothingBehind(t *testing.T) {
	warmUp := newTestClient(t)
	run(t, warmUp)()
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	before := openFiles(t)
	for range 10 {
		var group sync.WaitGroup
		for range 5 {
			group.Go(func() {
				c, err := New(Config{anyDriver: true, URI: "test:///default"})
				if err != nil {
					t.Error(err)
					return
				}
				ctx, cancel := context.WithCancel(context.Background())
				ended := make(chan error, 1)
				go func() { ended <- c.Run(ctx) }()
				for range 20 {
					if _, err := c.LookupDomain(ctx, testDomain); err != nil {
						t.Error(err)
					}
				}
				cancel()
				if err := <-ended; err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
	}
	if after := openFiles(t); len(after) > len(before) {
		t.Errorf("open files are %v, were %v", after, before)
	}
	processLoop.mu.Lock()
	defer processLoop.mu.Unlock()
	if processLoop.users != 0 || processLoop.done != nil {
		t.Errorf("the event loop still turns, for %d users", processLoop.users)
	}
}

// openFiles returns what the process has open, but for regular files.
func openFiles(t *testing.T) []string {
	t.Helper()
	const dir = "/proc/self/fd"
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("there is no /proc")
	}
	if err != nil {
		t.Fatal(err)
	}
	var open []string
	for _, entry := range entries {
		if target, err := os.Readlink(filepath.Join(dir, entry.Name())); err == nil && !filepath.IsAbs(target) {
			open = append(open, target)
		}
	}
	return open
}

// TestAUUIDIsWrittenInOneWay: libvirt takes one without dashes, with blanks around it, and in
// capitals, for that of the same domain. What everybody else compares is the text.
func TestAUUIDIsWrittenInOneWay(t *testing.T) {
	c := newTestClient(t)
	run(t, c)
	bare := strings.ReplaceAll(testDomain, "-", "")
	for _, alias := range []string{strings.ToUpper(testDomain), bare, bare + "    ", "    " + bare} {
		if domain, err := c.LookupDomain(t.Context(), alias); !hypervisor.IsNoDomain(err) {
			t.Errorf("%q is the guest %s: %v", alias, domain.UUID, err)
		}
		params := hypervisor.MigrateParams{DestinationURI: "qemu+tcp://192.0.2.1/system", LiveXML: "<domain/>"}
		if err := c.Migrate(t.Context(), alias, params); !hypervisor.IsNoDomain(err) {
			t.Errorf("migrating %q: %v", alias, err)
		}
		if err := c.Undefine(t.Context(), alias); err != nil {
			t.Errorf("undefining %q, which is no domain: %v", alias, err)
		}
	}
	if _, err := c.LookupDomain(t.Context(), testDomain); err != nil {
		t.Error(err)
	}
}
