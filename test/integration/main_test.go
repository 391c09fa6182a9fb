//go:build integration

// Package integration tests what only a real API server can show: that it takes
// the manifests as they are, the validation of the API, the manager's controllers,
// and what the manager and the agents may do. The agents' libvirt is in the tests'
// hands; their writes, and the tokens they write with, are real.
package integration

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// root is the top of the source tree.
var root = filepath.Join("..", "..")

// assets is where the programs of the control plane are.
var assets = os.Getenv("KUBEBUILDER_ASSETS")

// systemNamespace is where the manager and the agents keep their leases.
const systemNamespace = "virtferry-system"

// The service accounts.
const (
	managerAccount = "virtferry-manager"
	agentAccount   = "virtferry-agent"
)

// patience is how long a test waits for anything that has to happen.
const patience = 60 * time.Second

// cluster is the control plane that all tests share, seen with all rights.
var cluster struct {
	config *rest.Config
	client client.WithWatch
	scheme *runtime.Scheme
}

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if assets == "" {
		return fail("finding the control plane", errors.New("KUBEBUILDER_ASSETS is not set: run `make test-integration`"))
	}
	ctrl.SetLogger(logr.Discard())
	klog.SetLogger(logr.Discard())
	// The tests wait more than they compute.
	if err := flag.Set("test.parallel", "12"); err != nil {
		return fail("setting how many tests run at once", err)
	}
	environment := &envtest.Environment{
		CRDDirectoryPaths:     []string{config("crd/bases")},
		ErrorIfCRDPathMissing: true,
	}
	defer func() {
		if err := environment.Stop(); err != nil {
			fail("stopping the control plane", err)
		}
	}()
	if err := startCluster(environment); err != nil {
		return fail("starting the control plane", err)
	}
	return m.Run()
}

func fail(what string, err error) int {
	fmt.Fprintf(os.Stderr, "%s: %v\n", what, err)
	return 1
}

// config returns the path of something in the directory of manifests.
func config(path string) string { return filepath.Join(root, "config", path) }

func startCluster(environment *envtest.Environment) error {
	restConfig, err := environment.Start()
	if err != nil {
		return err
	}
	restConfig.QPS = -1
	cluster.config, cluster.scheme = restConfig, runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(cluster.scheme), v1alpha1.AddToScheme(cluster.scheme)); err != nil {
		return err
	}
	cluster.client, err = client.NewWithWatch(restConfig, client.Options{
		Scheme: cluster.scheme, FieldValidation: metav1.FieldValidationStrict,
	})
	if err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := install(ctx, config("default")); err != nil {
		return fmt.Errorf("installing config/default: %w", err)
	}
	return awaitPolicies(ctx)
}

// install applies all that a directory of manifests consists of.
func install(ctx context.Context, directory string) error {
	kubectl := exec.CommandContext(ctx, filepath.Join(assets, "kubectl"), "kustomize", directory)
	kubectl.Stderr = os.Stderr
	text, err := kubectl.Output()
	if err != nil {
		return fmt.Errorf("running kubectl kustomize: %w", err)
	}
	objects, err := parse(text)
	if err != nil {
		return err
	}
	for _, object := range objects {
		applied := client.ApplyConfigurationFromUnstructured(object)
		if err := cluster.client.Apply(ctx, applied, client.FieldOwner("installation"), client.ForceOwnership); err != nil {
			return fmt.Errorf("applying %s %s: %w", object.GetKind(), object.GetName(), err)
		}
	}
	return nil
}

// parse returns the objects in YAML documents.
func parse(text []byte) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	for decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096); ; {
		object := &unstructured.Unstructured{}
		err := decoder.Decode(&object.Object)
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, err
		}
		if object.GetAPIVersion() != "" {
			objects = append(objects, object)
		}
	}
}

// poll calls ok until it returns true, for as long as patience lasts.
func poll(ctx context.Context, ok func() bool) bool {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for !ok() {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(5 * time.Millisecond):
		}
	}
	return true
}
