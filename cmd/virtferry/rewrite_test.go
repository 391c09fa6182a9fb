package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const rewriteGuest = `<domain type='kvm'>
  <name>guest</name>
  <devices>
    <graphics type='vnc' port='-1' autoport='yes' listen='192.0.2.10' passwd='hunter2-console'>
      <listen type='address' address='192.0.2.10'/>
    </graphics>
  </devices>
</domain>
`

const rewriteMigration = `apiVersion: migration.virtferry.dev/v1alpha1
kind: LiveMigration
metadata:
  name: move
spec:
  domain: guest
  targetNode: node-b
  migrateData:
    graphics:
      vncListenAddress: 192.0.2.20
`

func TestRewriteCommand(t *testing.T) {
	t.Parallel()
	rewritten := strings.ReplaceAll(rewriteGuest, "192.0.2.10", "192.0.2.20")
	tests := map[string]struct {
		migration  string
		args       []string
		stdin      string
		want       string
		wantErrors []string
	}{
		"the XML is printed": {migration: rewriteMigration, want: rewritten},
		"the guest may come from standard input": {
			migration: rewriteMigration, args: []string{"--domain", "-"}, stdin: rewriteGuest, want: rewritten,
		},
		"what the object names may be in the other definition only": {
			migration: rewriteMigration + "    volumes: [{serial: later}]\n",
			args:      []string{"--other-definition", "-"},
			stdin:     "<domain><devices><disk><serial>later</serial></disk></devices></domain>",
			want:      rewritten,
		},
		"what the object names has to be in a definition": {
			migration: rewriteMigration + "    volumes: [{serial: later}]\n", wantErrors: []string{"no such disk"},
		},
		"the object may come from standard input": {
			args: []string{"--migration", "-"}, stdin: rewriteMigration, want: rewritten,
		},
		"both cannot": {args: []string{"--domain", "-", "--migration", "-"}, wantErrors: []string{"only one of"}},
		"the difference is a unified diff": {migration: rewriteMigration, args: []string{"--diff"}, want: `--- source
+++ target
@@ -1,8 +1,8 @@
 <domain type='kvm'>
   <name>guest</name>
   <devices>
-    <graphics type='vnc' port='-1' autoport='yes' listen='192.0.2.10' passwd='hunter2-console'>
-      <listen type='address' address='192.0.2.10'/>
+    <graphics type='vnc' port='-1' autoport='yes' listen='192.0.2.20' passwd='hunter2-console'>
+      <listen type='address' address='192.0.2.20'/>
     </graphics>
   </devices>
 </domain>
`},
		"all problems are told": {
			migration: strings.ReplaceAll(rewriteMigration, "graphics:\n      vncListenAddress: 192.0.2.20",
				"volumes: [{serial: nowhere}]\n    pciDevices: [{source: xx, target: zz}]"),
			wantErrors: []string{
				"spec.migrateData.graphics.vncListenAddress: ", "spec.migrateData.volumes[0].serial: ",
				"spec.migrateData.pciDevices[0].source: ", "(/domain/devices/graphics/listen)",
			},
		},
		"unknown fields are refused": {
			migration:  strings.ReplaceAll(rewriteMigration, "vncListenAddress", "vncListenAdress"),
			wantErrors: []string{"spec.migrateData: ", "vncListenAdress"},
		},
		"another kind is refused": {
			migration:  strings.ReplaceAll(rewriteMigration, "kind: LiveMigration", "kind: Pod"),
			wantErrors: []string{"must be a LiveMigration"},
		},
		"an object without migrate data leaves the guest to the target's agent": {
			migration:  strings.SplitN(rewriteMigration, "  migrateData", 2)[0],
			wantErrors: []string{"spec.migrateData.graphics.vncListenAddress: "},
		},
		"an address stands in for the target's agent": {
			migration: strings.SplitN(rewriteMigration, "  migrateData", 2)[0],
			args:      []string{"--listen-address", "192.0.2.20"}, want: rewritten,
		},
		"so do ports": {
			migration: strings.SplitN(rewriteMigration, "  migrateData", 2)[0],
			args:      []string{"--domain", "-", "--listen-address", "192.0.2.20", "--serial-ports", "10000-10999"},
			stdin: `<domain><devices><serial type='tcp'><source mode='bind' host='192.0.2.10' service='4555'/>` +
				`<target port='1'/></serial></devices></domain>`,
			want: `<domain><devices><serial type='tcp'><source mode='bind' host='192.0.2.20' service='10001'/>` +
				`<target port='1'/></serial></devices></domain>`,
		},
		"ports run out": {
			migration: strings.SplitN(rewriteMigration, "  migrateData", 2)[0],
			args:      []string{"--domain", "-", "--serial-ports", "10000-10000"},
			stdin: `<domain><devices><serial type='tcp'><source mode='bind' host='0.0.0.0' service='4555'/>` +
				`<target port='1'/></serial></devices></domain>`,
			wantErrors: []string{"spec.migrateData.serial.ports: "},
		},
		"the object goes before the agent": {
			migration: rewriteMigration, args: []string{"--listen-address", "192.0.2.30"}, want: rewritten,
		},
		"the target's CPUs and nodes are checked": {
			migration: rewriteMigration + "    numa: {emulatorPin: 0-3, memoryNodes: 0-1}\n",
			args:      []string{"--target-capabilities", "-"},
			stdin: `<capabilities><host><topology><cells><cell id='0'><cpus><cpu id='0'/><cpu id='1'/></cpus></cell>` +
				`</cells></topology></host></capabilities>`,
			wantErrors: []string{
				"spec.migrateData.numa.emulatorPin: the target does not have all of these CPUs; it has 0-1",
				"spec.migrateData.numa.memoryNodes: the target does not have all of these NUMA nodes; it has 0",
			},
		},
		"capabilities must be some": {
			migration: rewriteMigration, args: []string{"--target-capabilities", "-"}, stdin: rewriteGuest,
			wantErrors: []string{"reading --target-capabilities: "},
		},
		"CPU shares are checked": {
			migration:  rewriteMigration + "    cpuShares: {policy: Set, shares: 20000}\n",
			args:       []string{"--target-cgroup-version", "2"},
			wantErrors: []string{"spec.migrateData.cpuShares.shares: "},
		},
		"an address must be one":    {migration: rewriteMigration, args: []string{"--listen-address", "node-b"}, wantErrors: []string{"--listen-address"}},
		"ports must be a range":     {migration: rewriteMigration, args: []string{"--serial-ports", "10000"}, wantErrors: []string{"--serial-ports"}},
		"cgroups have two versions": {migration: rewriteMigration, args: []string{"--target-cgroup-version", "3"}, wantErrors: []string{"--target-cgroup-version"}},
		"a missing file is told": {
			migration: rewriteMigration, args: []string{"--domain", "/nonexistent/guest.xml"}, wantErrors: []string{"reading --domain"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			guest, migration := filepath.Join(dir, "guest.xml"), filepath.Join(dir, "migration.yaml")
			for path, text := range map[string]string{guest: rewriteGuest, migration: tt.migration} {
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			cmd := newRewriteCommand()
			var out, usage bytes.Buffer
			cmd.SetOut(&out)
			cmd.SetErr(&usage)
			cmd.SilenceErrors, cmd.SilenceUsage = true, true
			cmd.SetIn(strings.NewReader(tt.stdin))
			cmd.SetArgs(append([]string{"--domain", guest, "--migration", migration}, tt.args...))
			err := cmd.Execute()
			if (err != nil) != (len(tt.wantErrors) > 0) {
				t.Fatalf("error = %v, wanted %v", err, tt.wantErrors)
			}
			for _, want := range tt.wantErrors {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error does not hold %q:\n%v", want, err)
				}
			}
			if err != nil && strings.Contains(err.Error(), "hunter2-console") {
				t.Errorf("the error holds a password: %v", err)
			}
			if err == nil && out.String() != tt.want {
				t.Errorf("output:\n%s\nwanted:\n%s", out.String(), tt.want)
			}
		})
	}
}
