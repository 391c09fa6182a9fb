package e2e

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// unreal are the blockers that real hosts on one machine cannot be made to have in a test: why
// that is so, and which test has them on the scripted hypervisor instead, under pkg/agent.
var unreal = map[string]struct{ why, file, test string }{
	"BlockerDefinitionUnreadable": {
		"libvirt has read and written each definition itself, and hands out none that is not XML", "refusal_test.go", "TestRefusals",
	},
	"BlockerTargetReportMalformed": {
		"no agent reports such; it would have to be another program with an agent's rights", "endpoint_test.go", "TestSourceChecksWhatTheTargetSays",
	},
	"BlockerHostInterfaceOnlyLive": {
		"there is no network card here whose functions guests can be given", "hostinterfaces_test.go", "TestInterfacesOfTheHostAreTakenAndGivenBack",
	},
	"BlockerHostInterfaceKept": {
		"there is no network card here whose functions guests can be given", "hostinterfaces_test.go", "TestInterfacesOfTheHostAreTakenAndGivenBack",
	},
	"BlockerHostDeviceMissing": {
		"a guest would have to have a device of its host, and there is none here that can be given to guests", "filldevices_test.go", "TestAGuestGetsDevicesOfTheTarget",
	},
	"BlockerHostDeviceTaken": {
		"two guests would have to have devices of their hosts, and there are none here that can be given to guests", "filldevices_test.go", "TestAGuestGetsDevicesOfTheTarget",
	},
	"BlockerHugePagesInsufficient": {
		"a guest with huge pages takes some of this machine's, which are one pool for all hosts and for whatever else runs here", "resources_test.go", "TestATargetWithoutRoomIsRefused",
	},
	"BlockerSecretDriverSilent": {
		"libvirtd always has its secret driver; only the modular daemons, which are no package of Debian, can be without", "secrets_test.go", "TestSecretDriverThatDoesNotAnswer",
	},
	"BlockerDiskDiffers": {
		"it takes two device mapper devices of one name, and all hosts of one machine share its kernel's", "blockdevices_test.go", "TestBlockDevicesOfTheTargetAreChecked",
	},
}

// TestEachBlockerIsHadByRealHosts, or there is a reason why it cannot be: each code is named in a
// test that runs against a real libvirt, or in the list above, and not in both.
func TestEachBlockerIsHadByRealHosts(t *testing.T) {
	t.Parallel()
	codes := blockerCodes(t)
	if len(codes) < 40 {
		t.Fatalf("only %d codes are found", len(codes))
	}
	tests := realTests(t)
	for _, code := range codes {
		_, excused := unreal[code]
		switch tested := slices.Contains(tests, code); {
		case tested && excused:
			t.Errorf("%s has a test on real hosts; take it from the list of those that cannot", code)
		case !tested && !excused:
			t.Errorf("%s has no test on real hosts; add one to blockers_test.go or, if reality cannot be made to have it, a line to the list above that says why", code)
		}
	}
	for code, e := range unreal {
		if !slices.Contains(codes, code) || e.why == "" {
			t.Errorf("%s is no blocker, or nothing is said of it", code)
		}
		used := names(t, "../../pkg/agent/"+e.file, func(n ast.Node) bool {
			f, ok := n.(*ast.FuncDecl)
			return !ok || f.Name.Name == e.test
		})
		if !slices.Contains(used, code) {
			t.Errorf("%s in %s does not have %s", e.test, e.file, code)
		}
	}
}

// blockerCodes are the names of the constants.
func blockerCodes(t *testing.T) []string {
	t.Helper()
	var codes []string
	for _, file := range glob(t, "../../api/v1alpha1/*.go") {
		for _, d := range parse(t, file).Decls {
			general, ok := d.(*ast.GenDecl)
			if !ok || general.Tok != token.CONST {
				continue
			}
			for _, s := range general.Specs {
				value, ok := s.(*ast.ValueSpec)
				if kind, named := value.Type.(*ast.Ident); ok && named && kind.Name == "BlockerCode" {
					codes = append(codes, value.Names[0].Name)
				}
			}
		}
	}
	return codes
}

// realTests are the codes that are named in what runs against a real libvirt.
func realTests(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, file := range slices.Concat(glob(t, "*_test.go"), glob(t, "../faults/*.go"), glob(t, "../../pkg/hypervisor/libvirt/e2e_*_test.go")) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "//go:build e2e\n") || strings.HasPrefix(file, "../faults/") {
			out = append(out, names(t, file, func(ast.Node) bool { return true })...)
		}
	}
	return out
}

// names are those of the API's package that are used in the parts of a file that enter lets pass.
func names(t *testing.T, file string, enter func(ast.Node) bool) []string {
	t.Helper()
	var out []string
	ast.Inspect(parse(t, file), func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if pkg, ok := s.X.(*ast.Ident); ok && pkg.Name == "v1alpha1" {
				out = append(out, s.Sel.Name)
			}
		}
		return enter(n)
	})
	return out
}

func parse(t *testing.T, file string) *ast.File {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no files %s: %v", pattern, err)
	}
	return files
}
