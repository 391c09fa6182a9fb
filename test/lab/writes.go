//go:build linux

package lab

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// writtenBlock is the size of one of a guest's writes to its first disk; see guest/disk.go. Each
// begins with its number, and ends with the same noise.
const (
	writtenBlock = 64 << 10
	writtenHead  = 64
)

// ReadDisk returns what a guest sees of a disk whose image is on the host, and which no guest uses
// at the moment.
func (h *Host) ReadDisk(ctx context.Context, image string) ([]byte, error) {
	return h.readDisk(ctx, image)
}

// ReadDiskInUse is ReadDisk for the image of a guest that stands still.
func (h *Host) ReadDiskInUse(ctx context.Context, image string) ([]byte, error) {
	return h.readDisk(ctx, image, "-U")
}

func (h *Host) readDisk(ctx context.Context, image string, options ...string) ([]byte, error) {
	raw := filepath.Join(PrivateDir, filepath.Base(image)+".read")
	defer os.Remove(h.Path(raw))
	args := append([]string{"convert"}, options...)
	if _, err := h.Exec(ctx, "qemu-img", append(args, "-O", "raw", image, raw)...); err != nil {
		return nil, fmt.Errorf("reading %s: %w", image, err)
	}
	return os.ReadFile(h.Path(raw))
}

// CheckWrites checks that a disk has exactly what a guest has written to it, from its beginning
// to its end and over again, and returns the number of the newest write. But for one place,
// where the guest was when it ended, each block has the write after that of the block before.
func CheckWrites(disk []byte) (newest int, err error) {
	var noise []byte
	numbers := make([]int, len(disk)/writtenBlock)
	for i := range numbers {
		block := disk[i*writtenBlock : (i+1)*writtenBlock]
		if _, err := fmt.Sscanf(string(block[:writtenHead]), "write %d\n", &numbers[i]); err != nil {
			if bytes.Count(block, []byte{0}) != len(block) {
				return 0, fmt.Errorf("block %d has something that the guest has not written", i)
			}
			continue // It has not come this far.
		}
		switch {
		case noise == nil:
			noise = block[writtenHead:]
		case !bytes.Equal(noise, block[writtenHead:]):
			return 0, fmt.Errorf("block %d, of write %d, is damaged", i, numbers[i])
		}
		newest = max(newest, numbers[i])
	}
	for i, number := range numbers {
		// The newest write to the block, by the number of the newest at all.
		want := i + 1 + max(0, newest-1-i)/len(numbers)*len(numbers)
		if number != want && (want <= newest || number != 0) {
			return 0, fmt.Errorf("block %d has write %d, want %d of %d", i, number, want, newest)
		}
	}
	return newest, nil
}
