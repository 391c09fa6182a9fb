//go:build e2e && linux

package lab_test

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/virtferry/virtferry/test/lab"
)

// Environment variables that make this test's executable something else.
const (
	ownerVariable   = "VIRTFERRY_LAB_TEST_OWNER"   // Own a lab until killed.
	standInVariable = "VIRTFERRY_LAB_TEST_STANDIN" // Stand in for virtferry.
)

// stepTimeout bounds each test's waiting, generously for a busy machine.
const stepTimeout = 90 * time.Second

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(ownerVariable) != "":
		os.Exit(ownLab())
	case os.Getenv(standInVariable) != "":
		os.Exit(standIn(os.Args[1:]))
	default:
		os.Exit(m.Run())
	}
}

// ownLab starts a lab with a guest and a delay, says so, and waits for the end.
func ownLab() int {
	ctx := context.Background()
	l, err := lab.Start(ctx, lab.Options{Hosts: 2, ControlPlane: true})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if _, err := l.Host("node-a").StartGuest(ctx, lab.GuestConfig{Name: "orphan"}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := l.Host("node-b").Delay(ctx, time.Millisecond); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(l.Dir())
	select {}
}

// standIn does what the lab expects of virtferry: it takes the flags, answers
// /readyz, and ends by SIGTERM. "fail" among its arguments makes it end at once.
func standIn(args []string) int {
	flags := flag.NewFlagSet("stand-in", flag.ContinueOnError)
	health := flags.String("health-probe-bind-address", "", "")
	fail := flags.Bool("fail", false, "")
	for _, name := range []string{"kubeconfig", "metrics-bind-address", "node-name", "libvirt-uri", "migration-address", "host-root"} {
		flags.String(name, "", "")
	}
	if err := flags.Parse(args[1:]); err != nil {
		return 2
	}
	fmt.Println(strings.Join(args, " "))
	if *fail {
		fmt.Println("failing as asked")
		return 3
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	server := &http.Server{Addr: *health, ReadHeaderTimeout: time.Second}
	http.HandleFunc("/readyz", func(http.ResponseWriter, *http.Request) {})
	context.AfterFunc(ctx, func() { _ = server.Close() })
	fmt.Println(server.ListenAndServe())
	return 0
}

// start starts a lab for a test, and returns it with a context for its steps.
func start(t *testing.T, options lab.Options) (context.Context, *lab.Lab) {
	t.Helper()
	l := lab.ForTest(t, options)
	ctx, cancel := context.WithTimeout(t.Context(), stepTimeout)
	t.Cleanup(cancel)
	return ctx, l
}

// startGuest starts a guest and waits until it ticks.
func startGuest(ctx context.Context, t *testing.T, h *lab.Host, config lab.GuestConfig) *lab.Guest {
	t.Helper()
	g, err := h.StartGuest(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.Ticks().Wait(ctx, h.Name(), 1); err != nil {
		t.Fatal(err)
	}
	return g
}

// listens says whether something listens on a port of the host's own address.
func listens(ctx context.Context, t *testing.T, h *lab.Host, port uint16) bool {
	t.Helper()
	sockets, err := h.Listening(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sockets {
		if s.Port() == port && s.Addr().String() == h.Address() {
			return true
		}
	}
	return false
}

// eventually waits until check is true.
func eventually(ctx context.Context, t *testing.T, what string, check func() bool) {
	t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for !check() {
		select {
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, ctx.Err())
		case <-ticker.C:
		}
	}
}
