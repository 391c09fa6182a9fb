//go:build linux

package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// capabilitiesDir is where libvirtd keeps, inside a host, what it has found out
// about QEMU.
const capabilitiesDir = "/var/cache/libvirt/qemu/capabilities"

// warmCapabilities has libvirtd find out about QEMU before the host is used, as it
// would have on a host that has been up for a while. Otherwise the first guest,
// or the first migration to the host, takes a second longer.
//
// What one host has found out is kept for the next, also of other labs: libvirtd
// itself checks that it is about the same QEMU, libvirt, processor and kernel.
func (h *Host) warmCapabilities(ctx context.Context) error {
	if _, err := h.Virsh(ctx, "domcapabilities", "--virttype", "qemu", "--machine", machineType); err != nil {
		return fmt.Errorf("probing QEMU: %w", err)
	}
	return copyCapabilities(h.Path(capabilitiesDir), h.capabilitiesCache())
}

// loadCapabilities gives the host what earlier ones have found out.
func (h *Host) loadCapabilities() error {
	return copyCapabilities(h.capabilitiesCache(), h.Path(capabilitiesDir))
}

// capabilitiesCache is what hosts of this host's generation share: libvirtd names
// its files by the path of QEMU, which is the same for all.
func (h *Host) capabilitiesCache() string {
	if h.root == "" {
		return h.lab.capabilitiesCache
	}
	return h.lab.capabilitiesCache + "-" + filepath.Base(h.root)
}

// copyCapabilities copies the files of one directory to another.
func copyCapabilities(from, to string) error {
	files, err := filepath.Glob(filepath.Join(from, "*.xml"))
	if err != nil {
		return fmt.Errorf("listing what is known of QEMU: %w", err)
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		return fmt.Errorf("keeping what is known of QEMU: %w", err)
	}
	for _, file := range files {
		if err := copyWhole(file, filepath.Join(to, filepath.Base(file))); err != nil {
			return fmt.Errorf("keeping what is known of QEMU: %w", err)
		}
	}
	return nil
}
