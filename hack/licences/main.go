// Command licences collects the texts of the licences of everything that a program is
// compiled from: of Go itself, and of each module, with what belongs to a single package of
// it. Their authors ask that whoever gets the program gets these.
//
//	licences -arch ARCHITECTURE -tags TAGS PACKAGE DIRECTORY
//
// DIRECTORY is made. It has a directory for each module and version, named as Go names it,
// in which the texts lie where they do in the module; that of Go is named stdlib. The same
// modules make the same files.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
)

func main() {
	arch := flag.String("arch", runtime.GOARCH, "architecture that the program is for")
	tags := flag.String("tags", "", "build tags of the program, separated by commas")
	flag.Parse()
	if flag.NArg() != 2 {
		fmt.Fprintln(os.Stderr, "usage: licences -arch ARCHITECTURE -tags TAGS PACKAGE DIRECTORY")
		os.Exit(2)
	}
	found, err := list(*arch, *tags, flag.Arg(0))
	if err == nil {
		err = collect(found, flag.Arg(1))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "licences:", err)
		os.Exit(1)
	}
}

// module is one that a program is compiled from, or Go itself.
type module struct {
	// name is the module's path and version.
	name string
	// dir is where it is here.
	dir string
	// packages are the directories of those of its packages that are compiled.
	packages []string
}

// list returns what a package is compiled from, but for this module.
func list(arch, tags, program string) ([]module, error) {
	cmd := exec.Command("go", "list", "-deps", "-tags", tags, "-json=Dir,Standard,Module", program)
	// The binding of libvirt is written in C: without that, Go leaves its package out.
	cmd.Env = append(os.Environ(), "GOARCH="+arch, "CGO_ENABLED=1")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("asking Go what %s is compiled from: %w", program, err)
	}
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("asking Go where it is: %w", err)
	}
	return parse(bytes.NewReader(out), strings.TrimSpace(string(root)))
}

// parse reads what `go list` says of packages.
func parse(packages io.Reader, goRoot string) ([]module, error) {
	modules := map[string]*module{"stdlib": {name: "stdlib", dir: goRoot, packages: []string{goRoot}}}
	for decoder := json.NewDecoder(packages); ; {
		var p struct {
			Dir      string
			Standard bool
			Module   *struct {
				Path, Version, Dir string
				Main               bool
			}
		}
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("reading what Go says of packages: %w", err)
		}
		if p.Standard || p.Module == nil || p.Module.Main {
			continue
		}
		name := p.Module.Path + "@" + p.Module.Version
		if modules[name] == nil {
			modules[name] = &module{name: name, dir: p.Module.Dir}
		}
		modules[name].packages = append(modules[name].packages, p.Dir)
	}
	var out []module
	for _, m := range modules {
		out = append(out, *m)
	}
	slices.SortFunc(out, func(a, b module) int { return strings.Compare(a.name, b.name) })
	return out, nil
}

// text is the name of a file that has to go with a program. Authors are named in a NOTICE
// where a licence asks for that.
var text = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents)([.-].*)?$`)

// texts returns the paths, below the module's directory, of the texts that concern what is
// compiled of it.
func (m module) texts() ([]string, error) {
	seen := map[string]bool{}
	var out []string
	for _, dir := range m.packages {
		for ; !seen[dir]; dir = filepath.Dir(dir) {
			seen[dir] = true
			files, err := os.ReadDir(dir)
			if err != nil {
				return nil, fmt.Errorf("looking for the licence of %s: %w", m.name, err)
			}
			for _, file := range files {
				if !file.Type().IsRegular() || !text.MatchString(file.Name()) || strings.HasSuffix(file.Name(), ".go") {
					continue
				}
				path, err := filepath.Rel(m.dir, filepath.Join(dir, file.Name()))
				if err != nil {
					return nil, err
				}
				out = append(out, path)
			}
			if dir == m.dir {
				break
			}
		}
	}
	slices.Sort(out)
	if !slices.ContainsFunc(out, func(path string) bool { return !strings.HasPrefix(strings.ToLower(filepath.Base(path)), "notice") }) {
		return nil, fmt.Errorf("%s has no text of a licence: do not use it", m.name)
	}
	return out, nil
}

// collect copies the texts of all modules into a new directory.
func collect(modules []module, directory string) error {
	if err := os.Mkdir(directory, 0o755); err != nil {
		return err
	}
	for _, m := range modules {
		texts, err := m.texts()
		if err != nil {
			return err
		}
		for _, path := range texts {
			content, err := os.ReadFile(filepath.Join(m.dir, path))
			if err != nil {
				return err
			}
			to := filepath.Join(directory, filepath.FromSlash(m.name), path)
			if err := errors.Join(os.MkdirAll(filepath.Dir(to), 0o755), os.WriteFile(to, content, 0o644)); err != nil {
				return err
			}
		}
	}
	return nil
}
