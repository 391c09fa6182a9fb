package gitops

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// TestNothingButAPersonDeletesTheSample: not when its file is gone, and not when what
// applies it is; either would cancel the migration.
func TestNothingButAPersonDeletesTheSample(t *testing.T) {
	var sample v1alpha1.LiveMigration
	read(t, "../../config/samples/livemigration_gitops.yaml", &sample)
	const argo, flux = "argocd.argoproj.io/sync-options", "kustomize.toolkit.fluxcd.io/prune"
	options := strings.Split(sample.Annotations[argo], ",")
	for _, option := range []string{"Prune=false", "Delete=false"} {
		if !slices.Contains(options, option) {
			t.Errorf("Argo CD is told %q, which lacks %s", options, option)
		}
	}
	if is := sample.Annotations[flux]; is != "disabled" {
		t.Errorf("%s is %q", flux, is)
	}
	page, err := os.ReadFile("../../docs/gitops.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range sample.Annotations {
		if line := name + ": " + value; !strings.Contains(string(page), line) {
			t.Errorf("docs/gitops.md does not say %q", line)
		}
	}
}
