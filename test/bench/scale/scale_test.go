//go:build linux

package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestRequestsOfComponentsAreCounted(t *testing.T) {
	t.Parallel()
	const line = `{"verb":%q,"user":{"username":"system:serviceaccount:virtferry-system:%s"},"objectRef":{"resource":%q,"subresource":%q,"name":%q}}` + "\n"
	log := &auditLog{path: filepath.Join(t.TempDir(), "audit.log")}
	write := func(lines ...string) {
		t.Helper()
		file, err := os.OpenFile(log.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.WriteString(strings.Join(lines, "")); err != nil {
			t.Fatal(err)
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
	}
	read := func() requests {
		t.Helper()
		found, err := log.requests()
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	patch := fmt.Sprintf(line, "patch", "virtferry-manager", "livemigrations", "status", "a")
	write(
		patch, patch,
		fmt.Sprintf(line, "patch", "virtferry-agent", "leases", "", "agent-node-1"),
		fmt.Sprintf(line, "update", "virtferry-manager", "leases", "", "virtferry-manager"),
		fmt.Sprintf(line, "update", "virtferry-manager", "leases", "", "virtferry-slots"),
		patch[:10],
	)
	found := read()
	if n := found[request{"virtferry-manager", "patch", "livemigrations/status"}]; n != 2 {
		t.Errorf("%d writes of a status are counted, want 2", n)
	}
	if found.total() != 3 {
		t.Errorf("%v are counted, want no signs of life and 3 requests", found)
	}
	write(patch[10:])
	if found := read(); found.total() != 1 {
		t.Errorf("%v are counted after a line has been finished, want that line alone", found)
	}
}

func TestPercentileIsOneOfTheMeasured(t *testing.T) {
	t.Parallel()
	var hundred []time.Duration
	for i := range 100 {
		hundred = append(hundred, time.Duration(i+1))
	}
	for _, c := range []struct {
		sorted  []time.Duration
		percent int
		want    time.Duration
	}{
		{hundred, 50, 50},
		{hundred, 99, 99},
		{hundred[:10], 99, 10},
		{hundred[:1], 50, 1},
	} {
		if got := percentile(c.sorted, c.percent); got != c.want {
			t.Errorf("the %d. percentile of %d is %d, want %d", c.percent, len(c.sorted), got, c.want)
		}
	}
}

func TestGrowthIsThatOfEachMigration(t *testing.T) {
	t.Parallel()
	tenth := figures{plan: plan{finished: 100}, ready: time.Second, peak: 50, requestsPerMigration: 10}
	whole := figures{plan: plan{finished: 1000}, ready: 20 * time.Second, peak: 100, requestsPerMigration: 11}
	var out strings.Builder
	printGrowth(&out, tenth, whole)
	const want = "growth_manager_ready_s: 2.00\ngrowth_manager_peak_mib: 0.20\ngrowth_api_requests_per_migration: 1.10\n"
	if out.String() != want {
		t.Errorf("got\n%s, want\n%s", out.String(), want)
	}
}

func TestDepthIsThatOfAllQueues(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "# HELP workqueue_depth Current depth of workqueue by workqueue and priority")
		fmt.Fprintln(w, `workqueue_depth{controller="livemigration",name="livemigration",priority="0"} 3`)
		fmt.Fprintln(w, `workqueue_depth{controller="livemigration",name="livemigration",priority="-100"} 12`)
		fmt.Fprintln(w, `workqueue_adds_total{controller="livemigration",name="livemigration"} 77`)
	}))
	defer server.Close()
	depth, err := queueDepth(t.Context(), server.URL)
	if err != nil || depth != 15 {
		t.Errorf("got a depth of %d and %v, want 15", depth, err)
	}
}
