//go:build linux

package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// Virtferry's service accounts, as in config/.
const (
	managerAccount = "virtferry-manager"
	agentAccount   = "virtferry-agent"
)

// manifestDirs are what an installation of Virtferry consists of, but for the
// workloads: the lab runs those as processes.
func manifestDirs() []string {
	return []string{"config/default/namespace.yaml", "config/crd/bases", "config/rbac", "config/policy"}
}

// NewClient returns a client with all rights that knows Virtferry's kinds.
func (c *ControlPlane) NewClient() (client.WithWatch, error) {
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	api, err := client.NewWithWatch(c.RESTConfig(), client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	return api, nil
}

// StartVirtferry installs Virtferry from the source tree's manifests and runs
// its manager, and an agent for each host, with the rights of their service
// accounts. It returns the manager when every host can be used. Arguments of the
// manager come last and so override the lab's.
func (l *Lab) StartVirtferry(ctx context.Context, managerArgs ...string) (*Component, error) {
	root, err := moduleRoot(ctx)
	if err != nil {
		return nil, err
	}
	var manifests []string
	for _, dir := range manifestDirs() {
		manifests = append(manifests, filepath.Join(root, dir))
	}
	if err := l.ControlPlane().Apply(ctx, manifests...); err != nil {
		return nil, err
	}
	kubeconfig, err := l.ControlPlane().AccountKubeconfig(ctx, Account{Namespace: SystemNamespace, Name: managerAccount})
	if err != nil {
		return nil, err
	}
	manager, err := l.StartManager(ctx, append([]string{"--kubeconfig=" + kubeconfig}, managerArgs...)...)
	if err != nil {
		return nil, err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return manager.WaitReady(ctx) })
	for _, h := range l.Hosts() {
		group.Go(func() error { return h.StartVirtferry(ctx) })
	}
	return manager, group.Wait()
}

// StartVirtferry runs an agent for the host with the rights of its service
// account, and returns when the host can be used. Extra arguments override the lab's.
func (h *Host) StartVirtferry(ctx context.Context, extraArgs ...string) error {
	controlPlane := h.lab.ControlPlane()
	account := Account{Namespace: SystemNamespace, Name: agentAccount, Node: h.name}
	kubeconfig, err := controlPlane.AccountKubeconfig(ctx, account)
	if err != nil {
		return err
	}
	// The lock lies where a restarted agent of the same host finds it.
	args := []string{
		"--kubeconfig=" + kubeconfig, "--transport=" + cmp.Or(h.lab.options.Transport, "tcp"), "--lock-dir=" + h.dir,
		"--allowed-paths=" + strings.Join([]string{SharedDir, PrivateDir, "/dev", "/run/libvirt"}, ","),
	}
	if _, err := h.StartAgent(ctx, slices.Concat(args, h.lab.options.AgentArgs, extraArgs)...); err != nil {
		return err
	}
	return h.WaitUsable(ctx)
}

// WaitUsable waits until the host's agent has published it and the manager
// holds it for ready.
func (h *Host) WaitUsable(ctx context.Context) error {
	api, err := h.lab.ControlPlane().NewClient()
	if err != nil {
		return err
	}
	return poll(ctx, readyTimeout, h.name+" to be usable", func(ctx context.Context) error {
		hv := &v1alpha1.Hypervisor{}
		if err := api.Get(ctx, client.ObjectKey{Name: h.name}, hv); err != nil {
			return err
		}
		if !meta.IsStatusConditionTrue(hv.Status.Conditions, v1alpha1.ConditionReady) {
			return errors.New("its Hypervisor is not Ready")
		}
		return nil
	})
}

// WaitPublished waits until the host's agent has published the guest as running
// there, so that a LiveMigration finds it at once.
func (h *Host) WaitPublished(ctx context.Context, g *Guest) error {
	api, err := h.lab.ControlPlane().NewClient()
	if err != nil {
		return err
	}
	return poll(ctx, readyTimeout, g.name+" to be published by "+h.name, func(ctx context.Context) error {
		hv := &v1alpha1.Hypervisor{}
		if err := api.Get(ctx, client.ObjectKey{Name: h.name}, hv); err != nil {
			return err
		}
		for _, d := range hv.Status.Domains {
			if d.UUID == g.uuid && d.State == "Running" {
				return nil
			}
		}
		return errors.New("it is not among the domains of the Hypervisor")
	})
}
