//go:build linux

package lab

import (
	"fmt"
	"io"
	"strings"
)

// cpioWriter writes the "newc" archive format, which is what the kernel unpacks
// as its initial RAM disk. The first error is kept and returned by finish.
type cpioWriter struct {
	out   io.Writer
	inode int
	err   error
}

// File types of the mode field.
const (
	cpioDirectory = 0o040000
	cpioDevice    = 0o020000
	cpioFile      = 0o100000
)

// newCpio starts an archive on out.
func newCpio(out io.Writer) *cpioWriter { return &cpioWriter{out: out} }

func (w *cpioWriter) directory(name string, permissions int) {
	w.entry(name, cpioDirectory|permissions, 0, 0, nil)
}

func (w *cpioWriter) device(name string, permissions, major, minor int) {
	w.entry(name, cpioDevice|permissions, major, minor, nil)
}

func (w *cpioWriter) file(name string, permissions int, content []byte) {
	w.entry(name, cpioFile|permissions, 0, 0, content)
}

// finish writes the end mark and returns the first error there was.
func (w *cpioWriter) finish() error {
	w.entry("TRAILER!!!", 0, 0, 0, nil)
	return w.err
}

// entry writes one header with its name and content, each padded to 4 bytes. All
// belongs to root and has no time, so equal contents make equal archives.
func (w *cpioWriter) entry(name string, mode, major, minor int, content []byte) {
	w.inode++
	const owner, group, links, modified, devMajor, devMinor, checksum = 0, 0, 1, 0, 0, 0, 0
	header := fmt.Sprintf("070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		w.inode, mode, owner, group, links, modified, len(content),
		devMajor, devMinor, major, minor, len(name)+1, checksum)
	w.write(header + name + "\x00")
	w.pad(len(header) + len(name) + 1)
	w.write(string(content))
	w.pad(len(content))
}

func (w *cpioWriter) pad(length int) { w.write(strings.Repeat("\x00", -length&3)) }

func (w *cpioWriter) write(s string) {
	if w.err == nil {
		_, w.err = io.WriteString(w.out, s)
	}
}
