//go:build linux && amd64

package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"syscall"
	"unsafe"
)

// modulesDir holds the kernel modules of the image, with one list per purpose:
// NAME.list names the files to load, in their order.
const modulesDir = "/modules"

// loadModules loads the modules of one purpose. Modules that are loaded already
// are no error.
func loadModules(purpose string) error {
	list, err := os.Open(modulesDir + "/" + purpose + ".list")
	if err != nil {
		return fmt.Errorf("opening the module list: %w", err)
	}
	defer list.Close()
	names := bufio.NewScanner(list)
	for names.Scan() {
		name := strings.TrimSpace(names.Text())
		if err := loadModule(modulesDir + "/" + name); err != nil {
			return fmt.Errorf("loading %s: %w", name, err)
		}
	}
	return names.Err()
}

// loadModule loads one module file without parameters.
func loadModule(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	const sysFinitModule = 313 // x86-64; the syscall package does not name it.
	noParameters := []byte{0}
	_, _, errno := syscall.Syscall(sysFinitModule, f.Fd(), uintptr(unsafe.Pointer(&noParameters[0])), 0)
	if errno != 0 && errno != syscall.EEXIST {
		return errno
	}
	return nil
}

// ioctl calls ioctl(2) with a pointer argument.
func ioctl(f *os.File, request uintptr, argument unsafe.Pointer) error {
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), request, uintptr(argument)); errno != 0 {
		return errno
	}
	return nil
}

// clockGettime calls clock_gettime(2).
func clockGettime(clock uintptr, ts *syscall.Timespec) syscall.Errno {
	_, _, errno := syscall.Syscall(syscall.SYS_CLOCK_GETTIME, clock, uintptr(unsafe.Pointer(ts)), 0)
	return errno
}
