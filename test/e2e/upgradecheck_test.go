//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/virtferry/virtferry/internal/upgradecheck"
	"github.com/virtferry/virtferry/test/lab"
)

// TestGenerationsStrandGuests that are of a machine type which the next one has given up, and
// upgrade-check tells so.
func TestGenerationsStrandGuests(t *testing.T) {
	from, to := hostOf(t, lab.Bookworm), hostOf(t, lab.Forky)
	want := map[string]upgradecheck.Verdict{
		env.startGuest(t, from, lab.GuestConfig{Name: "aged", Machine: "pc-i440fx-2.12"}).UUID(): upgradecheck.Refused,
		env.startGuest(t, from, lab.GuestConfig{Name: "young"}).UUID():                           upgradecheck.Moves,
	}
	binary, err := env.lab.Binary(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), binary, "upgrade-check", from.Name(), "--to", to.Name(), "--output", "json",
		"--kubeconfig", env.lab.ControlPlane().Kubeconfig())
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(said.String(), "aged") {
		t.Errorf("it ends with %v: %s", err, said.String())
	}
	got := map[string]upgradecheck.Verdict{}
	for lines := json.NewDecoder(bytes.NewReader(out)); lines.More(); {
		var r upgradecheck.Result
		if err := lines.Decode(&r); err != nil {
			t.Fatal(err)
		}
		got[r.Guest.UUID] = r.Verdict()
		t.Logf("%s: %+v", r.Guest, r.Answers)
	}
	for uuid, verdict := range want {
		if got[uuid] != verdict {
			t.Errorf("of %s it says %q, want %q", uuid, got[uuid], verdict)
		}
	}
}
