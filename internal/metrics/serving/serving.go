// Package serving says how metrics are served. It is apart from what they are, as it
// brings the API server's libraries along.
package serving

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

// Config says how a process serves its metrics.
type Config struct {
	// Address is where; "0" serves none.
	Address string
	// Secure is whether they are served with TLS, and only to those whom the API server
	// lets get /metrics. Otherwise anybody who reaches the address may read them.
	Secure bool
	// CertDir has tls.crt and tls.key, which may be replaced at any time. Where it is
	// empty the process makes a certificate for itself, which nobody can verify.
	CertDir string
}

// The files of a certificate, as in a Secret of type kubernetes.io/tls.
const (
	certFile = "tls.crt"
	keyFile  = "tls.key"
)

// Options returns what controller-runtime is to be told, or what is wrong with the flags.
func (c Config) Options() (metricsserver.Options, error) {
	o := metricsserver.Options{BindAddress: c.Address}
	if !c.Secure {
		if c.CertDir != "" {
			return o, errors.New("--metrics-cert-dir needs --metrics-secure: metrics are not served with TLS otherwise")
		}
		return o, nil
	}
	o.SecureServing, o.FilterProvider = true, filters.WithAuthenticationAndAuthorization
	if c.CertDir == "" {
		return o, nil
	}
	for _, file := range []string{certFile, keyFile} {
		if _, err := os.Stat(filepath.Join(c.CertDir, file)); err != nil {
			return o, fmt.Errorf("--metrics-cert-dir must be a directory with %s and %s: %w", certFile, keyFile, err)
		}
	}
	o.CertDir, o.CertName, o.KeyName = c.CertDir, certFile, keyFile
	return o, nil
}
