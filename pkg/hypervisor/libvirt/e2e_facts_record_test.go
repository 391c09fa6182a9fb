//go:build e2e

package libvirt

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestE2ERecordHost writes what a real libvirt says of its host. The files in
// testdata/host were chosen from there.
func TestE2ERecordHost(t *testing.T) {
	dir := os.Getenv(recordVariable)
	if dir == "" {
		t.Skip("it records only, into $" + recordVariable)
	}
	prepareHost(t, nodeA())
	for name, command := range map[string]string{
		"capabilities.xml":    "capabilities",
		"domcapabilities.xml": "domcapabilities",
		"network.xml":         "net-dumpxml facts-nat",
		"network-bridge.xml":  "net-dumpxml facts-bridge",
		"pool.xml":            "pool-dumpxml facts-dir",
		"nodedevices.txt":     "nodedev-list",
		"interfaces.txt":      "iface-list --all",
		"memory.txt":          "nodememstats",
		"freecell.txt":        "freecell --all",
		"freepages.txt":       "freepages --all",
		"nodeinfo.txt":        "nodeinfo",
		"version.txt":         "version --daemon",
		"pool.txt":            "pool-info --bytes facts-dir",
		"mdevs.txt":           "nodedev-list --cap mdev_types",
		"nets.txt":            "net-list --all",
	} {
		out, err := nodeA().Virsh(t.Context(), strings.Fields(command)...)
		if err != nil {
			out = "error: " + err.Error() + "\n"
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(out), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
