package main

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

//go:embed switch.go.txt
var switchText string

// unit is a package whose mutants are all in one test program, switched off: to build one
// program for each would take most of the time.
type unit struct {
	folder  string
	mutants []mutant
	// unfit are how many places have been left alone because no mutant compiles there.
	unfit int
	// program is the path of the test program.
	program string
}

// listed is what `go list` says of a package.
type listed struct {
	Dir, ImportPath, Name, Export string
	GoFiles                       []string
}

// build makes the test program of a package in a folder. Of its files those named are
// given mutants, or all.
func build(folder string, only func(file string) bool, tags, dir string) (*unit, error) {
	pkg, exports, err := list(folder, tags)
	if err != nil {
		return nil, err
	}
	u := &unit{folder: folder, program: filepath.Join(dir, "mutants.test")}
	texts, err := u.fit(pkg, exports, only)
	if err != nil {
		return nil, err
	}
	replaced := map[string]string{}
	texts[filepath.Join(pkg.Dir, "mutants_switch.go")] = fmt.Appendf(nil, switchText, pkg.Name, len(u.mutants)+1)
	for path, text := range texts {
		replaced[path] = filepath.Join(dir, filepath.Base(path))
		if err := os.WriteFile(replaced[path], text, 0o600); err != nil {
			return nil, err
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600); err != nil {
		return nil, err
	}
	cmd := exec.Command("go", "test", "-c", "-vet=off", "-tags", tags, "-overlay", filepath.Join(dir, "overlay.json"), "-o", u.program, "./"+folder)
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building the tests of %s: %w: %s", folder, err, out)
	}
	return u, nil
}

// fit finds the mutants that compile, and returns the package's files with all of them in.
func (u *unit) fit(pkg listed, exports map[string]string, only func(file string) bool) (texts map[string][]byte, err error) {
	unfit := map[string]map[int]bool{}
	for {
		if u.mutants, texts, err = rewrite(u.folder, pkg, exports, only, unfit); err != nil {
			return nil, err
		}
		bad, err := check(pkg, exports, texts, len(u.mutants), nil)
		if err == nil {
			return texts, nil
		}
		fresh := 0
		for _, p := range bad {
			if unfit[p.Filename] == nil {
				unfit[p.Filename] = map[int]bool{}
			}
			if !unfit[p.Filename][p.Line] {
				unfit[p.Filename][p.Line] = true
				fresh++
			}
		}
		if fresh == 0 {
			return nil, fmt.Errorf("the mutants of %s do not compile: %w", u.folder, err)
		}
		u.unfit += fresh
	}
}

// list returns a package, and where what it imports is to be found compiled.
func list(folder, tags string) (pkg listed, exports map[string]string, err error) {
	// What the switch imports comes along.
	out, err := exec.Command("go", "list", "-export", "-deps", "-json=Dir,ImportPath,Name,Export,GoFiles", "-tags", tags,
		"cmp", "os", "strconv", "sync/atomic", "./"+folder).Output()
	if err != nil {
		return listed{}, nil, fmt.Errorf("listing %s: %w", folder, err)
	}
	exports = map[string]string{}
	for in := json.NewDecoder(bytes.NewReader(out)); ; {
		// The package itself comes last.
		switch err := in.Decode(&pkg); {
		case errors.Is(err, io.EOF):
			return pkg, exports, nil
		case err != nil:
			return listed{}, nil, err
		}
		exports[pkg.ImportPath] = pkg.Export
	}
}

// rewrite returns the mutants of a package, and its files with all of them in.
func rewrite(
	folder string, pkg listed, exports map[string]string, only func(string) bool, unfit map[string]map[int]bool,
) ([]mutant, map[string][]byte, error) {
	texts := map[string][]byte{}
	for _, name := range pkg.GoFiles {
		path := filepath.Join(pkg.Dir, name)
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, nil, err
		}
		texts[path] = text
	}
	var found []mutant
	_, err := check(pkg, exports, texts, 0, func(set *token.FileSet, checked *types.Package, info *types.Info, file *ast.File) {
		path := set.Position(file.Package).Filename
		if !only(filepath.Base(path)) {
			return
		}
		f := finder{
			set: set, info: info, pkg: checked, file: file, source: texts[path], path: filepath.Join(folder, filepath.Base(path)), unfit: unfit[path],
			next: func() int { return len(found) + 1 },
		}
		f.added = func(m mutant) { found = append(found, m) }
		f.find()
		texts[path] = f.rewritten()
	})
	return found, texts, err
}

// check has the compiler's front end read the files of a package, with the switch of a
// number of mutants where there are any, and hands each file on. Where they do not compile,
// it returns the places.
func check(
	pkg listed, exports map[string]string, texts map[string][]byte, mutants int, do func(*token.FileSet, *types.Package, *types.Info, *ast.File),
) ([]token.Position, error) {
	set := token.NewFileSet()
	var files []*ast.File
	paths := make([]string, 0, len(texts))
	for path := range texts {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	for _, path := range paths {
		file, err := parser.ParseFile(set, path, texts[path], parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	if mutants > 0 {
		file, err := parser.ParseFile(set, "mutants_switch.go", fmt.Appendf(nil, switchText, pkg.Name, mutants+1), parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	var bad []token.Position
	var first error
	config := types.Config{
		Importer: importer.ForCompiler(set, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) }),
		Error: func(err error) {
			if first == nil {
				first = err
			}
			if e, ok := errors.AsType[types.Error](err); ok {
				bad = append(bad, e.Fset.Position(e.Pos))
			}
		},
	}
	info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}}
	checked, _ := config.Check(pkg.ImportPath, set, files, info)
	if first != nil {
		return bad, first
	}
	if do != nil {
		for _, file := range files {
			do(set, checked, info, file)
		}
	}
	return nil, nil
}
