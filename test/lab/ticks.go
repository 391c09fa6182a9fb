//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Tick is one line of a guest's heartbeat.
type Tick struct {
	N      int           // Counts from 1 since the guest's boot.
	Uptime time.Duration // The guest's own clock, in milliseconds, which stands still while the guest is paused.
	Host   string        // The host on which the guest ran when it finished the line.
	At     time.Time     // When the line was seen outside.
}

// Gap is the time between a tick and the next.
type Gap struct {
	Before, After Tick
	Arrival       time.Duration // Between the two as seen outside.
	Stopped       time.Duration // Arrival less the time that passed inside the guest: how long it stood still.
}

// Ticks follows the consoles of a guest on all hosts and records its ticks.
//
// How exact it is, as measured on two cores under emulation: a tick arrives
// within 2 ms of when the guest's clock says (median 0.4 ms, 5 ms when the machine
// has other work), and Gap.Stopped over a migration is 3 to 20 ms more than the
// downtime that QEMU reports for it, with a tick every 100 ms as with one every
// second: the guest has to be scheduled again, which QEMU does not count. On an
// overloaded machine a guest is starved, which shows as Stopped all the same.
type Ticks struct {
	guest   string
	watcher *fsnotify.Watcher
	ended   chan struct{}

	mu      sync.Mutex
	sources []*consoleSource
	partial string // The beginning of a line whose end has not come yet.
	ticks   []Tick
	trouble []string
	changed chan struct{} // Closed and replaced at each new tick.
}

// consoleSource is a guest's console file on one host.
type consoleSource struct {
	host   string
	path   string
	offset int64
}

// followTicks starts to follow a guest's consoles.
func followTicks(guest string) (*Ticks, error) {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watching consoles: %w", err)
	}
	t := &Ticks{guest: guest, watcher: watcher, ended: make(chan struct{}), changed: make(chan struct{})}
	go t.run()
	return t, nil
}

// follow adds a host, from the present end of the guest's console there. A host
// that is followed already is no error.
func (t *Ticks) follow(h *Host) error {
	dir := h.Path(consoleDir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("making the console directory of %s: %w", h.name, err)
	}
	source := &consoleSource{host: h.name, path: filepath.Join(dir, t.guest+".log")}
	if info, err := os.Stat(source.path); err == nil {
		source.offset = info.Size()
	}
	t.mu.Lock()
	known := slices.ContainsFunc(t.sources, func(s *consoleSource) bool { return s.host == h.name })
	if !known {
		t.sources = append(t.sources, source)
	}
	t.mu.Unlock()
	if known {
		return nil
	}
	if err := t.watcher.Add(dir); err != nil {
		return fmt.Errorf("watching the consoles of %s: %w", h.name, err)
	}
	return nil
}

// stop ends the following. What was recorded stays.
func (t *Ticks) stop() {
	_ = t.watcher.Close() // It fails only when it is closed already.
	<-t.ended
}

// run reads whatever is new at each change of any console.
func (t *Ticks) run() {
	defer close(t.ended)
	for {
		select {
		case event, ok := <-t.watcher.Events:
			if !ok {
				return
			}
			if filepath.Base(event.Name) == t.guest+".log" {
				t.readAll(time.Now())
			}
		case _, ok := <-t.watcher.Errors:
			if !ok {
				return
			}
			t.readAll(time.Now()) // Events were lost; the files are still there.
		}
	}
}

// readAll reads what is new on all hosts. The host that spoke last comes first:
// a guest that moves may leave half a line there and end it on the next host, so
// the consoles together are one stream.
func (t *Ticks) readAll(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, source := range t.sources {
		text, err := source.read()
		if err != nil || text == "" {
			continue // The file may not exist yet.
		}
		t.consume(text, source.host, now)
		copy(t.sources[1:i+1], t.sources[:i])
		t.sources[0] = source
	}
}

// read returns what was added to the console since the last time.
func (s *consoleSource) read() (string, error) {
	f, err := os.Open(s.path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	data, err := io.ReadAll(io.NewSectionReader(f, s.offset, 1<<40))
	s.offset += int64(len(data))
	return string(data), err
}

// tickLine is what the guest's program prints.
var tickLine = regexp.MustCompile(`^tick (\d+) uptime (\d+)\.(\d{3})$`)

// troubleLine is what a guest prints that is not well: a tick that is none, memory
// that lost a write, a disk that fails, a kernel that gives up.
var troubleLine = regexp.MustCompile(`tick |^memory: |^disk: |^guest: |Kernel panic|BUG: `)

// consume takes new console text of a host. It is called with the lock held.
func (t *Ticks) consume(text, host string, now time.Time) {
	lines := strings.Split(t.partial+text, "\n")
	t.partial = lines[len(lines)-1]
	for _, line := range lines[:len(lines)-1] {
		line = strings.TrimRight(line, "\r")
		tick, ok := parseTick(line)
		if !ok {
			if troubleLine.MatchString(line) {
				t.trouble = append(t.trouble, line)
			}
			continue
		}
		tick.Host, tick.At = host, now
		t.ticks = append(t.ticks, tick)
		close(t.changed)
		t.changed = make(chan struct{})
	}
}

// parseTick reads one line of the guest's program.
func parseTick(line string) (Tick, bool) {
	match := tickLine.FindStringSubmatch(line)
	if match == nil {
		return Tick{}, false
	}
	n, errN := strconv.Atoi(match[1])
	seconds, errS := strconv.Atoi(match[2])
	millis, errM := strconv.Atoi(match[3])
	uptime := time.Duration(seconds)*time.Second + time.Duration(millis)*time.Millisecond
	return Tick{N: n, Uptime: uptime}, errors.Join(errN, errS, errM) == nil
}

// All returns the ticks recorded so far, in the order of their arrival.
func (t *Ticks) All() []Tick {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.ticks)
}

// Trouble returns the lines by which the guest shows that it is not well: ticks
// that are torn, memory that lost a write, disk errors, a panic.
func (t *Ticks) Trouble() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.trouble)
}

// Last returns the newest tick; its N is 0 when there is none yet.
func (t *Ticks) Last() Tick {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.ticks) == 0 {
		return Tick{}
	}
	return t.ticks[len(t.ticks)-1]
}

// Wait waits for the first recorded tick on a host, or on any when host is
// empty, whose number is at least n.
func (t *Ticks) Wait(ctx context.Context, host string, n int) (Tick, error) {
	for {
		t.mu.Lock()
		changed := t.changed
		for _, tick := range t.ticks {
			if tick.N >= n && (host == "" || tick.Host == host) {
				t.mu.Unlock()
				return tick, nil
			}
		}
		t.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return Tick{}, fmt.Errorf("waiting for tick %d of %s on %q (last: %+v): %w", n, t.guest, host, t.Last(), ctx.Err())
		}
	}
}

// Advance waits until the guest has ticked count more times, on a host or, when
// host is empty, on any, and returns the last of these ticks.
func (t *Ticks) Advance(ctx context.Context, host string, count int) (Tick, error) {
	return t.Wait(ctx, host, t.Last().N+count)
}

// Check returns an error unless every tick's number follows on the one before,
// none missing, none twice, no boot in between, and there was no other trouble.
func (t *Ticks) Check() error {
	if trouble := t.Trouble(); len(trouble) > 0 {
		return fmt.Errorf("checking the ticks of %s: the guest is not well: %q", t.guest, trouble)
	}
	ticks := t.All()
	for i := 1; i < len(ticks); i++ {
		if ticks[i].N != ticks[i-1].N+1 {
			return fmt.Errorf("checking the ticks of %s: %+v was followed by %+v", t.guest, ticks[i-1], ticks[i])
		}
	}
	return nil
}

// LargestGap returns the longest time between two consecutive ticks of which the
// later one arrived in [from, to]. A zero time leaves that end open.
func (t *Ticks) LargestGap(from, to time.Time) Gap {
	var largest Gap
	ticks := t.All()
	for i := 1; i < len(ticks); i++ {
		at := ticks[i].At
		if at.Before(from) || (!to.IsZero() && at.After(to)) {
			continue
		}
		if gap := newGap(ticks[i-1], ticks[i]); gap.Arrival > largest.Arrival {
			largest = gap
		}
	}
	return largest
}

// LastMove returns the time between the last tick on one host and the first on
// the next, at the guest's latest change of hosts, and by how much a measurement
// may be wrong: the longest that the guest seemed to stand still while it was on
// one host. A machine that is busy holds an emulated guest up at any time.
func (t *Ticks) LastMove() (move Gap, noise time.Duration, ok bool) {
	ticks := t.All()
	for i := 1; i < len(ticks); i++ {
		gap := newGap(ticks[i-1], ticks[i])
		if gap.Before.Host != gap.After.Host {
			move, ok = gap, true
		} else {
			noise = max(noise, gap.Stopped)
		}
	}
	return move, noise, ok
}

// newGap measures the time between two ticks.
func newGap(before, after Tick) Gap {
	arrival := after.At.Sub(before.At)
	return Gap{Before: before, After: after, Arrival: arrival, Stopped: arrival - (after.Uptime - before.Uptime)}
}
