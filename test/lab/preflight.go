//go:build linux

package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// A tool is a program that the lab needs, and the Debian package it comes from;
// none when Debian's is too old.
type tool struct{ program, pkg string }

// hostTools are what hosts and guests need, controlPlaneTools what is needed to
// build the control plane.
var (
	hostTools = []tool{
		{"libvirtd", "libvirt-daemon-system"},
		{"virsh", "libvirt-clients"},
		{"qemu-system-x86_64", "qemu-system-x86"},
		{"qemu-img", "qemu-utils"},
		{"ip", "iproute2"},
		{"tc", "iproute2"},
		{"iptables", "iptables"},
		{"mount", "mount"},
		{"tini", "tini"},
		{"sleep", "coreutils"},
		{"apt-get", "apt"},
		{"dpkg-deb", "dpkg"},
		{"go", ""},
	}
	controlPlaneTools = []tool{{"go", ""}}
)

// Preflight checks that this machine can run such a lab. Its error names all
// that is missing, and the remedy.
func Preflight(options Options) error {
	var errs []error
	if os.Geteuid() != 0 {
		errs = append(errs, errors.New("it is not running as root, which namespaces and libvirt need"))
	}
	var needed []tool
	if options.Hosts > 0 {
		needed = append(needed, hostTools...)
	}
	if options.ControlPlane {
		needed = append(needed, controlPlaneTools...)
	}
	if missing := missingTools(needed, exec.LookPath); len(missing) > 0 {
		errs = append(errs, fmt.Errorf("missing programs: %s: run \"make lab-deps\" (hack/deps.sh)", strings.Join(missing, ", ")))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("checking whether this machine can run the lab: %w", err)
	}
	return nil
}

// missingTools lists the programs that lookPath does not find, once each, with
// their packages.
func missingTools(needed []tool, lookPath func(string) (string, error)) []string {
	var missing []string
	seen := map[string]bool{}
	for _, t := range needed {
		from := "package " + t.pkg
		if t.pkg == "" {
			from = "https://go.dev/dl"
		}
		if _, err := lookPath(t.program); err != nil && !seen[t.program] {
			missing = append(missing, fmt.Sprintf("%s (%s)", t.program, from))
		}
		seen[t.program] = true
	}
	return missing
}
