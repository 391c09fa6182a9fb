package metrics

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestServing(t *testing.T) {
	t.Parallel()
	empty, full := t.TempDir(), t.TempDir()
	for _, file := range []string{certFile, keyFile} {
		if err := os.WriteFile(filepath.Join(full, file), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, tt := range map[string]struct {
		serving   Serving
		wantError string
	}{
		"with a certificate of its own":      {serving: Serving{Address: ":1", Secure: true}},
		"with one that it is given":          {serving: Serving{Address: ":1", Secure: true, CertDir: full}},
		"in plain":                           {serving: Serving{Address: ":1"}},
		"with one that is missing":           {serving: Serving{Address: ":1", Secure: true, CertDir: empty}, wantError: "with tls.crt and tls.key"},
		"in plain, with one that is useless": {serving: Serving{Address: ":1", CertDir: full}, wantError: "--metrics-cert-dir needs --metrics-secure"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, err := tt.serving.Options()
			if tt.wantError != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wantError) {
					t.Errorf("the error is %v", err)
				}
				return
			}
			if err != nil || o.BindAddress != ":1" || o.CertDir != tt.serving.CertDir {
				t.Errorf("the options are %+v, %v", o, err)
			}
			if o.SecureServing != tt.serving.Secure || (o.FilterProvider != nil) != tt.serving.Secure {
				t.Error("it is not served as it was asked for")
			}
		})
	}
}
