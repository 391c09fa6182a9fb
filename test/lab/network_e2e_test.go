//go:build e2e && linux

package lab_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/virtferry/virtferry/test/lab"
)

// delaySlack is by how much the fastest of a few round trips may exceed the delays
// on a busy machine. It never falls below them.
const delaySlack = 5 * time.Millisecond

// connect makes a TCP connection between two hosts and returns both ends.
func connect(ctx context.Context, t *testing.T, from, to *lab.Host) (near, far net.Conn) {
	t.Helper()
	listener, err := to.Listen(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if near, err = from.Dial(ctx, listener.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close() })
	if far, err = listener.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { far.Close() })
	if err := errors.Join(near.SetDeadline(time.Now().Add(stepTimeout)), far.SetDeadline(time.Now().Add(stepTimeout))); err != nil {
		t.Fatal(err)
	}
	return near, far
}

// connectEcho makes a connection on which everything comes back.
func connectEcho(ctx context.Context, t *testing.T, from, to *lab.Host) net.Conn {
	t.Helper()
	near, far := connect(ctx, t, from, to)
	echoed := make(chan struct{})
	go func() {
		defer close(echoed)
		_, _ = io.Copy(far, far) // It ends with the connection.
		far.Close()
	}()
	t.Cleanup(func() {
		near.Close()
		far.Close()
		<-echoed
	})
	return near
}

// exchange sends a byte, and waits for it for so long.
func exchange(conn net.Conn, timeout time.Duration) error {
	if err := conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	if _, err := conn.Write([]byte{'x'}); err != nil {
		return err
	}
	_, err := io.ReadFull(conn, make([]byte, 1))
	return err
}

// roundTrip returns the least and the median time that a byte takes to come back.
func roundTrip(t *testing.T, conn net.Conn) (least, median time.Duration) {
	t.Helper()
	var times []time.Duration
	for range 15 {
		began := time.Now()
		if err := exchange(conn, stepTimeout); err != nil {
			t.Fatal(err)
		}
		times = append(times, time.Since(began))
	}
	slices.Sort(times)
	return times[0], times[len(times)/2]
}

// wantRoundTrip checks the round trips of a connection.
func wantRoundTrip(t *testing.T, conn net.Conn, want time.Duration) {
	t.Helper()
	least, median := roundTrip(t, conn)
	t.Logf("a round trip takes %s at least, %s usually, want %s", least, median, want)
	if least < want || least > want+delaySlack {
		t.Errorf("a round trip takes %s, want %s to %s", least, want, want+delaySlack)
	}
}

// transfer sends so many bytes from one host to another on a new connection, and
// returns how many arrive in a second, in MiB.
func transfer(ctx context.Context, t *testing.T, from, to *lab.Host, mib int) float64 {
	t.Helper()
	near, far := connect(ctx, t, from, to)
	began := time.Now()
	sent := make(chan error, 1)
	go func() {
		_, err := io.CopyN(near, zeros{}, int64(mib)<<20)
		sent <- err
	}()
	_, err := io.CopyN(io.Discard, far, int64(mib)<<20)
	if err := errors.Join(err, <-sent); err != nil {
		t.Fatal(err)
	}
	rate := float64(mib) / time.Since(began).Seconds()
	t.Logf("%d MiB from %s to %s went at %.0f MiB/s", mib, from.Name(), to.Name(), rate)
	return rate
}

// zeros reads as zeros without end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// setDelay sets a delay that must be accepted.
func setDelay(ctx context.Context, t *testing.T, h *lab.Host, delay time.Duration) {
	t.Helper()
	if err := h.Delay(ctx, delay); err != nil {
		t.Fatal(err)
	}
}

func TestDelayIsAddedChangedAndRemoved(t *testing.T) {
	ctx, l := start(t, lab.Options{Hosts: 2})
	a, b := l.Host("node-a"), l.Host("node-b")
	links, err := l.SwitchLinks(ctx)
	if err != nil {
		t.Fatal(err)
	}
	conn := connectEcho(ctx, t, a, b) // The same all the time.
	wantRoundTrip(t, conn, 0)
	for _, milliseconds := range []int{50, 5, 100, 1, 25} {
		delay := time.Duration(milliseconds) * time.Millisecond
		setDelay(ctx, t, b, delay)
		wantRoundTrip(t, conn, 2*delay)
	}
	setDelay(ctx, t, a, 10*time.Millisecond)
	wantRoundTrip(t, conn, 2*(25+10)*time.Millisecond)
	wantRoundTrip(t, connectEcho(ctx, t, b, a), 2*(25+10)*time.Millisecond)
	setDelay(ctx, t, a, 0)
	wantRoundTrip(t, conn, 2*25*time.Millisecond)
	for range 2 {
		setDelay(ctx, t, b, 0)
		wantRoundTrip(t, conn, 0)
	}
	if now, err := l.SwitchLinks(ctx); err != nil || len(strings.Split(now, "\n")) != len(strings.Split(links, "\n")) {
		t.Errorf("the switch had these links:\n%s\nand now has:\n%s\n%v", links, now, err)
	}
	if err := b.Delay(ctx, -time.Millisecond); err == nil {
		t.Error("a negative delay is accepted")
	}
}

// chunk is how much is sent at once of a pattern in which each byte is its place
// modulo a prime, so that what is missing or out of order shows.
const chunk, prime = 64 << 10, 251

// pattern returns the bytes of the pattern from an offset on.
func pattern(offset int64, length int) []byte {
	p := make([]byte, length)
	for i := range p {
		p[i] = byte((offset + int64(i)) % prime)
	}
	return p
}

// sendPattern sends the pattern until stop is closed, and returns its length.
func sendPattern(conn net.Conn, stop <-chan struct{}) (total int64, err error) {
	long := pattern(0, chunk+prime)
	for {
		select {
		case <-stop:
			return total, nil
		default:
		}
		n, err := conn.Write(long[total%prime:][:chunk])
		total += int64(n)
		if err != nil {
			return total, err
		}
	}
}

// receivePattern receives the pattern until the connection ends, and returns its
// length.
func receivePattern(conn net.Conn) (total int64, err error) {
	long, buffer := pattern(0, chunk+prime), make([]byte, chunk)
	for {
		n, err := conn.Read(buffer)
		if !bytes.Equal(buffer[:n], long[total%prime:][:n]) {
			return total, errors.New("what came is not what was sent")
		}
		total += int64(n)
		if errors.Is(err, io.EOF) {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// TestConnectionsSurviveChangesOfTheDelay changes the delay while data flows at
// full speed.
func TestConnectionsSurviveChangesOfTheDelay(t *testing.T) {
	ctx, l := start(t, lab.Options{Hosts: 2})
	a, b := l.Host("node-a"), l.Host("node-b")
	near, far := connect(ctx, t, a, b)
	stop, sent, received := make(chan struct{}), int64(0), int64(0)
	var flow errgroup.Group
	flow.Go(func() (err error) {
		defer near.Close()
		sent, err = sendPattern(near, stop)
		return err
	})
	flow.Go(func() (err error) {
		defer far.Close() // The sender is not to wait for ever.
		received, err = receivePattern(far)
		return err
	})
	const moment = 300 * time.Millisecond
	for _, milliseconds := range []int{20, 0, 5, 50, 1, 0, 10, 0} {
		setDelay(ctx, t, b, time.Duration(milliseconds)*time.Millisecond)
		pause, cancel := context.WithTimeout(ctx, moment) // Data is to flow for a while.
		<-pause.Done()
		cancel()
	}
	close(stop)
	if err := flow.Wait(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d MiB were sent", sent>>20)
	if sent != received || sent == 0 {
		t.Errorf("%d bytes were sent and %d came", sent, received)
	}
}

func TestDelayAndBandwidthLimitTogether(t *testing.T) {
	ctx, l := start(t, lab.Options{Hosts: 2})
	a, b := l.Host("node-a"), l.Host("node-b")
	const limitMiBps, mib, delay = 16, 48, 10 * time.Millisecond
	limited := func(what string) {
		t.Helper()
		for _, ends := range [][2]*lab.Host{{a, b}, {b, a}} {
			if rate := transfer(ctx, t, ends[0], ends[1], mib); rate > 1.1*limitMiBps || rate < limitMiBps/4 {
				t.Errorf("%s: the rate is %.0f MiB/s, want about %d", what, rate, limitMiBps)
			}
		}
	}
	if err := b.LimitBandwidth(ctx, limitMiBps); err != nil {
		t.Fatal(err)
	}
	setDelay(ctx, t, b, delay)
	limited("limited, then delayed")
	wantRoundTrip(t, connectEcho(ctx, t, a, b), 2*delay)
	setDelay(ctx, t, b, 0)
	limited("limited")
	setDelay(ctx, t, b, delay)
	if err := b.LimitBandwidth(ctx, limitMiBps); err != nil {
		t.Fatal(err)
	}
	limited("delayed, then limited")
	if err := b.ClearShaping(ctx); err != nil {
		t.Fatal(err)
	}
	wantRoundTrip(t, connectEcho(ctx, t, a, b), 0)
	if rate := transfer(ctx, t, a, b, 8*mib); rate < 2*limitMiBps {
		t.Errorf("without limit and delay the rate is %.0f MiB/s", rate)
	}
}

// TestDelayedLinkIsFast checks that a delay does not limit the bandwidth much. The
// bound is far below what an idle machine does.
func TestDelayedLinkIsFast(t *testing.T) {
	ctx, l := start(t, lab.Options{Hosts: 2})
	a, b := l.Host("node-a"), l.Host("node-b")
	const mib, least, delay = 256, 25, 2 * time.Millisecond
	transfer(ctx, t, a, b, mib)
	setDelay(ctx, t, b, delay)
	for _, ends := range [][2]*lab.Host{{a, b}, {b, a}} {
		if rate := transfer(ctx, t, ends[0], ends[1], mib); rate < least {
			t.Errorf("with a delay of %s the rate is %.0f MiB/s, want %d", delay, rate, least)
		}
	}
}

// wantSilence checks that nothing comes for a while.
func wantSilence(t *testing.T, conn net.Conn, timeout time.Duration) {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(timeout)); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("where nothing should come, there are %d bytes, %v", n, err)
	}
}

// wantByte waits for a byte.
func wantByte(t *testing.T, conn net.Conn) {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(stepTimeout)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		t.Errorf("the connection did not survive: %v", err)
	}
}

func TestCutOffDuringDelay(t *testing.T) {
	ctx, l := start(t, lab.Options{Hosts: 2})
	a, b := l.Host("node-a"), l.Host("node-b")
	const delay = 400 * time.Millisecond
	ofA, ofB := connect(ctx, t, a, b)
	setDelay(ctx, t, b, delay)
	for _, ends := range [][2]net.Conn{{ofA, ofB}, {ofB, ofA}} {
		from, to := ends[0], ends[1]
		if _, err := from.Write([]byte{'x'}); err != nil {
			t.Fatal(err)
		}
		// The byte is on its way, and is lost with all that follows.
		if err := b.CutOff(ctx); err != nil {
			t.Fatal(err)
		}
		wantSilence(t, to, 2*delay)
		setDelay(ctx, t, b, 0) // A change does not connect the host again.
		setDelay(ctx, t, b, delay)
		wantSilence(t, to, 2*delay)
		if err := b.Reconnect(ctx); err != nil {
			t.Fatal(err)
		}
		wantByte(t, to)
	}
	wantRoundTrip(t, connectEcho(ctx, t, a, b), 2*delay)
}

// TestIdleDelayCostsNothing looks at the processor time of this process, in which
// the relay runs.
func TestIdleDelayCostsNothing(t *testing.T) {
	ctx, l := start(t, lab.Options{Hosts: 2})
	setDelay(ctx, t, l.Host("node-b"), 50*time.Millisecond)
	used := func() time.Duration {
		var usage syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
			t.Fatal(err)
		}
		return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	}
	before, idle := used(), time.After(2*time.Second)
	<-idle
	after := used()
	t.Logf("used %s in two seconds", after-before)
	if after-before > 200*time.Millisecond {
		t.Errorf("a link with nothing to carry used %s of processor time in two seconds", after-before)
	}
}

func TestDelayedHostCrashes(t *testing.T) {
	ctx, l := start(t, lab.Options{Hosts: 2})
	a, b := l.Host("node-a"), l.Host("node-b")
	for _, h := range []*lab.Host{a, b} {
		setDelay(ctx, t, h, 20*time.Millisecond)
	}
	if err := b.Crash(ctx); err != nil {
		t.Fatal(err)
	}
	if err := b.Delay(ctx, time.Millisecond); err == nil {
		t.Error("the link of a crashed host was delayed")
	}
	setDelay(ctx, t, a, 0)
	setDelay(ctx, t, a, 30*time.Millisecond) // Still set when the lab stops.
}

// descriptors counts what this process has open.
func descriptors(t *testing.T) int {
	t.Helper()
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(open)
}

// TestDelaysEndWithTheLab looks at this process, which runs the relays: a socket
// that is left would keep the switch's namespace.
func TestDelaysEndWithTheLab(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), stepTimeout)
	defer cancel()
	before := descriptors(t)
	l, err := lab.Start(ctx, lab.Options{Hosts: 2, Log: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	quiet := descriptors(t)
	for _, h := range l.Hosts() {
		setDelay(ctx, t, h, time.Millisecond)
	}
	if during := descriptors(t); during <= quiet {
		t.Errorf("with delays %d descriptors are open, without %d", during, quiet)
	}
	if err := l.Stop(); err != nil {
		t.Error(err)
	}
	if after := descriptors(t); after > before {
		t.Errorf("%d descriptors are open, %d before the lab", after, before)
	}
	if err := l.Hosts()[0].Delay(ctx, time.Millisecond); err == nil {
		t.Error("the link of a stopped host was delayed")
	}
}
