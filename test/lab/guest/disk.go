//go:build linux && amd64

package main

import (
	"fmt"
	"os"
	"sync/atomic"
	"time"
)

// diskBlock is the size of one write, 64 KiB.
const diskBlock = 64 << 10

// diskWriter writes to a block device at a steady rate, from its start to its
// end and over again.
type diskWriter struct {
	mibps atomic.Int64
}

// newDiskWriter makes a writer of mibps MiB a second; 0 writes nothing until
// asked to.
func newDiskWriter(mibps int) *diskWriter {
	w := &diskWriter{}
	w.mibps.Store(int64(mibps))
	return w
}

// run writes for ever. Each block begins with the number of the write, so that a
// reader of the image can tell how far the guest came. An I/O error is told on
// the console and ends the writing.
func (w *diskWriter) run(device string, console *os.File) {
	f, size, err := openDisk(device)
	if err != nil {
		fmt.Fprintf(console, "disk: %v\n", err)
		return
	}
	defer f.Close()
	fmt.Fprintf(console, "disk %s size %d\n", device, size)
	block := make([]byte, diskBlock)
	fillWithNoise(block)
	var written, offset int64
	var debt int64 // Bytes that the rate asks for and that are not written yet.
	last := time.Now()
	for {
		time.Sleep(interval)
		now := time.Now()
		debt += w.mibps.Load() * (1 << 20) * int64(min(now.Sub(last), time.Second)) / int64(time.Second)
		last = now
		for ; debt >= diskBlock; debt -= diskBlock {
			written++
			copy(block, fmt.Sprintf("write %d\n", written))
			if _, err := f.WriteAt(block, offset); err != nil {
				fmt.Fprintf(console, "disk: %v\n", err)
				return
			}
			if offset += diskBlock; offset+diskBlock > size {
				offset = 0
			}
		}
	}
}

// openDisk waits for the device, which appears some time after its driver is
// loaded, and returns it with its size in bytes. O_SYNC because the lab wants
// the writes to reach the hypervisor, not the guest's page cache.
func openDisk(device string) (*os.File, int64, error) {
	deadline := time.Now().Add(30 * time.Second)
	for {
		f, err := os.OpenFile(device, os.O_RDWR|os.O_SYNC, 0)
		if err == nil {
			size, err := f.Seek(0, 2)
			if err != nil {
				return nil, 0, fmt.Errorf("finding the size: %w", err)
			}
			if size >= diskBlock {
				return f, size, nil
			}
			f.Close()
			err = fmt.Errorf("%s holds %d bytes, fewer than one block", device, size)
			return nil, 0, err
		}
		if time.Now().After(deadline) {
			return nil, 0, fmt.Errorf("waiting for the disk: %w", err)
		}
		time.Sleep(interval)
	}
}
