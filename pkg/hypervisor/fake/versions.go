package fake

// SetVersions sets the versions of the host's libvirt and QEMU, as an update does.
func (h *Host) SetVersions(libvirt, qemu string) {
	h.fleet.mu.Lock()
	defer h.fleet.mu.Unlock()
	h.info.LibvirtVersion, h.info.HypervisorVersion = libvirt, qemu
}
