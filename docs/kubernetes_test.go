package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// TestKubernetesVersions: the versions that the page names are those that tests run on,
// and that the chart asks for.
func TestKubernetesVersions(t *testing.T) {
	t.Parallel()
	find := func(file, pattern string) string {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		match := regexp.MustCompile(pattern).FindSubmatch(text)
		if match == nil {
			t.Fatalf("%s names no version of Kubernetes", file)
		}
		return string(match[1])
	}
	oldest := find("docs/install.md", `needs Kubernetes (1\.[0-9]+) or\s+later`)
	newest := find("docs/install.md", `is tested with (1\.[0-9]+)`)
	const module = `k8s\.io/kubernetes v(1\.[0-9]+)\.`
	for file, c := range map[string]struct{ pattern, want string }{
		"hack/controlplane/oldest/go.mod": {module, oldest},
		"hack/controlplane/go.mod":        {module, newest},
		"charts/virtferry/Chart.yaml":     {`kubeVersion: ">=(1\.[0-9]+)\.0`, oldest},
	} {
		if is := find(file, c.pattern); is != c.want {
			t.Errorf("%s has Kubernetes %s, docs/install.md says %s", file, is, c.want)
		}
	}
}
