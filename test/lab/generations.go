//go:build linux

package lab

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"
)

// Generation is a release of Debian, by its code name, and with it a version of
// libvirt and one of QEMU. Empty means the machine's own system.
type Generation string

// Generations whose hosts a lab can have, the oldest first. Bookworm has libvirt 9.0
// and QEMU 7.2, Trixie 11.3 and 10.0; Forky is not released yet and moves on: it began
// with 12.8 and 11.1.
const (
	Bookworm Generation = "bookworm"
	Trixie   Generation = "trixie"
	Forky    Generation = "forky"
	// Modular is Trixie with libvirt's modular daemons in place of libvirtd, as other
	// distributions have it. They are built from source, which takes a while.
	Modular Generation = "modular"
)

// AllGenerations are all of Debian's, the oldest first.
func AllGenerations() []Generation { return []Generation{Bookworm, Trixie, Forky} }

// Generation is the system that the host runs; empty means the machine's own, of
// whatever generation that is.
func (h *Host) Generation() Generation { return h.generation }

// prepareRoots returns the root file systems of generations, but for the machine's
// own, which needs none. Those that are not there are made, by hack/generations.
func prepareRoots(ctx context.Context, generations []Generation, log func(format string, args ...any)) (map[Generation]string, error) {
	own := Generation("")
	if release, err := os.ReadFile("/etc/os-release"); err == nil {
		own = releaseName(string(release))
	}
	roots := map[Generation]string{}
	for _, g := range generations {
		if _, done := roots[g]; done || g == "" || g == own {
			continue
		}
		script := []string{"generations/root.sh", string(g)}
		if g == Modular {
			script = []string{"generations/modular.sh"}
		}
		root, err := cachingScript(ctx, log, script[0], script[1:]...)
		if err != nil {
			return nil, fmt.Errorf("preparing the root of %s: %w", g, err)
		}
		roots[g] = root
	}
	return roots, nil
}

// releaseName reads the code name of Debian's release out of /etc/os-release; empty
// is another system, or one that is not released.
func releaseName(release string) Generation {
	var id, name string
	for lines := bufio.NewScanner(strings.NewReader(release)); lines.Scan(); {
		key, value, _ := strings.Cut(lines.Text(), "=")
		switch value = strings.Trim(value, `"'`); key {
		case "ID":
			id = value
		case "VERSION_CODENAME":
			name = value
		}
	}
	if id != "debian" {
		return ""
	}
	return Generation(name)
}
