// Package docs checks that the documentation agrees with the code.
package docs

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/internal/metrics"
)

// root is the top of the source tree.
const root = ".."

// pages returns the Markdown files by their paths from the root.
func pages(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	read := func(path string) {
		text, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		out[path] = string(text)
	}
	read("README.md")
	read("CONTRIBUTING.md")
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && filepath.Ext(path) == ".md" {
			read(filepath.Join("docs", path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

var yamlBlock = regexp.MustCompile("(?s)\n```yaml\n(.*?\n)```\n")

// TestManifestsFitTheAPI: whoever copies a manifest out of the documentation, or
// out of the samples, gets one that has no unknown or misspelt field.
func TestManifestsFitTheAPI(t *testing.T) {
	t.Parallel()
	for path, text := range pages(t) {
		for _, block := range yamlBlock.FindAllStringSubmatchIndex(text, -1) {
			line := 1 + strings.Count(text[:block[2]], "\n")
			if err := checkManifests(text[block[2]:block[3]]); err != nil {
				t.Errorf("%s:%d: %v", path, line, err)
			}
		}
	}
	samples, err := filepath.Glob(filepath.Join(root, "config", "samples", "*.yaml"))
	if err != nil || len(samples) == 0 {
		t.Fatal("found no samples", err)
	}
	for _, path := range samples {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := checkManifests(string(text)); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// checkManifests reads YAML documents strictly, if they are of our kinds.
func checkManifests(text string) error {
	documents := utilyaml.NewYAMLReader(bufio.NewReader(strings.NewReader(text)))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		var head metav1.TypeMeta
		if err := yaml.Unmarshal(document, &head); err != nil {
			return err
		}
		if head.APIVersion != v1alpha1.GroupVersion.String() {
			continue
		}
		kinds := map[string]any{"LiveMigration": &v1alpha1.LiveMigration{}, "Hypervisor": &v1alpha1.Hypervisor{}}
		object, ok := kinds[head.Kind]
		if !ok {
			return fmt.Errorf("there is no kind %q", head.Kind)
		}
		if err := yaml.UnmarshalStrict(document, object); err != nil {
			return err
		}
	}
}

// constants returns the values of the API's string constants whose names begin
// with a prefix.
func constants(t *testing.T, prefix string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "api", "v1alpha1", "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, path := range files {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || len(spec.Values) != 1 || !strings.HasPrefix(spec.Names[0].Name, prefix) {
				return true
			}
			if literal, ok := spec.Values[0].(*ast.BasicLit); ok {
				value, err := strconv.Unquote(literal.Value)
				if err != nil {
					t.Fatal(err)
				}
				out = append(out, value)
			}
			return true
		})
	}
	if len(out) == 0 {
		t.Fatalf("found no constants named %s...", prefix)
	}
	return out
}

var code = regexp.MustCompile("`([A-Za-z.]+)`")

// TestEveryWordOfTheStatusIsExplained: no condition, reason, phase or field of
// a status is left to guessing.
func TestEveryWordOfTheStatusIsExplained(t *testing.T) {
	t.Parallel()
	page := pages(t)["docs/livemigration.md"]
	words := slices.Concat(constants(t, "Condition"), constants(t, "Reason"), constants(t, "Phase"), constants(t, "Notice"))
	words = append(words, fieldNames(reflect.TypeFor[v1alpha1.LiveMigrationStatus]())...)
	words = append(words, fieldNames(reflect.TypeFor[v1alpha1.LiveMigrationSpec]())...)
	words = append(words, fieldNames(reflect.TypeFor[v1alpha1.HypervisorStatus]())...)
	explained := map[string]bool{}
	for _, m := range code.FindAllStringSubmatch(page, -1) {
		explained[m[1][strings.LastIndex(m[1], ".")+1:]] = true
	}
	for _, word := range words {
		if !explained[word] {
			t.Errorf("docs/livemigration.md does not explain `%s`", word)
		}
	}
}

// fieldNames returns the names of a type's fields and of those inside them.
// Migrate data are told in the API reference and in pages of their own.
func fieldNames(t reflect.Type) []string {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	foreign := []reflect.Type{
		reflect.TypeFor[v1alpha1.MigrateData](), reflect.TypeFor[metav1.Condition](),
		reflect.TypeFor[metav1.Time](), reflect.TypeFor[metav1.MicroTime](),
	}
	if t.Kind() != reflect.Struct || slices.Contains(foreign, t) {
		return nil
	}
	var out []string
	for field := range t.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		out = append(out, name)
		out = append(out, fieldNames(field.Type)...)
	}
	return out
}

// TestEveryFailureHasARemedy: whoever is stuck finds the reason as a heading.
func TestEveryFailureHasARemedy(t *testing.T) {
	t.Parallel()
	page := pages(t)["docs/troubleshooting.md"]
	goesWell := []string{
		v1alpha1.ReasonStarting, v1alpha1.ReasonMigrating, v1alpha1.ReasonMigrated, v1alpha1.ReasonAlreadyOnTarget, v1alpha1.ReasonChecksPassed,
		v1alpha1.ReasonAvailable, v1alpha1.ReasonConnected, v1alpha1.ReasonEnoughWorkers, v1alpha1.ReasonMachineTypesOffered, v1alpha1.ReasonCertificatesGood,
	}
	for _, reason := range constants(t, "Reason") {
		if !slices.Contains(goesWell, reason) && !regexp.MustCompile(`(?m)^### .*\b`+reason+`\b`).MatchString(page) {
			t.Errorf("docs/troubleshooting.md has no heading for %s", reason)
		}
	}
}

// TestTheOutcomeTableIsTheCodes: the architecture page shows every row of the
// table by which migrations are judged.
func TestTheOutcomeTableIsTheCodes(t *testing.T) {
	t.Parallel()
	page := pages(t)["docs/architecture.md"]
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, "pkg", "migration", "outcometable.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	ast.Inspect(file, func(n ast.Node) bool {
		pair, ok := n.(*ast.KeyValueExpr)
		if !ok {
			return true
		}
		key, isName := pair.Key.(*ast.Ident)
		if !isName || key.Name != "meaning" {
			return true
		}
		rows++
		if meaning := text(t, pair.Value); !strings.Contains(page, "| "+meaning+" |") {
			t.Errorf("docs/architecture.md lacks the row %q", meaning)
		}
		return true
	})
	if rows == 0 {
		t.Error("found no rows in the outcome table")
	}
}

// text returns the value of a string literal, or of several that are added up.
func text(t *testing.T, e ast.Expr) string {
	t.Helper()
	switch e := e.(type) {
	case *ast.BinaryExpr:
		return text(t, e.X) + text(t, e.Y)
	case *ast.BasicLit:
		value, err := strconv.Unquote(e.Value)
		if err != nil {
			t.Fatal(err)
		}
		return value
	default:
		t.Fatalf("a meaning is a %T: write it out", e)
		return ""
	}
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	target  = regexp.MustCompile("`make ([a-z0-9-]+)")
	path    = regexp.MustCompile("`((?:api|cmd|config|controllers|docs|hack|internal|pkg|test)/[A-Za-z0-9_./-]*)`")
)

// TestReferencesLeadSomewhere: links, paths and make targets exist.
func TestReferencesLeadSomewhere(t *testing.T) {
	t.Parallel()
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	all := pages(t)
	anchors := map[string]bool{}
	for page, text := range all {
		for _, m := range heading.FindAllStringSubmatch(text, -1) {
			anchors[page+"#"+anchorOf(m[1])] = true
		}
	}
	for from, text := range all {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if err := checkLink(anchors, from, m[1]); err != nil {
				t.Errorf("%s: the link %s leads nowhere: %v", from, m[1], err)
			}
		}
		for _, m := range target.FindAllStringSubmatch(text, -1) {
			if !bytes.Contains(makefile, []byte("\n"+m[1]+":")) {
				t.Errorf("%s: there is no `make %s`", from, m[1])
			}
		}
		if from == "docs/nova-parity.md" {
			continue // It also names what is still to be written.
		}
		for _, m := range path.FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join(root, m[1])); err != nil {
				t.Errorf("%s: there is no %s", from, m[1])
			}
		}
	}
}

// TestEveryDecisionIsListed: the index of decisions is complete.
func TestEveryDecisionIsListed(t *testing.T) {
	t.Parallel()
	all := pages(t)
	for name := range all {
		dir, file := filepath.Split(name)
		if dir == "docs/decisions/" && file != "README.md" && !strings.Contains(all["docs/decisions/README.md"], "("+file+")") {
			t.Errorf("docs/decisions/README.md does not list %s", file)
		}
	}
}

func checkLink(anchors map[string]bool, from, to string) error {
	if strings.Contains(to, "://") {
		return nil
	}
	file, anchor, _ := strings.Cut(to, "#")
	if file == "" {
		file = filepath.Base(from)
	}
	file = filepath.Join(filepath.Dir(from), file)
	if _, err := os.Stat(filepath.Join(root, file)); err != nil {
		return err
	}
	if anchor != "" && !anchors[file+"#"+anchor] {
		return fmt.Errorf("%s has no such heading", file)
	}
	return nil
}

// anchorOf returns the anchor that a heading gets.
func anchorOf(heading string) string {
	kept := strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z':
			return r
		}
		return -1
	}, strings.ToLower(heading))
	return kept
}

// TestTheMetricsAreTheCodes: the page about metrics is what the code says.
func TestTheMetricsAreTheCodes(t *testing.T) {
	t.Parallel()
	want, err := metrics.Page()
	if err != nil {
		t.Fatal(err)
	}
	if pages(t)["docs/metrics.md"] != want {
		t.Error("docs/metrics.md is not current: run `make docs-gen`")
	}
}
