//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/test/lab"
)

// rareBlockers are those whose causes take some doing.
func rareBlockers() []blockerCase {
	return []blockerCase{
		{
			name: "a secret that another namespace has on loan", code: v1alpha1.BlockerSecretRefused, says: []string{"does not take the secret", "another namespace"},
			arrange: lendElsewhere,
		},
		{
			name: "more to tell than there is room for", code: v1alpha1.BlockerReportTooLarge, says: []string{"has room for", "shorter paths"},
			arrange: deepDisks,
		},
		{
			name: "a guest that libvirt does not answer for", code: v1alpha1.BlockerHostUseUnknown, says: []string{"-held", "storage that does not respond"},
			arrange: func(t *testing.T, b *blocked) {
				t.Helper()
				g := env.startGuest(t, env.a, lab.GuestConfig{Tiny: true, ExtraXML: "<cputune><vcpupin vcpu='0' cpuset='0'/></cputune>"})
				b.guest, b.spec.Domain, b.spec.Options = g, g.Name(), nil
				env.startGuest(t, env.b, lab.GuestConfig{Name: "-held", Tiny: true, Disks: []lab.Disk{{Path: heldDisk, SizeMiB: 1}}})
				t.Cleanup(func() { _ = os.Remove(env.b.Path(heldDisk)) })
			},
			hold: holdUp,
		},
	}
}

// lendElsewhere has the target's libvirt keep a secret that was lent to a migration of another
// namespace. Only a migration that is to be started borrows any.
func lendElsewhere(t *testing.T, b *blocked) {
	t.Helper()
	id := uuid.NewString()
	keepSecret(t, env.a, id, "a pass phrase")
	definition := env.b.Path("/run/" + id + ".xml")
	text := "<secret ephemeral='yes' private='yes'><description>Lent by Virtferry to: elsewhere/other/1</description><uuid>" + id + "</uuid></secret>"
	if err := os.WriteFile(definition, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(definition) })
	of := metav1.ObjectMeta{Name: "blocked", Namespace: "default"}
	for _, o := range []client.Object{
		&corev1.Secret{ObjectMeta: of, StringData: map[string]string{"value": "a pass phrase"}},
		&rbacv1.Role{ObjectMeta: of, Rules: []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{of.Name}, Verbs: []string{"get"}}}},
		&rbacv1.RoleBinding{ObjectMeta: of, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: of.Name},
			Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: lab.SystemNamespace, Name: "virtferry-agent"}}},
	} {
		if err := env.client.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = env.client.Delete(context.Background(), o) })
	}
	g := env.startGuest(t, env.a, lab.GuestConfig{Tiny: true, ExtraDevices: tpm(id)})
	b.guest, b.spec.Domain, b.spec.Options, b.spec.DryRun, b.spec.MigrateData = g, g.Name(), nil, nil, secretData(id)
	b.spec.MigrateData.Secrets[0].SecretKeyRef.Name = of.Name
	// At last: the agent takes it back when it hears of the end of any migration, as there is no
	// such one.
	if out, err := env.b.Virsh(t.Context(), "secret-define", definition); err != nil {
		t.Fatal(out, err)
	}
	t.Cleanup(func() { _, _ = env.b.Virsh(context.Background(), "secret-undefine", id) })
}

// deepDisks has a guest with many disks, each in a directory of its own with a path as long as
// Linux takes.
func deepDisks(t *testing.T, b *blocked) {
	t.Helper()
	const disks = 40
	top := lab.PrivateDir + "/deep"
	var devices strings.Builder
	for i := range disks {
		dir := fmt.Sprintf("%s/%02d", top, i)
		for len(dir) < 3800 {
			dir += "/" + strings.Repeat("d", 200)
		}
		image := dir + "/disk.img"
		// From within, where the path is shorter.
		if out, err := env.a.Exec(t.Context(), "sh", "-c", `mkdir -p "$1" && truncate -s 1M "$2"`, "sh", dir, image); err != nil {
			t.Fatal(out, err)
		}
		fmt.Fprintf(&devices, "<disk type='file' device='disk'><driver name='qemu' type='raw' cache='none'/><source file='%s'/><target dev='sd%c%c' bus='scsi'/></disk>",
			image, 'a'+i/26, 'a'+i%26)
	}
	t.Cleanup(func() { _, _ = env.a.Exec(context.Background(), "rm", "-rf", top) })
	g := env.startGuest(t, env.a, lab.GuestConfig{Tiny: true, ExtraDevices: "<controller type='scsi' model='virtio-scsi'/>" + devices.String()})
	b.guest, b.spec.Domain = g, g.Name()
}

// heldDisk is the disk of a guest that holds its libvirt up.
const heldDisk = lab.PrivateDir + "/held.img"

// holdUp has a guest of the target hold libvirt up by storage that does not answer: a FIFO that
// nobody writes to takes the place of its disk, and libvirt is asked how large that is.
func holdUp(t *testing.T, b *blocked) (release func()) {
	t.Helper()
	path := env.b.Path(heldDisk)
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = env.b.Virsh(context.Background(), "domblkinfo", b.guest.Name()+"-held", "vda")
	}()
	for deadline := time.Now().Add(10 * time.Second); ; {
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		_, err := env.b.Virsh(ctx, "domstate", b.guest.Name()+"-held")
		cancel()
		if err != nil {
			break
		}
		if time.Now().After(deadline) {
			t.Error("libvirt answers for the guest all the same")
			break
		}
	}
	return func() {
		writer, err := os.OpenFile(path, os.O_RDWR, 0) // Whoever waits for it goes on.
		if err != nil {
			t.Error(err)
			return
		}
		<-done
		if err := writer.Close(); err != nil {
			t.Error(err)
		}
		if err := os.Rename(path+".away", path); err != nil {
			t.Error(err)
		}
	}
}

// hostBlockers are those for which the target's libvirt is configured otherwise.
func hostBlockers() []blockerCase {
	cases := []blockerCase{{
		name: "the source's UUID", code: v1alpha1.BlockerHostUUIDNotUnique, says: []string{"the same host UUID", "host_uuid"},
		arrange: func(t *testing.T, _ *blocked) {
			t.Helper()
			reconfigure(t, env.b, map[string]string{"host_uuid = ": hostUUIDLine(t, env.a)})
		},
	}}
	if sysctl := strings.TrimSpace(string(readAny("/proc/sys/vm/unprivileged_userfaultfd"))); sysctl == "0" {
		cases = append(cases, blockerCase{
			name: "no post-copy for QEMU's user", code: v1alpha1.BlockerPostCopyUnavailable, says: []string{"cannot receive guests in post-copy", "options.allowPostCopy"},
			arrange: func(t *testing.T, b *blocked) {
				t.Helper()
				b.spec.Options.AllowPostCopy = new(true)
				reconfigure(t, env.b, map[string]string{"user = ": "user = \"nobody\"", "group = ": "group = \"nogroup\""})
			},
		})
	}
	return cases
}

// readAny is what is in a file; empty if it cannot be read.
func readAny(name string) []byte {
	content, err := os.ReadFile(name)
	if err != nil {
		return nil
	}
	return content
}

// configFiles are those of a host's libvirt, whichever daemons it consists of.
func configFiles(t *testing.T, h *lab.Host) []string {
	t.Helper()
	files, err := filepath.Glob(h.Path("/etc/libvirt") + "/*.conf")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	return files
}

// capabilityFiles are what a host's libvirt remembers of its emulators.
func capabilityFiles(t *testing.T, h *lab.Host) []string {
	t.Helper()
	files, err := filepath.Glob(h.Path("/var/cache/libvirt/qemu/capabilities") + "/*.xml")
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// hostUUIDLine is what gives a host's libvirt its UUID.
func hostUUIDLine(t *testing.T, h *lab.Host) string {
	t.Helper()
	for _, file := range configFiles(t, h) {
		for line := range strings.Lines(string(read(t, file))) {
			if strings.HasPrefix(line, "host_uuid = ") {
				return strings.TrimSpace(line)
			}
		}
	}
	t.Fatal("the host's UUID is not configured")
	return ""
}

// reconfigure replaces the lines of a host's libvirt that begin so, and restarts it; the same again
// when the test ends.
func reconfigure(t *testing.T, h *lab.Host, lines map[string]string) {
	t.Helper()
	before := map[string][]byte{}
	for _, file := range configFiles(t, h) {
		before[file] = read(t, file)
	}
	after := maps.Clone(before)
	// What libvirt knows of emulators depends on the user for whom they run, and takes it seconds to find out.
	for _, file := range capabilityFiles(t, h) {
		before[file] = read(t, file)
	}
	for file, content := range after {
		text := strings.Split(string(content), "\n")
		for i, line := range text {
			for begin, other := range lines {
				if strings.HasPrefix(line, begin) {
					text[i] = other
				}
			}
		}
		after[file] = []byte(strings.Join(text, "\n"))
	}
	restart := func(files map[string][]byte) {
		ctx := context.Background()
		if err := h.KillLibvirtd(ctx, syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		for file, content := range files {
			if err := os.WriteFile(file, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := h.StartLibvirtd(ctx); err != nil {
			t.Fatal(err)
		}
		// Its agent has to be with the new one.
		env.replaceAgent(t, h)
	}
	t.Cleanup(func() { restart(before) })
	restart(after)
}
