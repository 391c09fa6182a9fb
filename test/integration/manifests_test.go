//go:build integration

package integration

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// TestSamplesAreAccepted: every sample can be applied as it is.
func TestSamplesAreAccepted(t *testing.T) {
	t.Parallel()
	samples, err := filepath.Glob(config("samples/*.yaml"))
	if err != nil || len(samples) == 0 {
		t.Fatal("found no samples", err)
	}
	for _, path := range samples {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		dryRun(t, path, text)
	}
}

var yamlBlock = regexp.MustCompile("(?s)\n```yaml\n(.*?\n)```\n")

// TestDocumentedManifestsAreAccepted: so can every manifest in the documentation.
func TestDocumentedManifestsAreAccepted(t *testing.T) {
	t.Parallel()
	pages := []string{filepath.Join(root, "README.md")}
	err := filepath.WalkDir(filepath.Join(root, "docs"), func(path string, _ fs.DirEntry, err error) error {
		if filepath.Ext(path) == ".md" {
			pages = append(pages, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range pages {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range yamlBlock.FindAllSubmatch(text, -1) {
			dryRun(t, path, block[1])
		}
	}
}

// dryRun creates the objects of our kinds without keeping them.
func dryRun(t *testing.T, path string, text []byte) {
	t.Helper()
	objects, err := parse(text)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	for _, object := range objects {
		if object.GroupVersionKind().Group != v1alpha1.GroupName {
			continue
		}
		if object.GetKind() == "LiveMigration" && object.GetNamespace() == "" {
			object.SetNamespace("default")
		}
		if err := cluster.client.Create(t.Context(), object, client.DryRunAll); err != nil {
			t.Errorf("%s: %s: %v", path, object.GetName(), err)
		}
	}
}

// TestInstallationIsAccepted: all that config/default consists of can be applied
// over itself; it was applied before the tests began.
func TestInstallationIsAccepted(t *testing.T) {
	t.Parallel()
	if err := install(t.Context(), config("default")); err != nil {
		t.Error(err)
	}
}
