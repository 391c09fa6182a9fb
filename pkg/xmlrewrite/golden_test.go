package xmlrewrite

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"
)

var update = flag.Bool("update", false, "write the golden files instead of comparing with them")

// goldenCase is what case.yaml in a folder of testdata/golden says. Beside it
// lies guest.xml, and the guest's other definition in other.xml if it matters; the
// answer is in want.xml, warnings.txt or problems.txt.
type goldenCase struct {
	// Why says which rule or defect the case is about.
	Why         string                `json:"why"`
	MigrateData *v1alpha1.MigrateData `json:"migrateData"`
	Offer       *v1alpha1.MigrateData `json:"offer"`
	Target      TargetFacts           `json:"target"`
	Inactive    bool                  `json:"inactive"`
}

func TestGolden(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/golden/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden cases found: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			t.Parallel()
			runGolden(t, strings.TrimSuffix(file, ".yaml"))
		})
	}
}

func readGolden(tb testing.TB, base string) ([]byte, goldenCase) {
	tb.Helper()
	text, err := os.ReadFile(base + ".yaml")
	if err != nil {
		tb.Fatal(err)
	}
	var c goldenCase
	if err := yaml.UnmarshalStrict(text, &c); err != nil {
		tb.Fatalf("%s: %v", base, err)
	}
	guest, err := os.ReadFile(base + ".guest.xml")
	if err != nil {
		tb.Fatal(err)
	}
	return guest, c
}

func runGolden(t *testing.T, base string) {
	guest, c := readGolden(t, base)
	if c.Why == "" {
		t.Error("the case does not say why it exists")
	}
	other, err := os.ReadFile(base + ".other.xml")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	opts := Options{Inactive: c.Inactive, Other: string(other), Offer: c.Offer, Target: c.Target}
	data, err := json.Marshal(c.MigrateData)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := NewPlan(guest, c.MigrateData, opts)
	var problems Problems
	if err != nil && !errors.As(err, &problems) {
		t.Fatalf("the error is no list of problems: %v", err)
	}
	after, err := json.Marshal(c.MigrateData)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(data, after) {
		t.Error("planning changed the migrate data")
	}
	compareGolden(t, base+".problems.txt", describe(problems))
	if plan == nil {
		compareGolden(t, base+".want.xml", nil)
		compareGolden(t, base+".warnings.txt", nil)
		return
	}
	result := plan.Apply()
	compareGolden(t, base+".want.xml", []byte(result))
	compareGolden(t, base+".warnings.txt", describe(plan.Warnings()))
	if opts.Other != "" && opts.Inactive {
		// An earlier rewrite has rewritten the running guest's definition, too, if it could.
		other := opts
		other.Inactive, other.Other = false, string(guest)
		if plan, err := NewPlan(opts.Other, c.MigrateData, other); err == nil {
			opts.Other = plan.Apply()
		}
	}
	checkAgain(t, result, c.MigrateData, opts)
}

// checkAgain rewrites the result once more and expects the same bytes.
func checkAgain(t *testing.T, result string, data *v1alpha1.MigrateData, opts Options) {
	t.Helper()
	again, err := NewPlan(result, data, opts)
	if err != nil {
		t.Fatalf("the rewritten guest cannot be rewritten again: %v", err)
	}
	if diff := cmp.Diff(result, again.Apply()); diff != "" {
		t.Errorf("rewriting twice is not rewriting once (-once +twice):\n%s", diff)
	}
}

func describe(problems Problems) []byte {
	var b strings.Builder
	for _, p := range problems {
		b.WriteString(string(p.Kind) + " " + p.String() + "\n")
	}
	return []byte(b.String())
}

// compareGolden compares with a file; no file stands for nothing.
func compareGolden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if len(got) == 0 {
			if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
			return
		}
		if err := os.WriteFile(file, got, 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", filepath.Base(file), diff)
	}
}
