// Command virtferry moves running libvirt guests between the nodes of a
// Kubernetes cluster. Its subcommands are the manager, one for a cluster, the
// agent, one for each node, rewrite, which shows offline what a migration makes of
// a guest's definition, upgrade-check, which tells which guests an upgrade would strand,
// and version.
package main

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/internal/metrics/serving"
)

func main() {
	err := newRootCommand().Execute()
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "virtferry:", err)
	os.Exit(exitCode(err))
}

// exitCode is 1, unless the error says otherwise.
func exitCode(err error) int {
	if coded := interface{ ExitCode() int }(nil); errors.As(err, &coded) {
		return coded.ExitCode()
	}
	return 1
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "virtferry",
		Short:         "Live migration of libvirt guests, run from Kubernetes",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(newManagerCommand(), newAgentCommand(), newRewriteCommand(), newUpgradeCheckCommand(), newVersionCommand())
	return root
}

// systemNamespace is where the manager and the agents keep their leases, unless they
// are told the namespace of their pod.
const systemNamespace = "virtferry-system"

// commonFlags are those of both the manager and the agent.
type commonFlags struct {
	kubeconfig    string
	namespace     string
	healthAddress string
	metrics       serving.Config
	profiles      string
	verbosity     int
}

func (f *commonFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.kubeconfig, "kubeconfig", "",
		"path of a kubeconfig file; if empty, $KUBECONFIG or, in a pod, its service account is used")
	flags.StringVar(&f.namespace, "namespace", cmp.Or(os.Getenv("POD_NAMESPACE"), systemNamespace),
		"namespace of the leases; defaults to $POD_NAMESPACE or, without it, "+systemNamespace)
	flags.StringVar(&f.healthAddress, "health-probe-bind-address", ":8081", "address at which to serve /healthz and /readyz; 0 disables them")
	flags.StringVar(&f.metrics.Address, "metrics-bind-address", ":8443", "address at which to serve /metrics; 0 disables it")
	flags.BoolVar(&f.metrics.Secure, "metrics-secure", true,
		"serve metrics with TLS, to clients that the API server allows to get /metrics; if false, serve them in plain text to anybody who can reach the address")
	flags.StringVar(&f.metrics.CertDir, "metrics-cert-dir", "",
		"directory with tls.crt and tls.key for metrics, which may be replaced at any time; if empty, a self-signed certificate is made, which nobody can verify")
	flags.StringVar(&f.profiles, "pprof-bind-address", "0",
		"address at which to serve /debug/pprof, to anybody who can reach it; 0 disables it")
	flags.IntVarP(&f.verbosity, "verbosity", "v", 0, "how much to log, from 0 (changes of state) to 4 (the steps that lead to them)")
}

// logger sets the process's logger up and returns it.
func (f *commonFlags) logger() logr.Logger {
	// slog's levels fall by one with each level of verbosity.
	log := logr.FromSlogHandler(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.Level(-f.verbosity)}))
	ctrl.SetLogger(log)
	klog.SetLogger(log)
	return log
}

func (f *commonFlags) restConfig() (*rest.Config, error) {
	if f.kubeconfig == "" {
		config, err := ctrl.GetConfig()
		if err != nil {
			return nil, fmt.Errorf("finding the API server (give --kubeconfig, or run in a pod): %w", err)
		}
		return config, nil
	}
	config, err := clientcmd.BuildConfigFromFlags("", f.kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("reading --kubeconfig: %w", err)
	}
	return config, nil
}

func newScheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	return scheme
}
