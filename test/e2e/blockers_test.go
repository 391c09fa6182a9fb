//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/test/lab"
)

// What each blocker is for is made so on real hosts here, where no other story has it.

// blockedDir is where the guest has its files; the target has the medium and the firmware as
// well, but not the disk.
const (
	blockedDir      = lab.PrivateDir + "/blocked/"
	blockedDisk     = blockedDir + "disk.qcow2"
	blockedMedium   = blockedDir + "medium.iso"
	blockedFirmware = blockedDir + "firmware.bin"
)

// blocked is a guest that nothing keeps from moving, until somebody sees to it.
type blocked struct {
	guest *lab.Guest
	// spec is of a dry run that passes. Each story has a copy of its own.
	spec v1alpha1.LiveMigrationSpec
}

// blockerCase is how a blocker comes about.
type blockerCase struct {
	name string
	code v1alpha1.BlockerCode
	// arrange sees to it, until the test ends.
	arrange func(t *testing.T, b *blocked)
	// behind, if there is one, is what happens once the migration is on its way, while the agent
	// that it is to surprise stands still.
	behind   func(t *testing.T, b *blocked)
	surprise *lab.Host
	// hold, if there is one, keeps the hosts from telling what they have until it is released.
	hold func(t *testing.T, b *blocked) (release func())
	// says are words of the message: what is wrong, and the remedy.
	says []string
}

// TestEachBlockerIsTold has the cause of each in turn, and takes it away again: it is told, with
// its remedy, by a dry run that touches neither the guest nor a host.
func TestEachBlockerIsTold(t *testing.T) {
	b := startBlocked(t)
	passes := func() {
		t.Helper()
		env.awaitPhase(t, env.migrate(t, b.spec), v1alpha1.PhaseSucceeded)
	}
	passes()
	for _, c := range slices.Concat(sourceBlockers(), targetBlockers(), diskBlockers(), rareBlockers(), hostBlockers()) {
		t.Run(c.name, func(t *testing.T) { requireBlocker(t, *b, c) })
	}
	passes() // Whatever was in its way is gone.
	env.requireOn(t, b.guest, env.a)
}

// startBlocked starts the guest that most blockers are about.
func startBlocked(t *testing.T) *blocked {
	t.Helper()
	firmware, err := os.ReadFile(env.a.Path("/usr/share/seabios/bios-256k.bin"))
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range []*lab.Host{env.a, env.b} {
		writeOn(t, h, blockedMedium, []byte(strings.Repeat(mediumText, 1024)))
		writeOn(t, h, blockedFirmware, firmware)
		t.Cleanup(func() { _ = os.RemoveAll(h.Path(blockedDir)) })
	}
	g := env.startGuest(t, env.a, lab.GuestConfig{
		Tiny: true, Persistent: true, TCPSerials: []int{17010}, Disks: []lab.Disk{{Path: blockedDisk, SizeMiB: 8, Format: "qcow2"}},
		ExtraOS: "<loader type='rom'>" + blockedFirmware + "</loader>",
		ExtraDevices: "<disk type='file' device='cdrom'><driver name='qemu' type='raw'/><source file='" + blockedMedium +
			"'/><target dev='hda' bus='ide'/><readonly/></disk>",
	})
	return &blocked{guest: g, spec: v1alpha1.LiveMigrationSpec{
		// With the source, the name is not ambiguous where both have a guest of that name.
		Domain: g.Name(), SourceNode: env.a.Name(), TargetNode: env.b.Name(), DryRun: new(true),
		Options: &v1alpha1.MigrationOptions{StorageCopy: &v1alpha1.StorageCopyOptions{Mode: v1alpha1.StorageCopyFull}},
	}}
}

// requireBlocker fails unless the dry run is refused for what the case says, and all is as before.
func requireBlocker(t *testing.T, b blocked, c blockerCase) {
	t.Helper()
	b.spec = *b.spec.DeepCopy()
	c.arrange(t, &b)
	before := map[*lab.Host]string{env.a: inventory(t, env.a), env.b: inventory(t, env.b)}
	release := func() {}
	if c.hold != nil {
		release = c.hold(t, &b)
	}
	t.Cleanup(func() { release() })
	var lm *v1alpha1.LiveMigration
	if c.behind == nil {
		lm = env.migrate(t, b.spec)
	} else {
		lm, before[c.surprise] = surprise(t, &b, c)
	}
	lm = env.awaitPhase(t, lm, v1alpha1.PhaseFailed)
	release()
	release = func() {}
	told := blockersOf(lm)
	at := slices.IndexFunc(told, func(blocker v1alpha1.Blocker) bool { return blocker.Code == c.code })
	if at < 0 {
		t.Fatalf("%s is not told, but %+v: %s", c.code, told, describe(lm))
	}
	t.Log(told[at].Message)
	for _, word := range c.says {
		if !strings.Contains(told[at].Message, word) {
			t.Errorf("the message does not say %q: %s", word, told[at].Message)
		}
	}
	if s := lm.Status.Source; s != nil && s.StartRequestedTime != nil {
		t.Error("it was started")
	}
	for h, was := range before {
		requireInventory(t, h, was)
	}
}

// blockersOf are what both sides tell.
func blockersOf(lm *v1alpha1.LiveMigration) []v1alpha1.Blocker {
	var told []v1alpha1.Blocker
	if s := lm.Status.Source; s != nil && s.Problem != nil {
		told = append(told, s.Problem.Blockers...)
	}
	if s := lm.Status.Target; s != nil && s.Problem != nil {
		told = append(told, s.Problem.Blockers...)
	}
	return told
}

// surprise lets something happen after the manager has let a migration begin, and before an agent
// looks. It returns what that agent's host has then.
func surprise(t *testing.T, b *blocked, c blockerCase) (lm *v1alpha1.LiveMigration, has string) {
	t.Helper()
	agent := c.surprise.Agent()
	if err := agent.Pause(); err != nil {
		t.Fatal(err)
	}
	resumed := false
	resume := func() {
		if !resumed {
			resumed = true
			_ = agent.Resume()
		}
	}
	t.Cleanup(resume)
	lm = env.migrate(t, b.spec)
	lm = env.await(t, lm, "its attempt", func(now *v1alpha1.LiveMigration) bool { return now.Status.Attempt != nil })
	c.behind(t, b)
	has = inventory(t, c.surprise)
	resume()
	return lm, has
}

// inventory is what a host has: guests and their states, pools, and files of guests.
func inventory(t *testing.T, h *lab.Host) string {
	t.Helper()
	var out strings.Builder
	for _, args := range [][]string{{"list", "--all", "--uuid"}, {"list", "--state-running", "--uuid"}, {"pool-list", "--all", "--name"}} {
		text, err := h.Virsh(t.Context(), args...)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(text, "\n")
		slices.Sort(lines)
		fmt.Fprintln(&out, args, lines)
	}
	for _, dir := range []string{lab.PrivateDir, lab.SharedDir} {
		err := filepath.Walk(h.Path(dir), func(path string, info os.FileInfo, err error) error {
			if err == nil && info.Mode().IsRegular() {
				fmt.Fprintln(&out, path)
			}
			return nil // What is gone meanwhile is not there.
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return out.String()
}

// requireInventory waits until a host has what it had: marks beside disks are removed after the
// end.
func requireInventory(t *testing.T, h *lab.Host, want string) {
	t.Helper()
	var now string
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if now = inventory(t, h); now == want {
			return
		}
	}
	t.Errorf("%s has\n%s\nand had\n%s", h.Name(), now, want)
}

// virsh runs virsh on a host, and takes what that did back when the test ends.
func virsh(t *testing.T, h *lab.Host, do, undo []string) {
	t.Helper()
	if out, err := h.Virsh(t.Context(), do...); err != nil {
		t.Fatal(out, err)
	}
	t.Cleanup(func() {
		if out, err := h.Virsh(context.Background(), undo...); err != nil {
			t.Errorf("taking back what was done for the test: %s, %v", out, err)
		}
	})
}

// writeOn writes a file of a host.
func writeOn(t *testing.T, h *lab.Host, path string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(h.Path(path)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(h.Path(path), content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// definitionOn writes the guest's definition, changed, into a file of a host.
func definitionOn(t *testing.T, h *lab.Host, g *lab.Guest, changes ...string) string {
	t.Helper()
	text, err := env.a.Virsh(t.Context(), "dumpxml", "--inactive", "--security-info", g.UUID())
	if err != nil {
		t.Fatal(err)
	}
	file := h.Path("/run/" + uuid.NewString() + ".xml")
	if err := os.WriteFile(file, []byte(strings.NewReplacer(changes...).Replace(text)), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(file) })
	return file
}

// sourceBlockers are those that the source's agent tells of the guest itself.
func sourceBlockers() []blockerCase {
	return []blockerCase{
		{
			name: "a snapshot", code: v1alpha1.BlockerSnapshotsKept, says: []string{"snapshots", "(1)", "virsh snapshot-delete"},
			arrange: func(t *testing.T, b *blocked) {
				t.Helper()
				virsh(t, env.a, []string{"snapshot-create-as", b.guest.Name(), "kept"}, []string{"snapshot-delete", b.guest.Name(), "kept"})
			},
		},
		{
			name: "a checkpoint", code: v1alpha1.BlockerCheckpointsKept, says: []string{"checkpoints", "(1)", "virsh checkpoint-delete"},
			arrange: func(t *testing.T, b *blocked) {
				t.Helper()
				virsh(t, env.a, []string{"checkpoint-create-as", b.guest.Name(), "kept"}, []string{"checkpoint-delete", b.guest.Name(), "kept"})
			},
		},
		{
			name: "a disk that the guest does not have", code: v1alpha1.BlockerDiskUnknown, says: []string{"no disk vdz", "Create another LiveMigration"},
			arrange: func(_ *testing.T, b *blocked) { b.spec.Options.StorageCopy.Disks = []v1alpha1.DiskName{"vda", "vdz"} },
		},
		{
			name: "more than can be listed", code: v1alpha1.BlockerMore, says: []string{"more; the message tells of them"},
			arrange: func(t *testing.T, b *blocked) {
				t.Helper()
				virsh(t, env.a, []string{"snapshot-create-as", b.guest.Name(), "kept"}, []string{"snapshot-delete", b.guest.Name(), "kept"})
				for i := range 64 {
					b.spec.Options.StorageCopy.Disks = append(b.spec.Options.StorageCopy.Disks, v1alpha1.DiskName(fmt.Sprintf("sd%02d", i)))
				}
			},
		},
		{
			name: "the guest ends meanwhile", code: v1alpha1.BlockerDomainNotOnSource, says: []string{"no longer runs on", "Create another LiveMigration"},
			surprise: env.a,
			arrange: func(t *testing.T, b *blocked) {
				t.Helper()
				g := env.startGuest(t, env.a, lab.GuestConfig{Tiny: true})
				b.guest, b.spec.Domain = g, g.Name()
			},
			behind: func(t *testing.T, b *blocked) {
				t.Helper()
				if _, err := env.a.Virsh(t.Context(), "destroy", b.guest.UUID()); err != nil {
					t.Fatal(err)
				}
			},
		},
	}
}

// targetBlockers are those of what the target has, or lacks, for the guest.
func targetBlockers() []blockerCase {
	return []blockerCase{
		{
			name: "another guest of this name", code: v1alpha1.BlockerNameTaken, says: []string{"Another guest named", "rename or undefine it"},
			arrange: func(t *testing.T, b *blocked) {
				t.Helper()
				other := uuid.NewString()
				virsh(t, env.b, []string{"define", definitionOn(t, env.b, b.guest, b.guest.UUID(), other)}, []string{"undefine", other})
			},
		},
		{
			name: "the guest runs there as well", code: v1alpha1.BlockerGuestActiveOnTarget, says: []string{"is active on", "virsh destroy"},
			surprise: env.b,
			arrange:  func(*testing.T, *blocked) {},
			behind: func(t *testing.T, b *blocked) {
				t.Helper()
				copied := lab.GuestConfig{Name: b.guest.Name() + "-twin", UUID: b.guest.UUID(), Tiny: true}
				if _, err := env.b.StartGuest(t.Context(), copied); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _, _ = env.b.Virsh(context.Background(), "destroy", b.guest.UUID()) })
			},
		},
		{
			name: "too little memory", code: v1alpha1.BlockerMemoryInsufficient, says: []string{"of memory", "free", "options.skipMemoryCheck"},
			arrange: func(t *testing.T, b *blocked) {
				t.Helper()
				// Both hosts are of this machine. The guest touches some of its memory only.
				g := env.startGuest(t, env.a, lab.GuestConfig{Tiny: true, MemoryMiB: machineMiB(t) - 16})
				b.guest, b.spec.Domain, b.spec.Options = g, g.Name(), nil
			},
		},
		{
			name: "no serial port left", code: v1alpha1.BlockerPortsExhausted, says: []string{"--serial-ports"},
			arrange: func(t *testing.T, _ *blocked) {
				t.Helper()
				t.Cleanup(func() { env.replaceAgent(t, env.b) })
				env.replaceAgent(t, env.b, "--serial-ports=17011-17011")
			},
		},
		{
			name: "a firmware of another size", code: v1alpha1.BlockerFirmwareDiffers, says: []string{blockedFirmware, "has 131072 bytes", "must have 262144"},
			arrange: func(t *testing.T, _ *blocked) {
				t.Helper()
				whole := read(t, env.b.Path(blockedFirmware))
				t.Cleanup(func() { writeOn(t, env.b, blockedFirmware, whole) })
				writeOn(t, env.b, blockedFirmware, whole[:128<<10])
			},
		},
		{
			name: "a secret that nobody needs", code: v1alpha1.BlockerSecretNotNeeded, says: []string{"spec.migrateData.secrets", "without the entries"},
			arrange: func(_ *testing.T, b *blocked) { b.spec.MigrateData = secretData(uuid.NewString()) },
		},
		{
			name: "a secret that cannot be read", code: v1alpha1.BlockerSecretUnreadable, says: []string{"Secret \"of-nobody\"", "create another LiveMigration"},
			arrange: func(t *testing.T, b *blocked) {
				t.Helper()
				secret := uuid.NewString()
				keepSecret(t, env.a, secret, "a pass phrase")
				g := env.startGuest(t, env.a, lab.GuestConfig{Tiny: true, ExtraDevices: tpm(secret)})
				b.guest, b.spec.Domain, b.spec.Options, b.spec.MigrateData = g, g.Name(), nil, secretData(secret)
			},
		},
	}
}

// secretData gives a guest the value of a secret from the cluster, which does not have it.
func secretData(id string) *v1alpha1.MigrateData {
	return &v1alpha1.MigrateData{Secrets: []v1alpha1.SecretMigrateData{{
		UUID: new(v1alpha1.UUID(id)), SecretKeyRef: v1alpha1.SecretKeyReference{Name: "of-nobody", Key: "value"},
	}}}
}

// machineMiB is how much memory this machine has.
func machineMiB(t *testing.T) int {
	t.Helper()
	var kib int
	if _, err := fmt.Sscanf(string(read(t, "/proc/meminfo")), "MemTotal: %d kB", &kib); err != nil {
		t.Fatal(err)
	}
	return kib >> 10
}

// diskBlockers are those of disks and of where they are to be.
func diskBlockers() []blockerCase {
	place := func(b *blocked, path string) {
		b.spec.MigrateData = &v1alpha1.MigrateData{Volumes: []v1alpha1.VolumeMigrateData{{
			TargetDevice: new("vda"), Source: &v1alpha1.VolumeSource{File: &v1alpha1.PathSource{Path: path}},
		}}}
	}
	return []blockerCase{
		{
			name: "a disk that only the source has", code: v1alpha1.BlockerDiskMissing, says: []string{blockedDisk, "options.storageCopy"},
			arrange: func(_ *testing.T, b *blocked) { b.spec.Options = nil },
		},
		{
			name: "a disk that the guest only reads", code: v1alpha1.BlockerDiskNotCopyable, says: []string{"hda", "only reads it", "options.storageCopy.disks"},
			arrange: func(_ *testing.T, b *blocked) { b.spec.Options.StorageCopy.Disks = []v1alpha1.DiskName{"vda", "hda"} },
		},
		{
			name: "a file in the image's place", code: v1alpha1.BlockerImageExists, says: []string{"a file already at " + blockedDisk, "remove it"},
			arrange: func(t *testing.T, _ *blocked) {
				t.Helper()
				writeOn(t, env.b, blockedDisk, []byte("somebody else's"))
				t.Cleanup(func() { _ = os.Remove(env.b.Path(blockedDisk)) })
			},
		},
		{
			name: "no directory for the image", code: v1alpha1.BlockerImagePlaceUnusable, says: []string{"nowhere", "Ask an administrator"},
			arrange: func(_ *testing.T, b *blocked) { place(b, lab.PrivateDir+"/nowhere/disk.qcow2") },
		},
		{
			name: "a path that leads elsewhere", code: v1alpha1.BlockerPathMalformed, says: []string{"without surplus slashes, . or .."},
			arrange: func(_ *testing.T, b *blocked) { place(b, lab.PrivateDir+"/../../../etc/disk.qcow2") },
		},
		{
			name: "a pool that is not started", code: v1alpha1.BlockerStoragePoolInactive, says: []string{"\"blocked-there\"", "virsh pool-start"},
			arrange: func(t *testing.T, b *blocked) {
				t.Helper()
				const here, there, volume = "blocked-here", "blocked-there", "blocked.img"
				virsh(t, env.a, []string{"pool-create-as", here, "dir", "--target", lab.SharedDir}, []string{"pool-destroy", here})
				virsh(t, env.a, []string{"vol-create-as", here, volume, "1M", "--format", "raw"}, []string{"vol-delete", volume, "--pool", here})
				virsh(t, env.b, []string{"pool-define-as", there, "dir", "--target", lab.SharedDir}, []string{"pool-undefine", there})
				env.setSpec(t, env.b.Name(), `{"storageMappings":[{"kind":"Pool","from":"`+here+`","to":"`+there+`"}]}`)
				g := env.startGuest(t, env.a, lab.GuestConfig{Tiny: true, ExtraDevices: "<disk type='volume' device='disk'><driver name='qemu' type='raw'/><source pool='" + here +
					"' volume='" + volume + "'/><target dev='vdc' bus='virtio'/></disk>"})
				b.guest, b.spec.Domain, b.spec.Options = g, g.Name(), nil
			},
		},
	}
}
