//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"os"
	"path"
	"path/filepath"
	"testing"

	"github.com/google/uuid"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/test/lab"
)

// Where libvirt keeps what a guest's TPM and its firmware remember.
const (
	tpmDir   = "/var/lib/libvirt/swtpm"
	nvramDir = "/var/lib/libvirt/qemu/nvram"
)

// tpmState is, outside the host, where the state of a guest's TPM is.
func tpmState(h *lab.Host, g *lab.Guest) string {
	return h.Path(path.Join(tpmDir, g.UUID(), "tpm2", "tpm2-00.permall"))
}

// tpm is an emulated TPM, whose state is encrypted by a secret unless that is empty.
func tpm(secret string) string {
	encryption := ""
	if secret != "" {
		encryption = "<encryption secret='" + secret + "'/>"
	}
	return "<tpm model='tpm-crb'><backend type='emulator' version='2.0'>" + encryption + "</backend></tpm>"
}

// keepSecret gives a host's libvirt a secret for a TPM, until the test ends.
func keepSecret(t *testing.T, h *lab.Host, id, value string) {
	t.Helper()
	keepSecretFor(t, h, "<usage type='vtpm'><name>"+id+"</name></usage>", id, value)
}

// keepSecretFor gives it one for a use that is given as libvirt has it.
func keepSecretFor(t *testing.T, h *lab.Host, usage, id, value string) {
	t.Helper()
	dir := t.TempDir()
	definition, file := filepath.Join(dir, "secret.xml"), filepath.Join(dir, "value")
	text := "<secret ephemeral='no' private='yes'><uuid>" + id + "</uuid>" + usage + "</secret>"
	for name, content := range map[string]string{definition: text, file: value} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := h.Virsh(t.Context(), "secret-define", definition); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = h.Virsh(context.Background(), "secret-undefine", id) })
	if _, err := h.Virsh(t.Context(), "secret-set-value", id, "--file", file, "--plain"); err != nil {
		t.Fatal(err)
	}
}

// read returns what is in a file, or nil if there is none.
func read(t *testing.T, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(name)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return content
}

// requireNone fails if there is such a file or directory.
func requireNone(t *testing.T, name string) {
	t.Helper()
	if _, err := os.Stat(name); !os.IsNotExist(err) {
		t.Errorf("%s is left (%v)", name, err)
	}
}

// requireSame fails unless something has arrived as it was.
func requireSame(t *testing.T, what string, before, after []byte) {
	t.Helper()
	if len(before) == 0 || !bytes.Equal(before, after) {
		t.Errorf("of %s, %d bytes, %d others have arrived", what, len(before), len(after))
	}
}

// cancelMidway has a guest's migration cancelled while it is copied.
func (e *environment) cancelMidway(t *testing.T, g *lab.Guest, from, to *lab.Host) {
	t.Helper()
	lm := e.migrate(t, v1alpha1.LiveMigrationSpec{Domain: g.Name(), TargetNode: to.Name(), Options: slow()})
	e.awaitCopying(t, lm)
	e.ask(t, lm, v1alpha1.AnnotationCancel, "now")
	e.awaitPhase(t, lm, v1alpha1.PhaseCancelled)
	e.requireOn(t, g, from)
	e.requireAbsent(t, g, to)
}

// moveTPM moves a guest with a TPM, and fails unless the TPM's state moves with it.
func moveTPM(t *testing.T, g *lab.Guest, from, to *lab.Host) *v1alpha1.LiveMigration {
	t.Helper()
	before := read(t, tpmState(from, g))
	lm := env.awaitPhase(t, env.migrate(t, v1alpha1.LiveMigrationSpec{Domain: g.Name(), TargetNode: to.Name()}), v1alpha1.PhaseSucceeded)
	env.requireOn(t, g, to)
	env.requireAbsent(t, g, from)
	requireSame(t, "the TPM's state", before, read(t, tpmState(to, g)))
	requireNone(t, from.Path(path.Join(tpmDir, g.UUID())))
	return lm
}

// TestTPMNeedsItsSecret on the target, too.
func TestTPMNeedsItsSecret(t *testing.T) {
	t.Parallel() // With others that disturb no host.
	secret := uuid.NewString()
	keepSecret(t, env.a, secret, "a pass phrase")
	g := env.startGuest(t, env.a, lab.GuestConfig{Persistent: true, ExtraDevices: tpm(secret)})
	requireRefused(t, g, env.a, env.b, nil, v1alpha1.BlockerSecretMissing, env.b.Name(), secret)
	// Nobody can tell beforehand that it is another one.
	keepSecret(t, env.b, secret, "another one")
	env.awaitPhase(t, env.migrate(t, v1alpha1.LiveMigrationSpec{Domain: g.Name(), TargetNode: env.b.Name()}), v1alpha1.PhaseFailed)
	env.requireOn(t, g, env.a)
	env.requireAbsent(t, g, env.b)
	requireNone(t, env.b.Path(path.Join(tpmDir, g.UUID())))

	keepSecret(t, env.b, secret, "a pass phrase")
	env.awaitPhase(t, env.migrate(t, v1alpha1.LiveMigrationSpec{Domain: g.Name(), TargetNode: env.b.Name()}), v1alpha1.PhaseSucceeded)
	env.requireOn(t, g, env.b)
	env.requireAbsent(t, g, env.a)
	if state := read(t, tpmState(env.b, g)); len(state) == 0 {
		t.Error("the TPM's state has not arrived")
	}
}

// Firmware that all generations have.
const (
	firmwareCode      = "/usr/share/OVMF/OVMF_CODE_4M.fd"
	firmwareVariables = "/usr/share/OVMF/OVMF_VARS_4M.fd"
)

// uefi has a guest boot from this firmware. The machine has to be a q35.
func uefi(code, template, variables string) string {
	return "<loader readonly='yes' type='pflash'>" + code + "</loader><nvram template='" + template + "'>" + variables + "</nvram>"
}

// TestTPMAndFirmwareMove with what they remember, and back.
func TestTPMAndFirmwareMove(t *testing.T) {
	t.Parallel() // With others that disturb no host.
	variables := path.Join(nvramDir, "firmware_VARS.fd")
	for _, h := range env.lab.Hosts() {
		t.Cleanup(func() { _ = os.Remove(h.Path(variables)) })
	}
	g := env.startGuest(t, env.a, lab.GuestConfig{
		Persistent: true, Load: slowLoad(), MemoryMiB: 256, Machine: "pc-q35-7.2", ExtraOS: uefi(firmwareCode, firmwareVariables, variables), ExtraDevices: tpm(""),
	})
	if bytes.Equal(read(t, env.a.Path(variables)), read(t, env.a.Path(firmwareVariables))) {
		t.Error("the guest's firmware has written no variables")
	}
	env.cancelMidway(t, g, env.a, env.b)
	requireNone(t, env.b.Path(path.Join(tpmDir, g.UUID())))
	for _, way := range [][2]*lab.Host{{env.a, env.b}, {env.b, env.a}} {
		from, to := way[0], way[1]
		before := read(t, from.Path(variables))
		lm := moveTPM(t, g, from, to)
		requireSame(t, "the firmware's variables", before, read(t, to.Path(variables)))
		if f := lm.Status.Source.Guest.Firmware; f == nil || f.CodeBytes == 0 || f.VariablesBytes != int64(len(before)) {
			t.Errorf("of its firmware, the source tells %+v", f)
		}
		// The guest finds it, and fills it anew, when it comes back.
		if old := read(t, from.Path(variables)); len(old) == 0 {
			t.Error("libvirt takes the old file of the variables away: the documentation says otherwise")
		}
	}
}
