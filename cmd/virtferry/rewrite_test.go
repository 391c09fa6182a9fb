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
    <graphics type='vnc' port='-1' autoport='yes' listen='192.0.2.10' passwd='hunter2!'>
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

const rewriteJSON = `{"apiVersion": "migration.virtferry.dev/v1alpha1", "kind": "LiveMigration", "metadata": {"name": "move"},
	"spec": {"domain": "guest", "targetNode": "node-b"}}
`

const rewriteDiff = `--- source
+++ target
@@ -1,8 +1,8 @@
 <domain type='kvm'>
   <name>guest</name>
   <devices>
-    <graphics type='vnc' port='-1' autoport='yes' listen='192.0.2.10' passwd='hunter2!'>
-      <listen type='address' address='192.0.2.10'/>
+    <graphics type='vnc' port='-1' autoport='yes' listen='192.0.2.20' passwd='hunter2!'>
+      <listen type='address' address='192.0.2.20'/>
     </graphics>
   </devices>
 </domain>
`

const rewriteWarned = `<domain><name>guest</name><devices><emulator>/opt/qemu</emulator>` +
	`<graphics type='vnc'><listen type='address' address='192.0.2.10'/></graphics></devices></domain>`

func TestRewriteCommand(t *testing.T) {
	t.Parallel()
	rewritten := strings.ReplaceAll(rewriteGuest, "192.0.2.10", "192.0.2.20")
	tests := map[string]struct {
		migration  string
		args       []string
		stdin      string
		want       string
		wantErrors []string
		// wantWarnings is what standard error holds besides.
		wantWarnings []string
		wantCode     int
	}{
		"the XML is printed": {migration: rewriteMigration, want: rewritten},
		"the guest may come from standard input": {
			migration: rewriteMigration, args: []string{"--domain", "-"}, stdin: rewriteGuest, want: rewritten,
		},
		"what the object names may be in the other definition only": {
			migration: rewriteMigration + "    volumes: [{serial: later}]\n",
			args:      []string{"--other-definition", "-"},
			stdin:     "<domain><name>guest</name><devices><disk><serial>later</serial></disk></devices></domain>",
			want:      rewritten,
		},
		"what the object names has to be in a definition": {
			migration: rewriteMigration + "    volumes: [{serial: later}]\n", wantErrors: []string{"no such disk"},
		},
		"the object may come from standard input": {
			args: []string{"--migration", "-"}, stdin: rewriteMigration, want: rewritten,
		},
		"both cannot": {args: []string{"--domain", "-", "--migration", "-"}, wantErrors: []string{"only one of"}},
		"the difference is a unified diff without secrets": {
			migration: rewriteMigration, args: []string{"--diff"}, want: strings.ReplaceAll(rewriteDiff, "hunter2!", "********"),
		},
		"or with them, if asked for": {migration: rewriteMigration, args: []string{"--diff", "--show-secrets"}, want: rewriteDiff},
		"warnings do not stop the rewrite": {
			migration: rewriteMigration, args: []string{"--domain", "-"}, stdin: rewriteWarned, want: strings.ReplaceAll(rewriteWarned, "192.0.2.10", "192.0.2.20"),
			wantWarnings: []string{"warning: spec.migrateData.pathMappings: the guest's emulator is a program of the host"},
		},
		"unless that is asked for": {
			migration: rewriteMigration, args: []string{"--domain", "-", "--strict"}, stdin: rewriteWarned,
			wantErrors: []string{"there is a warning"}, wantWarnings: []string{"warning: "}, wantCode: 2,
		},
		"strict without warnings": {migration: rewriteMigration, args: []string{"--strict"}, want: rewritten},
		"all problems are told": {
			migration: strings.ReplaceAll(rewriteMigration, "graphics:\n      vncListenAddress: 192.0.2.20",
				`volumes: [{serial: nowhere}]`+"\n"+`    pciDevices: [{source: "0000:81:00.1", target: "0000:3b:00.1"}]`),
			wantErrors: []string{
				"spec.migrateData.graphics.vncListenAddress: ", "spec.migrateData.volumes[0].serial: ",
				"spec.migrateData.pciDevices[0].source: ", "(/domain/devices/graphics/listen)",
			},
		},
		"what the API server would refuse is refused": {
			migration:  rewriteMigration + "    pciDevices: [{source: xx, target: \"0000:3b:00.1\"}]\n    cpuShares: {policy: Set}\n",
			wantErrors: []string{"the API server would refuse", "spec.migrateData.pciDevices[0].source: Invalid value"},
		},
		"so is what breaks a rule": {
			migration:  rewriteMigration + "    cpuShares: {policy: Set}\n",
			wantErrors: []string{"the API server would refuse", "shares must be given with policy: Set"},
		},
		"unknown fields are refused": {
			migration:  strings.ReplaceAll(rewriteMigration, "vncListenAddress", "vncListenAdress"),
			wantErrors: []string{"spec.migrateData.graphics.vncListenAdress: there is no such field"},
		},
		"fields that are there twice are refused": {
			migration: rewriteMigration + "  domain: other\n", wantErrors: []string{"already set"},
		},
		"a second object is refused": {
			migration: rewriteMigration + "---\n" + rewriteMigration, wantErrors: []string{"more than one object"},
		},
		"so is one behind three dots": {
			migration: rewriteMigration + "...\n" + rewriteMigration, wantErrors: []string{"more behind the object"},
		},
		"and one behind another in JSON": {migration: rewriteJSON + rewriteJSON, wantErrors: []string{"more behind the object"}},
		"and what is no object":          {migration: rewriteJSON + "]]] {{{\n", wantErrors: []string{"more behind the object"}},
		"three dots may end it":          {migration: rewriteMigration + "...\n", want: rewritten},
		"metadata are checked":           {migration: strings.ReplaceAll(rewriteMigration, "name: ", "name: X_"), wantErrors: []string{"metadata.name: Invalid value"}},
		"the other definition is one of the same guest": {
			migration: rewriteMigration, args: []string{"--other-definition", "-"}, stdin: "<domain><name>other</name></domain>",
			wantErrors: []string{`--other-definition one of "other"`, "two definitions of one guest"},
		},
		"comments are no object": {migration: "# Moves a guest.\n---\n" + rewriteMigration + "---\n# The end.\n", want: rewritten},
		"nothing is no object":   {migration: "# Nothing.\n", wantErrors: []string{"there is no object"}},
		"an object for another guest is refused": {
			migration:  strings.ReplaceAll(rewriteMigration, "domain: guest", "domain: other"),
			wantErrors: []string{`spec.domain is "other"`, `the guest "guest"`},
		},
		"a guest may be given by its UUID": {
			migration: strings.ReplaceAll(rewriteMigration, "domain: guest", "domain: 5E26d0f7-8c1e-4b57-9f0e-3a8d2a0c6b11"),
			args:      []string{"--domain", "-"}, stdin: strings.ReplaceAll(rewriteGuest, "</name>", "</name><uuid>5e26d0f7-8c1e-4b57-9f0e-3a8d2a0c6b11</uuid>"),
			want: strings.ReplaceAll(rewritten, "</name>", "</name><uuid>5e26d0f7-8c1e-4b57-9f0e-3a8d2a0c6b11</uuid>"),
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
			stdin: `<domain><name>guest</name><devices><serial type='tcp'><source mode='bind' host='192.0.2.10' service='4555'/>` +
				`<target port='1'/></serial></devices></domain>`,
			want: `<domain><name>guest</name><devices><serial type='tcp'><source mode='bind' host='192.0.2.20' service='10001'/>` +
				`<target port='1'/></serial></devices></domain>`,
		},
		"ports run out": {
			migration: strings.SplitN(rewriteMigration, "  migrateData", 2)[0],
			args:      []string{"--domain", "-", "--serial-ports", "10000-10000"},
			stdin: `<domain><name>guest</name><devices><serial type='tcp'><source mode='bind' host='0.0.0.0' service='4555'/>` +
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
		"a version must be one":     {migration: rewriteMigration, args: []string{"--target-libvirt-version", "new"}, wantErrors: []string{"--target-libvirt-version"}},
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
			if err != nil && strings.Contains(err.Error()+usage.String(), "hunter2!") {
				t.Errorf("the error holds a password: %v", err)
			}
			for _, want := range tt.wantWarnings {
				if !strings.Contains(usage.String(), want) {
					t.Errorf("the warnings do not hold %q:\n%s", want, usage.String())
				}
			}
			if len(tt.wantWarnings) == 0 && usage.Len() > 0 {
				t.Errorf("there are warnings:\n%s", usage.String())
			}
			if code := exitCode(err); err != nil && code != max(tt.wantCode, 1) {
				t.Errorf("the exit code is %d", code)
			}
			if err == nil && out.String() != tt.want {
				t.Errorf("output:\n%s\nwanted:\n%s", out.String(), tt.want)
			}
		})
	}
}
