//go:build packages

// Package packages tests what Virtferry is installed from, the Helm chart and the
// kustomizations: that they are the same, and what becomes of a cluster and of a
// migration that is under way when they are installed, upgraded and removed. Helm,
// kustomize, kubectl, the API server and the manager are the real ones.
package packages

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-logr/logr"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

const (
	// root is the top of the source tree, seen from here.
	root  = "../.."
	chart = root + "/charts/virtferry"
	// patience is how long a test waits for anything that has to happen.
	patience = 60 * time.Second
	// systemNamespace is where Virtferry is, unless a test has it elsewhere.
	systemNamespace = "virtferry-system"
)

// cluster is the control plane that all tests share, seen with all rights.
var cluster struct {
	config *rest.Config
	client client.Client
	// kubeconfig is the path of its kubeconfig.
	kubeconfig string
}

func TestMain(m *testing.M) {
	flag.Parse()
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	for _, name := range []string{"KUBEBUILDER_ASSETS", "HELM", "KUSTOMIZE", "KUBE_STATE_METRICS", "VIRTFERRY"} {
		if os.Getenv(name) == "" {
			return 1, fmt.Errorf("%s is not set: run `make test-packages`", name)
		}
	}
	ctrl.SetLogger(logr.Discard())
	klog.SetLogger(logr.Discard())
	dir, err := os.MkdirTemp("", "packages-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	// Helm keeps to itself.
	for _, name := range []string{"HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"} {
		if err := os.Setenv(name, filepath.Join(dir, name)); err != nil {
			return 1, err
		}
	}
	environment := &envtest.Environment{}
	if cluster.config, err = environment.Start(); err != nil {
		return 1, fmt.Errorf("starting the control plane: %w", err)
	}
	defer func() { err = errors.Join(err, environment.Stop()) }()
	cluster.kubeconfig = filepath.Join(dir, "kubeconfig")
	if err := os.WriteFile(cluster.kubeconfig, environment.KubeConfig, 0o600); err != nil {
		return 1, err
	}
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), apiextensionsv1.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return 1, err
	}
	cluster.config.QPS = -1
	if cluster.client, err = client.New(cluster.config, client.Options{Scheme: scheme}); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

// kubeconfigOf writes a kubeconfig of somebody with a service account's rights, and
// returns its path. A node is the one that the account's token would name.
func kubeconfigOf(t *testing.T, account, node string) string {
	t.Helper()
	config, err := clientcmd.LoadFromFile(cluster.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	who := config.AuthInfos[config.Contexts[config.CurrentContext].AuthInfo]
	who.Impersonate = "system:serviceaccount:" + systemNamespace + ":" + account
	who.ImpersonateGroups = []string{"system:serviceaccounts", "system:serviceaccounts:" + systemNamespace, "system:authenticated"}
	if node != "" {
		who.ImpersonateUserExtra = map[string][]string{"authentication.kubernetes.io/node-name": {node}}
	}
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// try runs a program, with kubectl on its path and the cluster as where it points at,
// and returns what it writes.
func try(t *testing.T, program string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+cluster.kubeconfig, "PATH="+os.Getenv("KUBEBUILDER_ASSETS")+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// must is try for what has to succeed.
func must(t *testing.T, program string, args ...string) string {
	t.Helper()
	out, err := try(t, program, args...)
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", program, args, err, out)
	}
	return out
}

// helm runs helm.
func helm(t *testing.T, args ...string) string {
	t.Helper()
	return must(t, os.Getenv("HELM"), args...)
}

// await waits until ok returns true.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("this does not come about: ", what)
		}
	}
}
