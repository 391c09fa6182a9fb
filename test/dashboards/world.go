//go:build linux

package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing/fstest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/agent"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
	"github.com/virtferry/virtferry/test/bench/rig"
	"github.com/virtferry/virtferry/test/lab"
)

// world is a control plane with a manager, some nodes and a Prometheus.
type world struct {
	fleet *fake.Fleet
	api   client.Client
	// address is where Prometheus listens.
	address    string
	kubeconfig string
	dir        string
	closers    []func() error
}

func nodes() []string { return []string{"node-a", "node-b", "node-c"} }

// newWorld starts all of it. What has begun is to be closed also after an error.
func newWorld(ctx context.Context, p programs) (*world, error) {
	w := &world{fleet: fake.NewFleet()}
	w.closers = append(w.closers, func() error { w.fleet.Close(); return nil })
	var err error
	if w.dir, err = os.MkdirTemp("", "virtferry-dashboards-"); err != nil {
		return w, fmt.Errorf("making a directory: %w", err)
	}
	w.closers = append(w.closers, func() error { return os.RemoveAll(w.dir) })
	if err := w.startControlPlane(ctx); err != nil {
		return w, err
	}
	managerAddress, err := w.startManager(ctx, p.virtferry)
	if err != nil {
		return w, err
	}
	w.populate()
	agentsAddress, err := w.startAgents(ctx)
	if err != nil {
		return w, err
	}
	err = w.startPrometheus(ctx, p.prometheus, managerAddress, agentsAddress)
	return w, err
}

func (w *world) prometheus() string { return w.address }

// close ends what was started, the last first.
func (w *world) close() error {
	var errs []error
	for _, c := range slices.Backward(w.closers) {
		errs = append(errs, c())
	}
	return errors.Join(errs...)
}

func (w *world) startControlPlane(ctx context.Context) error {
	environment := &envtest.Environment{CRDDirectoryPaths: []string{"config/crd/bases"}, ErrorIfCRDPathMissing: true}
	config, err := environment.Start()
	if err != nil {
		return fmt.Errorf("starting the control plane: %w", err)
	}
	w.closers = append(w.closers, environment.Stop)
	w.kubeconfig = filepath.Join(w.dir, "kubeconfig")
	scheme := runtime.NewScheme()
	err = errors.Join(
		os.WriteFile(w.kubeconfig, environment.KubeConfig, 0o600),
		clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme),
	)
	if err != nil {
		return err
	}
	if w.api, err = client.New(config, client.Options{Scheme: scheme}); err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: lab.SystemNamespace}}
	if err := w.api.Create(ctx, namespace); err != nil {
		return fmt.Errorf("creating a namespace: %w", err)
	}
	return nil
}

// startManager starts the manager and returns where it serves its metrics.
func (w *world) startManager(ctx context.Context, virtferry string) (string, error) {
	address, err := freeAddress(ctx)
	if err != nil {
		return "", err
	}
	stop, err := startProgram(ctx, w.dir, virtferry, append([]string{
		"manager", "--kubeconfig=" + w.kubeconfig,
		"--metrics-secure=false", "--metrics-bind-address=" + address, "--health-probe-bind-address=0",
	}, slots()...)...)
	if err != nil {
		return "", err
	}
	w.closers = append(w.closers, stop)
	return address, nil
}

// startAgents starts an agent on each node, and returns where they serve their metrics,
// each under its name.
func (w *world) startAgents(ctx context.Context) (string, error) {
	ctx, cancel := context.WithCancel(ctx)
	ended, handler := make(chan error, len(nodes())), http.NewServeMux()
	w.closers = append(w.closers, func() error {
		cancel()
		var err error
		for range nodes() {
			err = errors.Join(err, <-ended)
		}
		return err
	})
	files, err := hostFiles()
	if err != nil {
		return "", err
	}
	ready := make(chan struct{}, len(nodes()))
	for _, name := range nodes() {
		registry, host := prometheus.NewRegistry(), w.fleet.Host(name)
		handler.Handle("/"+name, promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
		go func() {
			err := rig.RunAgentWithMetrics(ctx, w.kubeconfig, host, files, registry, func() { ready <- struct{}{} })
			if ctx.Err() != nil {
				err = nil
			}
			ended <- err
		}()
	}
	for range nodes() {
		select {
		case <-ready:
		case err := <-ended:
			ended <- err
			return "", fmt.Errorf("an agent does not get ready: %w", err)
		}
	}
	return w.serve(ctx, handler)
}

// hostFiles are those of each host: the authority of libvirt's certificates.
func hostFiles() (agent.HostFiles, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return agent.HostFiles{}, fmt.Errorf("making a key: %w", err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now(), NotAfter: time.Now().AddDate(1, 0, 0), IsCA: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return agent.HostFiles{}, fmt.Errorf("making a certificate: %w", err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return agent.HostFiles{Host: fstest.MapFS{"etc/pki/CA/cacert.pem": {Data: text, Mode: 0o644}}}, nil
}

func (w *world) serve(ctx context.Context, handler http.Handler) (string, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("listening: %w", err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }()
	w.closers = append(w.closers, server.Close)
	return listener.Addr().String(), nil
}

const scrapeConfig = `
global: {scrape_interval: %[1]s}
scrape_configs:
- job_name: virtferry-manager
  static_configs: [{targets: [%[2]q]}]
`

const scrapeAgentConfig = `- job_name: virtferry-agent-%[1]s
  metrics_path: /%[1]s
  static_configs: [{targets: [%[2]q]}]
`

// startPrometheus has Prometheus scrape the manager and the agents.
func (w *world) startPrometheus(ctx context.Context, program, manager, agents string) error {
	var text strings.Builder
	fmt.Fprintf(&text, scrapeConfig, scrapeInterval, manager)
	for _, name := range nodes() {
		fmt.Fprintf(&text, scrapeAgentConfig, name, agents)
	}
	address, stop, err := startPrometheus(ctx, program, w.dir, text.String(), len(nodes()))
	if err != nil {
		return err
	}
	w.address, w.closers = address, append(w.closers, stop)
	return nil
}

// slots are so many that something can be seen, and so few that some wait.
func slots() []string { return []string{"--max-outgoing-per-node=2", "--max-incoming-per-node=2"} }
