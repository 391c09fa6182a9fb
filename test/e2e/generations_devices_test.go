//go:build e2e

package e2e

import (
	"os"
	"path"
	"strings"
	"testing"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/test/lab"
)

// TestGenerationsExchangeTPMsAndFirmware from each to each other: what they remember is the
// same bytes afterwards. Some guests name their firmware, and libvirt chooses that of others.
func TestGenerationsExchangeTPMsAndFirmware(t *testing.T) {
	requireGenerations(t)
	for name, config := range map[string]lab.GuestConfig{
		"named":  {ExtraOS: uefi(firmwareCode, firmwareVariables, path.Join(nvramDir, "named_VARS.fd"))},
		"chosen": {ExtraOS: "<nvram>" + path.Join(nvramDir, "chosen_VARS.fd") + "</nvram><firmware><feature enabled='no' name='secure-boot'/></firmware>", Firmware: "efi"},
	} {
		t.Run(name, func(t *testing.T) {
			hosts := env.lab.Hosts()
			variables := path.Join(nvramDir, name+"_VARS.fd")
			for _, h := range hosts {
				t.Cleanup(func() { _ = os.Remove(h.Path(variables)) })
			}
			config.Persistent, config.MemoryMiB, config.Machine, config.ExtraDevices = true, 256, "pc-q35-7.2", tpm("")
			trip := roundTrip(len(hosts))
			g := env.startGuest(t, hosts[trip[0]], config)
			for i, place := range trip[1:] {
				from, to := hosts[trip[i]], hosts[place]
				t.Run(string(from.Generation()+"-to-"+to.Generation()), func(t *testing.T) {
					before := read(t, from.Path(variables))
					moveTPM(t, g, from, to)
					requireSame(t, "the firmware's variables", before, read(t, to.Path(variables)))
				})
			}
		})
	}
}

// TestGenerationsDifferInFirmware: Debian 12 is the last that has such of 2 MiB.
func TestGenerationsDifferInFirmware(t *testing.T) {
	const code, template = "/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"
	from, to := hostOf(t, lab.Bookworm), hostOf(t, lab.Trixie)
	variables := path.Join(nvramDir, "small_VARS.fd")
	t.Cleanup(func() { _ = os.Remove(from.Path(variables)) })
	g := env.startGuest(t, from, lab.GuestConfig{Persistent: true, MemoryMiB: 256, Machine: "pc-q35-7.2", ExtraOS: uefi(code, template, variables)})
	lm := env.awaitPhase(t, env.migrate(t, v1alpha1.LiveMigrationSpec{Domain: g.Name(), TargetNode: to.Name()}), v1alpha1.PhaseFailed)
	var missing []string
	if p := lm.Status.Target.Problem; p != nil {
		for _, b := range p.Blockers {
			if b.Code == v1alpha1.BlockerFirmwareMissing {
				missing = append(missing, b.Message)
			}
		}
	}
	if all := strings.Join(missing, "; "); len(missing) != 2 || !strings.Contains(all, code) || !strings.Contains(all, template) {
		t.Errorf("of what is missing, its user learns %q", missing)
	}
	if f := lm.Status.Source.Guest.Firmware; f == nil || f.CodeBytes != 1966080 || f.VariablesBytes != 131072 {
		t.Errorf("of its firmware, the source tells %+v", f)
	}
	env.requireOn(t, g, from)
	env.requireAbsent(t, g, to)
	requireNone(t, to.Path(variables))
}
