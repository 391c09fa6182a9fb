//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// controlPlaneTimeout bounds the start of etcd, and of kube-apiserver.
const controlPlaneTimeout = 60 * time.Second

// SystemNamespace is where Virtferry keeps its own objects. It exists in every
// control plane of the lab.
const SystemNamespace = "virtferry-system"

// ControlPlane is a real etcd and a real kube-apiserver with role-based access
// control. There is no kubelet, scheduler or controller manager: namespaces, pods
// and garbage are not looked after. Its methods may be called concurrently.
type ControlPlane struct {
	lab        *Lab
	dir        string
	binaries   string
	ports      [3]*reservedPort // etcd's clients and peers, kube-apiserver.
	kubeconfig string
	config     *rest.Config

	mu              sync.Mutex
	etcd, apiServer *Process
}

// ControlPlane returns the lab's control plane, or nil when it has none.
func (l *Lab) ControlPlane() *ControlPlane {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.controlPlane
}

// startControlPlane starts etcd and kube-apiserver and applies the manifests.
func (l *Lab) startControlPlane(ctx context.Context) error {
	binaries, err := controlPlaneBinaries(ctx, l.options.Log)
	if err != nil {
		return err
	}
	c := &ControlPlane{lab: l, dir: filepath.Join(l.dir, "controlplane"), binaries: binaries}
	l.mu.Lock()
	l.controlPlane = c
	l.mu.Unlock()
	if err := c.prepare(); err != nil {
		return fmt.Errorf("preparing the control plane: %w", err)
	}
	if err := c.StartEtcd(ctx); err != nil {
		return err
	}
	if err := c.StartAPIServer(ctx); err != nil {
		return err
	}
	if err := c.EnsureNamespace(ctx, SystemNamespace); err != nil {
		return err
	}
	return c.Apply(ctx, l.options.Manifests...)
}

// prepare reserves ports and makes keys, certificates and the kubeconfig.
func (c *ControlPlane) prepare() error {
	if err := os.Mkdir(c.dir, 0o700); err != nil {
		return err
	}
	for i := range c.ports {
		port, err := reservePort()
		if err != nil {
			return err
		}
		c.ports[i] = port
	}
	admin, err := writePKI(c.dir)
	if err != nil {
		return err
	}
	c.kubeconfig = filepath.Join(c.dir, "admin.kubeconfig")
	if err := c.writeKubeconfig(c.kubeconfig, admin); err != nil {
		return err
	}
	c.config, err = clientcmd.BuildConfigFromFlags("", c.kubeconfig)
	if err != nil {
		return fmt.Errorf("reading the kubeconfig: %w", err)
	}
	return nil
}

// Kubeconfig is the path of a kubeconfig with all rights, for kubectl.
func (c *ControlPlane) Kubeconfig() string { return c.kubeconfig }

// RESTConfig returns a new client configuration with all rights and without a
// client-side rate limit.
func (c *ControlPlane) RESTConfig() *rest.Config {
	config := rest.CopyConfig(c.config)
	config.QPS = -1
	return config
}

// EtcdURL is where etcd serves its clients, without asking who they are.
func (c *ControlPlane) EtcdURL() string { return c.ports[0].url("http") }

// KubectlPath is the path of a kubectl of the control plane's version.
func (c *ControlPlane) KubectlPath() string { return filepath.Join(c.binaries, "kubectl") }

// Kubectl runs kubectl with all rights and returns what it printed.
func (c *ControlPlane) Kubectl(ctx context.Context, args ...string) (string, error) {
	return c.lab.spawner.run(ctx, c.KubectlPath(), append([]string{"--kubeconfig", c.kubeconfig}, args...)...)
}

// StartEtcd starts etcd, on the data it had before if any, and waits until it is
// healthy. It does nothing when etcd runs.
func (c *ControlPlane) StartEtcd(ctx context.Context) error {
	clients, peers := c.ports[0].url("http"), c.ports[1].url("http")
	return c.start(ctx, &c.etcd, "etcd", clients+"/health", http.DefaultClient,
		"--data-dir="+filepath.Join(c.dir, "etcd"),
		"--listen-client-urls="+clients, "--advertise-client-urls="+clients,
		"--listen-peer-urls="+peers, "--initial-advertise-peer-urls="+peers, "--initial-cluster=default="+peers,
		"--socket-reuse-port", // The lab keeps the ports reserved, see reservePort.
		"--unsafe-no-fsync",   // The data need not outlive the machine.
	)
}

// StartAPIServer starts kube-apiserver, on the port it had before if any, and
// waits until it is ready. It does nothing when it runs. etcd must run.
func (c *ControlPlane) StartAPIServer(ctx context.Context) error {
	client, err := rest.HTTPClientFor(c.config)
	if err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	defer client.CloseIdleConnections()
	pki := func(name string) string { return filepath.Join(c.dir, name) }
	return c.start(ctx, &c.apiServer, "kube-apiserver", c.ports[2].url("https")+"/readyz", client, append([]string{
		"--etcd-servers=" + c.ports[0].url("http"),
		"--bind-address=" + loopback, "--secure-port=" + c.ports[2].String(), "--permit-port-sharing",
		"--tls-cert-file=" + pki(serverCert), "--tls-private-key-file=" + pki(serverKey), "--client-ca-file=" + pki(caCert),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + pki(accountKey), "--service-account-signing-key-file=" + pki(accountKey),
		"--service-cluster-ip-range=10.96.0.0/24",
		"--authorization-mode=RBAC",
		// Nothing makes the default service account or its certificate bundle.
		"--disable-admission-plugins=ServiceAccount",
		// A loopback address is no valid endpoint of the kubernetes service.
		"--endpoint-reconciler-type=none",
	}, c.lab.options.APIServerArgs...)...)
}

// start starts one of the two programs unless it runs, and waits until its URL
// answers with success.
func (c *ControlPlane) start(ctx context.Context, slot **Process, name, url string, client *http.Client, args ...string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if *slot == nil || !(*slot).Running() {
		p, err := c.lab.spawner.startProcess(name, filepath.Join(c.lab.logDir, name+".log"),
			exec.Command(filepath.Join(c.binaries, name), args...))
		if err != nil {
			return err
		}
		*slot = p
	}
	p := *slot
	return poll(ctx, controlPlaneTimeout, name, func(ctx context.Context) error {
		if !p.Running() {
			return finalError{fmt.Errorf("it ended: %w: %s", p.err, p.LogTail(5))}
		}
		return checkHealth(ctx, client, url)
	})
}

// checkHealth asks a URL once.
func checkHealth(ctx context.Context, client *http.Client, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", url, response.Status)
	}
	return nil
}

// Etcd is etcd's current, or last, process.
func (c *ControlPlane) Etcd() *Process {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.etcd
}

// APIServer is kube-apiserver's current, or last, process.
func (c *ControlPlane) APIServer() *Process {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.apiServer
}

// KillEtcd sends etcd a signal and waits for its end. Data and ports stay for
// StartEtcd.
func (c *ControlPlane) KillEtcd(ctx context.Context, signal syscall.Signal) error {
	return c.Etcd().Kill(ctx, signal)
}

// KillAPIServer sends kube-apiserver a signal and waits for its end. Its port
// stays for StartAPIServer.
func (c *ControlPlane) KillAPIServer(ctx context.Context, signal syscall.Signal) error {
	return c.APIServer().Kill(ctx, signal)
}

// stop kills both and frees the ports.
func (c *ControlPlane) stop(ctx context.Context) error {
	var errs []error
	for _, p := range []*Process{c.APIServer(), c.Etcd()} {
		if p != nil {
			errs = append(errs, p.Kill(ctx, syscall.SIGKILL))
		}
	}
	for _, port := range c.ports {
		if port != nil {
			port.free()
		}
	}
	return errors.Join(errs...)
}
