//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/virtferry/virtferry/test/lab"
)

// labHosts is how many hosts the lab has: two for guests to go to and fro, and one that may
// be away meanwhile.
const labHosts = 3

// labWorld is a lab, in which a real Prometheus scrapes the manager and the agents as it
// would in a cluster: by TLS, with the rights that config/ gives it, and with the entry of
// config/prometheus/scrape.yaml.
type labWorld struct {
	lab     *lab.Lab
	api     client.WithWatch
	manager *lab.Component
	a, b, c *lab.Host
	address string
	dir     string
	closers []func() error
	// lostCounts is whether a manager has ended by itself.
	lostCounts atomic.Bool
	// replacing is held while a manager is ended by the story.
	replacing sync.Mutex
}

// newLabWorld starts all of it. What has begun is to be closed also after an error.
func newLabWorld(ctx context.Context, p programs) (*labWorld, error) {
	w := &labWorld{}
	var err error
	if w.dir, err = os.MkdirTemp("", "virtferry-dashboards-"); err != nil {
		return w, fmt.Errorf("making a directory: %w", err)
	}
	w.closers = append(w.closers, func() error { return os.RemoveAll(w.dir) })
	w.lab, err = lab.Start(ctx, lab.Options{
		Hosts: labHosts, ControlPlane: true, Metrics: true, AgentArgs: []string{"--metrics-guest-names"}, Binary: p.virtferry,
		KeepState: os.Getenv("KEEP_LAB") != "", Log: progressf,
	})
	if err != nil {
		return w, err
	}
	w.closers = append(w.closers, w.lab.Stop)
	w.lab.EndWith(ctx.Done(), lab.EndGrace)
	hosts := w.lab.Hosts()
	w.a, w.b, w.c = hosts[0], hosts[1], hosts[2]
	if w.manager, err = w.lab.StartVirtferry(ctx, slots()...); err != nil {
		return w, err
	}
	watching, stop := context.WithCancel(context.Background())
	var keeping sync.WaitGroup
	keeping.Go(func() { w.keepManager(watching) })
	w.closers = append(w.closers, func() error {
		stop()
		keeping.Wait()
		return nil
	})
	if w.api, err = w.lab.ControlPlane().NewClient(); err != nil {
		return w, err
	}
	err = w.startPrometheus(ctx, p.prometheus)
	return w, err
}

// keepManager starts the manager again when it ends, as a cluster does: one whose lease could
// not be renewed, on a machine that is busy, gives up.
func (w *labWorld) keepManager(ctx context.Context) {
	for sleep(ctx, scrapeInterval) == nil {
		w.replacing.Lock()
		if !w.manager.Process().Running() {
			progressf("the manager has ended and is started again; what it had counted may be lost")
			w.lostCounts.Store(true)
			if err := w.manager.Start(); err != nil {
				progressf("%v", err)
			}
		}
		w.replacing.Unlock()
	}
}

// replaceManager ends the manager, which loses nothing that was scraped, and starts another.
func (w *labWorld) replaceManager(ctx context.Context) error {
	w.replacing.Lock()
	defer w.replacing.Unlock()
	return w.manager.Restart(ctx)
}

// close ends what was started, the last first.
func (w *labWorld) close() error {
	var errs []error
	for _, c := range slices.Backward(w.closers) {
		errs = append(errs, c())
	}
	return errors.Join(errs...)
}

func (w *labWorld) prometheus() string { return w.address }

// The documents that say how a Prometheus in a cluster scrapes, and as whom.
const (
	scrapeEntry   = "config/prometheus/scrape.yaml"
	readerAccount = "virtferry-metrics-reader"
)

// startPrometheus starts a Prometheus that scrapes as the documents say. Only how it finds
// its targets is another: nothing runs the pods.
func (w *labWorld) startPrometheus(ctx context.Context, program string) error {
	token, err := w.readerToken(ctx)
	if err != nil {
		return err
	}
	var config map[string]any
	text, err := os.ReadFile(scrapeEntry)
	if err != nil {
		return err
	}
	if err := yaml.Unmarshal(text, &config); err != nil {
		return fmt.Errorf("reading %s: %w", scrapeEntry, err)
	}
	entries, _ := config["scrape_configs"].([]any)
	if len(entries) != 1 {
		return fmt.Errorf("%s has %d entries, not one", scrapeEntry, len(entries))
	}
	entry, ok := entries[0].(map[string]any)
	if !ok || entry["kubernetes_sd_configs"] == nil || entry["authorization"] == nil {
		return fmt.Errorf("%s does not say how Prometheus finds its targets, and as whom it asks them", scrapeEntry)
	}
	delete(entry, "kubernetes_sd_configs")
	entry["authorization"] = map[string]any{"credentials_file": token}
	entry["static_configs"] = w.targets()
	config["global"] = map[string]any{"scrape_interval": scrapeInterval.String(), "scrape_timeout": scrapeInterval.String()}
	if text, err = yaml.Marshal(config); err != nil {
		return err
	}
	address, stop, err := startPrometheus(ctx, program, w.dir, string(text), labHosts)
	if err != nil {
		return err
	}
	w.address, w.closers = address, append(w.closers, stop)
	return nil
}

// targets are what Prometheus would find, with the labels that it would find them with.
func (w *labWorld) targets() []any {
	all := w.lab.Components()
	out := make([]any, 0, len(all))
	for _, c := range all {
		out = append(out, map[string]any{
			"targets": []string{c.MetricsAddress()},
			"labels": map[string]string{
				"__meta_kubernetes_namespace": lab.SystemNamespace, "__meta_kubernetes_pod_name": "virtferry-" + c.Name(),
				"__meta_kubernetes_pod_container_port_name": "metrics",
				// As some installations have it.
				"node": "where-the-pod-is",
			},
		})
	}
	return out
}

// readerToken returns the path of a token of the account that may read metrics, and that
// may do nothing else.
func (w *labWorld) readerToken(ctx context.Context) (string, error) {
	control := w.lab.ControlPlane()
	if err := control.Apply(ctx, "config/prometheus/reader.yaml"); err != nil {
		return "", err
	}
	kubeconfig, err := control.AccountKubeconfig(ctx, lab.Account{Namespace: lab.SystemNamespace, Name: readerAccount})
	if err != nil {
		return "", err
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", kubeconfig, err)
	}
	path := filepath.Join(w.dir, "token")
	return path, os.WriteFile(path, []byte(config.BearerToken), 0o600)
}

// other returns the first of two hosts that is not the given one.
func (w *labWorld) other(h *lab.Host) *lab.Host {
	if h == w.a {
		return w.b
	}
	return w.a
}

// write writes a document for virsh and returns its path.
func (w *labWorld) write(name, content string) (string, error) {
	path := filepath.Join(w.dir, strings.ReplaceAll(name, "/", "-")+".xml")
	return path, os.WriteFile(path, []byte(content), 0o600)
}

// progressf tells what is going on, beside the report.
func progressf(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
