//go:build linux

package lab

import (
	"bytes"
	"fmt"
	"testing"
)

// TestCheckWrites: a disk with all that was written to it passes, and none that lacks a write, or
// has half of one.
func TestCheckWrites(t *testing.T) {
	const blocks = 4
	written := func(writes int) []byte {
		disk := make([]byte, blocks*writtenBlock)
		for n := 1; n <= writes; n++ {
			block := disk[(n-1)%blocks*writtenBlock:][:writtenBlock]
			copy(block, bytes.Repeat([]byte("noise"), writtenBlock))
			copy(block, fmt.Sprintf("write %d\n", n))
		}
		return disk
	}
	for writes := range 3*blocks + 2 {
		if newest, err := CheckWrites(written(writes)); err != nil || newest != writes {
			t.Errorf("%d writes are %d, %v", writes, newest, err)
		}
	}
	for name, spoil := range map[string]func(disk []byte){
		"a write is missing":      func(disk []byte) { copy(disk[writtenBlock:2*writtenBlock], written(2)[writtenBlock:]) },
		"a block is empty":        func(disk []byte) { clear(disk[:writtenBlock]) },
		"half a write":            func(disk []byte) { clear(disk[writtenBlock/2 : writtenBlock]) },
		"something else entirely": func(disk []byte) { disk[0]++ },
	} {
		disk := written(10)
		spoil(disk)
		if _, err := CheckWrites(disk); err == nil {
			t.Errorf("%s, and nobody notices", name)
		}
	}
}
