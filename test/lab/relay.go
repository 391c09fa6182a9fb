//go:build linux

package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// relayBuffer is what the kernel may hold for a relay that is not scheduled,
	// on either side.
	relayBuffer = 32 << 20
	// relayBatch is how many frames are taken in before the next look at what is due.
	relayBatch = 64
)

// A relay carries frames between two network interfaces and makes each of them
// wait. It runs on a thread of this process, so it ends with it; it sleeps while
// there is nothing to carry.
//
// Frames are taken and given by raw sockets, which every kernel has, with the
// kernel's notes on what is left to do for each (PACKET_VNET_HDR): checksums stay
// uncomputed and TCP segments uncut all the way, so a frame may have 64 KiB.
// VLAN tags are not carried.
type relay struct {
	sockets [2]int
	lines   [2]delayLine // What came in by the socket of the same index.
	now     func() time.Time
	wake    int // Becomes readable before something is sent to delays.
	delays  chan time.Duration
	applied chan struct{} // Answers each of delays.
	ended   chan struct{}
	err     error // Set before ended is closed.
}

// newRelay starts a relay between two interfaces of the calling thread's network
// namespace. The caller must see to it that no frame has another way between
// them, or it arrives twice.
func newRelay(a, b string, delay time.Duration) (*relay, error) {
	r := &relay{
		now:    time.Now,
		delays: make(chan time.Duration), applied: make(chan struct{}), ended: make(chan struct{}),
	}
	var err error
	if r.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return nil, fmt.Errorf("making a relay: %w", err)
	}
	for i, name := range []string{a, b} {
		if r.sockets[i], err = openPacketSocket(name); err != nil {
			for _, open := range r.sockets[:i] {
				unix.Close(open)
			}
			unix.Close(r.wake)
			return nil, fmt.Errorf("making a relay at %s: %w", name, err)
		}
	}
	onOwnThread(func() {
		defer close(r.ended)
		r.err = r.run(delay)
	})
	return r, nil
}

// openPacketSocket returns a socket that gets every frame that comes in by an
// interface, and sends out by it.
func openPacketSocket(name string) (int, error) {
	card, err := net.InterfaceByName(name)
	if err != nil {
		return 0, fmt.Errorf("finding the interface: %w", err)
	}
	// Without a protocol it gets nothing until it is bound.
	socket, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return 0, fmt.Errorf("opening a raw socket: %w", err)
	}
	for _, option := range []struct{ level, name, value int }{
		{unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1},
		{unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1},
		{unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, relayBuffer},
		{unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, relayBuffer},
	} {
		if err == nil {
			err = unix.SetsockoptInt(socket, option.level, option.name, option.value)
		}
	}
	if err == nil {
		all := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL))
		err = unix.Bind(socket, &unix.SockaddrLinklayer{Protocol: all, Ifindex: card.Index})
	}
	if err != nil {
		unix.Close(socket)
		return 0, fmt.Errorf("setting up a raw socket: %w", err)
	}
	return socket, nil
}

// setDelay changes the delay, also of frames that wait already. When it returns,
// those have been passed on for which the new delay has passed. It must not be
// called concurrently.
func (r *relay) setDelay(delay time.Duration) error {
	if err := r.rouse(); err != nil {
		return err
	}
	select {
	case r.delays <- delay:
		<-r.applied
		return nil
	case <-r.ended:
		return fmt.Errorf("changing the delay of a relay that has ended: %w", r.err)
	}
}

// stop ends the relay. Frames that wait are lost.
func (r *relay) stop() error {
	if err := r.rouse(); err != nil {
		return err
	}
	close(r.delays)
	<-r.ended
	errs := []error{r.err}
	for _, fd := range append(r.sockets[:], r.wake) {
		errs = append(errs, unix.Close(fd))
	}
	return errors.Join(errs...)
}

// rouse has run look at delays.
func (r *relay) rouse() error {
	if _, err := unix.Write(r.wake, binary.NativeEndian.AppendUint64(nil, 1)); err != nil {
		return fmt.Errorf("waking a relay: %w", err)
	}
	return nil
}

// run carries frames until delays is closed.
func (r *relay) run(delay time.Duration) error {
	// Emulated guests take all processor time there is, and this thread would
	// wait for its turn. Where this is forbidden, delays are less exact.
	realTime := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Priority: 1}
	_ = unix.SchedSetAttr(0, &realTime, 0)
	fds := make([]unix.PollFd, 0, len(r.sockets)+1)
	for _, fd := range append(r.sockets[:], r.wake) {
		fds = append(fds, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
	}
	for {
		wait := r.forward(delay)
		var timeout *unix.Timespec // None is for ever.
		if wait >= 0 {
			timeout = new(unix.NsecToTimespec(wait.Nanoseconds()))
		}
		if _, err := unix.Ppoll(fds, timeout, nil); err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("waiting for frames: %w", err)
		}
		for i := range r.sockets {
			if fds[i].Revents != 0 {
				r.receive(i)
			}
		}
		if fds[len(r.sockets)].Revents != 0 {
			var count [8]byte
			_, _ = unix.Read(r.wake, count[:]) // What counts comes by the channel.
			next, ok := <-r.delays
			if !ok {
				return nil
			}
			delay = next
			r.forward(delay)
			r.applied <- struct{}{}
		}
	}
}

// receive takes in what has come by a socket. Each frame waits from when it was
// read: a thread that is held up, even in here, delays frames for longer, never
// for less than it should.
func (r *relay) receive(from int) {
	line := &r.lines[from]
	for range relayBatch {
		buffer := line.buffer()
		n, err := unix.Read(r.sockets[from], buffer)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return
		case errors.Is(err, unix.ENETDOWN): // Told once. The socket lives on.
			r.lines[0].clear() // What is on its way in a cable that is cut is lost.
			r.lines[1].clear()
		case err == nil && n < len(buffer): // Else it was no frame that can be passed on.
			line.push(r.now(), n)
		}
	}
}

// forward sends what has waited for long enough, and returns for how long there
// is nothing more to send; that is negative when nothing waits.
func (r *relay) forward(delay time.Duration) time.Duration {
	now := r.now()
	wait := time.Duration(-1)
	for i := range r.lines {
		line, to := &r.lines[i], r.sockets[1-i]
		for frame, ok := line.pop(now, delay); ok; frame, ok = line.pop(now, delay) {
			_, _ = unix.Write(to, frame) // What an interface does not take is lost.
		}
		if w := line.wait(now, delay); w >= 0 && (wait < 0 || w < wait) {
			wait = w
		}
	}
	return wait
}
