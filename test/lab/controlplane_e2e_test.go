//go:build e2e && linux

package lab_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/virtferry/virtferry/test/lab"
)

// manifest holds objects in an order in which they cannot be applied.
const manifest = `
apiVersion: example.com/v1
kind: Widget
metadata: {name: first, namespace: widgets}
---
apiVersion: v1
kind: Namespace
metadata: {name: widgets}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {kind: Widget, plural: widgets}
  versions:
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}
`

func TestControlPlaneSurvivesCrashes(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"objects.yaml": manifest, "kustomization.yaml": "resources: [objects.yaml]", "README.md": "no manifest",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, l := start(t, lab.Options{ControlPlane: true, Manifests: []string{dir}})
	c := l.ControlPlane()
	widget := func() {
		t.Helper()
		out, err := c.Kubectl(ctx, "get", "widgets", "--all-namespaces", "--output=name")
		if err != nil || strings.TrimSpace(out) != "widget.example.com/first" {
			t.Errorf("the widgets are %q, %v", out, err)
		}
	}
	widget()

	if err := c.KillAPIServer(ctx, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Kubectl(ctx, "get", "nodes", "--request-timeout=2s"); err == nil {
		t.Error("a killed API server answers")
	}
	if err := c.StartAPIServer(ctx); err != nil {
		t.Fatal(err)
	}
	widget()

	if err := c.KillEtcd(ctx, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := c.StartEtcd(ctx); err != nil {
		t.Fatal(err)
	}
	if err := c.StartAPIServer(ctx); err != nil { // It runs still, but has to find etcd again.
		t.Fatal(err)
	}
	widget()
}

func TestAccountsCarryTheirNode(t *testing.T) {
	ctx, l := start(t, lab.Options{ControlPlane: true})
	c := l.ControlPlane()
	account := lab.Account{Namespace: lab.SystemNamespace, Name: "agent", Node: "node-a"}
	path, err := c.AccountKubeconfig(ctx, account)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.AccountKubeconfig(ctx, account); err != nil {
		t.Errorf("asking again: %v", err)
	}
	out, err := c.Kubectl(ctx, "--kubeconfig", path, "auth", "whoami", "--output=yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"username: system:serviceaccount:virtferry-system:agent", "authentication.kubernetes.io/node-name:\n      - node-a",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the server does not find %q in the token: %s", want, out)
		}
	}
	if _, err := c.Kubectl(ctx, "--kubeconfig", path, "get", "nodes"); err == nil {
		t.Error("an account without a role may read nodes")
	}
}

func TestComponentsStartDieAndRestart(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(standInVariable, "1") // What the lab starts inherits it.
	ctx, l := start(t, lab.Options{Hosts: 1, ControlPlane: true, Binary: self})
	h := l.Host("node-a")
	manager, err := l.StartManager(ctx)
	if err != nil {
		t.Fatal(err)
	}
	agent, err := h.StartAgent(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []*lab.Component{manager, agent} {
		if err := c.WaitReady(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if h.Agent() != agent || len(l.Components()) != 2 {
		t.Errorf("the lab knows %v and %v", h.Agent(), l.Components())
	}

	before := agent.Process().PID()
	if err := agent.Kill(ctx, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	if err := agent.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	if err := agent.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	if err := agent.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	if agent.Process().PID() == before {
		t.Error("the agent was not started anew")
	}
	log, err := os.ReadFile(agent.LogPath())
	if err != nil {
		t.Fatal(err)
	}
	if starts := strings.Count(string(log), "agent --node-name=node-a --libvirt-uri="+h.LibvirtURI()); starts != 3 {
		t.Errorf("the log shows %d starts, want 3: %s", starts, log)
	}

	failing, err := l.StartManager(ctx, "--fail")
	if err != nil {
		t.Fatal(err)
	}
	if err := failing.WaitReady(ctx); err == nil || !strings.Contains(err.Error(), "failing as asked") {
		t.Errorf("waiting for a manager that fails gives %v", err)
	}
	if failing.Name() != "manager-2" {
		t.Errorf("the second manager is called %s", failing.Name())
	}
}
