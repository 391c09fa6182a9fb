//go:build e2e

package e2e

import (
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/test/lab"
)

// agentChannel is a channel for a guest agent, whose socket libvirt names after the domain's
// number.
const agentChannel = "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>"

// liveDevices are what a running guest has of what tests plug in.
type liveDevices struct {
	Disks []struct {
		Serial string `xml:"serial"`
	} `xml:"devices>disk"`
	Interfaces []struct {
		MAC struct {
			Address string `xml:"address,attr"`
		} `xml:"mac"`
	} `xml:"devices>interface"`
	Memory []struct {
		Size int `xml:"target>size"`
	} `xml:"devices>memory"`
	Channels []struct {
		Source struct {
			Path string `xml:"path,attr"`
		} `xml:"source"`
		Target struct {
			Name  string `xml:"name,attr"`
			State string `xml:"state,attr"`
		} `xml:"target"`
	} `xml:"devices>channel"`
	ID int `xml:"id,attr"`
}

// devicesOf reads them, from the running guest or from its definition.
func devicesOf(t *testing.T, g *lab.Guest, h *lab.Host, flags ...string) liveDevices {
	t.Helper()
	text, err := h.Virsh(t.Context(), append([]string{"dumpxml", g.UUID()}, flags...)...)
	if err != nil {
		t.Fatal(err)
	}
	var out liveDevices
	if err := xml.Unmarshal([]byte(text), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// plug adds a device to a guest while it runs, and not to its definition.
func plug(t *testing.T, g *lab.Guest, h *lab.Host, device string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "device.xml")
	if err := os.WriteFile(file, []byte(device), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Virsh(t.Context(), "attach-device", g.UUID(), file, "--live"); err != nil {
		t.Fatal(err)
	}
}

// TestWhatWasPluggedInMoves with the running guest, and does not get into its definition.
// Sockets of channels, which libvirt names after the host's number of the guest, are made anew.
func TestWhatWasPluggedInMoves(t *testing.T) {
	t.Parallel() // With others that disturb no host.
	const image, mac, memoryMiB = lab.SharedDir + "/plugged.raw", "52:54:00:70:6c:67", 128
	if err := env.a.MakeDisk(t.Context(), lab.Disk{Path: image, SizeMiB: 16}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(env.a.Path(image)) })
	g := env.startGuest(t, env.a, lab.GuestConfig{
		Persistent: true, MemoryMiB: 256,
		ExtraXML:     "<maxMemory slots='2' unit='MiB'>1024</maxMemory><cpu><numa><cell id='0' cpus='0' memory='256' unit='MiB'/></numa></cpu>",
		ExtraDevices: agentChannel,
	})
	plug(t, g, env.a, "<disk type='file'><driver name='qemu' type='raw' cache='none'/><source file='"+image+"'/><target dev='vdz' bus='virtio'/><serial>plugged</serial></disk>")
	plug(t, g, env.a, "<interface type='bridge'><mac address='"+mac+"'/><source bridge='"+lab.GuestBridge+"'/><model type='virtio'/></interface>")
	plug(t, g, env.a, "<memory model='dimm'><target><size unit='MiB'>128</size><node>0</node></target></memory>")
	before := devicesOf(t, g, env.a)

	lm := env.awaitPhase(t, env.migrate(t, v1alpha1.LiveMigrationSpec{Domain: g.Name(), TargetNode: env.b.Name()}), v1alpha1.PhaseSucceeded)
	env.requireOn(t, g, env.b)
	env.requireAbsent(t, g, env.a)
	requirePersistent(t, g, env.b)
	if macs := lm.Status.Source.Guest.MACAddresses; len(macs) != 1 || string(macs[0]) != mac {
		t.Errorf("its addresses are told as %v", macs)
	}
	live := devicesOf(t, g, env.b)
	if len(live.Disks) != 1 || live.Disks[0].Serial != "plugged" || len(live.Interfaces) != 1 || live.Interfaces[0].MAC.Address != mac ||
		len(live.Memory) != 1 || live.Memory[0].Size != memoryMiB<<10 {
		t.Errorf("it arrives with %+v", live)
	}
	if kept := devicesOf(t, g, env.b, "--inactive"); len(kept.Disks)+len(kept.Interfaces)+len(kept.Memory) != 0 || len(kept.Channels) != 1 || kept.Channels[0].Source.Path != "" {
		t.Errorf("its definition has %+v", kept)
	}
	if len(live.Channels) != 1 || !strings.Contains(live.Channels[0].Source.Path, fmt.Sprintf("%d-", live.ID)) {
		t.Fatalf("the channels were %+v of %d, and are %+v of %d", before.Channels, before.ID, live.Channels, live.ID)
	}
	if socket, err := os.Stat(env.b.Path(live.Channels[0].Source.Path)); err != nil || socket.Mode()&os.ModeSocket == 0 {
		t.Errorf("the channel's socket: %v, %v", socket, err)
	}
}
