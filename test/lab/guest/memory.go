//go:build linux && amd64

package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// interval is how often a share of a second's writes is done: short enough that
// a migration sees a steady rate, long enough to cost the guest nothing.
const interval = 10 * time.Millisecond

// verifyEvery is how often the whole working set is looked over.
const verifyEvery = time.Second

// dirtier writes to a working set of memory at a steady rate, and checks that
// what it wrote stays. Each page begins with the number of times it was written,
// which is also kept elsewhere: a migration that loses a write shows as a page
// whose number is not what it should be.
type dirtier struct {
	mem        []byte
	writes     []uint64 // Per page.
	pageSize   int
	mibps      atomic.Int64
	hotPercent atomic.Int64
}

// newDirtier makes a dirtier that writes mibps MiB of pages a second, of which
// hotPercent percent go to the first tenth of the working set.
func newDirtier(mibps, hotPercent int) *dirtier {
	d := &dirtier{pageSize: os.Getpagesize()}
	d.mibps.Store(int64(mibps))
	d.hotPercent.Store(int64(hotPercent))
	return d
}

// allocate maps the working set and fills it with noise, which neither zero-page
// detection nor compression can shrink on the wire.
func (d *dirtier) allocate(mib int) error {
	if mib <= 0 {
		return nil
	}
	mem, err := syscall.Mmap(-1, 0, mib<<20, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	if err != nil {
		return fmt.Errorf("mapping %d MiB: %w", mib, err)
	}
	fillWithNoise(mem)
	d.mem = mem
	d.writes = make([]uint64, len(mem)/d.pageSize)
	for page := range d.writes {
		binary.LittleEndian.PutUint64(d.mem[page*d.pageSize:], 0)
	}
	return nil
}

// fillWithNoise fills b by xorshift, the cheapest noise there is under emulation.
func fillWithNoise(b []byte) {
	x := uint64(88172645463325252)
	for i := 0; i+8 <= len(b); i += 8 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[i], b[i+1], b[i+2], b[i+3] = byte(x), byte(x>>8), byte(x>>16), byte(x>>24)
		b[i+4], b[i+5], b[i+6], b[i+7] = byte(x>>32), byte(x>>40), byte(x>>48), byte(x>>56)
	}
}

// run writes to the pages that are due, for ever: a hypervisor counts, and sends,
// whole pages. Pages that are not as they were left are told on the console.
func (d *dirtier) run(console io.Writer) {
	if len(d.writes) == 0 {
		return
	}
	last := time.Now()
	verified := last
	for {
		time.Sleep(interval)
		now := time.Now()
		for range pagesDue(now.Sub(last), d.mibps.Load(), d.pageSize) {
			d.write(d.pick(len(d.writes)))
		}
		last = now
		if now.Sub(verified) >= verifyEvery {
			verified = now
			d.verify(console)
		}
	}
}

// write writes to a page.
func (d *dirtier) write(page int) {
	number := d.mem[page*d.pageSize:]
	d.writes[page]++
	binary.LittleEndian.PutUint64(number, binary.LittleEndian.Uint64(number)+1)
}

// verify compares all pages with what was written to them, and tells of each page
// that differs once.
func (d *dirtier) verify(console io.Writer) {
	for page, want := range d.writes {
		got := binary.LittleEndian.Uint64(d.mem[page*d.pageSize:])
		if got != want {
			fmt.Fprintf(console, "memory: page %d was written %d times and says %d\n", page, want, got)
			d.writes[page] = got
		}
	}
}

// pagesDue is how many pages a rate of mibps MiB/s asks for in elapsed. A guest
// that was starved does not catch up on more than a second, or it would never
// come to rest again.
func pagesDue(elapsed time.Duration, mibps int64, pageSize int) int {
	elapsed = min(elapsed, time.Second)
	return int(mibps * (1 << 20) * int64(elapsed) / int64(time.Second) / int64(pageSize))
}

// pick chooses the next page to write.
func (d *dirtier) pick(pages int) int {
	if hot := max(1, pages/10); rand.Int64N(100) < d.hotPercent.Load() {
		return rand.IntN(hot)
	}
	return rand.IntN(pages)
}
