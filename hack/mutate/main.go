// Command mutate breaks the rules of the core one at a time, and counts how many of these
// mutants the unit tests kill. It prints those that survive, and ends with how many mutants
// there were and how many percent of them were killed.
//
// All mutants of a package are built into one test program, each with a switch, which is
// then run once for each of them, with the tests that reach it: see switch.go.txt.
//
// A mutant that changes nothing anybody could see is listed in equivalent.txt with the
// reason, and is not counted.
package main

import (
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
)

//go:embed equivalent.txt
var equivalentList string

// target is a package whose mutants are tried.
type target struct {
	folder string
	// without are the files that unit tests cannot reach.
	without []string
}

// targets are the packages in which a mistake may cost a guest.
func targets() []target {
	return []target{
		{folder: "pkg/monitor"},
		{folder: "pkg/migration"},
		{folder: "pkg/agent"},
		{folder: "controllers"},
		{folder: "controllers/node"},
		// The others call libvirt.
		{folder: "pkg/hypervisor/libvirt", without: []string{
			"cleanup", "client", "connect", "events", "facts", "host", "jobs", "migrate", "preflight", "secrets", "steer", "storage", "workers",
		}},
		{folder: "pkg/xmlrewrite"},
		{folder: "pkg/xmlrewrite/xmltree"},
	}
}

func main() {
	only := flag.String("packages", "", "the packages to try, separated by spaces; all where it is empty")
	files := flag.String("files", "", "the names of the files in them to try, separated by spaces; all where it is empty")
	tags := flag.String("tags", "", "build tags")
	flag.Parse()
	if err := run(strings.Fields(*only), strings.Fields(*files), *tags); err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(1)
	}
}

func run(only, files []string, tags string) error {
	same, err := parseEquivalent(equivalentList)
	if err != nil {
		return err
	}
	known := targets()
	for _, folder := range only {
		if !slices.ContainsFunc(known, func(t target) bool { return t.folder == folder }) {
			return fmt.Errorf("no mutants are made of %q: give packages of hack/mutate/main.go", folder)
		}
	}
	var sum tally
	for _, t := range known {
		if len(only) > 0 && !slices.Contains(only, t.folder) {
			continue
		}
		u, err := unleash(t, files, tags, func(m mutant) {
			if !same[m.key()] {
				fmt.Println(strings.ToLower(m.status)+":", m)
			}
		})
		if err != nil {
			return fmt.Errorf("trying the mutants of %s: %w", t.folder, err)
		}
		one := count(u.mutants, same)
		one.unfit = u.unfit
		fmt.Printf("%s: %s\n", t.folder, one)
		sum.add(one)
	}
	fmt.Println("equivalent:", sum.equivalent)
	fmt.Println("left_alone:", sum.unfit)
	fmt.Println("not_covered:", sum.notCovered)
	fmt.Println("timed_out:", sum.timedOut)
	fmt.Println("mutants:", sum.mutants)
	fmt.Println("killed_percent:", sum.percent())
	return nil
}

// unleash tries the mutants of a package.
func unleash(t target, files []string, tags string, tell func(mutant)) (*unit, error) {
	dir, err := os.MkdirTemp("", "mutants-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	u, err := build(t.folder, func(file string) bool {
		if len(files) > 0 {
			return slices.Contains(files, file)
		}
		return !slices.Contains(t.without, strings.TrimSuffix(file, ".go"))
	}, tags, dir)
	if err != nil {
		return nil, err
	}
	if len(u.mutants) == 0 {
		return nil, errors.New("there are none")
	}
	if err := u.try(dir, tell); err != nil {
		return nil, err
	}
	return u, nil
}
