//go:build linux

package lab

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"time"

	"github.com/google/uuid"
)

// systemEtc is, outside the host, the /etc of the system that the host runs.
func (h *Host) systemEtc() string { return h.root + "/etc" }

// fillEtc makes the host's /etc: links to all that its system's own holds,
// except for what is the host's alone. A private directory, because libvirt looks
// for its certificates below /etc/pki and nowhere else, and making that on the
// machine, or in a root that hosts share, would leave a trace.
func (h *Host) fillEtc() error {
	entries, err := os.ReadDir(h.systemEtc())
	if err != nil {
		return fmt.Errorf("reading the system's /etc: %w", err)
	}
	own := map[string]bool{"libvirt": true, "pki": true, "hosts": true, path.Base(localCA): true}
	for _, entry := range entries {
		if own[entry.Name()] {
			continue
		}
		target := filepath.Join(systemEtc, entry.Name())
		if entry.Type()&os.ModeSymlink != 0 {
			// A relative link means what it meant only in the same place.
			if target, err = os.Readlink(filepath.Join(h.systemEtc(), entry.Name())); err != nil {
				return fmt.Errorf("reading the system's /etc: %w", err)
			}
		}
		if err := os.Symlink(target, filepath.Join(h.Path("/etc"), entry.Name())); err != nil {
			return fmt.Errorf("linking to the system's /etc: %w", err)
		}
	}
	files := h.libvirtConfig()
	maps.Copy(files, h.daemonConfig())
	files["/etc/hosts"] = "" // A mount point for the lab's.
	certificates, err := h.certificates(time.Time{})
	if err != nil {
		return err
	}
	maps.Copy(files, certificates)
	for inside, content := range files {
		outside := h.Path(inside)
		err := errors.Join(os.MkdirAll(filepath.Dir(outside), 0o755), os.WriteFile(outside, []byte(content), 0o600))
		if err != nil {
			return fmt.Errorf("writing the host's configuration: %w", err)
		}
	}
	return os.Chmod(h.Path("/etc/hosts"), 0o644)
}

// localCA configures who signs the certificates of emulated TPMs.
const localCA = "/etc/swtpm-localca.conf"

// daemonConfig returns the configuration of the host's daemons by path. libvirt takes
// migrations by TLS and by plain TCP on all of the host's addresses, which nobody but the lab
// can reach.
func (h *Host) daemonConfig() map[string]string {
	const listens = "listen_tls = 1\nlisten_tcp = 1\nauth_tcp = \"none\"\n"
	always := fmt.Sprintf("host_uuid = %q\nlog_outputs = \"3:stderr\"\n", uuid.NewString())
	listening := always + listens
	if h.generation != Modular {
		return map[string]string{"/etc/libvirt/libvirtd.conf": listening}
	}
	files := map[string]string{}
	for _, name := range modularDaemons {
		files["/etc/libvirt/"+name+".conf"] = always
	}
	files["/etc/libvirt/"+ProxyDaemon+".conf"] = listening
	return files
}

// libvirtConfig returns the configuration of libvirt's driver for QEMU by path.
func (h *Host) libvirtConfig() map[string]string {
	return map[string]string{
		// The namespaces are the isolation; QEMU needs no other. Files of guests
		// keep their owner, and consoles are written by QEMU itself.
		"/etc/libvirt/qemu.conf": fmt.Sprintf(`user = "root"
group = "root"
security_driver = "none"
namespaces = []
cgroup_controllers = []
stdio_handler = "file"
remember_owner = 0
migration_address = "%[1]s"
vnc_listen = "%[1]s"
swtpm_user = "root"
swtpm_group = "root"
`, h.address),
		// Where TPMs usually have it, nothing can be written on a host with a root of its own.
		localCA: `statedir = /var/lib/libvirt/swtpm-localca
signingkey = /var/lib/libvirt/swtpm-localca/signkey.pem
issuercert = /var/lib/libvirt/swtpm-localca/issuercert.pem
certserial = /var/lib/libvirt/swtpm-localca/certserial
`,
	}
}
