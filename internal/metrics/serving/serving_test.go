package serving

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
		config    Config
		wantError string
	}{
		"with a certificate of its own":      {config: Config{Address: ":1", Secure: true}},
		"with one that it is given":          {config: Config{Address: ":1", Secure: true, CertDir: full}},
		"in plain":                           {config: Config{Address: ":1"}},
		"with one that is missing":           {config: Config{Address: ":1", Secure: true, CertDir: empty}, wantError: "with tls.crt and tls.key"},
		"in plain, with one that is useless": {config: Config{Address: ":1", CertDir: full}, wantError: "--metrics-cert-dir needs --metrics-secure"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, err := tt.config.Options()
			if tt.wantError != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wantError) {
					t.Errorf("the error is %v", err)
				}
				return
			}
			if err != nil || o.BindAddress != ":1" || o.CertDir != tt.config.CertDir {
				t.Errorf("the options are %+v, %v", o, err)
			}
			if o.SecureServing != tt.config.Secure || (o.FilterProvider != nil) != tt.config.Secure {
				t.Error("it is not served as it was asked for")
			}
		})
	}
}
