//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// console appends text to a guest's console on a host.
func console(t *testing.T, h *Host, text string) {
	t.Helper()
	f, err := os.OpenFile(h.Path(ConsolePath("g")), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

// twoConsoles follows guest g on two hosts that exist as directories only.
func twoConsoles(t *testing.T) (*Ticks, *Host, *Host) {
	t.Helper()
	l := &Lab{dir: t.TempDir()}
	a, b := newHost(l, 0), newHost(l, 1)
	for _, h := range []*Host{a, b} {
		if err := os.MkdirAll(h.Path(consoleDir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	console(t, a, "tick 7 uptime 7.000\r\n") // From an earlier life of the guest.
	ticks, err := followTicks("g")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ticks.stop)
	for _, h := range []*Host{a, b, a} { // Following twice must not count twice.
		if err := ticks.follow(h); err != nil {
			t.Fatal(err)
		}
	}
	return ticks, a, b
}

func TestTicksFollowTheGuestFromHostToHost(t *testing.T) {
	ticks, a, b := twoConsoles(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	wait := func(host string, n int) Tick {
		t.Helper()
		tick, err := ticks.Wait(ctx, host, n)
		if err != nil {
			t.Fatal(err)
		}
		return tick
	}

	console(t, a, "disk /dev/vda size 1\r\ntick 1 uptime 0.500\r\n")
	wait("", 1)
	console(t, a, "tick 2 uptime 1.500\r\ntick 3 upt")
	wait("node-a", 2)
	console(t, b, "ime 2.501\r\ntick 4 uptime 3.500\r\n")
	if tick := wait("node-b", 3); tick.N != 3 || tick.Uptime != 2501*time.Millisecond {
		t.Errorf("the torn line was read as %+v", tick)
	}
	wait("node-b", 4)
	if err := ticks.Check(); err != nil {
		t.Error(err)
	}
	console(t, b, "tick 6 uptime 5.500\r\n")
	wait("node-b", 6)
	if err := ticks.Check(); err == nil {
		t.Error("the missing fifth tick is not noticed")
	}
	if n := len(ticks.All()); n != 5 {
		t.Errorf("there are %d ticks, want 5: %+v", n, ticks.All())
	}
	console(t, b, "tick 7 uptock\r\n")
	console(t, b, "tick 8 uptime 7.500\r\n")
	wait("node-b", 8)
	console(t, b, "memory: page 7 was written 3 times and says 2\r\ntick 9 uptime 8.500\r\n")
	wait("node-b", 9)
	want := []string{"tick 7 uptock", "memory: page 7 was written 3 times and says 2"}
	if trouble := ticks.Trouble(); !slices.Equal(trouble, want) {
		t.Errorf("the trouble is %q", trouble)
	}
}

func TestWaitingForATickEndsWithTheContext(t *testing.T) {
	ticks, _, _ := twoConsoles(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := ticks.Wait(ctx, "node-a", 1); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestLargestGap(t *testing.T) {
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(ms int) time.Time { return begin.Add(time.Duration(ms) * time.Millisecond) }
	var ticks Ticks
	for i, arrival := range []int{0, 1000, 2250, 3250, 6250} {
		uptime := time.Duration(i) * time.Second
		if i == 4 {
			uptime = 6 * time.Second // The guest itself was slow.
		}
		ticks.ticks = append(ticks.ticks, Tick{N: i + 1, Uptime: uptime, At: at(arrival)})
	}
	for _, c := range []struct {
		name         string
		from, to     time.Time
		wantN        int
		wantArrival  time.Duration
		wantStandstl time.Duration
	}{
		{"over all time", time.Time{}, time.Time{}, 5, 3 * time.Second, 0},
		{"up to a time", time.Time{}, at(3250), 3, 1250 * time.Millisecond, 250 * time.Millisecond},
		{"from a time to a time", at(2300), at(3300), 4, time.Second, 0},
		{"without a tick", at(7000), time.Time{}, 0, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			gap := ticks.LargestGap(c.from, c.to)
			if gap.After.N != c.wantN || gap.Arrival != c.wantArrival || gap.Stopped != c.wantStandstl {
				t.Errorf("got %+v", gap)
			}
		})
	}
}

func TestParseTick(t *testing.T) {
	for line, want := range map[string]string{
		"tick 12 uptime 13.007":   "{12 13.007s}",
		"tick 12 uptime 13.07":    "no",
		"tick 12 uptime 13.007 ":  "no",
		" tick 12 uptime 13.007":  "no",
		"tick  uptime 13.007":     "no",
		"tick 12 uptime -13.007":  "no",
		"[ 0.1] tick 1 uptime 1.": "no",
	} {
		got := "no"
		if tick, ok := parseTick(line); ok {
			got = fmt.Sprintf("{%d %v}", tick.N, tick.Uptime)
		}
		if got != want {
			t.Errorf("%q is %s, want %s", line, got, want)
		}
	}
}

func TestConsolesLieInEveryHostsPrivateDirectory(t *testing.T) {
	l := &Lab{dir: "/state"}
	for _, c := range []struct{ inside, want string }{
		{ConsolePath("g"), "/state/node-b/var/log/libvirt/console/g.log"},
		{"/run/libvirt/libvirt-sock", "/state/node-b/run/libvirt/libvirt-sock"},
		{"/etc/libvirt", "/state/node-b/etc/libvirt"},
		{PrivateDir + "/a.raw", "/state/node-b/var/lib/libvirt/images/a.raw"},
		{SharedDir + "/a.raw", "/state/shared/a.raw"},
		{SharedDir, "/state/shared"},
		{SharedDir + "-not/a.raw", "/state/node-b/var/lib/libvirt/shared-not/a.raw"},
		{"/runner/x", "/runner/x"},
		{"/usr/bin/true", "/usr/bin/true"},
	} {
		if got := newHost(l, 1).Path(filepath.Clean(c.inside)); got != c.want {
			t.Errorf("%s lies at %s, want %s", c.inside, got, c.want)
		}
	}
}
