//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/test/documented"
	"github.com/virtferry/virtferry/test/lab"
)

// TestDocumentedCertificates makes the certificates of the hosts' libvirt and QEMU, and puts
// them into their places, as docs/install.md has its reader do. libvirt takes them for what
// they are, and a guest moves by TLS, the default of Virtferry's agents, encrypted, and
// past a firewall with the rule of the page. Then the hosts reach each other by SSH as well.
func TestDocumentedCertificates(t *testing.T) {
	l := lab.ForTest(t, lab.Options{Hosts: 2, ControlPlane: true, Transport: "tls"})
	mine, roots := certificateCommands(t, "Certificates", "-keyout cakey.pem")
	forQEMU, qemuRoots := certificateCommands(t, "Encryption of the guests' memory", "host=node-a")
	dir := t.TempDir()
	typeIn(t, dir, documented.Script(mine[:1])) // The authority, once.
	for _, h := range l.Hosts() {
		onHost := strings.NewReplacer("node-a", h.Name(), "192.0.2.11", h.Address(), " /etc/", " "+h.Path("/etc")+"/")
		typeIn(t, dir, onHost.Replace(documented.Script(mine[1:])+documented.Script(roots)))
		typeIn(t, dir, onHost.Replace(documented.Script(forQEMU)+documented.Script(qemuRoots)))
		if info, err := os.Stat(h.Path("/etc/pki/libvirt/private/serverkey.pem")); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the server's key: %v, %v", info, err)
		}
		if err := h.KillLibvirtd(t.Context(), syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := h.StartLibvirtd(t.Context()); err != nil {
			t.Fatal(err)
		}
		letInAsDocumented(t, h, "16514")
	}
	requireSameUser(t)
	e, err := newEnvironment(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	g := e.startGuest(t, e.a, lab.GuestConfig{Persistent: true})
	uri := documentedURI(t)
	for _, from := range l.Hosts() {
		// By its address and by its name.
		for _, at := range []string{e.a.Address(), e.a.Name()} {
			out, err := from.Exec(t.Context(), "virsh", "-c", strings.ReplaceAll(uri, "192.0.2.12", at), "list")
			if err != nil || !strings.Contains(out, g.Name()) {
				t.Errorf("from %s, %s lists %q, %v", from.Name(), at, out, err)
			}
		}
	}
	lm := e.awaitPhase(t, e.migrate(t, v1alpha1.LiveMigrationSpec{Domain: g.Name(), TargetNode: e.b.Name()}), v1alpha1.PhaseSucceeded)
	if by := lm.Status.Target.Endpoint; by == nil || by.Transport != v1alpha1.TransportTLS {
		t.Errorf("it went by %+v", by)
	}
	if plan := lm.Status.Source.Transfer; plan == nil || !plan.Encrypted || plan.TLSDestination != "" {
		t.Errorf("it was sent as %+v", plan)
	}
	e.requireOn(t, g, e.b)

	e.moveDiskByTLS(t)

	// Another authority's certificate on one of the hosts is found before anything is touched.
	onHost := strings.NewReplacer("node-a", e.a.Name(), "192.0.2.11", e.a.Address(), " /etc/", " "+e.a.Path("/etc")+"/")
	typeIn(t, t.TempDir(), onHost.Replace(documented.Script(forQEMU)+documented.Script(qemuRoots)))
	back := v1alpha1.LiveMigrationSpec{Domain: g.Name(), TargetNode: e.a.Name(), Options: &v1alpha1.MigrationOptions{
		Transfer: &v1alpha1.TransferOptions{Encryption: v1alpha1.EncryptionRequired},
	}}
	lm = e.awaitPhase(t, e.migrate(t, back), v1alpha1.PhaseFailed)
	if p := lm.Status.Source.Problem; p == nil || len(p.Blockers) != 1 || p.Blockers[0].Code != v1alpha1.BlockerEncryptionUnavailable {
		t.Errorf("it is refused for %+v", p)
	}
	e.requireOn(t, g, e.b)
	back.Options = nil
	lm = e.awaitPhase(t, e.migrate(t, back), v1alpha1.PhaseSucceeded)
	if plan := lm.Status.Source.Transfer; plan == nil || plan.Encrypted || !strings.Contains(plan.UnencryptedReason, "no certificate authority in common") {
		t.Errorf("it was sent as %+v", plan)
	}
	e.requireOn(t, g, e.a)

	// What the agents have libvirt do with --transport=ssh.
	for _, h := range l.Hosts() {
		letInAsDocumented(t, h, "22")
	}
	letInBySSH(t, l.Hosts())
	typeOn(t, e.a, "virsh migrate --live --p2p --persistent --undefinesource "+g.Name()+" qemu+ssh://"+e.b.Address()+"/system --migrateuri tcp://"+e.b.Address())
	e.requireOn(t, g, e.b)
}

// letInBySSH makes the keys by which hosts reach each other by SSH, as docs/install.md has
// its reader do, and has it tested as there. The keys do nothing but speak to libvirt.
func letInBySSH(t *testing.T, hosts []*lab.Host) {
	t.Helper()
	commands := commandsBelow(t, "SSH")
	if len(commands) != 6 || !strings.HasPrefix(commands[0].Text, "ssh-keygen ") {
		t.Fatalf("docs/install.md has these commands about SSH: %+v", commands)
	}
	root := map[string]string{}
	for _, h := range hosts {
		root[h.Name()] = t.TempDir()
		// The hosts share the machine's /root and, in its /etc, the keys of its sshd.
		typeOn(t, h, "install -d -m 700 /root/.ssh && mount --bind "+root[h.Name()]+" /root/.ssh && chmod 700 /root/.ssh\n"+
			"install -d -m 755 /run/sshd && /usr/sbin/sshd -o ListenAddress="+h.Address())
		typeOn(t, h, commands[0].Text)
	}
	for i, from := range hosts {
		to := hosts[1-i]
		names := strings.NewReplacer("node-a", from.Name(), "192.0.2.11", from.Address(), "192.0.2.12", to.Address())
		key, err := os.ReadFile(root[from.Name()] + "/id_ed25519.pub")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(root[to.Name()]+"/"+from.Name()+".pub", key, 0o600); err != nil {
			t.Fatal(err)
		}
		typeOn(t, to, "cd /root/.ssh\n"+names.Replace(documented.Script(commands[1:3])))
		typeOn(t, from, names.Replace(documented.Script(commands[3:])))
		if out, err := from.Exec(t.Context(), "ssh", "-o", "BatchMode=yes", to.Address(), "id"); err == nil && strings.Contains(out, "uid=0") {
			t.Errorf("the key lets %s run anything on %s: %s", from.Name(), to.Name(), out)
		}
	}
}

// typeOn types a script as root of a host.
func typeOn(t *testing.T, h *lab.Host, script string) {
	t.Helper()
	if out, err := h.Exec(t.Context(), "bash", "-euo", "pipefail", "-c", script); err != nil {
		t.Fatalf("%v\n%s\n%s", err, script, out)
	}
}

// commandsBelow returns those of docs/install.md below a heading.
func commandsBelow(t *testing.T, heading string) []documented.Command {
	t.Helper()
	return slices.DeleteFunc(installCommands(t), func(c documented.Command) bool { return c.Heading != heading })
}

// letInAsDocumented gives a host a firewall that drops what it does not know, and the rule
// that docs/install.md names, for the port of a transport.
func letInAsDocumented(t *testing.T, h *lab.Host, port string) {
	t.Helper()
	commands := commandsBelow(t, "Ports between the hosts")
	if len(commands) == 0 || !strings.HasPrefix(commands[0].Text, "nft add rule inet filter input ") {
		t.Fatalf("docs/install.md does not begin with a rule for nft: %+v", commands)
	}
	network := h.Address()[:strings.LastIndex(h.Address(), ".")] + ".0/24"
	rule := strings.NewReplacer("192.0.2.0/24", network, "16514", port).Replace(commands[0].Text)
	typeOn(t, h, "nft add table inet filter\nnft flush table inet filter\nnft add chain inet filter input '{ type filter hook input priority 0; policy drop; }'\n"+
		"nft add rule inet filter input ct state established,related accept\nnft add rule inet filter input iif lo accept\n"+
		rule)
}

// requireSameUser fails unless the commands by which docs/install.md compares QEMU's user
// print a number each.
func requireSameUser(t *testing.T) {
	t.Helper()
	for _, c := range commandsBelow(t, "Hosts") {
		out, err := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", c.Text).Output()
		if _, no := strconv.Atoi(strings.TrimSpace(string(out))); err != nil || no != nil {
			t.Errorf("%q prints %q, %v", c.Text, out, err)
		}
	}
}

// certificateCommands returns what docs/install.md has a user type below a heading to make
// certificates, and what root types on a host to put them into their places.
func certificateCommands(t *testing.T, heading, first string) (mine, roots []documented.Command) {
	t.Helper()
	for _, c := range installCommands(t) {
		switch {
		case c.Heading != heading:
		case c.AsRoot:
			roots = append(roots, c)
		default:
			mine = append(mine, c)
		}
	}
	if len(mine) == 0 || !strings.Contains(mine[0].Text, first) {
		t.Fatalf("docs/install.md does not begin with %s below %q: %+v", first, heading, mine)
	}
	return mine, roots
}

// documentedURI returns that of the test that docs/install.md has its reader do.
func documentedURI(t *testing.T) string {
	t.Helper()
	all := installCommands(t)
	i := slices.IndexFunc(all, func(c documented.Command) bool { return strings.HasPrefix(c.Text, "virsh -c qemu+tls:") })
	if i < 0 {
		t.Fatal("docs/install.md does not test the connection")
	}
	return strings.Fields(all[i].Text)[2]
}

func installCommands(t *testing.T) []documented.Command {
	t.Helper()
	all, err := documented.Commands("../../docs/install.md")
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// typeIn runs a script in a directory.
func typeIn(t *testing.T, dir, script string) {
	t.Helper()
	bash := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", script)
	bash.Dir = dir
	if out, err := bash.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
