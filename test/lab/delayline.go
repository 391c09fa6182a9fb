//go:build linux

package lab

import "time"

const (
	// maxFrame is room for the largest frame that a network card is handed: a TCP
	// segment that is yet to be cut up, with all headers and the kernel's note on
	// how to cut it.
	maxFrame = 66 << 10
	// frameBlock is the memory that is taken for frames at once.
	frameBlock = 1 << 20
	// frameOverhead is what a waiting frame takes besides its bytes.
	frameOverhead = 64
	// maxWaiting bounds the memory of a delay line. It holds 100 ms at 640 MB/s.
	maxWaiting = 64 << 20
)

// A delayLine holds frames, in order, until they have waited for long enough. A
// frame that finds it full is lost, as in the buffers of a router. The zero value
// is ready for use.
type delayLine struct {
	waiting []delayedFrame
	size    int    // Of all that wait.
	free    []byte // The rest of the newest block of memory.
}

// delayedFrame is a frame and when it came. Its bytes are a part of a block,
// which is freed with the last frame in it.
type delayedFrame struct {
	at    time.Time
	bytes []byte
}

// buffer is where to put the next frame. It becomes the line's by push.
func (l *delayLine) buffer() []byte {
	if len(l.free) < maxFrame {
		l.free = make([]byte, frameBlock)
	}
	return l.free[:maxFrame:maxFrame]
}

// push appends the frame that was put into the first bytes of buffer.
func (l *delayLine) push(at time.Time, length int) {
	if l.size+length+frameOverhead > maxWaiting {
		return
	}
	l.waiting = append(l.waiting, delayedFrame{at: at, bytes: l.free[:length:length]})
	l.free = l.free[length:]
	l.size += length + frameOverhead
}

// pop takes the frame out that has waited longest, if that is delay or more.
func (l *delayLine) pop(now time.Time, delay time.Duration) (frame []byte, ok bool) {
	if len(l.waiting) == 0 || now.Sub(l.waiting[0].at) < delay {
		return nil, false
	}
	frame = l.waiting[0].bytes
	l.waiting[0] = delayedFrame{} // Its block is not to be kept by the slice.
	l.waiting = l.waiting[1:]
	l.size -= len(frame) + frameOverhead
	return frame, true
}

// wait is for how long nothing is to be popped; it is negative when nothing waits.
func (l *delayLine) wait(now time.Time, delay time.Duration) time.Duration {
	if len(l.waiting) == 0 {
		return -1
	}
	return max(0, delay-now.Sub(l.waiting[0].at))
}

// clear loses all frames.
func (l *delayLine) clear() { *l = delayLine{free: l.free} }
