//go:build linux

package lab

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// modulePath is this project's module.
const modulePath = "github.com/virtferry/virtferry"

// controlPlaneBinaries returns the directory that holds etcd, kube-apiserver and
// kubectl: ${KUBEBUILDER_ASSETS} when it is set, otherwise what
// hack/controlplane/build.sh builds once and caches.
func controlPlaneBinaries(ctx context.Context, log func(format string, args ...any)) (string, error) {
	if dir := os.Getenv("KUBEBUILDER_ASSETS"); dir != "" {
		return dir, nil
	}
	dir, err := cachingScript(ctx, log, "controlplane/build.sh")
	if err != nil {
		return "", fmt.Errorf("building the control plane (or set KUBEBUILDER_ASSETS): %w", err)
	}
	return dir, nil
}

// cachingScript runs a script below hack that makes something once and prints where it
// is. What it says meanwhile is logged.
func cachingScript(ctx context.Context, log func(format string, args ...any), name string, args ...string) (string, error) {
	root, err := moduleRoot(ctx)
	if err != nil {
		return "", fmt.Errorf("finding hack/%s: %w", name, err)
	}
	script := filepath.Join(root, "hack", filepath.FromSlash(name))
	cmd := groupCommand(ctx, script, args...)
	cache, err := CacheDir()
	if err != nil {
		return "", err
	}
	cmd.Env = append(os.Environ(), "VIRTFERRY_CACHE="+cache)
	progress, err := cmd.StderrPipe()
	if err != nil {
		return "", fmt.Errorf("making a pipe: %w", err)
	}
	var directory strings.Builder
	cmd.Stdout = &directory
	if err := cmd.Start(); err != nil {
		return "", fmt.Errorf("starting %s: %w", script, err)
	}
	var last string
	for lines := bufio.NewScanner(progress); lines.Scan(); {
		last = lines.Text()
		log("%s", last)
	}
	if err := cmd.Wait(); err != nil {
		return "", fmt.Errorf("running %s: %w: %s", script, err, last)
	}
	return strings.TrimSpace(directory.String()), nil
}

// moduleRoot is the directory of this project's source, found from the working
// directory.
func moduleRoot(ctx context.Context) (string, error) {
	out, err := commandIn(ctx, "", "go", "list", "-m", "-f", "{{.Dir}}", modulePath)
	return strings.TrimSpace(out), err
}

// builtBinary is the virtferry executable, once it is known.
type builtBinary struct {
	mu   sync.Mutex
	path string
}

// Binary returns the virtferry executable that the lab runs; see Options.Binary.
// It builds it when there is none yet.
func (l *Lab) Binary(ctx context.Context) (string, error) {
	l.binary.mu.Lock()
	defer l.binary.mu.Unlock()
	for _, path := range []string{l.binary.path, l.options.Binary, os.Getenv("VIRTFERRY_BINARY")} {
		if path != "" {
			return path, nil
		}
	}
	l.options.Log("building virtferry")
	path := filepath.Join(l.dir, "virtferry")
	// With libvirt_dlopen, libvirt's headers are not needed, and without what Git says, it
	// works for root in a checkout that is somebody else's.
	if _, err := commandIn(ctx, "", "go", "build", "-buildvcs=false", "-tags=libvirt_dlopen", "-o", path, modulePath+"/cmd/virtferry"); err != nil {
		return "", fmt.Errorf("building virtferry: %w", err)
	}
	l.binary.path = path
	return path, nil
}
