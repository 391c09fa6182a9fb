//go:build e2e

package libvirt

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/test/lab"
)

// The end-to-end tests share one lab of two hosts. Each leaves the daemons
// running and no guest behind.
var testLab *lab.Lab

func TestMain(m *testing.M) { os.Exit(runWithLab(m)) }

func runWithLab(m *testing.M) int {
	l, err := lab.Start(context.Background(), lab.Options{Hosts: 2, Log: func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, format+"\n", args...)
	}})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() {
		if err := l.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}()
	testLab = l
	return m.Run()
}

func nodeA() *lab.Host { return testLab.Host("node-a") }
func nodeB() *lab.Host { return testLab.Host("node-b") }

// startClient runs a client of a host until the test ends, and fails the test
// when Run does not return then. The client receives events already.
func startClient(t *testing.T, host *lab.Host, config Config) *Client {
	t.Helper()
	config.URI = host.LibvirtURI()
	if config.Logger == nil {
		config.Logger = slog.New(slog.NewTextHandler(t.Output(), nil)).With("host", host.Name())
	}
	c, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	first := record(t, c, "")
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		begin := time.Now()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("Run returned %v", err)
			}
			if took := time.Since(begin); took > time.Second {
				t.Errorf("Run took %v to return", took)
			}
		case <-time.After(10 * time.Second):
			t.Error("Run did not return")
		}
	})
	first.await(t, 0, "Resync", 5*time.Second)
	return c
}

// startGuest starts a guest and destroys it everywhere when the test ends.
func startGuest(t *testing.T, host *lab.Host, config lab.GuestConfig) *lab.Guest {
	t.Helper()
	guest, err := host.StartGuest(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
		defer cancel()
		for _, h := range testLab.Hosts() {
			// Each fails where there is nothing to do.
			_, _ = h.Virsh(ctx, "destroy", config.Name)
			_, _ = h.Virsh(ctx, "undefine", config.Name)
		}
	})
	return guest
}

// recorder collects a stream of events.
type recorder struct {
	begin time.Time

	mu     sync.Mutex
	events []recorded
	grown  chan struct{}
}

type recorded struct {
	hypervisor.Event
	at time.Duration
}

func (r recorded) String() string {
	switch r.Type {
	case hypervisor.EventLifecycle:
		return fmt.Sprintf("%s/%s", r.Lifecycle, r.Detail)
	case hypervisor.EventIteration:
		return fmt.Sprintf("Iteration %d", r.Iteration)
	}
	return string(r.Type)
}

// String shows when after the recorder's start what happened.
func (r *recorder) String() string {
	var text strings.Builder
	for _, event := range r.all() {
		fmt.Fprintf(&text, "%v %v; ", event.at.Round(time.Millisecond), event)
	}
	return text.String()
}

func record(t *testing.T, c hypervisor.Host, uuid string) *recorder {
	t.Helper()
	r := &recorder{begin: time.Now(), grown: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	events := c.Subscribe(ctx, uuid)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for event := range events {
			r.mu.Lock()
			r.events = append(r.events, recorded{event, time.Since(r.begin)})
			close(r.grown)
			r.grown = make(chan struct{})
			r.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return r
}

func (r *recorder) all() []recorded {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]recorded(nil), r.events...)
}

// await returns the first event, from index on, that is as described.
func (r *recorder) await(t *testing.T, from int, want string, within time.Duration) recorded {
	t.Helper()
	timeout := time.After(within)
	for {
		r.mu.Lock()
		grown := r.grown
		r.mu.Unlock()
		for _, event := range r.all()[from:] {
			if event.String() == want {
				return event
			}
		}
		select {
		case <-grown:
		case <-timeout:
			t.Fatalf("no event %s within %v, but %v", want, within, r.all()[from:])
		}
	}
}

// eventually asks again and again until the answer is nil.
func eventually(t *testing.T, within time.Duration, check func() error) {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %v: %v", within, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func signalDaemon(t *testing.T, host *lab.Host, signal syscall.Signal) {
	t.Helper()
	if err := host.KillLibvirtd(t.Context(), signal); err != nil {
		t.Fatal(err)
	}
}

func wantKind(t *testing.T, err error, want hypervisor.Kind) {
	t.Helper()
	if got := hypervisor.KindOf(err); got != want {
		t.Errorf("error is of kind %q, want %q: %v", got, want, err)
	}
}
