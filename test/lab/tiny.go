//go:build linux

package lab

import (
	"context"
	"crypto/rand"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// tinySource is the program of tiny guests; it says how it works.
//
//go:embed tiny.S
var tinySource []byte

// What a tiny guest has of memory, and how much of it cannot be compressed.
const (
	tinyMemoryMiB = 16
	tinyNoiseMiB  = 8
)

// buildTiny assembles what tiny guests boot, and appends the noise that fills
// their memory.
func buildTiny(ctx context.Context, path string) error {
	work, err := os.MkdirTemp("", "virtferry-tiny-")
	if err != nil {
		return fmt.Errorf("making a directory to build in: %w", err)
	}
	defer os.RemoveAll(work)
	if err := os.WriteFile(filepath.Join(work, "tiny.S"), tinySource, 0o600); err != nil {
		return fmt.Errorf("writing the tiny guest's source: %w", err)
	}
	for _, command := range [][]string{
		{"as", "--32", "-o", "tiny.o", "tiny.S"},
		{"ld", "-m", "elf_i386", "-Ttext", "0", "-e", "0", "--oformat", "binary", "-o", "tiny", "tiny.o"},
	} {
		if _, err := commandIn(ctx, work, command[0], command[1:]...); err != nil {
			return fmt.Errorf("building the tiny guest: %w", err)
		}
	}
	program, err := os.ReadFile(filepath.Join(work, "tiny"))
	if err != nil {
		return fmt.Errorf("reading the tiny guest: %w", err)
	}
	noise := make([]byte, tinyNoiseMiB<<20)
	_, _ = rand.Read(noise) // It never fails.
	return os.WriteFile(path, slices.Concat(program, noise), 0o644)
}
