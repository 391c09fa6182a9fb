//go:build linux && amd64

package main

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
)

func TestParseParams(t *testing.T) {
	for _, c := range []struct {
		name, cmdline string
		want          params
		wantErr       string
	}{
		{name: "the kernel's words only", cmdline: "console=ttyS0 quiet", want: params{period: time.Second}},
		{
			name:    "all parameters",
			cmdline: "virtferry.period=100ms virtferry.dirty=50 virtferry.wss=128 virtferry.pattern=hotspot virtferry.disk=/dev/vda virtferry.diskrate=3 virtferry.control=/dev/ttyS3 virtferry.address=198.51.100.11/24\n",
			want: params{
				period: 100 * time.Millisecond, dirtyMiBps: 50, wssMiB: 128, hotPercent: hotspotPercent,
				disk: "/dev/vda", diskMiBps: 3, control: "/dev/ttyS3", address: netip.MustParsePrefix("198.51.100.11/24"),
			},
		},
		{name: "uniform", cmdline: "virtferry.pattern=uniform", want: params{period: time.Second}},
		{name: "a misspelt word", cmdline: "virtferry.drty=5", wantErr: "virtferry.drty=5"},
		{name: "no number", cmdline: "virtferry.dirty=fast", wantErr: "virtferry.dirty=fast"},
		{name: "no pattern", cmdline: "virtferry.pattern=spiral", wantErr: "spiral"},
		{name: "no address", cmdline: "virtferry.address=198.51.100.11", wantErr: "virtferry.address=198.51.100.11"},
		{name: "an address of IPv6", cmdline: "virtferry.address=2001:db8::1/64", wantErr: "IPv4"},
		{name: "a period of nothing", cmdline: "virtferry.period=0s", wantErr: "positive"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := parseParams(c.cmdline)
			if c.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), c.wantErr) {
					t.Errorf("got %v, want an error with %q", err, c.wantErr)
				}
				return
			}
			if err != nil || got != c.want {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

func TestPagesDue(t *testing.T) {
	for _, c := range []struct {
		elapsed time.Duration
		mibps   int64
		want    int
	}{
		{time.Second, 10, 2560}, {10 * time.Millisecond, 10, 25}, {time.Second, 0, 0}, {time.Minute, 10, 2560},
	} {
		if got := pagesDue(c.elapsed, c.mibps, 4096); got != c.want {
			t.Errorf("%d MiB/s for %s are %d pages, want %d", c.mibps, c.elapsed, got, c.want)
		}
	}
}

func TestPatternsReachTheirPages(t *testing.T) {
	const pages, draws = 1000, 100000
	for name, want := range map[string][2]int{"uniform": {8, 12}, "hotspot": {88, 94}} { // Percent of the draws in the first tenth.
		percent, err := parsePattern(name)
		if err != nil {
			t.Fatal(err)
		}
		d := newDirtier(0, percent)
		hot := 0
		for range draws {
			page := d.pick(pages)
			if page < 0 || page >= pages {
				t.Fatalf("page %d of %d", page, pages)
			}
			if page < pages/10 {
				hot++
			}
		}
		if got := hot * 100 / draws; got < want[0] || got > want[1] {
			t.Errorf("%s sends %d %% of the writes to the first tenth, want %v", name, got, want)
		}
	}
}

func TestLostWritesAreTold(t *testing.T) {
	d := newDirtier(0, 0)
	if err := d.allocate(1); err != nil {
		t.Fatal(err)
	}
	for page := range d.writes {
		d.write(page)
		d.write(page)
	}
	var console strings.Builder
	d.verify(&console)
	if console.Len() > 0 {
		t.Errorf("intact memory is told of: %s", console.String())
	}
	before := append([]byte(nil), d.mem[7*d.pageSize:8*d.pageSize]...)
	d.write(7)
	copy(d.mem[7*d.pageSize:], before) // As a migration does that loses the page's last write.
	d.verify(&console)
	d.verify(&console)
	if got, want := console.String(), "memory: page 7 was written 3 times and says 2\n"; got != want {
		t.Errorf("the guest tells %q, want %q", got, want)
	}
}

func TestCommands(t *testing.T) {
	m := &machine{memory: newDirtier(1, 0), disk: newDiskWriter(2)}
	for _, c := range []struct {
		line, want string
		wantErr    bool
	}{
		{"dirty 30", "30", false},
		{"dirty fast", "", true},
		{"dirty", "", true},
		{"pattern hotspot", "hotspot", false},
		{"pattern spiral", "", true},
		{"diskrate 4", "4", false},
		{"dance", "", true},
		{"", "", true},
	} {
		got, err := m.command(strings.Fields(c.line))
		if (err != nil) != c.wantErr || (err == nil && got != c.want) {
			t.Errorf("%q gives %q, %v", c.line, got, err)
		}
	}
	if rate, hot, disk := m.memory.mibps.Load(), m.memory.hotPercent.Load(), m.disk.mibps.Load(); rate != 30 || hot != hotspotPercent || disk != 4 {
		t.Errorf("a refused command changed something: %d, %d, %d", rate, hot, disk)
	}
}

// TestPeersAreServed: what they send comes back, and the beat goes to who has asked last.
func TestPeersAreServed(t *testing.T) {
	const echo, beat = 20007, 20019
	pid := os.Getpid() // An address of its own, so that several tests may run at once.
	address := netip.AddrFrom4([4]byte{127, byte(1 + pid>>16&0x7f), byte(pid >> 8), byte(pid)})
	if err := serveNetwork(address, echo, beat); err != nil {
		t.Fatal(err)
	}
	dial := func(network string, port uint16) net.Conn {
		t.Helper()
		c, err := net.Dial(network, netip.AddrPortFrom(address, port).String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		return c
	}
	for _, network := range []string{"udp4", "tcp4"} {
		c := dial(network, echo)
		for _, word := range []string{"here", "there"} {
			if _, err := c.Write([]byte(word)); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, len(word))
			if _, err := io.ReadFull(c, got); err != nil || string(got) != word {
				t.Errorf("by %s, %q comes back as %q, %v", network, word, got, err)
			}
		}
	}
	first, second := dial("udp4", beat), dial("udp4", beat)
	var last []byte
	for i, c := range []net.Conn{first, second, first} {
		if _, err := c.Write([]byte("me")); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			number := make([]byte, 8)
			if _, err := io.ReadFull(c, number); err != nil {
				t.Fatalf("number %d has no beat: %v", i, err)
			}
			if i != 2 && bytes.Compare(number, last) <= 0 { // The first has some from before.
				t.Errorf("%x comes after %x", number, last)
			}
			last = number
		}
	}
}
